//! One test in many orders, and of an order that fails the least part that does.

use std::fmt;
use std::sync::Arc;

use super::guide::{Guide, script_from_environment};
use super::run::{Failed, run_by};
use super::schedule::{Log, Schedule};
use super::script::Script;
use super::search::Search;
use super::world::World;
use crate::sys::lock::Lock;

/// How many runs it may take to make a schedule that fails smaller.
const MOST_ATTEMPTS: usize = 100;

/// Runs `test` in a [world](fn@super::run) for each schedule of `search`: who runs next among those who are ready, which operation a
/// [`select!`](crate::select!) takes, and which of the events that came at once is heard first.
///
/// A schedule switches only where code waits or yields, as the hub does. So what it finds can happen in production.
///
/// # Panics
///
/// If `test` panics, leaves a green thread behind, or deadlocks. The schedule is made as small as it can be, and the panic says what to set
/// the environment variable `GREENLOOP_SCHEDULE` to: then only that schedule runs, and fails with the panic of `test` itself.
///
/// # Examples
///
/// ```
/// use greenloop::testing::{Search, explore};
/// use greenloop::{spawn, yield_now};
/// use std::{cell::Cell, panic::catch_unwind, rc::Rc};
///
/// /// Adds to a balance, and loses what others add meanwhile.
/// fn add(balance: &Cell<u32>) {
///     let before = balance.get();
///     if before % 2 == 1 {
///         yield_now(); // asks a bank, say
///     }
///     balance.set(before + 1);
/// }
///
/// let failed = catch_unwind(|| {
///     explore(Search::random(1000), |_| {
///         let balance = Rc::new(Cell::new(0));
///         let adding = |times: u32| {
///             let balance = balance.clone();
///             spawn(move || (0..times).for_each(|_| add(&balance)))
///         };
///         let tasks = [adding(2), adding(1)];
///         greenloop::joinall(&tasks);
///         assert_eq!(balance.get(), 3);
///     })
/// });
/// let words = failed.unwrap_err().downcast::<String>().unwrap();
/// assert!(words.contains("GREENLOOP_SCHEDULE=1:"), "{words}");
/// ```
#[track_caller]
pub fn explore<F, R>(search: Search, test: F) -> Explored
where
    F: Fn(&World) -> R + Sync,
    R: Send,
{
    if let Some(script) = script_from_environment() {
        let (log, failed) = attempt(Guide::Script(script), &test);
        if let Some(failed) = failed {
            failed.raise();
        }
        return Explored { runs: 1, exhaustive: false, hash: log.hash };
    }
    let mut course = search.begin();
    let mut explored = Explored { runs: 0, exhaustive: false, hash: 0 };
    while explored.runs < search.most {
        let Some(guide) = course.next() else {
            explored.exhaustive = true;
            break;
        };
        let (log, failed) = attempt(guide, &test);
        explored.runs += 1;
        explored.hash = explored.hash.rotate_left(1) ^ log.hash;
        if let Some(failed) = failed {
            panic!("{}", Failure::of(explored.runs, &log, failed, &test));
        }
        course.learn(&log);
    }
    explored
}

/// One run: what was chosen, and the panic, if there was one.
fn attempt<R: Send>(guide: Guide, test: &(impl Fn(&World) -> R + Sync)) -> (Log, Option<Failed>) {
    let slot = Arc::<Lock<Option<Arc<Lock<Log>>>>>::new(Lock::new(None));
    let seed = guide.seed();
    let make = {
        let slot = slot.clone();
        move || {
            let (schedule, log) = Schedule::boxed(guide);
            *slot.lock() = Some(log);
            schedule
        }
    };
    let failed = run_by(seed, Some(make), test).err();
    let log = slot.lock().take().map(|log| log.lock().clone()).unwrap_or_default();
    (log, failed)
}

/// What [`explore`] has done without a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explored {
    runs: usize,
    exhaustive: bool,
    hash: u64,
}

impl Explored {
    /// Returns how many schedules were run.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::testing::{Search, explore};
    ///
    /// assert_eq!(explore(Search::random(3), |_| ()).runs(), 3);
    /// ```
    pub fn runs(&self) -> usize {
        self.runs
    }

    /// Returns `true` if the search has ended because there are no more schedules of its kind: then none of them fails.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::testing::{Search, explore};
    ///
    /// assert!(explore(Search::depth_first(2), |_| ()).is_exhaustive());
    /// assert!(!explore(Search::random(3), |_| ()).is_exhaustive());
    /// ```
    pub fn is_exhaustive(&self) -> bool {
        self.exhaustive
    }

    /// Returns a hash of all that was chosen, among how many, and when. It is the same each time unless the test depends on something
    /// else than its schedule, such as the order of a `HashMap`, another OS thread, or the moment at which the kernel tells of a socket.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::testing::{Search, explore};
    /// use greenloop::{spawn, yield_now};
    ///
    /// let explored = || {
    ///     explore(Search::random(20), |_| {
    ///         let tasks: Vec<_> = (0..5).map(|_| spawn(yield_now)).collect();
    ///         greenloop::joinall(&tasks);
    ///     })
    /// };
    /// assert_eq!(explored().hash(), explored().hash());
    /// ```
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

/// What is told of a run that fails.
struct Failure {
    run: usize,
    words: String,
    story: String,
    script: Script,
    /// Whether it fails again with the same schedule.
    again: bool,
}

impl Failure {
    /// The least that was found which fails too.
    fn of<R: Send>(run: usize, log: &Log, failed: Failed, test: &(impl Fn(&World) -> R + Sync)) -> Failure {
        let words = failed.words();
        let mut failure = Failure { run, words, story: failed.story, script: log.script(), again: false };
        let fails = |script: Script| {
            let (log, failed) = attempt(Guide::Script(script), test);
            failed.map(|failed| (log.script(), failed.words(), failed.story))
        };
        let Some(same) = fails(failure.script.clone()) else { return failure };
        failure.again = true;
        (failure.script, failure.words, failure.story) = same;
        let seedless = Script { seed: 0, ..failure.script.clone() };
        let same = if failure.script.seed == 0 { None } else { fails(seedless) };
        if let Some(same) = same.filter(|same| same.0.deviations() <= failure.script.deviations()) {
            (failure.script, failure.words, failure.story) = same;
        }
        let mut attempts = MOST_ATTEMPTS;
        let mut part = failure.script.places.len().next_power_of_two();
        // Large parts first, then choice by choice.
        while part > 0 {
            let mut start = 0;
            while start < failure.script.places.len() {
                let smaller =
                    if attempts > 0 { failure.script.without(start..start + part) } else { Vec::new() };
                let found = smaller.into_iter().find_map(|smaller| {
                    attempts = attempts.saturating_sub(1);
                    fails(smaller).filter(|found| found.0.deviations() < failure.script.deviations())
                });
                match found {
                    Some(found) => (failure.script, failure.words, failure.story) = found,
                    None => start += part,
                }
            }
            part /= 2;
        }
        failure
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { run, words, story, script, again } = self;
        writeln!(formatter, "in schedule {run}: {words}\n{story}")?;
        if !again {
            writeln!(
                formatter,
                "The same schedule did not fail again: the test depends on something else too."
            )?;
        }
        write!(
            formatter,
            "{} choices differ from the order of arrival. To see it again: ",
            script.deviations()
        )?;
        write!(formatter, "GREENLOOP_SCHEDULE={script}")
    }
}
