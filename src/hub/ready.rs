//! Who runs next: the woken ones and the freshly spawned, each first in, first out.
//!
//! One pass of the run loop takes a bounded number of both: the fresh first, so that what was spawned runs at its maker's
//! next yield, but only some, so that a burst of spawns does not make the woken late.

use std::collections::VecDeque;

/// Fresh ones begun in one pass, at most, while one that has yielded waits: it may rely on as many to have begun when it goes on.
pub(super) const FRESH_PER_YIELD: usize = 64;
/// Fresh ones begun in one pass otherwise, at most: each may fault its stack in, and whom a timer has woken waits meanwhile.
pub(super) const FRESH_PER_PASS: usize = 16;
/// Woken ones run in one pass, at most.
pub(super) const WOKEN_PER_PASS: usize = 256;

/// The two queues.
#[derive(Debug)]
pub(super) struct Ready<W, F> {
    woken: VecDeque<W>,
    fresh: VecDeque<F>,
    /// Fresh ones that may still begin in this pass.
    fresh_left: usize,
    /// Fresh ones that may begin in the next pass, at most.
    most_fresh: usize,
}

impl<W: PartialEq, F> Ready<W, F> {
    pub(super) const fn new() -> Ready<W, F> {
        Ready { woken: VecDeque::new(), fresh: VecDeque::new(), fresh_left: 0, most_fresh: FRESH_PER_PASS }
    }

    #[inline]
    pub(super) fn push_woken(&mut self, woken: W) {
        self.woken.push_back(woken);
    }

    /// One that could go on, and lets the others go first.
    #[inline]
    pub(super) fn push_yielded(&mut self, yielded: W) {
        self.most_fresh = FRESH_PER_YIELD;
        self.woken.push_back(yielded);
    }

    #[inline]
    pub(super) fn push_fresh(&mut self, fresh: F) {
        self.fresh.push_back(fresh);
    }

    #[inline]
    pub(super) fn pop_woken(&mut self) -> Option<W> {
        self.woken.pop_front()
    }

    /// The woken one `places` behind the next.
    #[inline]
    pub(super) fn woken_behind(&self, places: usize) -> Option<&W> {
        self.woken.get(places)
    }

