//! Who keeps a hub.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::backtrace::Backtrace;
use crate::hub::beat::Doing;
use crate::sys::thread_state::Activity;

/// A hub does not go on: a green thread, main or a callback keeps it. The [`Detector`](super::Detector) tells of it.
///
/// Its `Display` is a report of some lines.
#[doc(alias("EventLoopBlocked", "IEventLoopBlocked"))]
#[derive(Clone, Debug)]
pub struct HubBlocked {
    pub(super) thread: String,
    pub(super) thread_id: u32,
    pub(super) doing: Doing,
    pub(super) id: Option<u64>,
    pub(super) name: Option<String>,
    pub(super) spawned_at: Option<&'static Location<'static>>,
    pub(super) lasts: Duration,
    pub(super) processor_time: Option<Duration>,
    pub(super) activity: Activity,
    pub(super) ready: usize,
    pub(super) due_timers: usize,
    pub(super) backtrace: Option<Arc<Backtrace>>,
    pub(super) unreported: u64,
}

impl HubBlocked {
    /// Returns the name of the hub's OS thread, or `<unnamed>`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenloop::{Builder, inspect};
    /// # use std::{sync::mpsc, time::Duration};
    /// # let (sender, reports) = mpsc::channel();
    /// # let report = move |blocked: &inspect::HubBlocked| drop(sender.send(blocked.clone()));
    /// # let detector = inspect::detect(Duration::from_millis(10)).on_report(report).start()?;
    /// # let sleep = || std::thread::sleep(Duration::from_millis(100));
    /// # let sleeper = Builder::new().name("sleeper").spawn(sleep)?;
    /// # let (id, place) = (sleeper.id().to_string(), sleeper.spawned_at());
    /// # sleeper.join().unwrap();
    /// # let blocked = reports.iter().find(|blocked| blocked.name() == "sleeper").unwrap();
    /// let own = std::thread::current().name().unwrap_or("<unnamed>").to_owned();
    /// assert_eq!(blocked.thread(), own);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn thread(&self) -> &str {
        &self.thread
    }

    /// Returns the number that the kernel gives to the OS thread.
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenloop::{Builder, inspect};
    /// # use std::{sync::mpsc, time::Duration};
    /// # let (sender, reports) = mpsc::channel();
    /// # let report = move |blocked: &inspect::HubBlocked| drop(sender.send(blocked.clone()));
    /// # let detector = inspect::detect(Duration::from_millis(10)).on_report(report).start()?;
    /// # let sleep = || std::thread::sleep(Duration::from_millis(100));
    /// # let sleeper = Builder::new().name("sleeper").spawn(sleep)?;
    /// # let (id, place) = (sleeper.id().to_string(), sleeper.spawned_at());
    /// # sleeper.join().unwrap();
    /// # let blocked = reports.iter().find(|blocked| blocked.name() == "sleeper").unwrap();
    /// assert!(std::path::Path::new(&format!("/proc/self/task/{}", blocked.thread_id())).exists());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn thread_id(&self) -> u32 {
        self.thread_id
    }

    /// Returns the number of the green thread that keeps it; `None` if it is main, a greenlet made by hand, or the hub itself.
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenloop::{Builder, inspect};
    /// # use std::{sync::mpsc, time::Duration};
    /// # let (sender, reports) = mpsc::channel();
    /// # let report = move |blocked: &inspect::HubBlocked| drop(sender.send(blocked.clone()));
    /// # let detector = inspect::detect(Duration::from_millis(10)).on_report(report).start()?;
    /// # let sleep = || std::thread::sleep(Duration::from_millis(100));
    /// # let sleeper = Builder::new().name("sleeper").spawn(sleep)?;
    /// # let (id, place) = (sleeper.id().to_string(), sleeper.spawned_at());
    /// # sleeper.join().unwrap();
    /// # let blocked = reports.iter().find(|blocked| blocked.name() == "sleeper").unwrap();
    /// assert_eq!(blocked.id().unwrap().to_string(), id);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn id(&self) -> Option<u64> {
        self.id
    }

    /// Returns the name of the green thread: `main` for the main greenlet, `<hub>` for the hub itself, which is in a callback mostly, and
    /// `<unnamed>` if it has none, or that is not known.
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenloop::{Builder, inspect};
    /// # use std::{sync::mpsc, time::Duration};
    /// # let (sender, reports) = mpsc::channel();
    /// # let report = move |blocked: &inspect::HubBlocked| drop(sender.send(blocked.clone()));
    /// # let detector = inspect::detect(Duration::from_millis(10)).on_report(report).start()?;
    /// # let sleep = || std::thread::sleep(Duration::from_millis(100));
    /// # let sleeper = Builder::new().name("sleeper").spawn(sleep)?;
    /// # let (id, place) = (sleeper.id().to_string(), sleeper.spawned_at());
    /// # sleeper.join().unwrap();
    /// # let blocked = reports.iter().find(|blocked| blocked.name() == "sleeper").unwrap();
    /// assert_eq!(blocked.name(), "sleeper");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn name(&self) -> &str {
        match (&self.name, self.spawned_at, self.doing) {
            (Some(name), ..) => name,
            (None, Some(_), _) => "<unnamed>",
            (None, None, Doing::Running) => "main",
            (None, None, Doing::Looking) => "<hub>",
        }
    }

    /// Returns where the green thread was spawned; `None` if it is none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenloop::{Builder, inspect};
    /// # use std::{sync::mpsc, time::Duration};
    /// # let (sender, reports) = mpsc::channel();
    /// # let report = move |blocked: &inspect::HubBlocked| drop(sender.send(blocked.clone()));
    /// # let detector = inspect::detect(Duration::from_millis(10)).on_report(report).start()?;
    /// # let sleep = || std::thread::sleep(Duration::from_millis(100));
    /// # let sleeper = Builder::new().name("sleeper").spawn(sleep)?;
    /// # let (id, place) = (sleeper.id().to_string(), sleeper.spawned_at());
    /// # sleeper.join().unwrap();
    /// # let blocked = reports.iter().find(|blocked| blocked.name() == "sleeper").unwrap();
    /// assert_eq!(blocked.spawned_at(), Some(place));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn spawned_at(&self) -> Option<&'static Location<'static>> {
        self.spawned_at
    }

    /// Returns for how long it has kept the hub, without the time in which the machine had no processor for it. It may be half of the
    /// limit longer.
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenloop::{Builder, inspect};
    /// # use std::{sync::mpsc, time::Duration};
    /// # let (sender, reports) = mpsc::channel();
    /// # let report = move |blocked: &inspect::HubBlocked| drop(sender.send(blocked.clone()));
    /// # let detector = inspect::detect(Duration::from_millis(10)).on_report(report).start()?;
    /// # let sleep = || std::thread::sleep(Duration::from_millis(100));
    /// # let sleeper = Builder::new().name("sleeper").spawn(sleep)?;
    /// # let (id, place) = (sleeper.id().to_string(), sleeper.spawned_at());
    /// # sleeper.join().unwrap();
    /// # let blocked = reports.iter().find(|blocked| blocked.name() == "sleeper").unwrap();
    /// assert!(blocked.lasts() >= Duration::from_millis(10));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn lasts(&self) -> Duration {
        self.lasts
    }

    /// Returns how long it has computed meanwhile, if the kernel tells.
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenloop::{Builder, inspect};
    /// # use std::{sync::mpsc, time::Duration};
    /// # let (sender, reports) = mpsc::channel();
    /// # let report = move |blocked: &inspect::HubBlocked| drop(sender.send(blocked.clone()));
    /// # let detector = inspect::detect(Duration::from_millis(10)).on_report(report).start()?;
    /// # let sleep = || std::thread::sleep(Duration::from_millis(100));
    /// # let sleeper = Builder::new().name("sleeper").spawn(sleep)?;
    /// # let (id, place) = (sleeper.id().to_string(), sleeper.spawned_at());
    /// # sleeper.join().unwrap();
    /// # let blocked = reports.iter().find(|blocked| blocked.name() == "sleeper").unwrap();
    /// assert!(blocked.processor_time().is_none_or(|computed| computed < blocked.lasts()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn processor_time(&self) -> Option<Duration> {
        self.processor_time
    }

    /// Whether it computes, rather than blocks: it ran, or would have if there was a processor.
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenloop::{Builder, inspect};
    /// # use std::{sync::mpsc, time::Duration};
    /// # let (sender, reports) = mpsc::channel();
    /// # let report = move |blocked: &inspect::HubBlocked| drop(sender.send(blocked.clone()));
    /// # let detector = inspect::detect(Duration::from_millis(10)).on_report(report).start()?;
    /// # let sleep = || std::thread::sleep(Duration::from_millis(100));
    /// # let sleeper = Builder::new().name("sleeper").spawn(sleep)?;
    /// # let (id, place) = (sleeper.id().to_string(), sleeper.spawned_at());
    /// # sleeper.join().unwrap();
    /// # let blocked = reports.iter().find(|blocked| blocked.name() == "sleeper").unwrap();
    /// assert!(!blocked.is_computing()); // it sleeps
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_computing(&self) -> bool {
        self.activity == Activity::Runs
    }

    /// Returns the system call in which it was, such as `flock of fd 7 (/run/lock)`; `None` if it was in none, or the kernel does not tell.
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenloop::{Builder, inspect};
    /// # use std::{sync::mpsc, time::Duration};
    /// # let (sender, reports) = mpsc::channel();
    /// # let report = move |blocked: &inspect::HubBlocked| drop(sender.send(blocked.clone()));
    /// # let detector = inspect::detect(Duration::from_millis(10)).on_report(report).start()?;
    /// # let sleep = || std::thread::sleep(Duration::from_millis(100));
    /// # let sleeper = Builder::new().name("sleeper").spawn(sleep)?;
    /// # let (id, place) = (sleeper.id().to_string(), sleeper.spawned_at());
    /// # sleeper.join().unwrap();
    /// # let blocked = reports.iter().find(|blocked| blocked.name() == "sleeper").unwrap();
    /// assert!(blocked.system_call().is_none_or(|call| call.ends_with("nanosleep")));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn system_call(&self) -> Option<&str> {
        match &self.activity {
            Activity::Calls(call) => Some(call),
            _ => None,
        }
    }

    /// Returns how many green threads were ready and waited for their turn.
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenloop::{Builder, inspect};
    /// # use std::{sync::mpsc, time::Duration};
    /// # let (sender, reports) = mpsc::channel();
    /// # let report = move |blocked: &inspect::HubBlocked| drop(sender.send(blocked.clone()));
    /// # let detector = inspect::detect(Duration::from_millis(10)).on_report(report).start()?;
    /// # let sleep = || std::thread::sleep(Duration::from_millis(100));
    /// # let sleeper = Builder::new().name("sleeper").spawn(sleep)?;
    /// # let (id, place) = (sleeper.id().to_string(), sleeper.spawned_at());
    /// # sleeper.join().unwrap();
    /// # let blocked = reports.iter().find(|blocked| blocked.name() == "sleeper").unwrap();
    /// assert_eq!(blocked.ready(), 0); // main waits for the sleeper, and nobody else is there
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn ready(&self) -> usize {
        self.ready
    }

    /// Returns how many timers were due: sleeps, time limits and delayed spawns. It is up to 1024, and 0 [without a
    /// signal](super::DetectorOptions::signals).
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenloop::{Builder, inspect};
    /// # use std::{sync::mpsc, time::Duration};
    /// # let (sender, reports) = mpsc::channel();
    /// # let report = move |blocked: &inspect::HubBlocked| drop(sender.send(blocked.clone()));
    /// # let detector = inspect::detect(Duration::from_millis(10)).on_report(report).start()?;
    /// # let sleep = || std::thread::sleep(Duration::from_millis(100));
    /// # let sleeper = Builder::new().name("sleeper").spawn(sleep)?;
    /// # let (id, place) = (sleeper.id().to_string(), sleeper.spawned_at());
    /// # sleeper.join().unwrap();
    /// # let blocked = reports.iter().find(|blocked| blocked.name() == "sleeper").unwrap();
    /// assert_eq!(blocked.due_timers(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn due_timers(&self) -> usize {
        self.due_timers
    }

    /// Returns the calls in which it was; `None` [without a signal](super::DetectorOptions::signals), and where that was not answered.
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenloop::{Builder, inspect};
    /// # use std::{sync::mpsc, time::Duration};
    /// # let (sender, reports) = mpsc::channel();
    /// # let report = move |blocked: &inspect::HubBlocked| drop(sender.send(blocked.clone()));
    /// # let detector = inspect::detect(Duration::from_millis(10)).on_report(report).start()?;
    /// # let sleep = || std::thread::sleep(Duration::from_millis(100));
    /// # let sleeper = Builder::new().name("sleeper").spawn(sleep)?;
    /// # let (id, place) = (sleeper.id().to_string(), sleeper.spawned_at());
    /// # sleeper.join().unwrap();
    /// # let blocked = reports.iter().find(|blocked| blocked.name() == "sleeper").unwrap();
    /// let frames = blocked.backtrace().map_or(&[][..], |backtrace| backtrace.frames());
    /// assert!(!frames.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn backtrace(&self) -> Option<&Backtrace> {
        self.backtrace.as_deref()
    }

    /// Returns how many other reports of green threads that were spawned here were [left out](super::DetectorOptions::most_per_minute)
    /// before this one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenloop::{Builder, inspect};
    /// # use std::{sync::mpsc, time::Duration};
    /// # let (sender, reports) = mpsc::channel();
    /// # let report = move |blocked: &inspect::HubBlocked| drop(sender.send(blocked.clone()));
    /// # let detector = inspect::detect(Duration::from_millis(10)).on_report(report).start()?;
    /// # let sleep = || std::thread::sleep(Duration::from_millis(100));
    /// # let sleeper = Builder::new().name("sleeper").spawn(sleep)?;
    /// # let (id, place) = (sleeper.id().to_string(), sleeper.spawned_at());
    /// # sleeper.join().unwrap();
    /// # let blocked = reports.iter().find(|blocked| blocked.name() == "sleeper").unwrap();
    /// assert_eq!(blocked.unreported(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unreported(&self) -> u64 {
        self.unreported
    }
}

