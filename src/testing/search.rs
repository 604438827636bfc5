//! Which schedules are tried.

use super::guide::{Guide, Priorities, seed_from_environment};
use super::schedule::Log;
use super::script::Script;
use crate::sys::random::Random;

/// Which schedules [`explore`](fn@super::explore) tries.
///
/// # Examples
///
/// ```
/// use greenloop::testing::{Search, explore};
/// use greenloop::{spawn, yield_now};
///
/// for search in [Search::random(100), Search::priorities(3, 100), Search::depth_first(2)] {
///     explore(search, |_| spawn(yield_now).join().unwrap());
/// }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Search {
    way: Way,
    pub(super) most: usize,
    seed: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Random,
    Priorities { depth: usize },
    DepthFirst { deviations: usize },
}

impl Search {
    /// So many runs, in each of which any of those who are ready runs next, with the same chance.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::testing::{Search, explore};
    ///
    /// assert_eq!(explore(Search::random(10), |_| ()).runs(), 10);
    /// ```
    pub const fn random(runs: usize) -> Search {
        Search { way: Way::Random, most: runs, seed: None }
    }

    /// So many runs, in each of which green threads have random priorities, which change at `depth - 1` random moments.
    ///
    /// It finds bugs that need few steps in a certain order, `depth` of them, in runs with many more (PCT).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::testing::{Search, explore};
    ///
    /// assert_eq!(explore(Search::priorities(2, 10), |_| ()).runs(), 10);
    /// ```
    #[doc(alias = "pct")]
    pub const fn priorities(depth: usize, runs: usize) -> Search {
        Search { way: Way::Priorities { depth }, most: runs, seed: None }
    }

    /// Every schedule that differs from the order of arrival at up to `deviations` turns, those with few first.
    ///
    /// If it [ends](super::Explored::is_exhaustive), no such schedule fails. With `usize::MAX` these are all that there are.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::testing::{Search, explore};
    /// use greenloop::{spawn, yield_now};
    ///
    /// let explored = explore(Search::depth_first(usize::MAX), |_| {
    ///     let tasks = [spawn(yield_now), spawn(yield_now)];
    ///     greenloop::joinall(&tasks);
    /// });
    /// assert!(explored.is_exhaustive());
    /// ```
    #[doc(alias = "dfs")]
    pub const fn depth_first(deviations: usize) -> Search {
        Search { way: Way::DepthFirst { deviations }, most: usize::MAX, seed: None }
    }

    /// Sets the seed of what is random. The default is what the environment variable `GREENLOOP_SEED` says, or 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::testing::{Search, explore};
    ///
    /// assert_eq!(explore(Search::random(10).seed(7), |_| ()).runs(), 10);
    /// ```
    pub const fn seed(mut self, seed: u64) -> Search {
        self.seed = Some(seed);
        self
    }

    /// Ends after so many runs.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::testing::{Search, explore};
    /// use greenloop::{spawn, yield_now};
    ///
    /// let explored = explore(Search::depth_first(usize::MAX).at_most(5), |_| {
    ///     let tasks: Vec<_> = (0..9).map(|_| spawn(yield_now)).collect();
    ///     greenloop::joinall(&tasks);
    /// });
    /// assert_eq!((explored.runs(), explored.is_exhaustive()), (5, false));
    /// ```
    pub const fn at_most(mut self, runs: usize) -> Search {
        self.most = runs;
        self
    }

    pub(super) fn begin(&self) -> Course {
        let seed = self.seed.or_else(seed_from_environment).unwrap_or(0);
        let bound = match self.way {
            // From none on: what fails with few deviations is found first, and is easily understood.
            Way::DepthFirst { .. } => 0,
            _ => usize::MAX,
        };
        Course {
            way: self.way,
            seeds: Random::new(seed),
            steps: 0,
            bound,
            next: Some(Script { seed, ..Script::default() }),
            cut: false,
        }
    }
}

/// How far a search has come.
#[derive(Debug)]
pub(super) struct Course {
    way: Way,
    seeds: Random,
    /// The most turns that a run has had.
    steps: usize,
    // ---- of a search in depth ----
    /// How many deviations the schedules have at present: those with fewer have been run.
    bound: usize,
    next: Option<Script>,
    /// Whether there are schedules with more.
    cut: bool,
}

impl Course {
    /// Who chooses in the next run; `None` if all have been.
    pub(super) fn next(&mut self) -> Option<Guide> {
        Some(match self.way {
            Way::Random => Guide::Random(Random::new(self.seeds.next())),
            Way::Priorities { depth } => {
                Guide::Priorities(Box::new(Priorities::new(self.seeds.next(), depth, self.steps)))
            }
            Way::DepthFirst { .. } => Guide::Script(self.next.take()?),
        })
    }

    /// That run is over.
    pub(super) fn learn(&mut self, log: &Log) {
        self.steps = self.steps.max(log.steps);
        let Way::DepthFirst { deviations } = self.way else { return };
        self.next = self.successor(log);
        if self.next.is_none() && self.cut && self.bound < deviations {
            // All from the beginning again. Those that were run before are a small part of what comes, since each deviation more
            // makes as many as there are turns.
            self.bound = if deviations == usize::MAX { deviations } else { self.bound + 1 };
            self.cut = false;
            self.next = Some(Script { seed: log.seed, ..Script::default() });
        }
    }

    /// The next schedule in the order of a tree's leaves.
    fn successor(&mut self, log: &Log) -> Option<Script> {
        let mut before: usize = log.choices.iter().filter(|(place, _)| *place != 0).count();
        for turn in (0..log.choices.len()).rev() {
            let (place, count) = log.choices[turn];
            before -= usize::from(place != 0);
            if place + 1 >= count {
                continue;
            }
            if before >= self.bound {
                self.cut = true;
                continue;
            }
            let mut places: Vec<u32> = log.choices[..turn].iter().map(|(place, _)| *place).collect();
            places.push(place + 1);
            return Some(Script { seed: log.seed, places });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schedules of a test that has `counts` to choose from, whatever was chosen.
    fn schedules(counts: &[u32], deviations: usize) -> Vec<Vec<u32>> {
        let mut course = Search::depth_first(deviations).begin();
        let mut seen = Vec::new();
        while let Some(mut guide) = course.next() {
            let mut log = Log::default();
            for (turn, &count) in counts.iter().enumerate() {
                log.choices.push((guide.pick(turn, count as usize) as u32, count));
            }
            seen.push(log.choices.iter().map(|choice| choice.0).collect());
            course.learn(&log);
        }
        seen
    }

    #[test]
    fn a_search_in_depth_sees_each_schedule() {
        let mut seen = schedules(&[2, 3, 2], usize::MAX);
        seen.dedup();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 12);
        // Each once more with each bound.
        assert_eq!(schedules(&[2, 3, 2], 0), [[0, 0, 0]]);
        assert_eq!(schedules(&[2, 3, 2], 1).len(), 1 + 5);
        let mut two = schedules(&[2, 3, 2], 2);
        two.sort();
        two.dedup();
        assert_eq!(two.len(), 10);
        assert_eq!(schedules(&[], usize::MAX).len(), 1);
    }
}
