//! Who keeps a hub, found by an OS thread that watches all of them.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::backtrace::Backtrace;
use super::hub_blocked::HubBlocked;
use super::occasion::{Occasion, occurs};
use super::testify::testimony_of;
use crate::fiber::{catch, report_text};
use crate::hub::beat::Doing;
use crate::hub::bystander::Bystander;
use crate::hub::door::{Door, open_doors};
use crate::hub::watch;
use crate::sys::os_thread::real;
use crate::sys::thread_state::{
    Activity, activity, processor_time, proportional_bytes, time_without_processor,
};
use crate::sys::{futex, inquiry};

/// At most 15 bytes, which is what the kernel shows.
const THREAD_NAME: &str = "greenloop-watch";
/// After which part of the limit it is looked whether hubs go on, at the latest: two fifths. So the first report comes before one and a half.
const PARTS_PER_LOOK: u32 = 2;
const PARTS_PER_LIMIT: u32 = 5;
/// The shortest time between two looks.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
/// How long the memory is not looked at, in times of the limit, and at least and at most.
const LIMITS_PER_LOOK_AT_MEMORY: u32 = 20;
const SHORTEST_BETWEEN_LOOKS_AT_MEMORY: Duration = Duration::from_millis(100);
const LONGEST_BETWEEN_LOOKS_AT_MEMORY: Duration = Duration::from_secs(2);
/// How often the time to the next report doubles.
const MOST_DOUBLINGS: u32 = 31;
const MINUTE: Duration = Duration::from_secs(60);

type Filter = Box<dyn FnMut(&HubBlocked) -> bool + Send>;
type Report = Box<dyn FnMut(&HubBlocked) + Send>;
type MemoryReport = Box<dyn FnMut(MemoryUse) + Send>;

/// The process that has a detector; 0 if none has.
static WATCHED_PROCESS: AtomicU32 = AtomicU32::new(0);

/// Memory that the process takes, as [`DetectorOptions::memory`] tells of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MemoryUse {
    /// It takes more than the limit: so many bytes. Told again when it has grown further by a tenth.
    #[doc(alias("MemoryUsageThresholdExceeded", "IMemoryUsageThresholdExceeded"))]
    Exceeded(u64),
    /// It takes less again: so many bytes.
    #[doc(alias("MemoryUsageUnderThreshold", "IMemoryUsageUnderThreshold"))]
    Returned(u64),
}

/// How a detector works. [`detect`] makes one, and [`start`](DetectorOptions::start) starts it.
#[must_use = "it begins with `start`"]
pub struct DetectorOptions {
    limit: Duration,
    signals: bool,
    most_per_minute: u32,
    filter: Option<Filter>,
    report: Option<Report>,
    memory: Option<(u64, MemoryReport)>,
}

impl fmt::Debug for DetectorOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DetectorOptions").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// Prepares an OS thread that tells who keeps a hub for longer than `limit`.
///
/// While a green thread computes, or is in a call that blocks the OS thread, none of the others runs. After `limit`, and again after 2, 4, 8
/// times that, the [report](HubBlocked) says who it is, for how long, in which calls and which system call, whether it computes, and how
/// many wait behind it. It goes to the hook of [`set_uncaught_hook`](crate::hub::set_uncaught_hook), so to standard error unless you
/// set one, or to [`on_report`](DetectorOptions::on_report). A hub that sleeps is not kept, nor is one in a
/// [world of tests](crate::testing).
///
/// With the environment variable `GREENLOOP_BLOCK_MS`, a limit in milliseconds, the first hub of the process starts one by itself; 0 is none.
/// The child of a fork whose parent had a hub starts none by that.
///
/// A hub that is watched leaves a mark before each switch, which costs about a nanosecond. One that is not, does nothing for it. While all
/// hubs sleep, so does the detector.
///
/// # Examples
///
/// ```
/// use greenloop::{Builder, inspect, yield_now};
/// use std::{sync::mpsc, time::Duration};
///
/// let (sender, reports) = mpsc::channel();
/// let detector = inspect::detect(Duration::from_millis(20))
///     .on_report(move |blocked| sender.send(blocked.clone()).unwrap())
///     .start()?;
/// let sleeper = Builder::new().name("of std").spawn(|| std::thread::sleep(Duration::from_millis(200)))?;
/// sleeper.join().unwrap();
/// let blocked = reports.iter().find(|blocked| blocked.name() == "of std").unwrap();
/// assert!(!blocked.is_computing());
/// detector.stop();
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias("max_blocking_time", "GEVENT_MONITOR_THREAD_ENABLE", "slow_callback_duration"))]
pub fn detect(limit: Duration) -> DetectorOptions {
    DetectorOptions { limit, signals: true, most_per_minute: 10, filter: None, report: None, memory: None }
}

