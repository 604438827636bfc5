//! What a dump holds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::cycles::{cycles, with_those_who_wait};
use super::green_thread::{GreenThread, Holder, Standing};
use crate::fiber;
use crate::hub::census::Load;
use crate::hub::hub;
use crate::sys::process;

/// The green threads of one hub, as [`Dump`] tells of them.
#[derive(Clone, Debug)]
pub struct HubDump {
    pub(super) thread: String,
    pub(super) thread_id: u32,
    pub(super) load: Load,
    pub(super) green_threads: Vec<GreenThread>,
    pub(super) left_out: usize,
}

impl HubDump {
    /// Of the calling thread's hub, without anybody yet.
    pub(super) fn begin() -> HubDump {
        // The hub's, also where a green thread has variables of its own.
        let thread = fiber::in_common(std::thread::current);
        HubDump {
            thread: thread.name().unwrap_or("<unnamed>").to_owned(),
            thread_id: process::os_thread_id(),
            load: hub().load(),
            green_threads: Vec::new(),
            left_out: 0,
        }
    }

    /// Returns the name of the hub's OS thread, or `<unnamed>`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::inspect;
    ///
    /// let name = std::thread::current().name().unwrap_or("<unnamed>").to_owned();
    /// assert_eq!(inspect::dump().hubs()[0].thread(), name);
    /// ```
    pub fn thread(&self) -> &str {
        &self.thread
    }

    /// Returns the number that the kernel gives to the OS thread, as `top -H` shows it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::inspect;
    ///
    /// let thread = inspect::dump().hubs()[0].thread_id();
    /// assert!(std::path::Path::new(&format!("/proc/self/task/{thread}")).exists());
    /// ```
    pub fn thread_id(&self) -> u32 {
        self.thread_id
    }

    /// Returns how many green threads of this hub had not ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, spawn};
    ///
    /// drop(spawn(|| ()));
    /// assert_eq!(inspect::dump().hubs()[0].alive(), 1);
    /// ```
    pub fn alive(&self) -> usize {
        self.load.alive
    }

    /// Returns the greenlets that the dump tells of: main, then those that have begun, then those that have not.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::inspect;
    ///
    /// assert_eq!(inspect::dump().hubs()[0].green_threads().len(), 1);
    /// ```
    pub fn green_threads(&self) -> &[GreenThread] {
        &self.green_threads
    }

    /// Returns how many more there were beyond [the limit](super::DumpOptions::limit).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect::DumpOptions, sleep, spawn, yield_now};
    /// use std::time::Duration;
    ///
    /// let tasks: Vec<_> = (0..10).map(|_| spawn(|| sleep(Duration::from_secs(60)))).collect();
    /// yield_now();
    /// let dump = DumpOptions::new().limit(3).take();
    /// assert_eq!((dump.green_threads().count(), dump.hubs()[0].left_out()), (3, 8)); // with main
    /// # greenloop::killall(&tasks);
    /// ```
    pub fn left_out(&self) -> usize {
        self.left_out
    }
}

/// Who was there: the green threads of one or of all hubs, at about one moment. [`dump`] and [`DumpOptions`](super::DumpOptions) take one.
///
/// Its `Display` is a report for people. [`write_json`](Dump::write_json) is one for programs. Neither has anything of what your values are:
/// names, places in the source, numbers and states only.
///
/// # Examples
///
/// ```
/// use greenloop::{inspect, sync::Semaphore, spawn, yield_now};
///
/// static NEVER: Semaphore = Semaphore::new(0);
/// let waiter = spawn(|| NEVER.wait());
/// yield_now();
/// let dump = inspect::dump();
/// assert_eq!(dump.green_threads().count(), 2); // with main
/// assert!(dump.to_string().contains("waiting on Semaphore::acquire"));
/// # waiter.kill();
/// ```
#[derive(Clone, Debug)]
pub struct Dump {
    pub(super) taken_at: SystemTime,
    pub(super) took: Duration,
    pub(super) hubs: Vec<HubDump>,
    pub(super) silent: usize,
}

impl Dump {
    pub(super) fn new(began: Instant, mut hubs: Vec<HubDump>, silent: usize) -> Dump {
        name_holders(&mut hubs);
        Dump { taken_at: SystemTime::now(), took: began.elapsed(), hubs, silent }
    }

    /// Returns the hubs that have answered, the asking one first.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::inspect::dump().hubs().len(), 1);
    /// ```
    pub fn hubs(&self) -> &[HubDump] {
        &self.hubs
    }

