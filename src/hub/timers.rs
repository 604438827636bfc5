//! What is to happen when, earliest first.
//!
//! A timer may have [`Slack`]: it fires at its deadline or later, at `latest` when its slack is over. Who waits for timers wakes at the
//! earliest `latest` of all, and takes those whose deadline has passed by then, up to the first whose has not. So the heap is ordered by
//! `latest`, and a timer that is not due yet keeps those behind it waiting for as long as they may, and no longer. The kernel's own timers
//! do the same.
//!
//! A 4-ary heap that knows where each timer lies in it, so that a cancelled one is gone at once: nearly every timer is
//! a timeout that is cancelled, mostly one of the latest armed, which is a leaf of the heap. Four children of 16 bytes
//! are one cache line's worth, and the least of them is found without a branch.
//!
//! Measured beside it in one run (medians of several, x86_64), as the ratio of time to this heap, at 100, 10,000 and
//! 1,000,000 armed timers; above 1 is slower:
//!
//! | | arm+cancel, armed late | cancel any of N, arm anew | arm+fire, uniform in 1 s |
//! |---|---|---|---|
//! | this heap | 1 (10 ns, 10, 10) | 1 (26 ns, 47, 340) | 1 (44 ns, 76, 440) |
//! | the same, entries of 24 bytes, compared with branches | 0.9, 0.9, 0.9 | 1.1, 1.0, 1.0 | 1.4, 1.7, 1.2 |
//! | std's binary heap, cancelled ones left in it until they are half | 0.9, 1.1, 2.2 | 0.7, 0.7, 0.4 | 1.1, 1.1, 1.1 |
//! | wheel of 9 levels of 64 slots, the next slot in a heap | 1.4, 1.5, 1.6 | 0.8, 0.7, 0.7 | 1.3, 0.8, 0.7 |
//!
//! The lazy heap stops for tens of milliseconds to clear a million cancelled timers. The wheel is ahead from some
//! thousands of timers on that really fire, but costs twice the code, and must look ahead to tell the next deadline.

use std::time::Duration;

use slab::Slab;

use crate::sys::clock::Time;

const ARITY: usize = 4;

/// How much later than at its deadline a timer may fire, so that one wake serves several.
///
/// In units of 1,024 ns, so that it has room in an [`Entry`] and costs a shift.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slack(u32);

impl Slack {
    /// At the deadline, as far as the hub can.
    pub(crate) const NONE: Slack = Slack(0);

    const SHIFT: u32 = 10;

    /// The longest that is not longer than `longest`, nor than 73 minutes.
    pub(crate) const fn at_most(longest: Duration) -> Slack {
        let units = longest.as_nanos() >> Slack::SHIFT;
        Slack(if units < u32::MAX as u128 { units as u32 } else { u32::MAX })
    }

    #[inline]
    fn nanoseconds(self) -> u64 {
        u64::from(self.0) << Slack::SHIFT
    }
}

/// Names one armed timer for good: its sequence number is never given again, so the key of a timer that has fired or
/// was cancelled is of no effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimerKey {
    sequence: u64,
    slot: u32,
}

/// Of how many it is looked at whether they are due, in the order of the heap, in which an earlier one is mostly before a later one.
const MOST_LOOKED_AT: usize = 4096;

/// Actions of type `A`, each with its deadline. The earliest comes first; among equal deadlines, the first armed. With slack, the one
/// that must be earliest.
#[derive(Debug)]
pub(crate) struct Timers<A> {
    /// No entry is before its parent, which lies at `(index - 1) / ARITY`.
    heap: Vec<Entry>,
    /// `positions[entry.slot]` is the index of that entry in `heap`, for each of them. Beside the slots, since an entry on its way
    /// through the heap changes some at random: those of ten thousand timers fit into the first cache.
    positions: Vec<u32>,
    slots: Slab<Slot<A>>,
    next_sequence: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Its deadline, and its slack after that.
    latest: Time,
    slot: u32,
    slack: Slack,
}

