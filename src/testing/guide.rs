//! Ways to choose who runs next.

use std::collections::BTreeMap;
use std::env;

use super::script::Script;
use crate::sys::random::Random;

/// How often in a row one may be chosen by its priority while others are ready, before it gets the lowest: it may wait for them in a loop.
const MOST_IN_A_ROW: usize = 64;

/// How often in a row one that is ready may be passed over.
const MOST_PASSED: usize = 1_000;

/// Who chooses.
#[derive(Debug)]
pub(super) enum Guide {
    Random(Random),
    Priorities(Box<Priorities>),
    /// What was chosen before, and after that the order of arrival.
    Script(Script),
    /// The order of arrival, and at random what is no order.
    Arrival(Random),
}

/// Priorities at random, which change at a few random steps: with a bug that takes so many ordered steps as changes and one more, the
/// chance to find it in a run has a bound that is known (PCT: Burckhardt and others, "A randomized scheduler with probabilistic guarantees
/// of finding bugs").
#[derive(Debug)]
pub(super) struct Priorities {
    random: Random,
    // No maps whose order is random: each would be one that a replay does not make.
    of: BTreeMap<u64, u64>,
    /// Steps at which who runs gets a low priority.
    changes: Vec<usize>,
    step: usize,
    /// The next low one.
    low: u64,
    last: Option<u64>,
    in_a_row: usize,
    /// How often in a row each was passed over that is ready.
    passed: BTreeMap<u64, usize>,
}

/// Priorities below this are those of who was put back.
const HIGH: u64 = 1 << 32;

impl Priorities {
    /// With `depth - 1` changes among so many steps.
    pub(super) fn new(seed: u64, depth: usize, steps: usize) -> Priorities {
        let mut random = Random::new(seed);
        let changes = (1..depth).map(|_| random.below(steps.max(1))).collect();
        Priorities {
            random,
            of: BTreeMap::new(),
            changes,
            step: 0,
            low: HIGH - 1,
            last: None,
            in_a_row: 0,
            passed: BTreeMap::new(),
        }
    }

    fn choose(&mut self, ready: &[u64]) -> usize {
        let Priorities { random, of, .. } = self;
        let priorities: Vec<u64> =
            ready.iter().map(|&number| *of.entry(number).or_insert_with(|| random.next() | HIGH)).collect();
        // The first of equals: the numbers of what is no green thread are one.
        let highest = (0..ready.len()).rev().max_by_key(|&place| priorities[place]).unwrap_or(0);
        // Others may wait for it in a loop, by turns.
        let starving = (0..ready.len()).find(|&place| self.passed.get(&ready[place]) >= Some(&MOST_PASSED));
        let place = starving.unwrap_or(highest);
        let chosen = ready[place];
        self.passed.remove(&chosen);
        ready
            .iter()
            .filter(|&&number| number != chosen)
            .for_each(|&number| *self.passed.entry(number).or_default() += 1);
        self.in_a_row = if self.last.replace(chosen) == Some(chosen) { self.in_a_row + 1 } else { 1 };
        if self.changes.contains(&self.step) || self.in_a_row >= MOST_IN_A_ROW {
            self.low -= 1;
            self.of.insert(chosen, self.low);
        }
        self.step += 1;
        place
    }
}

impl Guide {
    /// What the environment says, if it says something.
    ///
    /// # Panics
    ///
    /// If that is not understood.
    pub(super) fn from_environment() -> Option<Guide> {
        script_from_environment()
            .map(Guide::Script)
            .or_else(|| seed_from_environment().map(|seed| Guide::Random(Random::new(seed))))
    }

    /// The seed of the bytes that the world gives for random ones.
    pub(super) fn seed(&self) -> u64 {
        match self {
            // Other numbers than those by which it chooses.
            Guide::Random(random) => random.clone().next(),
            Guide::Priorities(priorities) => priorities.random.clone().next(),
            Guide::Script(script) => script.seed,
            Guide::Arrival(_) => 0,
        }
    }

    /// The place of one among `count` who are ready, of whom each has a number; `turn` counts those turns on which there was a choice.
    pub(super) fn choose(&mut self, turn: usize, count: usize, number: &dyn Fn(usize) -> u64) -> usize {
        match self {
            Guide::Priorities(priorities) => priorities.choose(&(0..count).map(number).collect::<Vec<_>>()),
            Guide::Arrival(_) => 0,
            _ => self.pick(turn, count),
        }
    }

    /// One of `count`.
    pub(super) fn pick(&mut self, turn: usize, count: usize) -> usize {
        match self {
            Guide::Random(random) | Guide::Arrival(random) => random.below(count),
            Guide::Priorities(priorities) => priorities.random.below(count),
            // That of another test, or of one that has changed, may have more to choose from.
            Guide::Script(Script { places, .. }) => {
                places.get(turn).map_or(0, |&place| (place as usize).min(count - 1))
            }
        }
    }

    /// One of some faults, each of which has a chance, and one more; or 0.
    pub(super) fn fault(&mut self, turn: usize, chances: &[f64]) -> usize {
        let random = match self {
            Guide::Random(random) | Guide::Arrival(random) => random,
            Guide::Priorities(priorities) => &mut priorities.random,
            Guide::Script(_) => return self.pick(turn, chances.len() + 1),
        };
        let mut left = random.part();
        let fault = chances.iter().position(|chance| {
            left -= chance;
            left < 0.0
        });
        fault.map_or(0, |place| place + 1)
    }
}

/// The schedule in `GREENLOOP_SCHEDULE`.
pub(super) fn script_from_environment() -> Option<Script> {
    let text = env::var("GREENLOOP_SCHEDULE").ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("GREENLOOP_SCHEDULE: {error}")))
}

/// The seed in `GREENLOOP_SEED`.
pub(super) fn seed_from_environment() -> Option<u64> {
    let text = env::var("GREENLOOP_SEED").ok()?;
    Some(text.trim().parse().unwrap_or_else(|_| panic!("GREENLOOP_SEED: `{text}` is no number")))
}
