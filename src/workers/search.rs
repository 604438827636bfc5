//! Where a worker looks for its next job, and in which order.

use std::collections::VecDeque;

use super::offers::Offers;

/// So many looks have a worker look first at what comes last otherwise, so that nobody waits for ever who does not stand in its own line.
pub(super) const LOOKS_PER_TURN: u32 = 61;
/// What goes from one queue to another under one lock, at most.
const MOST: usize = 128;
/// Fewer than this are hardly worth a theft.
const FEW: usize = 3;
/// The longest pause before a theft, as a power of two: a microsecond or so.
const LONGEST_PAUSE: u32 = 5;

/// Where a job was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// In the worker's own queue.
    Own,
    /// In what was spawned from outside.
    Outside,
    /// With another worker.
    Elsewhere,
}

/// How one worker looks.
#[derive(Debug)]
pub(crate) struct Search<J> {
    /// How often it has looked.
    looks: u32,
    random: u32,
    /// What it has just taken from another queue: empty in between.
    loot: VecDeque<J>,
    /// How long to pause before the next theft, as a power of two.
    pause: u32,
}

impl<J> Search<J> {
    /// For the worker of this number.
    pub(crate) fn new(worker: usize) -> Search<J> {
        let random = (worker as u32).wrapping_mul(0x9e37_79b9) | 1;
        Search { looks: 0, random, loot: VecDeque::new(), pause: 0 }
    }

    /// How many turns to spin before a look at what others have. Who comes for each job that another one spawns keeps it from spawning more:
    /// after thefts of few, some are left to gather.
    #[inline]
    pub(crate) fn pause(&self) -> u32 {
        (1 << self.pause) - 1
    }

    /// The next job for the worker that has the queue `own`: from there, from `outside`, or from the `others`, of which there are `count`,
    /// each by its number; some of them may be missing.
    ///
    /// A share of what is outside is taken at once, and half of what another worker has; all but the first wait in the own queue, where
    /// others may take them again. If that is closed, they wait outside, and the caller has somebody woken for them.
    #[inline]
    pub(crate) fn next<'a>(
        &mut self,
        own: &Offers<J>,
        outside: &Offers<J>,
        count: usize,
        others: impl Fn(usize) -> Option<&'a Offers<J>>,
    ) -> Option<(J, Found)>
    where
        J: 'a,
    {
        self.looks = self.looks.wrapping_add(1);
        if self.looks.is_multiple_of(LOOKS_PER_TURN)
            && let Some(job) = outside.pop()
        {
            return Some((job, Found::Outside));
        }
        if let Some(job) = own.pop() {
            return Some((job, Found::Own));
        }
        outside.steal(count.max(1), MOST, &mut self.loot);
        if let Some(job) = self.keep(own, outside) {
            return Some((job, Found::Outside));
        }
        let first = self.draw() as usize;
        for step in 0..count {
            let Some(other) = others((first + step) % count) else { continue };
            other.steal(2, MOST, &mut self.loot);
            match self.loot.len() {
                0 => continue,
                few if few < FEW => self.pause = LONGEST_PAUSE.min(self.pause + 1),
                _ => self.pause = self.pause.saturating_sub(1),
            }
            if let Some(job) = self.keep(own, outside) {
                return Some((job, Found::Elsewhere));
            }
        }
        None
    }

    /// The first that was taken; the others stay in the own queue, or outside if that is closed.
    fn keep(&mut self, own: &Offers<J>, outside: &Offers<J>) -> Option<J> {
        let job = self.loot.pop_front()?;
        if !self.loot.is_empty() {
            own.append(&mut self.loot);
        }
        if !self.loot.is_empty() {
            // The worker has just been told to end.
            outside.append(&mut self.loot);
            // What found no place there either has come too late: all ends.
            self.loot.clear();
        }
        Some(job)
    }

    /// Marsaglia's xorshift.
    fn draw(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(jobs: std::ops::Range<u32>) -> Offers<u32> {
        let offers = Offers::new();
        jobs.for_each(|job| offers.push(job).unwrap());
        offers
    }

    #[test]
    fn the_own_comes_first_but_for_each_sixty_first_look() {
        let (own, outside) = (filled(0..100), filled(1_000..1_010));
        let mut search = Search::new(0);
        let found: Vec<_> =
            (0..LOOKS_PER_TURN).map(|_| search.next(&own, &outside, 1, |_| None).unwrap().0).collect();
        assert_eq!(found[..60], (0..60).collect::<Vec<_>>());
        assert_eq!(found[60], 1_000);
    }

    #[test]
    fn a_share_of_what_is_outside_and_half_of_another_ones_are_taken() {
        let (own, outside, other) = (filled(0..0), filled(0..8), filled(100..110));
        let mut search = Search::new(1);
        assert_eq!(search.next(&own, &outside, 4, |_| None), Some((0, Found::Outside)));
        assert_eq!((own.pop(), own.pop(), outside.pop()), (Some(1), None, Some(2)));
        outside.close();
        let others = |number| (number == 1).then_some(&other);
        assert_eq!(search.next(&own, &outside, 2, others), Some((100, Found::Elsewhere)));
        assert_eq!((own.pop(), other.pop()), (Some(101), Some(105)));
    }

    #[test]
    fn what_finds_the_own_queue_closed_waits_outside() {
        let (own, outside, other) = (filled(0..0), filled(0..8), filled(100..104));
        own.close();
        let mut search = Search::new(1);
        assert_eq!(search.next(&own, &outside, 2, |_| None), Some((0, Found::Outside)));
        assert_eq!(outside.close(), [4, 5, 6, 7, 1, 2, 3]);
        outside.open();
        let others = |number| (number == 1).then_some(&other);
        assert_eq!(search.next(&own, &outside, 2, others), Some((100, Found::Elsewhere)));
        assert_eq!((outside.close(), other.close()), ([101].into(), [102, 103].into()));
    }

    #[test]
    fn where_there_is_nothing_nothing_is_found() {
        let (own, outside, other) = (filled(0..0), filled(0..0), filled(0..0));
        assert_eq!(Search::new(0).next(&own, &outside, 2, |_| Some(&other)), None);
    }
}
