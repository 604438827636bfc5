//! One green thread, as a dump tells of it.

use std::fmt;
use std::num::NonZero;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::backtrace::Backtrace;
use super::watcher::Watcher;
use crate::hub::HubState;
use crate::hub::census::{self, Resident};

/// Where a green thread stood when the dump was taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Standing {
    /// It ran. Of each hub at most one does.
    Running,
    /// It was ready: it runs in its turn.
    Ready,
    /// It waited.
    Parked,
    /// It was left by a switch by hand, as a [greenlet](crate::greenlet) or a generator is between two calls.
    SwitchedOut,
    /// It had not begun.
    Unstarted,
}

impl From<census::Standing> for Standing {
    fn from(standing: census::Standing) -> Standing {
        match standing {
            census::Standing::Running => Standing::Running,
            census::Standing::Ready => Standing::Ready,
            census::Standing::Parked => Standing::Parked,
            census::Standing::SwitchedOut => Standing::SwitchedOut,
            census::Standing::Unstarted => Standing::Unstarted,
        }
    }
}

impl Standing {
    /// The word for it, in the text and in JSON.
    fn word(self) -> &'static str {
        match self {
            Standing::Running => "running",
            Standing::Ready => "ready",
            Standing::Parked => "parked",
            Standing::SwitchedOut => "switched out",
            Standing::Unstarted => "unstarted",
        }
    }
}

/// The word for it: `running`, `ready`, `parked`, `switched out`, `unstarted`.
impl fmt::Display for Standing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.word())
    }
}

/// Who holds what another one waits for.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    id: Option<u64>,
    name: Arc<str>,
}

impl Holder {
    pub(super) fn new(thread: &GreenThread) -> Holder {
        Holder { id: thread.id(), name: thread.name().into() }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "held by '{}'", self.name)?;
        self.id.map_or(Ok(()), |id| write!(formatter, " ({id})"))
    }
}

/// A green thread, or another greenlet, as a [`Dump`](super::Dump) tells of it. The main greenlet is one too.
#[derive(Clone, Debug)]
pub struct GreenThread {
    resident: Resident,
    details: Option<Box<Details>>,
}

/// What is not told of all.
#[derive(Clone, Default, Debug)]
struct Details {
    holder: Option<Arc<Holder>>,
    backtrace: Option<Arc<Backtrace>>,
    turns: Option<(u64, Duration)>,
}

const _: () = assert!(size_of::<GreenThread>() <= 96, "there may be a million in a dump");

impl GreenThread {
    pub(super) fn new(resident: Resident) -> GreenThread {
        GreenThread { resident, details: None }
    }

    /// The one on the fiber with this number.
    pub(super) fn begun(resident: Resident, hub: &HubState, index: u32) -> GreenThread {
        let turns = Watcher::turns(hub, index);
        let details = turns.map(|turns| Box::new(Details { turns: Some(turns), ..Details::default() }));
        GreenThread { resident, details }
    }

    pub(super) fn set_backtrace(&mut self, backtrace: Arc<Backtrace>) {
        self.details.get_or_insert_default().backtrace = Some(backtrace);
    }

    /// A number that no other greenlet in the dump has; 0 for who has not begun.
    pub(super) fn greenlet(&self) -> usize {
        self.resident.greenlet
    }

    /// That of who holds what it waits for.
    pub(super) fn holder(&self) -> Option<usize> {
        self.resident.held_by().filter(|_| self.standing() == Standing::Parked)
    }

    pub(super) fn set_holder(&mut self, holder: Arc<Holder>) {
        self.details.get_or_insert_default().holder = Some(holder);
    }

    pub(super) fn named_holder(&self) -> Option<&Holder> {
        self.details.as_ref()?.holder.as_deref().filter(|_| self.standing() == Standing::Parked)
    }

    pub(super) fn is_main(&self) -> bool {
        self.resident.is_main
    }

    pub(super) fn shared_backtrace(&self) -> Option<&Arc<Backtrace>> {
        self.details.as_ref()?.backtrace.as_ref()
    }

    /// It is who takes the dump: it only waits for that.
    pub(super) fn set_running(&mut self) {
        self.resident.standing = census::Standing::Running;
    }

