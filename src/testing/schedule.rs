//! A schedule that remembers what it chose.

use std::cell::RefCell;
use std::sync::Arc;

use super::guide::Guide;
use super::script::Script;
use crate::hub::world;
use crate::sys::lock::Lock;
use crate::sys::random::Random;
use crate::sys::virtual_clock;

/// What was chosen in one run.
#[derive(Debug, Default, Clone)]
pub(super) struct Log {
    /// That of the world's random bytes.
    pub(super) seed: u64,
    /// Of each turn on which there was a choice, the place, and among how many.
    pub(super) choices: Vec<(u32, u32)>,
    /// How many turns there were.
    pub(super) steps: usize,
    /// Of all turns: among how many, which place, at what time.
    pub(super) hash: u64,
}

impl Log {
    pub(super) fn script(&self) -> Script {
        let places = self.choices.iter().map(|&(place, _)| place).collect();
        Script { seed: self.seed, places }.trimmed()
    }
}

/// A guide, and the log of its choices.
pub(super) struct Schedule {
    guide: RefCell<Guide>,
    log: Arc<Lock<Log>>,
}

impl Schedule {
    /// One for a hub, and its log for who looks at that afterwards.
    pub(super) fn boxed(guide: Guide) -> (Box<dyn world::Schedule>, Arc<Lock<Log>>) {
        let log = Arc::<Lock<Log>>::new(Lock::new(Log { seed: guide.seed(), ..Log::default() }));
        (Box::new(Schedule { guide: RefCell::new(guide), log: log.clone() }), log)
    }

    fn note(&self, count: usize, choose: impl FnOnce(&mut Guide, usize) -> usize) -> usize {
        let mut log = self.log.lock();
        let place = if count < 2 { 0 } else { choose(&mut self.guide.borrow_mut(), log.choices.len()) };
        log.steps += 1;
        if count > 1 {
            log.choices.push((place as u32, count as u32));
        }
        let time = virtual_clock::ask(|clock| clock.elapsed().as_nanos() as u64).unwrap_or(0);
        // Each number has an effect on all bits.
        let mixed = |hash: u64, number: u64| Random::new(hash ^ number).next();
        log.hash = [count as u64, place as u64, time].into_iter().fold(log.hash, mixed);
        place
    }
}

impl world::Schedule for Schedule {
    fn choose(&self, count: usize, number: &dyn Fn(usize) -> u64) -> usize {
        self.note(count, |guide, turn| guide.choose(turn, count, number))
    }

    fn pick(&self, count: usize) -> usize {
        self.note(count, |guide, turn| guide.pick(turn, count))
    }

    fn script(&self) -> String {
        self.log.lock().script().to_string()
    }

    fn fault(&self, chances: &[f64]) -> usize {
        self.note(chances.len() + 1, |guide, turn| guide.fault(turn, chances))
    }
}