impl DetectorOptions {
    /// Sets whether the OS thread that is kept is asked by a signal (`SIGURG`) for its calls, the name of its green thread, and who waits.
    /// It is, by default.
    ///
    /// System calls go on after the signal, but some that Linux does not restart, as `poll` and `epoll_wait`, say `EINTR`: not for C code that
    /// takes that for an error. Without signals the report has no calls, no name and no due timers, and each switch costs some
    /// nanoseconds more.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, spawn};
    /// use std::{sync::mpsc, time::Duration};
    ///
    /// let (sender, reports) = mpsc::channel();
    /// let detector = inspect::detect(Duration::from_millis(10))
    ///     .signals(false)
    ///     .on_report(move |blocked| drop(sender.send(blocked.clone())))
    ///     .start()?;
    /// let sleeper = spawn(|| std::thread::sleep(Duration::from_millis(100)));
    /// let place = sleeper.spawned_at();
    /// sleeper.join().unwrap();
    /// let blocked = reports.iter().find(|blocked| blocked.spawned_at() == Some(place)).unwrap();
    /// assert!(blocked.backtrace().is_none());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn signals(mut self, signals: bool) -> DetectorOptions {
        self.signals = signals;
        self
    }

    /// Sets how many reports there are in a minute at most for green threads that were spawned at the same place: 10 by default. Those that
    /// are left out are [counted](HubBlocked::unreported).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, spawn};
    /// use std::{sync::mpsc, time::Duration};
    ///
    /// let (sender, reports) = mpsc::channel();
    /// let detector = inspect::detect(Duration::from_millis(10))
    ///     .most_per_minute(1)
    ///     .on_report(move |blocked| drop(sender.send(blocked.spawned_at())))
    ///     .start()?;
    /// for _ in 0..3 {
    ///     spawn(|| std::thread::sleep(Duration::from_millis(50))).join().unwrap();
    /// }
    /// detector.stop();
    /// assert_eq!(reports.iter().flatten().count(), 1); // main was spawned nowhere
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn most_per_minute(mut self, most: u32) -> DetectorOptions {
        self.most_per_minute = most;
        self
    }

    /// Has `filter` asked, on the detector's OS thread, before the kept one is interrupted, whether there is to be a report. What only a
    /// signal tells is missing then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, spawn};
    /// use std::{sync::mpsc, time::Duration};
    ///
    /// let (sender, reports) = mpsc::channel();
    /// let detector = inspect::detect(Duration::from_millis(10))
    ///     .only_if(|blocked| blocked.thread() != "batch")
    ///     .on_report(move |blocked| drop(sender.send(blocked.lasts())))
    ///     .start()?;
    /// let batch = std::thread::Builder::new().name("batch".to_owned());
    /// let sleep = || spawn(|| std::thread::sleep(Duration::from_millis(50))).join().unwrap();
    /// batch.spawn(sleep)?.join().unwrap();
    /// detector.stop();
    /// assert_eq!(reports.iter().count(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn only_if(mut self, filter: impl FnMut(&HubBlocked) -> bool + Send + 'static) -> DetectorOptions {
        self.filter = Some(Box::new(filter));
        self
    }

    /// Has `report` called, on the detector's OS thread, in place of the hook for what nobody receives. The names of the calls are looked
    /// up when they are first asked for, by [`Backtrace::frames`] or the report's `Display`. What it raises goes to that hook.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, spawn};
    /// use std::{sync::mpsc, time::Duration};
    ///
    /// let (sender, reports) = mpsc::channel();
    /// let detector = inspect::detect(Duration::from_millis(10))
    ///     .on_report(move |blocked| drop(sender.send(blocked.to_string())))
    ///     .start()?;
    /// spawn(|| std::thread::sleep(Duration::from_millis(100))).join().unwrap();
    /// assert!(reports.recv().unwrap().contains("has kept the hub of the OS thread"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_report(mut self, report: impl FnMut(&HubBlocked) + Send + 'static) -> DetectorOptions {
        self.report = Some(Box::new(report));
        self
    }

    /// Has `report` called, on the detector's OS thread, when the process takes more than so many bytes of memory, and when it takes less
    /// again. What it shares with others counts in part. It is looked at after 20 times the limit, and after 2 seconds at most.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::inspect::{self, MemoryUse};
    /// use std::{sync::mpsc, time::Duration};
    ///
    /// let (sender, reports) = mpsc::channel();
    /// let detector = inspect::detect(Duration::from_millis(100))
    ///     .memory(1, move |usage| drop(sender.send(usage))) // more than one byte
    ///     .start()?;
    /// assert!(matches!(reports.recv().unwrap(), MemoryUse::Exceeded(bytes) if bytes > 4096));
    /// # detector.stop();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "max_memory_usage")]
    pub fn memory(mut self, bytes: u64, report: impl FnMut(MemoryUse) + Send + 'static) -> DetectorOptions {
        self.memory = Some((bytes, Box::new(report)));
        self
    }

    /// Starts it, for all hubs of the process, those that come included. It does not yield.
    ///
    /// Its OS thread is no reason for a hub to wait: a [`LoopExit`](crate::LoopExit) comes as without it. It goes on when what this returns
    /// is dropped. A hub that is kept just now is watched as soon as it looks about. The child of a fork has no detector, and may start
    /// one.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if there is one. Those of making an OS thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::inspect;
    /// use std::{io::ErrorKind, time::Duration};
    ///
    /// let limit = Duration::from_millis(100);
    /// inspect::detect(limit).start()?; // one line at the beginning of `main`
    /// assert_eq!(inspect::detect(limit).start().unwrap_err().kind(), ErrorKind::AlreadyExists);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn start(self) -> io::Result<Detector> {
        let process = std::process::id();
        let former = WATCHED_PROCESS.swap(process, Ordering::SeqCst);
        if former == process {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the process has a detector"));
        }
        let ended = Arc::new(AtomicU32::new(0));
        let started = self.spawn(ended.clone());
        if started.is_err() {
            WATCHED_PROCESS.store(0, Ordering::SeqCst);
        }
        Ok(Detector { ended, process, thread: started? })
    }

    fn spawn(self, ended: Arc<AtomicU32>) -> io::Result<JoinHandle<()>> {
        if self.signals {
            inquiry::prepare()?;
        }
        let with_names = !self.signals;
        let (begun, has_begun) = mpsc::channel();
        let attend = move || {
            let bystander = Bystander::begin();
            let _ = begun.send(());
            Attendant::new(self).attend(&ended, &bystander);
        };
        let spawned = real(|| {
            let thread = thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(attend)?;
            // Until it counts as one of the library's own.
            let _ = has_begun.recv();
            Ok(thread)
        });
        if spawned.is_ok() {
            watch::watch_all(with_names);
        }
        spawned
    }
}