    /// Returns how many hubs have not answered in time. Such a hub is kept by a green thread that computes or blocks. One that has ended
    /// meanwhile is not counted.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::inspect::dump().silent_hubs(), 0);
    /// ```
    pub fn silent_hubs(&self) -> usize {
        self.silent
    }

    /// Returns everybody in it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::inspect;
    ///
    /// assert!(inspect::dump().green_threads().all(|thread| thread.name() == "main"));
    /// ```
    pub fn green_threads(&self) -> impl Iterator<Item = &GreenThread> {
        self.hubs.iter().flat_map(|hub| &hub.green_threads)
    }

    /// Returns who has [waited](GreenThread::waited) for longest. It is `None` if nobody waits, and where [nobody keeps
    /// that](super::keep_history).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Builder, inspect, sleep};
    /// use std::time::Duration;
    ///
    /// inspect::keep_history(true);
    /// let forgotten = Builder::new().name("forgotten").spawn(|| sleep(Duration::from_secs(60)))?;
    /// (0..5).for_each(|_| sleep(Duration::from_millis(10)));
    /// assert_eq!(inspect::dump().longest_waiting().unwrap().name(), "forgotten");
    /// # forgotten.kill();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn longest_waiting(&self) -> Option<&GreenThread> {
        let waiting = self.green_threads().filter_map(|thread| Some((thread, thread.waited()?)));
        waiting.max_by_key(|&(_, waited)| waited).map(|(thread, _)| thread)
    }

    /// Returns the circles of green threads of which each waits for the end of the next, or for a [`Mutex`](crate::sync::Mutex), a
    /// [`ReentrantLock`](crate::sync::ReentrantLock) or a [`RwLock`](crate::sync::RwLock) that the next one holds. None of them can go on, even while others run, so that no
    /// [`LoopExit`](crate::LoopExit) comes, unless one is killed, or has a time limit: that is not known here. One that locks a mutex twice
    /// waits for itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, spawn, sync::Mutex, yield_now};
    /// use std::{cell::OnceCell, rc::Rc};
    ///
    /// let (lock, first) = (Rc::new(Mutex::new(())), Rc::new(OnceCell::new()));
    /// let (held, awaited) = (lock.clone(), first.clone());
    /// let second = spawn(move || {
    ///     let _guard = held.lock().unwrap();
    ///     yield_now();
    ///     let first: &greenloop::JoinHandle<()> = awaited.get().unwrap();
    ///     first.wait();
    /// });
    /// yield_now();
    /// first.set(spawn(move || drop(lock.lock().unwrap()))).unwrap();
    /// yield_now();
    /// let dump = inspect::dump();
    /// assert_eq!(dump.cycles()[0].len(), 2);
    /// assert!(dump.to_string().contains("wait for one another"));
    /// # second.kill();
    /// ```
    pub fn cycles(&self) -> Vec<Vec<&GreenThread>> {
        let threads: Vec<&GreenThread> = self.green_threads().collect();
        let found = |place: u64| threads[place as usize];
        let circles = cycles(awaited(&threads));
        circles.into_iter().map(|circle| circle.into_iter().map(found).collect()).collect()
    }

    /// Returns who is not woken though others run, but by a kill or a time limit: those of [`cycles`](Dump::cycles), and all who wait for
    /// one of them, or for one who does.
    ///
    /// A deadlock that goes by channels, events or permits is not seen: nobody knows who would have sent, set or given.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Builder, inspect, spawn, sync::Mutex, yield_now};
    /// use std::rc::Rc;
    ///
    /// let mutex = Rc::new(Mutex::new(()));
    /// let locks_twice = Rc::new(spawn(move || {
    ///     let _guard = mutex.lock().unwrap();
    ///     drop(mutex.lock());
    /// }));
    /// let joined = locks_twice.clone();
    /// let joins = Builder::new().name("joins").spawn(move || joined.wait())?;
    /// yield_now();
    /// let dump = inspect::dump();
    /// assert_eq!((dump.cycles().concat().len(), dump.unreachable().len()), (1, 2));
    /// assert_eq!(dump.unreachable()[1].name(), "joins");
    /// # greenloop::killall([&*locks_twice, &joins]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unreachable(&self) -> Vec<&GreenThread> {
        let threads: Vec<&GreenThread> = self.green_threads().collect();
        let awaited: Vec<_> = awaited(&threads).collect();
        let found = |place: u64| threads[place as usize];
        with_those_who_wait(cycles(awaited.iter().copied()).concat(), &awaited)
            .into_iter()
            .map(found)
            .collect()
    }
}