    /// Returns its number, which its [`JoinHandle::id`](crate::JoinHandle::id) prints too. It is `None` for the main greenlet, and for a
    /// greenlet made by hand.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, spawn};
    ///
    /// let task = spawn(|| ());
    /// let dump = inspect::dump();
    /// let ids: Vec<_> = dump.green_threads().filter_map(|thread| thread.id()).collect();
    /// assert_eq!(ids, [task.id().to_string().parse::<u64>()?]);
    /// # Ok::<(), std::num::ParseIntError>(())
    /// ```
    pub fn id(&self) -> Option<u64> {
        self.resident.id.map(NonZero::get)
    }

    /// Returns its name: `main` for the main greenlet, `<unnamed>` if it has none.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::inspect;
    ///
    /// let dump = inspect::dump();
    /// assert_eq!(dump.green_threads().next().unwrap().name(), "main");
    /// ```
    pub fn name(&self) -> &str {
        self.resident.name()
    }

    /// Returns the place in the source where it was spawned; `None` for the main greenlet.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, spawn};
    ///
    /// let task = spawn(|| ());
    /// let dump = inspect::dump();
    /// assert_eq!(dump.green_threads().nth(1).unwrap().spawned_at(), Some(task.spawned_at()));
    /// ```
    pub fn spawned_at(&self) -> Option<&'static Location<'static>> {
        self.resident.spawned_at
    }

    /// Returns the number of the green thread that has spawned it. It is `None` where [nobody keeps that](super::keep_history), if main or a
    /// greenlet made by hand was it, and for who was spawned [on workers](crate::workers::Workers::spawn).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Builder, inspect, spawn, yield_now};
    ///
    /// inspect::keep_history(true);
    /// let parent = spawn(|| {
    ///     let child = Builder::new().name("child").spawn(yield_now).unwrap();
    ///     inspect::dump().green_threads().find(|thread| thread.name() == "child").unwrap().spawned_by()
    /// });
    /// let id = parent.id().to_string();
    /// assert_eq!(parent.join().unwrap().unwrap().to_string(), id);
    /// ```
    pub fn spawned_by(&self) -> Option<u64> {
        self.resident.spawned_by.map(NonZero::get)
    }

    /// Returns for how long it has waited, at least, in milliseconds. It is `None` if it does not wait, and where [nobody keeps
    /// that](super::keep_history); there it also says how exact it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, sleep, spawn};
    /// use std::time::Duration;
    ///
    /// inspect::keep_history(true);
    /// let sleeper = spawn(|| sleep(Duration::from_secs(60)));
    /// (0..5).for_each(|_| sleep(Duration::from_millis(10)));
    /// let dump = inspect::dump();
    /// let waited = dump.green_threads().nth(1).unwrap().waited().unwrap();
    /// assert!(waited >= Duration::from_millis(20));
    /// # sleeper.kill();
    /// ```
    pub fn waited(&self) -> Option<Duration> {
        self.resident.waited().filter(|_| self.standing() == Standing::Parked)
    }

    /// The same, if it is worth a word.
    pub(super) fn long_waited(&self) -> Option<Duration> {
        self.waited().filter(|waited| !waited.is_zero())
    }

    /// Returns how often it has gone on since hubs [time what they run](super::time_slices), or since it began; `None` where they do not,
    /// and before it has gone on.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, spawn, yield_now};
    ///
    /// inspect::time_slices(true);
    /// let task = spawn(|| (0..5).for_each(|_| yield_now()));
    /// (0..3).for_each(|_| yield_now());
    /// let dump = inspect::dump();
    /// assert_eq!(dump.green_threads().nth(1).unwrap().switches(), Some(3));
    /// # task.join().unwrap();
    /// ```
    pub fn switches(&self) -> Option<u64> {
        self.turns().map(|(count, _)| count)
    }

    /// Returns for how long it has run in all of those times but the present one; `None` as above.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, sleep, spawn, yield_now};
    /// use std::time::{Duration, Instant};
    ///
    /// inspect::time_slices(true);
    /// let task = spawn(|| {
    ///     let end = Instant::now() + Duration::from_millis(5);
    ///     while Instant::now() < end {}
    ///     sleep(Duration::from_secs(60));
    /// });
    /// yield_now();
    /// let dump = inspect::dump();
    /// assert!(dump.green_threads().nth(1).unwrap().ran().unwrap() >= Duration::from_millis(5));
    /// # task.kill();
    /// ```
    pub fn ran(&self) -> Option<Duration> {
        self.turns().map(|(_, ran)| ran)
    }