/// A detector that was [started](DetectorOptions::start).
#[derive(Debug)]
pub struct Detector {
    ended: Arc<AtomicU32>,
    process: u32,
    thread: JoinHandle<()>,
}

impl Detector {
    /// Ends it. It blocks until a report that is being made is, but where that one calls this, and does not yield. In the child of a fork it does nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::inspect;
    /// use std::time::Duration;
    ///
    /// let detector = inspect::detect(Duration::from_millis(100)).start()?;
    /// detector.stop();
    /// assert!(inspect::detect(Duration::from_millis(50)).start().is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stop(self) {
        if self.process != std::process::id() {
            return;
        }
        watch::watch_none();
        self.ended.store(1, Ordering::SeqCst);
        futex::wake(&self.ended);
        watch::wake_watcher();
        if self.thread.thread().id() != thread::current().id() {
            // A report that raises is caught there.
            let _ended = real(|| self.thread.join());
        }
        WATCHED_PROCESS.store(0, Ordering::SeqCst);
    }
}

/// A beat of a hub that has lasted.
struct Lasting {
    beat: u64,
    since: Instant,
    processor_time: Option<Duration>,
    without_processor: Option<Duration>,
    reports: u32,
}

impl Lasting {
    /// How long it must last to be told of.
    fn due(&self, limit: Duration) -> Duration {
        limit.saturating_mul(1_u32 << self.reports.min(MOST_DOUBLINGS))
    }

    /// How long until then.
    fn left(&self, limit: Duration) -> Duration {
        self.due(limit).saturating_sub(self.since.elapsed())
    }
}

/// What the detector's OS thread has.
struct Attendant {
    options: DetectorOptions,
    /// By the addresses of their doors.
    hubs: HashMap<usize, Lasting>,
    /// When the minute began, how many reports there were in it, and how many were left out, by place of spawn.
    places: HashMap<Option<&'static Location<'static>>, (Instant, u32, u64)>,
    memory: Memory,
}

struct Memory {
    looked_at: Option<Instant>,
    /// The most that was told since it has exceeded the limit.
    told: Option<u64>,
}

