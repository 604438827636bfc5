//! How much each hub has done, and has to do.

use std::time::Duration;

use super::asking::ask_hubs;
use crate::fiber;
use crate::hub::hub;
use crate::sys::process::{self, SleepCount};

/// How long the answers of other hubs are waited for.
const PATIENCE: Duration = Duration::from_millis(200);

/// What a hub has done since it was made, and what it has to do now. In the child of a fork, what it has done there.
///
/// Its green threads are those that were spawned there, and those that [`Workers`](crate::workers::Workers) gave it. `spawned` is always
/// `ended + alive`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HubMetrics {
    /// The name of the hub's OS thread, or `<unnamed>`.
    pub thread: String,
    /// The number that the kernel gives to the OS thread, as `top -H` shows it.
    pub thread_id: u32,
    /// Green threads that were to run here, whether they have begun or not.
    pub spawned: u64,
    /// Those of them that have ended: by returning, by a panic, or by a kill.
    pub ended: u64,
    /// Those of them that have not.
    pub alive: u64,
    /// Waits that were begun: for a lock, a channel, a descriptor, a time. Not yields.
    pub waits: u64,
    /// Greenlets that are to go on in their turn.
    pub ready: u64,
    /// Green threads that have not begun.
    pub unstarted: u64,
    /// Timers that are set.
    pub timers: u64,
    /// Waits for descriptors that go on now.
    pub descriptors: u64,
    /// Stacks of greenlets, without the OS thread's own.
    pub stacks: u64,
    /// Those of them on which nobody runs, kept for the next.
    pub idle_stacks: u64,
    /// How long the OS thread has been on a processor. The rest of the time it slept, or waited for one.
    pub processor_time: Duration,
    /// How often the OS thread has slept, in a wait for events for the most part.
    pub sleeps: u64,
    /// How often the kernel took the processor from it.
    pub preemptions: u64,
}

impl HubMetrics {
    /// Of the calling thread's hub.
    fn of_own() -> HubMetrics {
        let hub = hub();
        let (tally, load, (stacks, idle_stacks)) = (hub.tally(), hub.load(), hub.thread.stacks());
        // The hub's, also where a green thread has variables of its own.
        let thread = fiber::in_common(std::thread::current);
        let thread_id = process::os_thread_id();
        let SleepCount { voluntary, involuntary } = process::sleeps_of(thread_id).unwrap_or_default();
        HubMetrics {
            thread: thread.name().unwrap_or("<unnamed>").to_owned(),
            thread_id,
            spawned: tally.spawned,
            ended: tally.ended,
            alive: load.alive as u64,
            waits: tally.waits,
            ready: load.ready as u64,
            unstarted: load.unstarted as u64,
            timers: load.timers as u64,
            descriptors: load.descriptors as u64,
            stacks: stacks as u64,
            idle_stacks: idle_stacks as u64,
            processor_time: process::processor_time_of(thread_id).unwrap_or_default(),
            sleeps: voluntary,
            preemptions: involuntary,
        }
    }
}

/// How much all hubs of the process have done. [`metrics`] returns it.
///
/// Its `Display` is [Prometheus' text format](https://prometheus.io/docs/instrumenting/exposition_formats/): names that begin with
/// `greenloop_`, and the labels `hub`, which is [`thread_id`](HubMetrics::thread_id), and `thread`, which is its name.
#[derive(Clone, Debug)]
pub struct Metrics {
    hubs: Vec<HubMetrics>,
    silent: usize,
}

impl Metrics {
    /// Returns those of each hub that has answered, the calling thread's first, if it has one.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, spawn};
    ///
    /// spawn(|| ()).join().unwrap();
    /// drop(spawn(|| ()));
    /// let metrics = inspect::metrics();
    /// let hub = &metrics.hubs()[0];
    /// assert_eq!((hub.spawned, hub.ended, hub.alive), (2, 1, 1));
    /// ```
    pub fn hubs(&self) -> &[HubMetrics] {
        &self.hubs
    }

    /// Returns how many hubs have not answered in time. Such a hub is kept by a green thread that computes or blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::inspect::metrics().silent_hubs(), 0);
    /// ```
    pub fn silent_hubs(&self) -> usize {
        self.silent
    }
}

/// Asks all hubs of the process how much they have done.
///
/// It costs nothing while nobody asks: a hub numbers green threads and waits in any case, and the kernel counts its time. It yields until
/// all hubs have answered, each by a letter, for 200 ms at most. A kill or a time limit ends the wait by unwinding. On an OS thread
/// without a hub it makes none, and blocks. Where nothing may wait, as in a [hub callback](crate::hub#callbacks), it is the calling
/// thread's hub alone.
///
/// # Examples
///
/// ```
/// use greenloop::{inspect, sleep, spawn, yield_now};
/// use std::time::Duration;
///
/// let sleeper = spawn(|| sleep(Duration::from_secs(60)));
/// yield_now();
/// let metrics = inspect::metrics();
/// assert_eq!((metrics.hubs()[0].alive, metrics.hubs()[0].timers), (1, 1));
/// assert!(metrics.to_string().contains("greenloop_green_threads_alive{hub="));
/// # sleeper.kill();
/// ```
pub fn metrics() -> Metrics {
    take_metrics(true)
}

/// The same, perhaps without the calling thread's hub, which is the library's.
pub(super) fn take_metrics(with_own: bool) -> Metrics {
    let answers = ask_hubs(PATIENCE, with_own, HubMetrics::of_own);
    Metrics { hubs: answers.of_hubs, silent: answers.silent }
}