impl Entry {
    #[inline]
    fn new(deadline: Time, slack: Slack, slot: u32) -> Entry {
        let exact = Entry { latest: deadline, slot, slack: Slack::NONE };
        if slack == Slack::NONE {
            return exact;
        }
        // At the end of time there is no room for it.
        let latest = deadline.plus_nanoseconds(slack.nanoseconds());
        latest.map_or(exact, |latest| Entry { latest, slot, slack })
    }

    #[inline]
    fn is_due(self, now: Time) -> bool {
        self.latest <= now
            || (self.slack != Slack::NONE && self.latest.minus_nanoseconds(self.slack.nanoseconds()) <= now)
    }
}

#[derive(Debug)]
struct Slot<A> {
    sequence: u64,
    action: A,
}

impl<A> Timers<A> {
    /// No timers; allocates nothing.
    pub(crate) const fn new() -> Timers<A> {
        Timers { heap: Vec::new(), positions: Vec::new(), slots: Slab::new(), next_sequence: 0 }
    }

    /// No timers from now on. Nothing is dropped, and no key comes again.
    pub(crate) fn forget_all(&mut self) {
        std::mem::forget(std::mem::take(&mut self.heap));
        std::mem::forget(std::mem::take(&mut self.slots));
    }

    /// How many are armed.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// When one must fire at the latest.
    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.heap.first().map(|entry| entry.latest)
    }

    /// How many must fire by `now`, up to `most`. Allocates nothing.
    pub(crate) fn count_due(&self, now: Time, most: usize) -> usize {
        self.heap.iter().take(MOST_LOOKED_AT).filter(|entry| entry.latest <= now).take(most).count()
    }

    /// Keeps `action` until [`pop_due`](Timers::pop_due) hands it out at `deadline` or later; within `slack` of it, if asked then.
    ///
    /// # Panics
    ///
    /// Panics at 2³² armed timers.
    #[inline]
    pub(crate) fn arm(&mut self, deadline: Time, slack: Slack, action: A) -> TimerKey {
        let position = self.heap.len();
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let index = self.slots.insert(Slot { sequence, action });
        let slot = u32::try_from(index).expect("too many timers");
        if index == self.positions.len() {
            self.positions.push(position as u32);
        }
        let entry = Entry::new(deadline, slack, slot);
        self.heap.push(entry);
        self.sift_up(position, entry);
        TimerKey { sequence, slot }
    }

    /// Gives the action back; `None` if it has been handed out before.
    #[inline]
    pub(crate) fn cancel(&mut self, key: TimerKey) -> Option<A> {
        let slot = key.slot as usize;
        self.slots.get(slot).filter(|slot| slot.sequence == key.sequence)?;
        Some(self.take(self.positions[slot] as usize))
    }

    /// The earliest action, if its deadline is `now` or before.
    #[inline]
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<A> {
        self.heap.first().filter(|first| first.is_due(now))?;
        Some(self.take(0))
    }

    /// What is to be done, in no order.
    pub(crate) fn actions(&self) -> impl Iterator<Item = &A> {
        self.slots.iter().map(|(_, slot)| &slot.action)
    }

    /// Takes all out that `goes`.
    pub(crate) fn take_if(&mut self, goes: impl Fn(&A) -> bool) -> Vec<A> {
        let going = self.slots.iter().filter(|(_, entry)| goes(&entry.action));
        let keys: Vec<_> =
            going.map(|(slot, entry)| TimerKey { sequence: entry.sequence, slot: slot as u32 }).collect();
        keys.into_iter().filter_map(|key| self.cancel(key)).collect()
    }

    /// Takes the entry at `position` out and mends the heap with the last one.
    fn take(&mut self, position: usize) -> A {
        let taken = self.heap[position];
        let last = self.heap.len() - 1;
        let entry = self.heap[last];
        self.heap.truncate(last);
        // Its slot goes after the mending: no comparison may find a slot that is gone.
        if position < last {
            if position > 0 && self.is_before(entry, self.heap[(position - 1) / ARITY]) {
                self.sift_up(position, entry);
            } else {
                self.sift_down(position, entry);
            }
        }
        self.slots.remove(taken.slot as usize).action
    }

    /// Lets `entry` rise from the gap at `position`.
    #[inline]
    fn sift_up(&mut self, mut position: usize, entry: Entry) {
        while position > 0 {
            let parent = (position - 1) / ARITY;
            if !self.is_before(entry, self.heap[parent]) {
                break;
            }
            self.place(position, self.heap[parent]);
            position = parent;
        }
        self.place(position, entry);
    }

    /// Lets `entry` sink from the gap at `position`.
    fn sift_down(&mut self, mut position: usize, entry: Entry) {
        while let Some(child) = self.least_child(position) {
            if !self.is_before(self.heap[child], entry) {
                break;
            }
            self.place(position, self.heap[child]);
            position = child;
        }
        self.place(position, entry);
    }

    /// The index of the earliest child of the entry at `position`.
    #[inline]
    fn least_child(&self, position: usize) -> Option<usize> {
        let start = position * ARITY + 1;
        let children = self.heap.get(start..)?;
        if let Some(&[a, b, c, d]) = children.first_chunk::<ARITY>() {
            // Which one is least is chance: a jump on it would be mispredicted half of the time.
            let (left, left_entry) = std::hint::select_unpredictable(self.is_before(b, a), (1, b), (0, a));
            let (right, right_entry) = std::hint::select_unpredictable(self.is_before(d, c), (3, d), (2, c));
            let right_is_least = self.is_before(right_entry, left_entry);
            return Some(start + std::hint::select_unpredictable(right_is_least, right, left));
        }
        (0..children.len())
            .reduce(
                |least, index| if self.is_before(children[index], children[least]) { index } else { least },
            )
            .map(|least| start + least)
    }

    #[inline]
    fn place(&mut self, position: usize, entry: Entry) {
        self.heap[position] = entry;
        self.positions[entry.slot as usize] = position as u32;
    }

    #[inline]
    fn is_before(&self, one: Entry, other: Entry) -> bool {
        if one.latest == other.latest { self.is_armed_before(one, other) } else { one.latest < other.latest }
    }

    /// Out of line: two deadlines are rarely the same nanosecond.
    #[cold]
    fn is_armed_before(&self, one: Entry, other: Entry) -> bool {
        self.slots[one.slot as usize].sequence < self.slots[other.slot as usize].sequence
    }
}