    /// How many there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.woken.len() + self.fresh.len()
    }

    /// The number of the one at this place among all: the woken come first, both in order of arrival.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub(super) fn number_at(
        &self,
        place: usize,
        woken: impl FnOnce(&W) -> u64,
        fresh: impl FnOnce(&F) -> u64,
    ) -> u64 {
        match self.woken.get(place) {
            Some(found) => woken(found),
            None => fresh(&self.fresh[place - self.woken.len()]),
        }
    }

    /// Takes the woken one at this place among [all](Ready::number_at) out.
    pub(super) fn take_woken_at(&mut self, place: usize) -> Option<W> {
        self.woken.remove(place)
    }

    /// The same for a fresh one.
    pub(super) fn take_fresh_at(&mut self, place: usize) -> Option<F> {
        self.fresh.remove(place.checked_sub(self.woken.len())?)
    }

    /// Takes a woken one out of the line.
    pub(super) fn withdraw(&mut self, woken: &W) -> bool {
        let place = self.woken.iter().position(|candidate| candidate == woken);
        place.is_some_and(|place| self.woken.remove(place).is_some())
    }

    /// Begins a pass: how many fresh and how many woken ones it runs. Who becomes ready meanwhile runs in the next.
    #[inline]
    pub(super) fn begin_pass(&mut self) -> (usize, usize) {
        self.fresh_left = self.fresh.len().min(self.most_fresh);
        let woken = self.woken.len();
        if woken <= WOKEN_PER_PASS {
            self.most_fresh = FRESH_PER_PASS;
        }
        (self.fresh_left, woken.min(WOKEN_PER_PASS))
    }

    /// The next fresh one of this pass.
    #[inline]
    pub(super) fn pop_fresh(&mut self) -> Option<F> {
        self.pop_fresh_if(|_| true)
    }

    /// The next fresh one of this pass, if it `fits`.
    #[inline(always)]
    pub(super) fn pop_fresh_if(&mut self, fits: impl FnOnce(&F) -> bool) -> Option<F> {
        if self.fresh_left == 0 || !self.fresh.front().is_some_and(fits) {
            return None;
        }
        self.fresh_left -= 1;
        self.fresh.pop_front()
    }

    /// The next fresh one, after which no other one of this pass may begin unless this is called again.
    pub(super) fn pop_only_fresh(&mut self) -> Option<F> {
        self.fresh_left = 0;
        self.fresh.pop_front()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.woken.is_empty() && self.fresh.is_empty()
    }

    /// How many woken ones there are.
    pub(super) fn woken(&self) -> usize {
        self.woken.len()
    }

    /// The fresh one at this place of the line.
    pub(super) fn fresh_at(&self, place: usize) -> Option<&F> {
        self.fresh.get(place)
    }

    /// How many fresh ones there are.
    pub(super) fn fresh(&self) -> usize {
        self.fresh.len()
    }

    /// Takes out which of the fresh ones `goes`.
    pub(super) fn take_fresh_if(&mut self, goes: impl Fn(&F) -> bool) -> Vec<F> {
        let mut taken = Vec::new();
        let left = self.fresh_left;
        for (place, fresh) in std::mem::take(&mut self.fresh).into_iter().enumerate() {
            if !goes(&fresh) {
                self.fresh.push_back(fresh);
                continue;
            }
            taken.push(fresh);
            // The places of this pass are theirs alone.
            self.fresh_left -= usize::from(place < left);
        }
        taken
    }

    /// Everything fresh, for the hub's end.
    pub(super) fn take_fresh(&mut self) -> VecDeque<F> {
        std::mem::take(&mut self.fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_fresh_ones_is_spread_over_passes() {
        let mut ready = Ready::<u32, usize>::new();
        (0..FRESH_PER_PASS + 10).for_each(|number| ready.push_fresh(number));
        ready.push_woken(7);
        assert_eq!(ready.begin_pass(), (FRESH_PER_PASS, 1));
        let first: Vec<_> = std::iter::from_fn(|| ready.pop_fresh()).collect();
        assert_eq!(first, (0..FRESH_PER_PASS).collect::<Vec<_>>());
        assert_eq!(ready.pop_woken(), Some(7));
        assert_eq!(ready.begin_pass(), (10, 0));
        assert_eq!(std::iter::from_fn(|| ready.pop_fresh()).count(), 10);
        assert!(ready.is_empty());
    }

    #[test]
    fn more_begin_while_one_that_has_yielded_waits() {
        let mut ready = Ready::<usize, usize>::new();
        (0..1_000).for_each(|number| ready.push_fresh(number));
        (0..WOKEN_PER_PASS).for_each(|number| ready.push_woken(number));
        ready.push_yielded(WOKEN_PER_PASS);
        for waiting in [WOKEN_PER_PASS, 1] {
            assert_eq!(ready.begin_pass(), (FRESH_PER_YIELD, waiting));
            assert_eq!(std::iter::from_fn(|| ready.pop_fresh()).count(), FRESH_PER_YIELD);
            (0..waiting).for_each(|_| assert!(ready.pop_woken().is_some()));
        }
        assert_eq!(ready.begin_pass(), (FRESH_PER_PASS, 0));
    }

    #[test]
    fn a_pass_leaves_who_comes_later_to_the_next() {
        let mut ready = Ready::<u32, u32>::new();
        assert_eq!(ready.begin_pass(), (0, 0));
        ready.push_fresh(1);
        assert_eq!(ready.pop_fresh(), None);
        ready.begin_pass();
        assert_eq!(ready.pop_fresh_if(|_| false), None);
        assert_eq!(ready.pop_fresh_if(|_| true), Some(1));
    }

    #[test]
    fn who_is_taken_out_gives_its_place_in_the_pass_to_nobody() {
        let mut ready = Ready::<u32, u32>::new();
        (0..4).for_each(|number| ready.push_fresh(number));
        ready.begin_pass();
        (4..8).for_each(|number| ready.push_fresh(number));
        assert_eq!(ready.take_fresh_if(|number| number % 3 == 1), [1, 4, 7]);
        assert_eq!(std::iter::from_fn(|| ready.pop_fresh()).collect::<Vec<_>>(), [0, 2, 3]);
        assert_eq!((ready.begin_pass(), ready.fresh()), ((2, 0), 2));
    }

    #[test]
    fn who_is_withdrawn_does_not_run() {
        let mut ready = Ready::<u32, u32>::new();
        (1..=3).for_each(|number| ready.push_woken(number));
        assert!(ready.withdraw(&2));
        assert!(!ready.withdraw(&2));
        assert_eq!((ready.pop_woken(), ready.pop_woken(), ready.pop_woken()), (Some(1), Some(3), None));
    }
}
