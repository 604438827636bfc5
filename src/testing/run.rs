//! A test in a world of its own, from its beginning to its end.

use std::any::Any;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use super::guide::Guide;
use super::schedule::Schedule;
use super::world::World;
use crate::error::{Parked, payload_text};
use crate::fiber::report_text;
use crate::hub::world::{self, World as Decider};
use crate::hub::{Config, Driver, HubState, configure, hub};
use crate::sys::clock::stopped;
use crate::sys::os_thread::real;
use crate::sys::virtual_clock::{VirtualClock, is_std};

/// Why a test has failed.
pub(super) struct Failed {
    pub(super) why: Why,
    /// The time, who ran last, and who was there.
    pub(super) story: String,
    /// How to see it again, if a schedule has made choices.
    again: Option<String>,
}

pub(super) enum Why {
    /// Its own panic.
    Panic(Box<dyn Any + Send>),
    /// It has left somebody behind, or could not begin.
    Complaint(String),
}

impl Failed {
    /// In words.
    pub(super) fn words(&self) -> String {
        match &self.why {
            Why::Panic(payload) => payload_text(&**payload),
            Why::Complaint(complaint) => complaint.clone(),
        }
    }

    /// Panics on.
    #[track_caller]
    pub(super) fn raise(self) -> ! {
        match self.why {
            Why::Panic(payload) => resume_unwind(payload),
            // Nobody has been told of it yet.
            Why::Complaint(complaint) => panic!("{complaint}"),
        }
    }
}

/// Runs `test` in a world of its own, and returns what it returns. The [module](super) tells the rules of a world.
///
/// A world is an OS thread, for which the calling one waits without running other green threads. `test` is that thread's main greenlet.
///
/// # Panics
///
/// As `test` does; if a green thread has not ended when `test` returns; if no OS thread can be made; if C's clocks are patched, and std
/// asks others all the same.
///
/// # Examples
///
/// ```
/// use greenloop::{sleep, spawn, testing};
/// use std::time::Duration;
///
/// let hour = Duration::from_secs(3600);
/// let elapsed = testing::run(|world| {
///     let sleepers: Vec<_> = (1..=24).map(|hours| spawn(move || sleep(hours * hour))).collect();
///     greenloop::joinall(&sleepers);
///     world.elapsed()
/// });
/// assert_eq!(elapsed, 24 * hour);
///
/// let leak = std::panic::catch_unwind(|| testing::run(|_| drop(spawn(move || sleep(hour)))));
/// assert!(leak.unwrap_err().downcast_ref::<String>().unwrap().contains("has not ended"));
/// ```
#[track_caller]
pub fn run<F, R>(test: F) -> R
where
    F: FnOnce(&World) -> R + Send,
    R: Send,
{
    let guide = Guide::from_environment();
    let seed = guide.as_ref().map_or(0, Guide::seed);
    run_by(seed, guide.map(|guide| move || Schedule::boxed(guide).0), test).unwrap_or_else(|failed| {
        if let Some(again) = &failed.again {
            report_text(&format!("{}\n{again}", failed.story));
        }
        failed.raise()
    })
}

/// [`run`] by a schedule, which is made there, and with random bytes of this seed.
///
/// # Errors
///
/// The panic.
pub(super) fn run_by<F, R>(
    seed: u64,
    schedule: Option<impl FnOnce() -> Box<dyn world::Schedule> + Send>,
    test: F,
) -> Result<R, Failed>
where
    F: FnOnce(&World) -> R + Send,
    R: Send,
{
    let name = thread::current().name().map(str::to_owned);
    let life = || {
        let clock = Arc::new(stopped(seed));
        // From the beginning on: what the OS thread first asks for random bytes is the order of its maps.
        clock.lend(|| live(&clock, schedule.map(|make| make()), test))
    };
    thread::scope(|scope| {
        let builder = name.into_iter().fold(thread::Builder::new(), thread::Builder::name);
        let thread = real(|| builder.spawn_scoped(scope, life));
        match thread.expect("no OS thread for the world").join() {
            Ok(lived) => lived,
            Err(payload) => Err(Failed { why: Why::Panic(payload), story: String::new(), again: None }),
        }
    })
}

/// The life of a world, on its OS thread.
fn live<R>(
    clock: &Arc<VirtualClock>,
    schedule: Option<Box<dyn world::Schedule>>,
    test: impl FnOnce(&World) -> R,
) -> Result<R, Failed> {
    let driver = if Driver::Epoll.is_available() { Driver::Epoll } else { Driver::Poll };
    configure(Config::new().driver(driver)).expect("a new OS thread has no hub");
    let is_chosen = schedule.is_some();
    let hub = hub();
    hub.set_world(Decider::new(clock.clone(), schedule));
    let world = World::new(clock.clone());
    let other_clock = if is_std() { other_clock(SystemTime::now(), world.system_time()) } else { None };
    let tried = match other_clock {
        Some(complaint) => Err(Why::Complaint(complaint)),
        None => catch_unwind(AssertUnwindSafe(|| test(&world))).map_err(Why::Panic),
    };
    #[cfg(feature = "monkey")]
    clock.threads().let_be();
    let result = tried.and_then(|result| {
        let left = catch_unwind(AssertUnwindSafe(|| {
            world.settle();
            complaint(&hub)
        }));
        match left {
            Ok(None) => Ok(result),
            Ok(Some(complaint)) => Err(Why::Complaint(complaint)),
            Err(payload) => Err(Why::Panic(payload)),
        }
    });
    let again = |script| match is_chosen {
        true => format!("To see it again: GREENLOOP_SCHEDULE={script}"),
        // It chooses from the first use of faults on, and before that all run in order of arrival.
        false => "It goes the same way each time, without a GREENLOOP_SCHEDULE.".to_owned(),
    };
    let result = result.map_err(|why| Failed { why, story: hub.story(), again: hub.script().map(again) });
    // What it raises is of no interest: the test has ended, well or not.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        hub.kill_all();
        world.settle();
    }));
    result
}

/// What is wrong where std is to ask for the time of the world, and is told another.
fn other_clock(told: SystemTime, world: SystemTime) -> Option<String> {
    (told != world).then(|| {
        "Parts::TIME is patched, but `clock_gettime` does not lead to greenloop here, and std's clocks are not those of the world: greenloop is in a library that was loaded while the program ran, or something else has taken the name"
            .to_owned()
    })
}

/// Who has not ended, if anybody has not.
fn complaint(hub: &HubState) -> Option<String> {
    let parked = hub.left_over();
    let alive = hub.count_alive().max(parked.len());
    if alive == 0 {
        return None;
    }
    let mut words = match alive {
        1 => "1 green thread has not ended when its test did".to_owned(),
        _ => format!("{alive} green threads have not ended when their test did"),
    };
    parked.iter().for_each(|parked: &Parked| write!(words, "\n  {parked}").expect("a string takes all"));
    if alive > parked.len() {
        write!(words, "\n  {} wait to begin", alive - parked.len()).expect("as above");
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_that_is_told_is_the_worlds_or_complained_of() {
        run(|world| {
            assert_eq!(other_clock(world.system_time(), world.system_time()), None);
            let complaint = other_clock(SystemTime::UNIX_EPOCH, world.system_time());
            assert!(complaint.is_some_and(|complaint| complaint.contains("`clock_gettime`")));
        });
    }
}
