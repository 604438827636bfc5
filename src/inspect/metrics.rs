//! How much each hub has done, and has to do.

use std::io::{self, Write};
use std::time::Duration;

use super::asking::ask_hubs;
use super::histogram::Histogram;
use super::json::Text;
use super::watcher::{self, Watcher};
use crate::fiber;
use crate::hub::hub;
use crate::sys::process::{self, SleepCount};
use crate::sys::thread_state::processor_time;
use crate::threadpool::{Workload, workload};

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
    /// How long greenlets have run at a stretch, each from a switch to the next. `None` where [nobody asks](time_slices). Its count is the
    /// number of switches, to what follows on a warm stack included.
    pub slices: Option<Histogram>,
    /// How long those that waited, or let others go first, were ready before they went on. `None` as above.
    pub delays: Option<Histogram>,
}

/// What the library's own pools of OS threads have to do: that of [`unblock`](crate::threadpool::unblock), and those that work on files and look
/// names up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolMetrics {
    /// OS threads, idle ones too.
    pub threads: u64,
    /// Jobs that run.
    pub running: u64,
    /// Jobs that wait for one of those to end.
    pub queued: u64,
}

impl PoolMetrics {
    fn now() -> PoolMetrics {
        let Workload { threads, running, queued } = workload();
        PoolMetrics { threads: threads as u64, running: running as u64, queued: queued as u64 }
    }
}

impl HubMetrics {
    fn write_json(&self, separator: &str, writer: &mut impl Write) -> io::Result<()> {
        write!(writer, r#"{separator}{{"thread":{},"thread_id":{}"#, Text(&self.thread), self.thread_id)?;
        for (name, number) in [
            ("spawned", self.spawned),
            ("ended", self.ended),
            ("alive", self.alive),
            ("waits", self.waits),
            ("ready", self.ready),
            ("unstarted", self.unstarted),
            ("timers", self.timers),
            ("descriptors", self.descriptors),
            ("stacks", self.stacks),
            ("idle_stacks", self.idle_stacks),
            ("sleeps", self.sleeps),
            ("preemptions", self.preemptions),
        ] {
            write!(writer, r#","{name}":{number}"#)?;
        }
        write!(writer, r#","processor_time_ns":{}"#, self.processor_time.as_nanos())?;
        for (name, histogram) in [("slices", &self.slices), ("delays", &self.delays)] {
            let Some(histogram) = histogram else {
                write!(writer, r#","{name}":null"#)?;
                continue;
            };
            let [median, p99, most] = [0.5, 0.99, 1.0].map(|part| histogram.quantile(part).as_nanos());
            let (count, sum) = (histogram.count(), histogram.sum().as_nanos());
            write!(writer, r#","{name}":{{"count":{count},"sum_ns":{sum},"median_ns":{median}"#)?;
            write!(writer, r#","p99_ns":{p99},"most_ns":{most}}}"#)?;
        }
        writer.write_all(b"}")
    }

    /// Of the calling thread's hub.
    fn of_own() -> HubMetrics {
        let hub = hub();
        let (tally, load, (stacks, idle_stacks)) = (hub.tally(), hub.load(), hub.thread.stacks());
        // The hub's, also where a green thread has variables of its own.
        let thread = fiber::in_common(std::thread::current);
        let thread_id = process::os_thread_id();
        let SleepCount { voluntary, involuntary } = process::sleeps_of(thread_id).unwrap_or_default();
        let (slices, delays) = Watcher::histograms(&hub).unzip();
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
            processor_time: processor_time(thread_id).unwrap_or_default(),
            sleeps: voluntary,
            preemptions: involuntary,
            slices,
            delays,
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
    pools: PoolMetrics,
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

    /// Returns what the library's own pools of OS threads had to do.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect, spawn, threadpool::unblock};
    ///
    /// let (sender, receiver) = std::sync::mpsc::channel::<()>();
    /// let blocked = spawn(move || unblock(move || receiver.recv()));
    /// while inspect::metrics().pools().running == 0 {
    ///     greenloop::yield_now();
    /// }
    /// drop(sender);
    /// assert!(blocked.join().unwrap().is_err());
    /// ```
    pub fn pools(&self) -> PoolMetrics {
        self.pools
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

    /// Writes them as one JSON object, in one line.
    ///
    /// It has `process`, `silent_hubs`, `pools` (`threads`, `running`, `queued`) and `hubs`. A hub has the fields of [`HubMetrics`], with `processor_time_ns` for the time. A
    /// histogram is `null`, or has `count`, `sum_ns`, `median_ns`, `p99_ns` and `most_ns`.
    ///
    /// # Errors
    ///
    /// Those of `writer`.
    ///
    /// # Examples
    ///
    /// ```
    /// greenloop::spawn(|| ()).join().unwrap();
    /// let mut json = Vec::new();
    /// greenloop::inspect::metrics().write_json(&mut json)?;
    /// assert!(String::from_utf8(json).unwrap().contains(r#""spawned":1,"ended":1,"alive":0"#));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_json(&self, mut writer: impl Write) -> io::Result<()> {
        let (process, silent) = (std::process::id(), self.silent);
        let PoolMetrics { threads, running, queued } = self.pools;
        write!(writer, r#"{{"process":{process},"silent_hubs":{silent}"#)?;
        write!(writer, r#","pools":{{"threads":{threads},"running":{running},"queued":{queued}}},"hubs":["#)?;
        for (place, hub) in self.hubs.iter().enumerate() {
            hub.write_json(if place == 0 { "" } else { "," }, &mut writer)?;
        }
        writeln!(writer, "]}}")
    }
}

/// Asks all hubs of the process how much they have done, but those that the library itself has for [`dump_on`](super::dump_on),
/// [`listen`](fn@super::listen) and [`serve_metrics`](super::serve_metrics).
///
/// But for [`time_slices`], it costs nothing while nobody asks: a hub numbers green threads and waits in any case, and the kernel counts its time. It yields until
/// all hubs have answered, each by a letter, for 200 ms at most. A kill or a time limit ends the wait by unwinding. On an OS thread
/// without a hub it makes none, and blocks. Where nothing may wait, as in a [hub callback](crate::hub#callbacks), and in a
/// [world](crate::testing) of a test, it is the calling thread's hub alone.
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
    let answers = ask_hubs(PATIENCE, HubMetrics::of_own);
    Metrics { hubs: answers.of_hubs, pools: PoolMetrics::now(), silent: answers.silent }
}

/// Has all hubs of the process count switches and time what they run, or not: [`HubMetrics::slices`] and [`HubMetrics::delays`].
///
/// That costs each switch a look at the clock and some nanoseconds, and nothing once it is off. Hubs other than the calling thread's begin
/// when they next look for letters. Each time they begin, the histograms are empty. Does not yield. The child of a fork does not time.
///
/// # Examples
///
/// ```
/// use greenloop::{inspect, spawn, yield_now};
///
/// inspect::time_slices(true);
/// let both = [(); 2].map(|()| spawn(|| (0..100).for_each(|_| yield_now())));
/// greenloop::joinall(&both);
/// let metrics = inspect::metrics();
/// let hub = &metrics.hubs()[0];
/// assert!(hub.slices.as_ref().unwrap().count() >= 200);
/// assert!(hub.delays.as_ref().unwrap().count() >= 200);
///
/// inspect::time_slices(false);
/// assert_eq!(inspect::metrics().hubs()[0].slices, None);
/// ```
pub fn time_slices(times: bool) {
    watcher::set_timing(times);
}