/// Who waits for whom among them, by their places.
fn awaited<'a>(threads: &'a [&GreenThread]) -> impl Iterator<Item = (u64, u64)> + 'a {
    let place = |(place, thread): (usize, &&GreenThread)| (thread.greenlet(), place as u64);
    let greenlets: HashMap<_, _> = threads.iter().enumerate().map(place).collect();
    let number = |(place, thread): (usize, &&GreenThread)| Some((thread.id()?, place as u64));
    let ids: HashMap<_, _> = threads.iter().enumerate().filter_map(number).collect();
    threads.iter().enumerate().filter_map(move |(place, thread)| {
        let joined = thread.waits_for().and_then(|id| ids.get(&id));
        let awaited = joined.or_else(|| thread.holder().and_then(|holder| greenlets.get(&holder)))?;
        Some((place as u64, *awaited))
    })
}

/// Says to each who waits for a lock who holds it.
fn name_holders(hubs: &mut [HubDump]) {
    let threads = || hubs.iter().flat_map(|hub| &hub.green_threads);
    let wanted: HashSet<_> = threads().filter_map(GreenThread::holder).collect();
    if wanted.is_empty() {
        return;
    }
    let holders = threads().filter(|thread| wanted.contains(&thread.greenlet()));
    let holders: HashMap<_, _> =
        holders.map(|thread| (thread.greenlet(), Arc::new(Holder::new(thread)))).collect();
    for thread in hubs.iter_mut().flat_map(|hub| &mut hub.green_threads) {
        let holder = thread.holder().and_then(|holder| holders.get(&holder));
        if let Some(holder) = holder {
            thread.set_holder(holder.clone());
        }
    }
}

/// Takes a dump of the calling OS thread's hub.
///
/// It does not yield, and may be called anywhere: in a [hub callback](crate::hub#callbacks) too, and so in the hook of
/// [`set_uncaught_hook`](crate::hub::set_uncaught_hook). It holds the hub for some 0.2 µs for each green thread. For many, or for the
/// other hubs, use [`DumpOptions`](super::DumpOptions).
///
/// # Panics
///
/// While the OS thread ends, when its hub is gone.
///
/// # Examples
///
/// ```
/// use greenloop::{Builder, inspect, sleep, yield_now};
/// use std::time::Duration;
///
/// let sleeper = Builder::new().name("sleeper").spawn(|| sleep(Duration::from_secs(60)))?;
/// yield_now();
/// let dump = inspect::dump();
/// let names: Vec<_> = dump.green_threads().map(|thread| thread.name()).collect();
/// assert_eq!(names, ["main", "sleeper"]);
/// # sleeper.kill();
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias("print_run_info", "format_run_info"))]
pub fn dump() -> Dump {
    let began = Instant::now();
    let hub = hub();
    let mut gathered = HubDump::begin();
    let residents = (0..).map_while(|index| Some((index, hub.resident_at(index)?)));
    let begun = residents.filter_map(|(index, resident)| Some(GreenThread::begun(resident?, &hub, index)));
    let unstarted = (0..gathered.load.unstarted).filter_map(|place| hub.unstarted_at(place));
    let delayed = hub.delayed(usize::MAX);
    gathered.green_threads = begun.chain(unstarted.chain(delayed).map(GreenThread::new)).collect();
    Dump::new(began, vec![gathered], 0)
}

/// The same of `most` greenlets; the others are counted.
pub(super) fn dump_of_most(most: usize) -> Dump {
    let mut dump = dump();
    dump.hubs.iter_mut().for_each(|hub| hub.cut(most));
    dump
}

impl HubDump {
    fn cut(&mut self, most: usize) {
        self.left_out += self.green_threads.len().saturating_sub(most);
        self.green_threads.truncate(most);
    }
}

impl Dump {
    /// Whoever has this number, or is main of the first hub if that is `None`, is who takes the dump.
    pub(super) fn set_taker(&mut self, id: Option<u64>) {
        let own = self.hubs.first_mut().into_iter().flat_map(|hub| &mut hub.green_threads);
        let is_taker = |thread: &&mut GreenThread| match id {
            None => thread.is_main(),
            id => thread.id() == id,
        };
        if let Some(taker) = own.filter(|thread| thread.standing() != Standing::Running).find(is_taker) {
            taker.set_running();
        }
    }
}