impl Attendant {
    fn new(options: DetectorOptions) -> Attendant {
        let memory = Memory { looked_at: None, told: None };
        Attendant { options, hubs: HashMap::new(), places: HashMap::new(), memory }
    }

    fn attend(&mut self, ended: &AtomicU32, bystander: &Bystander) {
        let longest = self.options.limit.saturating_mul(PARTS_PER_LOOK) / PARTS_PER_LIMIT;
        while ended.load(Ordering::SeqCst) == 0 {
            self.look_at_hubs();
            self.look_at_memory();
            let next = self.hubs.values().map(|lasting| lasting.left(self.options.limit)).min();
            let pause = next.map_or(longest, |left| left.min(longest)).max(SHORTEST_PAUSE);
            bystander.rest(|| futex::wait(ended, 0, Some(pause)));
            self.sleep_while_all_do(ended, bystander);
        }
    }

    /// Until a hub goes on, which is looked at then at once.
    fn sleep_while_all_do(&self, ended: &AtomicU32, bystander: &Bystander) {
        // Nobody wakes it when memory is taken.
        if self.options.memory.is_none()
            && watch::prepare_watcher_to_sleep()
            && ended.load(Ordering::SeqCst) == 0
        {
            bystander.rest(watch::let_watcher_sleep);
        }
    }

    fn look_at_hubs(&mut self) {
        let open = open_doors();
        // One that has ended is never looked at again.
        self.hubs.retain(|key, _| open.iter().any(|door| ptr::from_ref(*door).addr() == *key));
        open.into_iter().for_each(|door| self.look_at(door));
    }

    fn look_at(&mut self, door: &'static Door) {
        let key = ptr::from_ref(door).addr();
        let at = door.watch.current().filter(|_| !door.is_asleep());
        let Some((beat, doing)) = at else {
            self.hubs.remove(&key);
            return;
        };
        let lasting = match self.hubs.get_mut(&key) {
            Some(lasting) if lasting.beat == beat => lasting,
            _ => {
                let (thread, _) = door.watch.thread();
                let begins = Lasting {
                    beat,
                    since: Instant::now(),
                    processor_time: processor_time(thread),
                    without_processor: time_without_processor(thread),
                    reports: 0,
                };
                self.hubs.insert(key, begins);
                return;
            }
        };
        let limit = lasting.due(self.options.limit);
        if lasting.since.elapsed() < limit {
            return;
        }
        let (thread_id, thread) = door.watch.thread();
        // A machine that has no processor for the hub is no fault of who runs there.
        let without = time_without_processor(thread_id).zip(lasting.without_processor);
        let without = without.map_or(Duration::ZERO, |(now, before)| now.saturating_sub(before));
        let mut lasts = lasting.since.elapsed().saturating_sub(without);
        let computed = processor_time(thread_id).zip(lasting.processor_time);
        let computed = computed.map(|(now, before)| now.saturating_sub(before));
        let activity = activity(thread_id);
        if let (Activity::Runs, Some(computed)) = (&activity, computed) {
            // The time in which it waits for one just now is not told yet.
            lasts = lasts.min(computed * 2);
        }
        if lasts < limit {
            return;
        }
        while lasts >= lasting.due(self.options.limit) && lasting.reports < MOST_DOUBLINGS {
            lasting.reports += 1;
        }
        let who = door.watch.who().filter(|_| doing == Doing::Running);
        let blocked = HubBlocked {
            thread,
            thread_id,
            doing,
            id: who.map(|(number, _)| number).filter(|&number| number > 0),
            name: None,
            spawned_at: who.map(|(_, place)| place),
            lasts,
            processor_time: computed,
            activity,
            ready: door.watch.ready(),
            due_timers: 0,
            backtrace: None,
            unreported: 0,
        };
        self.report(blocked, door, beat);
    }

    fn report(&mut self, mut blocked: HubBlocked, door: &Door, beat: u64) {
        let mut wanted = true;
        if let Some(filter) = &mut self.options.filter {
            catch("the filter of a detector", || wanted = filter(&blocked));
        }
        if !wanted {
            return;
        }
        if self.options.signals
            && let Some(testimony) = testimony_of(blocked.thread_id)
        {
            // It has gone on meanwhile: what it says is of another.
            if door.watch.current().is_none_or(|(now, _)| now != beat) {
                return;
            }
            if let Some((id, name, place)) = testimony.who().filter(|_| blocked.doing == Doing::Running) {
                (blocked.id, blocked.name, blocked.spawned_at) = (id, name, Some(place));
            }
            blocked.ready = testimony.ready().unwrap_or(blocked.ready);
            blocked.due_timers = testimony.due().unwrap_or(0);
            blocked.backtrace = Some(Arc::new(Backtrace::new(testimony.frames().to_vec())));
        }
        let now = Instant::now();
        let (since, count, left_out) = self.places.entry(blocked.spawned_at).or_insert((now, 0, 0));
        if now.duration_since(*since) >= MINUTE {
            (*since, *count) = (now, 0);
        }
        if *count >= self.options.most_per_minute {
            *left_out += 1;
            return;
        }
        *count += 1;
        blocked.unreported = std::mem::take(left_out);
        occurs(Occasion::HubBlocked);
        match &mut self.options.report {
            Some(report) => catch("the report of a detector", || report(&blocked)),
            None => report_text(&blocked.to_string()),
        }
    }