impl fmt::Display for HubBlocked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.spawned_at, self.doing) {
            (Some(place), _) => {
                write!(formatter, "green thread '{}'", self.name())?;
                self.id.map_or(Ok(()), |id| write!(formatter, " ({id})"))?;
                write!(formatter, ", spawned at {place},")?;
            }
            (None, Doing::Running) => formatter.write_str("the main greenlet")?,
            (None, Doing::Looking) => formatter.write_str("the hub itself, or a callback,")?,
        }
        let (thread, number, lasts) = (&self.thread, self.thread_id, self.lasts.as_millis());
        write!(formatter, " has kept the hub of the OS thread '{thread}' ({number}) for {lasts} ms")?;
        let computed = self.processor_time.unwrap_or_default().as_millis();
        match self.system_call() {
            Some(call) => {
                write!(formatter, "\n  it is in the system call {call}, and has computed for {computed} ms")?
            }
            None => write!(formatter, "\n  it has computed for {computed} ms")?,
        }
        write!(formatter, "\n  {} ready green threads and {} due timers wait", self.ready, self.due_timers)?;
        if self.unreported > 0 {
            write!(formatter, "\n  {} such reports were left out before", self.unreported)?;
        }
        let frames = self.backtrace.iter().flat_map(|backtrace| backtrace.frames());
        frames.into_iter().try_for_each(|frame| write!(formatter, "\n      {frame}"))
    }
}
