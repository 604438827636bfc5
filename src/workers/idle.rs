//! Who of the workers sleeps, who looks for work, and whom to wake for it.

use crate::sys::atomic::{AtomicUsize, Ordering};
use crate::sys::lock::Lock;

/// One who looks for work, in the word. Those who sleep are counted in ones.
const SEARCHER: usize = 1 << (usize::BITS / 2);

/// Counts those who look for work and those who sleep.
///
/// Who adds work wakes one who sleeps, but only if nobody looks for work already: whoever looks finds it, and has another one woken if he
/// was the last who looked. Otherwise only if much waits: twice as much for each one more who looks. So a few jobs wake few workers, and a
/// burst wakes some at once, each of which takes its share and wakes some more: if only one were woken at a time, the last of many would
/// come when all is done.
///
/// No work is overslept: who adds some locks its queue, and reads the word after that. Who is to sleep, or was the last who looked, changes
/// the word, and locks each queue after that, to look. One of the two locks a queue first. If it is he who adds, the other one finds the
/// work; if it is the other one, what he has done to the word is seen.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Idle {
    word: AtomicUsize,
    /// The last one to sleep is the first one to be woken: it is the warmest.
    sleepers: Lock<Vec<usize>>,
}

impl Idle {
    pub(crate) fn new() -> Idle {
        Idle { word: AtomicUsize::new(0), sleepers: Lock::new(Vec::new()) }
    }

    /// How many look for work, and how many sleep.
    #[inline]
    fn counts(&self) -> (usize, usize) {
        // Relaxed: the locks of queues and sleepers order it.
        parts(self.word.load(Ordering::Relaxed))
    }

    /// One of so many `workers` wants to look for work for a while. `false` if that is not worth while: half of them do so, or nobody is at
    /// work who could bring some.
    pub(crate) fn begin_search(&self, workers: usize) -> bool {
        let (searchers, sleepers) = self.counts();
        let worth_while = 2 * searchers < workers && searchers + sleepers + 1 < workers;
        if worth_while {
            // Relaxed: as above.
            self.word.fetch_add(SEARCHER, Ordering::Relaxed);
        }
        worth_while
    }

    /// One has found work, or has other things to do. Returns `true` if he was the last who looked, and others sleep: then one of them is
    /// to be woken, if a look at each queue after this finds more to do.
    pub(crate) fn end_search(&self) -> bool {
        // Relaxed: the lock of a queue orders it, as for who is to sleep. Who falls asleep after this looks at each queue himself.
        let before = self.word.fetch_sub(SEARCHER, Ordering::Relaxed);
        let (searchers, sleepers) = parts(before);
        searchers == 1 && sleepers > 0
    }

    /// `worker` is to sleep, and looks at each queue after this.
    pub(crate) fn begin_sleep(&self, worker: usize, searches: bool) {
        let mut sleepers = self.sleepers.lock();
        sleepers.push(worker);
        let change = if searches { 1_usize.wrapping_sub(SEARCHER) } else { 1 };
        // Relaxed: the lock of a queue orders it.
        self.word.fetch_add(change, Ordering::Relaxed);
    }

    /// `worker` does not sleep any more. Returns `true` if it was woken for work, and so looks for some.
    pub(crate) fn end_sleep(&self, worker: usize) -> bool {
        let mut sleepers = self.sleepers.lock();
        let place = sleepers.iter().rposition(|&sleeper| sleeper == worker);
        if let Some(place) = place {
            sleepers.remove(place);
            // Relaxed: as above.
            self.word.fetch_sub(1, Ordering::Relaxed);
        }
        place.is_none()
    }

    /// Work was added, and so many jobs wait in one place: the worker to be woken, if any. It counts as one who looks for work. One call
    /// may not be enough: the caller asks again until there is none.
    #[inline]
    pub(crate) fn call(&self, waiting: usize) -> Option<usize> {
        match self.counts() {
            (_, 0) => None,
            (searchers, _) if are_enough(searchers, waiting) => None,
            _ => self.call_one(waiting),
        }
    }

    #[cold]
    fn call_one(&self, waiting: usize) -> Option<usize> {
        let mut sleepers = self.sleepers.lock();
        if are_enough(self.counts().0, waiting) {
            return None;
        }
        let called = sleepers.pop()?;
        // Relaxed: the lock orders it.
        self.word.fetch_add(SEARCHER - 1, Ordering::Relaxed);
        Some(called)
    }
}

/// How many look for work, and how many sleep.
fn parts(word: usize) -> (usize, usize) {
    (word / SEARCHER, word % SEARCHER)
}

/// Whether so many `searchers` are enough for what waits in one place.
fn are_enough(searchers: usize, waiting: usize) -> bool {
    searchers > 0 && waiting.checked_shr(searchers as u32).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_woken_at_a_time_and_the_last_one_first() {
        let idle = Idle::new();
        assert_eq!(idle.call(1), None);
        (0..3).for_each(|worker| idle.begin_sleep(worker, false));
        assert_eq!((idle.call(1), idle.call(1)), (Some(2), None));
        assert!(idle.end_sleep(2));
        assert!(idle.end_search());
        assert_eq!(idle.call(1), Some(1));
    }

    #[test]
    fn each_one_more_is_woken_for_twice_as_much() {
        let idle = Idle::new();
        (0..6).for_each(|worker| idle.begin_sleep(worker, false));
        let called = |waiting| std::iter::from_fn(|| idle.call(waiting)).collect::<Vec<_>>();
        assert_eq!((called(1), called(1)), (vec![5], vec![]));
        assert_eq!((called(2), called(3), called(4)), (vec![4], vec![], vec![3]));
        assert_eq!(called(usize::MAX), [2, 1, 0]);
    }

    #[test]
    fn who_wakes_by_himself_is_not_called() {
        let idle = Idle::new();
        idle.begin_sleep(0, false);
        idle.begin_sleep(1, false);
        assert!(!idle.end_sleep(1));
        assert_eq!((idle.call(1), idle.call(1)), (Some(0), None));
    }

    #[test]
    fn half_of_them_search_and_only_while_others_work() {
        let idle = Idle::new();
        assert!(!idle.begin_search(1));
        assert!(idle.begin_search(4) && idle.begin_search(4));
        assert!(!idle.begin_search(4));
        assert!(!idle.end_search());
        idle.begin_sleep(0, true);
        idle.begin_sleep(1, false);
        idle.begin_sleep(2, false);
        assert!(!idle.begin_search(4), "all others sleep");
        assert!(idle.begin_search(5));
    }
}