    fn look_at_memory(&mut self) {
        let Some((limit, report)) = &mut self.options.memory else { return };
        let pause = self.options.limit.saturating_mul(LIMITS_PER_LOOK_AT_MEMORY);
        let pause = pause.clamp(SHORTEST_BETWEEN_LOOKS_AT_MEMORY, LONGEST_BETWEEN_LOOKS_AT_MEMORY);
        let is_due = |looked_at: Instant| looked_at.elapsed() >= pause;
        if !self.memory.looked_at.is_none_or(is_due) {
            return;
        }
        self.memory.looked_at = Some(Instant::now());
        let Some(bytes) = proportional_bytes() else { return };
        let Some(news) = news_of_memory(self.memory.told, bytes, *limit) else { return };
        self.memory.told = matches!(news, MemoryUse::Exceeded(_)).then_some(bytes);
        catch("the report of a detector", || report(news));
    }
}

/// What is to be told of so many bytes, if so many were told last, since the limit was exceeded.
fn news_of_memory(told: Option<u64>, bytes: u64, limit: u64) -> Option<MemoryUse> {
    match told {
        None if bytes > limit => Some(MemoryUse::Exceeded(bytes)),
        Some(told) if bytes > limit && bytes > told + told / 10 => Some(MemoryUse::Exceeded(bytes)),
        Some(_) if bytes <= limit => Some(MemoryUse::Returned(bytes)),
        _ => None,
    }
}

/// Runs `function`, which is known to block or to compute for long: no [detector](detect) reports it.
///
/// That holds until `function` ends, or first waits as a green thread does.
///
/// # Examples
///
/// ```
/// use greenloop::{Builder, inspect};
/// use std::{sync::mpsc, time::Duration};
///
/// let (sender, reports) = mpsc::channel();
/// let detector = inspect::detect(Duration::from_millis(50))
///     .on_report(move |blocked| drop(sender.send(blocked.name().to_owned())))
///     .start()?;
/// let allowed = || inspect::allow_blocking(|| std::thread::sleep(Duration::from_millis(200)));
/// Builder::new().name("allowed").spawn(allowed)?.join().unwrap();
/// detector.stop();
/// assert!(reports.iter().all(|name| name != "allowed"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "ignore_current_greenlet_blocking")]
pub fn allow_blocking<R>(function: impl FnOnce() -> R) -> R {
    watch::allow(function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_when_it_grows_and_when_it_is_back() {
        let mut told = None;
        let mut heard = Vec::new();
        for bytes in [50, 100, 101, 105, 109, 120, 119, 101, 100, 50, 101, 90] {
            if let Some(news) = news_of_memory(told, bytes, 100) {
                told = matches!(news, MemoryUse::Exceeded(_)).then_some(bytes);
                heard.push(news);
            }
        }
        let [exceeded, returned] = [MemoryUse::Exceeded, MemoryUse::Returned];
        let expected = [exceeded(101), exceeded(120), returned(100), exceeded(101), returned(90)];
        assert_eq!(heard, expected);
    }

    fn lasting(reports: u32) -> Lasting {
        let since = Instant::now();
        Lasting { beat: 1, since, processor_time: None, without_processor: None, reports }
    }

    #[test]
    fn the_time_to_the_next_report_doubles_each_time() {
        let limit = Duration::from_millis(1);
        assert_eq!(
            [0, 3, 25, 31].map(|reports| lasting(reports).due(limit).as_millis()),
            [1, 8, 1 << 25, 1 << 31]
        );
    }

    #[test]
    fn a_hub_that_has_ended_is_forgotten() {
        let mut attendant = Attendant::new(detect(MINUTE));
        attendant.hubs.insert(1, lasting(0));
        attendant.look_at_hubs();
        assert!(!attendant.hubs.contains_key(&1));
    }
}