    fn turns(&self) -> Option<(u64, Duration)> {
        self.details.as_ref()?.turns
    }

    /// Returns where it stood.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::inspect::{self, Standing};
    ///
    /// assert_eq!(inspect::dump().green_threads().next().unwrap().standing(), Standing::Running);
    /// ```
    pub fn standing(&self) -> Standing {
        self.resident.standing.into()
    }

    /// Returns what it waits on, for instance `Mutex::lock`, `fd 7 to be readable` or `the end of green thread 4`; `None` if it does not
    /// wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, sleep, spawn, yield_now};
    /// use std::time::Duration;
    ///
    /// let sleeper = spawn(|| sleep(Duration::from_secs(60)));
    /// yield_now();
    /// let dump = inspect::dump();
    /// assert_eq!(dump.green_threads().nth(1).unwrap().waits_on().as_deref(), Some("a sleep"));
    /// # sleeper.kill();
    /// ```
    pub fn waits_on(&self) -> Option<String> {
        if self.standing() == Standing::Running { None } else { self.resident.waits_on() }
    }

    /// What it waits on, without the number that belongs to that.
    pub(super) fn wait_words(&self) -> Option<&'static str> {
        let waits = matches!(self.standing(), Standing::Parked | Standing::Unstarted);
        self.resident.waits_on.filter(|_| waits).map(|(words, _)| words)
    }

    /// Returns the number of the green thread whose end it waits for, if it waits for one.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, sleep, spawn, yield_now};
    /// use std::time::Duration;
    ///
    /// let sleeper = spawn(|| sleep(Duration::from_secs(60)));
    /// let id = sleeper.id().to_string();
    /// let joiner = spawn(move || sleeper.join().is_ok());
    /// yield_now();
    /// let dump = inspect::dump();
    /// let joined = dump.green_threads().find_map(|thread| thread.waits_for()).unwrap();
    /// assert_eq!(joined.to_string(), id);
    /// # joiner.kill();
    /// ```
    pub fn waits_for(&self) -> Option<u64> {
        self.resident.waits_for().filter(|_| self.standing() == Standing::Parked)
    }

    /// Returns the number of the green thread that holds the [`Mutex`](crate::sync::Mutex), the
    /// [`ReentrantLock`](crate::sync::ReentrantLock) or the [`RwLock`](crate::sync::RwLock) that it waits for. It is `None` if that is main,
    /// or not in the dump. Of several readers it is one, if it is known: who has locked last. Permits of a
    /// [`Semaphore`](crate::sync::Semaphore) are nobody's: whoever likes may give them back.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, sleep, spawn, sync::Mutex, yield_now};
    /// use std::{rc::Rc, time::Duration};
    ///
    /// let mutex = Rc::new(Mutex::new(0));
    /// let lock = |mutex: Rc<Mutex<u32>>| {
    ///     let _guard = mutex.lock().unwrap();
    ///     sleep(Duration::from_secs(60));
    /// };
    /// let [first, second] = [mutex.clone(), mutex].map(|mutex| spawn(move || lock(mutex)));
    /// yield_now();
    /// let dump = inspect::dump();
    /// let holder = dump.green_threads().find_map(|thread| thread.held_by()).unwrap();
    /// assert_eq!(holder.to_string(), first.id().to_string());
    /// # greenloop::killall(&[second, first]);
    /// ```
    pub fn held_by(&self) -> Option<u64> {
        self.named_holder().and_then(|holder| holder.id)
    }

    /// Returns how many senders there are of the [channel](crate::channel) from which it waits to receive, or how many receivers of that to
    /// which it waits to send. There is at least one of them, or the wait would be over; but for a channel that
    /// [`never`](crate::channel::never) has a value, or whose values the clock makes. It is `None` for other waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{channel, inspect, spawn, yield_now};
    ///
    /// let (sender, receiver) = channel::unbounded::<u32>();
    /// let others = [(); 2].map(|()| sender.clone());
    /// let receives = spawn(move || receiver.recv());
    /// yield_now();
    /// let dump = inspect::dump();
    /// assert_eq!(dump.green_threads().nth(1).unwrap().other_ends(), Some(3));
    /// assert!(dump.to_string().contains("waiting on Receiver::recv, from 3 senders"));
    /// # receives.kill();
    /// # drop((sender, others));
    /// ```
    pub fn other_ends(&self) -> Option<usize> {
        self.counted_ends().map(|ends| ends.count)
    }

    /// The same, and the words for one of them.
    pub(super) fn counted_ends(&self) -> Option<Ends> {
        let (count, words) = self.resident.others().filter(|_| self.standing() == Standing::Parked)?;
        Some(Ends { count, words })
    }

    /// Returns the size of its stack in bytes; `None` for the main greenlet, and before it begins.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Builder, inspect, sleep, yield_now};
    /// use std::time::Duration;
    ///
    /// let sleeper = Builder::new().stack_size(1 << 20).spawn(|| sleep(Duration::from_secs(60)))?;
    /// yield_now();
    /// let dump = inspect::dump();
    /// assert!(dump.green_threads().nth(1).unwrap().stack_size().unwrap() >= 1 << 20);
    /// # sleeper.kill();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stack_size(&self) -> Option<usize> {
        self.resident.stack().map(|(size, _)| size)
    }

    /// Returns about how many bytes of its stack were in use when it last waited; `None` where
    /// [`stack_size`](GreenThread::stack_size) is.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, sleep, spawn, yield_now};
    /// use std::time::Duration;
    ///
    /// let sleeper = spawn(|| sleep(Duration::from_secs(60)));
    /// yield_now();
    /// let dump = inspect::dump();
    /// let sleeping = dump.green_threads().nth(1).unwrap();
    /// assert!((1..sleeping.stack_size().unwrap()).contains(&sleeping.stack_used().unwrap()));
    /// # sleeper.kill();
    /// ```
    pub fn stack_used(&self) -> Option<usize> {
        self.resident.stack().map(|(_, used)| used)
    }

    /// Returns the calls in which it waits. It is `None` if [that](super::DumpOptions::backtraces) was not asked for, if it did not wait or
    /// was left by a switch by hand, for the main greenlet, and where less than 12 KiB of the stack are left.
    ///
    /// Green threads that wait in the same calls have the same one, by its address too.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, inspect::DumpOptions, sleep, spawn, yield_now};
    /// use std::time::Duration;
    ///
    /// let napper = spawn(|| sleep(Duration::from_secs(60)));
    /// yield_now();
    /// assert!(inspect::dump().green_threads().all(|thread| thread.backtrace().is_none()));
    /// let dump = DumpOptions::new().backtraces(true).take();
    /// assert!(dump.green_threads().nth(1).unwrap().backtrace().is_some());
    /// # napper.kill();
    /// ```
    pub fn backtrace(&self) -> Option<&Backtrace> {
        self.shared_backtrace().map(|backtrace| &**backtrace)
    }

    /// Returns whether it runs with thread-local variables of its own, by the feature `monkey`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::inspect;
    ///
    /// assert!(!inspect::dump().green_threads().next().unwrap().is_isolated());
    /// ```
    pub fn is_isolated(&self) -> bool {
        self.resident.is_isolated
    }
}