impl<A> Default for Timers<A> {
    fn default() -> Timers<A> {
        Timers::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanoseconds: u64) -> Time {
        Time::from_nanoseconds(nanoseconds)
    }

    /// xorshift64*, so that a failure can be repeated.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % bound
        }
    }

    /// Miri is some thousand times slower.
    const STEPS: u64 = if cfg!(miri) { 1_000 } else { 100_000 };
    /// After so many there are more or fewer.
    const SWING: u64 = if cfg!(miri) { 250 } else { 1_000 };

    impl<A> Timers<A> {
        fn check(&self) {
            assert_eq!(self.heap.len(), self.slots.len());
            for (index, &entry) in self.heap.iter().enumerate() {
                assert!(self.slots.contains(entry.slot as usize));
                assert_eq!(self.positions[entry.slot as usize] as usize, index);
                assert!(index == 0 || self.is_before(self.heap[(index - 1) / ARITY], entry));
            }
        }
    }

    #[test]
    fn nothing_is_due_before_its_time() {
        let mut timers = Timers::new();
        timers.arm(at(20), Slack::NONE, "later");
        timers.arm(at(10), Slack::NONE, "sooner");
        assert_eq!((timers.len(), timers.next_deadline()), (2, Some(at(10))));
        assert_eq!(timers.pop_due(at(9)), None);
        assert_eq!(timers.pop_due(at(10)), Some("sooner"));
        assert_eq!(timers.pop_due(at(10)), None);
        assert_eq!(timers.next_deadline(), Some(at(20)));
        assert_eq!(timers.pop_due(at(1_000)), Some("later"));
        assert_eq!((timers.pop_due(Time::NEVER), timers.next_deadline()), (None, None));
    }

    #[test]
    fn equal_deadlines_fire_in_the_order_they_were_armed() {
        let mut timers = Timers::new();
        let keys: Vec<_> =
            (0..500).map(|number| timers.arm(at(7 + number % 2), Slack::NONE, number)).collect();
        for number in (0..500).step_by(3) {
            assert_eq!(timers.cancel(keys[number as usize]), Some(number));
        }
        let fired: Vec<_> = std::iter::from_fn(|| timers.pop_due(at(8))).collect();
        let expected = |odd| (0..500).filter(move |number| number % 3 != 0 && number % 2 == odd);
        assert_eq!(fired, expected(0).chain(expected(1)).collect::<Vec<_>>());
    }

    #[test]
    fn a_stale_key_cancels_nothing() {
        let mut timers = Timers::new();
        let fired = timers.arm(at(1), Slack::NONE, 1);
        assert_eq!(timers.pop_due(at(1)), Some(1));
        let cancelled = timers.arm(at(2), Slack::NONE, 2);
        assert_eq!(fired.slot, cancelled.slot, "the slot is used again");
        assert_eq!(timers.cancel(fired), None);
        assert_eq!(timers.cancel(cancelled), Some(2));
        assert_eq!(timers.cancel(cancelled), None);
        assert!(timers.is_empty());
    }

    #[test]
    fn arming_and_cancelling_for_ever_keeps_no_memory() {
        let mut timers = Timers::new();
        timers.arm(at(1), Slack::NONE, 0);
        for step in 0..STEPS {
            let key = timers.arm(at(1_000 + step), Slack::NONE, step);
            assert_eq!(timers.cancel(key), Some(step));
        }
        let kept = [timers.heap.capacity(), timers.slots.capacity(), timers.positions.capacity()];
        assert!(kept.into_iter().max() <= Some(8));
    }

    /// So many units.
    fn slack(units: u32) -> Slack {
        assert_eq!(Slack::at_most(Duration::from_nanos(u64::from(units) * 1024 + 1023)), Slack(units));
        Slack(units)
    }

    #[test]
    fn one_with_slack_fires_at_its_deadline_but_waits_for_others_until_it_must() {
        let mut timers = Timers::new();
        timers.arm(at(10_000), slack(2), 1);
        assert_eq!(timers.next_deadline(), Some(at(12_048)));
        assert_eq!(timers.pop_due(at(9_999)), None);
        assert_eq!(timers.pop_due(at(10_000)), Some(1));
        timers.arm(at(10_000), slack(2), 2);
        timers.arm(at(12_048), slack(2), 3);
        timers.arm(at(12_049), slack(2), 4);
        assert_eq!(timers.next_deadline(), Some(at(12_048)));
        assert_eq!([0; 3].map(|_| timers.pop_due(at(12_048))), [Some(2), Some(3), None]);
        assert_eq!(timers.next_deadline(), Some(at(14_097)));
    }

    #[test]
    fn who_must_be_earlier_comes_first_and_is_on_time() {
        let mut timers = Timers::new();
        timers.arm(at(1_000), slack(100), "may be late");
        timers.arm(at(5_000), Slack::NONE, "on time");
        timers.arm(at(1_000), slack(2), "may be less late");
        let keys = [(); 2].map(|()| timers.arm(at(900), slack(1), "cancelled"));
        assert_eq!(timers.next_deadline(), Some(at(1_924)));
        keys.into_iter().for_each(|key| assert_eq!(timers.cancel(key), Some("cancelled")));
        assert_eq!(timers.next_deadline(), Some(at(3_048)));
        assert_eq!(timers.pop_due(at(3_048)), Some("may be less late"));
        // It is in the way of the other, which has time.
        assert_eq!((timers.pop_due(at(4_999)), timers.next_deadline()), (None, Some(at(5_000))));
        assert_eq!([0; 2].map(|_| timers.pop_due(at(5_000))), [Some("on time"), Some("may be late")]);
    }

    #[test]
    fn too_little_slack_is_none_and_there_is_a_longest() {
        assert_eq!(Slack::at_most(Duration::from_nanos(1_023)), Slack::NONE);
        assert_eq!(Slack::at_most(Duration::MAX), Slack(u32::MAX));
        let longest = Duration::from_nanos(Slack(u32::MAX).nanoseconds());
        assert_eq!((Slack::at_most(longest), longest.as_secs() / 60), (Slack(u32::MAX), 73));
    }

    #[test]
    fn at_the_end_of_time_there_is_no_slack() {
        let last = |before| Time::NEVER.minus_nanoseconds(before);
        for (deadline, latest) in [(0, 0), (1, 1), (1_024, 1_024), (1_025, 1)] {
            let mut timers = Timers::new();
            timers.arm(last(deadline), slack(1), ());
            assert_eq!(timers.next_deadline(), Some(last(latest)));
            assert_eq!(timers.pop_due(last(deadline + 1)), None);
            assert_eq!(timers.pop_due(last(deadline)), Some(()));
        }
    }

    #[test]
    fn it_agrees_with_a_naive_model() {
        agrees_with_a_naive_model(|_| Slack::NONE);
    }

    #[test]
    fn it_agrees_with_a_naive_model_where_all_have_the_same_slack() {
        agrees_with_a_naive_model(|_| slack(1));
    }

    #[test]
    fn it_agrees_with_a_naive_model_where_slacks_differ() {
        agrees_with_a_naive_model(|random| slack(random.below(4).saturating_sub(1) as u32 % 3));
    }

    /// Time goes in steps of a fourth of a unit of slack.
    const STEP: u64 = 256;

    fn agrees_with_a_naive_model(draw: impl Fn(&mut Random) -> Slack) {
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let mut timers = Timers::new();
        // Sorted by when they must fire and then by arming, which `step` counts; with their deadlines.
        let mut model: Vec<(Time, u64, TimerKey, Time)> = Vec::new();
        let mut gone: Vec<TimerKey> = Vec::new();
        let mut now = 0;
        for step in 0..STEPS {
            // The bias swings, so that there are some hundreds of timers now and none then.
            let growing = (step / SWING).is_multiple_of(2);
            match random.below(16) {
                0..5 => now += random.below(4),
                bias @ 5..12 if growing || bias < 8 => {
                    let deadline = at((now + random.below(if growing { 500 } else { 50 })) * STEP);
                    let slack = draw(&mut random);
                    let key = timers.arm(deadline, slack, step);
                    let latest = deadline.plus(Duration::from_nanos(slack.nanoseconds()));
                    let index = model.partition_point(|&(other, ..)| other <= latest);
                    model.insert(index, (latest, step, key, deadline));
                }
                8..15 if !model.is_empty() => {
                    let (_, action, key, _) = model.remove(random.below(model.len() as u64) as usize);
                    gone.push(key);
                    assert_eq!(timers.cancel(key), Some(action));
                }
                _ if !gone.is_empty() => {
                    assert_eq!(timers.cancel(gone[random.below(gone.len() as u64) as usize]), None);
                }
                _ => {}
            }
            while let Some(action) = timers.pop_due(at(now * STEP)) {
                let (_, expected, key, deadline) = model.remove(0);
                gone.push(key);
                assert!(deadline <= at(now * STEP));
                assert_eq!(action, expected);
            }
            assert_eq!(timers.next_deadline(), model.first().map(|&(latest, ..)| latest));
            assert!(timers.next_deadline().is_none_or(|latest| latest > at(now * STEP)));
            assert!(model.first().is_none_or(|&(.., deadline)| deadline > at(now * STEP)));
            assert_eq!(timers.len(), model.len());
            if step % 64 == 0 {
                timers.check();
            }
        }
    }
}