/// How many other ends a channel has, and the words for one of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    count: usize,
    words: &'static str,
}

/// For instance `from 3 senders`.
impl fmt::Display for Ends {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.count == 1 { "" } else { "s" };
        write!(formatter, "{}{plural}", self.words.replace("{}", &self.count.to_string()))
    }
}

/// One line, for instance `green thread 'worker' (4), spawned at src/main.rs:7:5, parked, waiting on Receiver::recv`.
impl fmt::Display for GreenThread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "green thread '{}'", self.name())?;
        if let Some(id) = self.id() {
            write!(formatter, " ({id})")?;
        }
        if let Some(place) = self.spawned_at() {
            write!(formatter, ", spawned at {place}")?;
        }
        self.spawned_by().map_or(Ok(()), |id| write!(formatter, " by green thread {id}"))?;
        write!(formatter, ", {}", self.standing())?;
        self.waits_on().map_or(Ok(()), |on| write!(formatter, ", waiting on {on}"))?;
        self.counted_ends().map_or(Ok(()), |ends| write!(formatter, ", {ends}"))?;
        self.named_holder().map_or(Ok(()), |holder| write!(formatter, ", {holder}"))?;
        self.long_waited().map_or(Ok(()), |waited| write!(formatter, ", for {waited:?} so far"))
    }
}
