//! A FIFO of waiters from which any one may leave early.

use std::collections::{VecDeque, vec_deque};
use std::fmt;
use std::iter::FusedIterator;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tombstones that are never worth a compaction.
const FEW: usize = 16;

/// Above every ticket that [`push_for_others`](WaitList::push_for_others) has given. Even, as in each list.
static OF_OTHERS: AtomicU64 = AtomicU64::new(0);

/// Names one entry of one list for good: no later entry of that list gets the same ticket. The even ones are known to the
/// crate alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Ticket(u64);

/// Who waits for a primitive, in order of arrival.
///
/// Most lists have one waiter at a time, so the first entry lies in the list itself and costs no allocation. The others
/// stand in a ring, sorted by ticket because tickets only grow; one that leaves from the middle leaves a tombstone. At
/// most half of the ring and [`FEW`] more are tombstones, so `push`, `pop` and the clearing after `remove` are
/// amortised constant, `remove` itself is a binary search, and memory follows the largest number of waiters at a time.
///
/// `drain`, `pop` and `remove` hand the entry out and run nothing of it: the caller drops or notifies it after it has
/// released the lock over the list.
pub(crate) struct WaitList<E> {
    /// Older than everything in `rest`. Filled only while the list is empty.
    first: Option<Entry<E>>,
    /// By growing ticket; `None` is a tombstone. Its two ends are never tombstones.
    rest: VecDeque<(Ticket, Option<E>)>,
    tombstones: usize,
    /// Even.
    next: u64,
}

struct Entry<E> {
    ticket: Ticket,
    value: E,
}

impl Ticket {
    /// Tickets that no list gives: for who keeps places beside one.
    pub(crate) const BESIDE: Ticket = Ticket(u64::MAX);
    pub(crate) const AT_HOME: Ticket = Ticket(u64::MAX - 1);

    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

impl<E> WaitList<E> {
    /// An empty list; allocates nothing.
    pub(crate) const fn new() -> WaitList<E> {
        WaitList { first: None, rest: VecDeque::new(), tombstones: 0, next: 0 }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len() - self.tombstones
    }

    /// Puts `value` behind all others. The ticket is its way out before its turn.
    #[inline]
    pub(crate) fn push(&mut self, value: E) -> Ticket {
        let ticket = self.reserve();
        self.append(ticket, value);
        ticket
    }

    /// The same for a ticket that is given away: whoever brings it to another list finds nothing there.
    pub(crate) fn push_for_others(&mut self, value: E) -> Ticket {
        let least = self.next;
        // Relaxed: only uniqueness counts.
        let others = OF_OTHERS
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |others| Some(others.max(least) + 2));
        let ticket = Ticket(others.unwrap_or_else(|others| others).max(least) + 1);
        self.next = ticket.0 + 1;
        self.append(ticket, value);
        ticket
    }

    #[inline]
    fn append(&mut self, ticket: Ticket, value: E) {
        if self.is_empty() {
            self.first = Some(Entry { ticket, value });
        } else {
            self.rest.push_back((ticket, Some(value)));
        }
    }

    /// The ticket of the one that has waited longest.
    pub(crate) fn front(&self) -> Option<Ticket> {
        let rest = || self.rest.front().map(|&(ticket, _)| ticket);
        self.first.as_ref().map(|entry| entry.ticket).or_else(rest)
    }

    /// The ticket that the next one gets.
    pub(crate) fn next_ticket(&self) -> Ticket {
        Ticket(self.next)
    }

    /// A place behind all others, to be filled by [`restore`](WaitList::restore).
    pub(crate) fn reserve(&mut self) -> Ticket {
        self.next += 2;
        Ticket(self.next - 2)
    }

    /// Takes the one that has waited longest.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<E> {
        self.pop_with_ticket().map(|(_, value)| value)
    }

    /// The same, and the ticket that it had.
    #[inline]
    pub(crate) fn pop_with_ticket(&mut self) -> Option<(Ticket, E)> {
        match self.first.take() {
            Some(entry) => Some((entry.ticket, entry.value)),
            None if self.rest.is_empty() => None,
            None => self.pop_rest(),
        }
    }

    fn pop_rest(&mut self) -> Option<(Ticket, E)> {
        let (ticket, value) = self.rest.pop_front()?;
        self.trim_front();
        value.map(|value| (ticket, value))
    }

    /// Takes the entry of `ticket` out of the line; `None` if it has been popped, drained or removed before.
    #[inline]
    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<E> {
        if let Some(entry) = self.first.take_if(|entry| entry.ticket == ticket) {
            return Some(entry.value);
        }
        if self.rest.is_empty() { None } else { self.remove_rest(ticket) }
    }

    fn remove_rest(&mut self, ticket: Ticket) -> Option<E> {
        let index = self.rest.binary_search_by_key(&ticket, |&(ticket, _)| ticket).ok()?;
        let value = self.rest[index].1.take()?;
        self.tombstones += 1;
        self.trim();
        if self.tombstones > self.rest.len() / 2 + FEW {
            self.rest.retain(|(_, value)| value.is_some());
            self.tombstones = 0;
        }
        Some(value)
    }

    /// Whether the entry of `ticket` still stands in line.
    #[inline]
    pub(crate) fn contains(&self, ticket: Ticket) -> bool {
        match &self.first {
            Some(entry) if entry.ticket == ticket => true,
            // The usual answer for one who has just been called: all others are younger.
            _ => self.rest.front().is_some_and(|&(oldest, _)| oldest <= ticket) && self.rest_contains(ticket),
        }
    }

    fn rest_contains(&self, ticket: Ticket) -> bool {
        let place = self.rest.binary_search_by_key(&ticket, |&(ticket, _)| ticket);
        place.is_ok_and(|index| self.rest[index].1.is_some())
    }

    /// Puts back one that was popped and found nothing, or fills a reserved place, or takes one in from another list, whose tickets
    /// are those of this one too: before all who came after it, as if it had never left.
    #[inline]
    pub(crate) fn restore(&mut self, ticket: Ticket, value: E) {
        if self.is_empty() {
            self.first = Some(Entry { ticket, value });
        } else {
            self.restore_among(ticket, value);
        }
    }

    #[inline(never)]
    fn restore_among(&mut self, ticket: Ticket, value: E) {
        debug_assert!(!self.contains(ticket), "only what was popped comes back");
        let younger = match &mut self.first {
            Some(first) if ticket < first.ticket => std::mem::replace(first, Entry { ticket, value }),
            _ => Entry { ticket, value },
        };
        let index = self.rest.partition_point(|&(other, _)| other < younger.ticket);
        match self.rest.get_mut(index) {
            // Its own, which it left here before.
            Some((ticket, tombstone)) if *ticket == younger.ticket => {
                *tombstone = Some(younger.value);
                self.tombstones -= 1;
            }
            _ => self.rest.insert(index, (younger.ticket, Some(younger.value))),
        }
    }

    /// The ticket of the youngest entry that is `meant`.
    pub(crate) fn find_last(&self, mut meant: impl FnMut(&E) -> bool) -> Option<Ticket> {
        let first = self.first.iter().map(|entry| (entry.ticket, &entry.value));
        let rest = self.rest.iter().filter_map(|(ticket, value)| Some((*ticket, value.as_ref()?)));
        first.chain(rest).rev().find(|(_, value)| meant(value)).map(|(ticket, _)| ticket)
    }

    /// Takes out, and drops, those that are not `wanted`.
    pub(crate) fn retain(&mut self, mut wanted: impl FnMut(&E) -> bool) {
        self.first.take_if(|entry| !wanted(&entry.value));
        self.rest.retain(|(_, value)| value.as_ref().is_some_and(&mut wanted));
        self.tombstones = 0;
    }

    /// All entries, in order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut E> {
        let first = self.first.iter_mut().map(|entry| &mut entry.value);
        first.chain(self.rest.iter_mut().filter_map(|(_, value)| value.as_mut()))
    }

    /// Restores the invariant of `rest`: no tombstone at its front.
    fn trim_front(&mut self) {
        while let Some((_, None)) = self.rest.front() {
            self.rest.pop_front();
            self.tombstones -= 1;
        }
    }

    /// The same for both ends.
    fn trim(&mut self) {
        self.trim_front();
        while let Some((_, None)) = self.rest.back() {
            self.rest.pop_back();
            self.tombstones -= 1;
        }
    }

    /// Takes all entries, in order. The list is empty at once, also if the iterator is not used up; it does not borrow
    /// the list, so it can outlive the lock over it.
    pub(crate) fn drain(&mut self) -> Drain<E> {
        let len = self.len();
        self.tombstones = 0;
        Drain { first: self.first.take(), rest: std::mem::take(&mut self.rest).into_iter(), len }
    }
}

impl<E> Default for WaitList<E> {
    fn default() -> WaitList<E> {
        WaitList::new()
    }
}

impl<E> fmt::Debug for WaitList<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WaitList").field("len", &self.len()).finish()
    }
}

/// What [`WaitList::drain`] took, oldest first.
pub(crate) struct Drain<E> {
    first: Option<Entry<E>>,
    rest: vec_deque::IntoIter<(Ticket, Option<E>)>,
    len: usize,
}

impl<E> Iterator for Drain<E> {
    type Item = E;

    #[inline]
    fn next(&mut self) -> Option<E> {
        let value = match self.first.take() {
            Some(entry) => entry.value,
            None => self.rest.find_map(|(_, value)| value)?,
        };
        self.len -= 1;
        Some(value)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl<E> ExactSizeIterator for Drain<E> {}
impl<E> FusedIterator for Drain<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    /// xorshift64*, so that a failure can be repeated.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
        }
    }

    /// Miri is some thousand times slower.
    const STEPS: usize = if cfg!(miri) { 1_000 } else { 100_000 };

    #[test]
    fn the_oldest_goes_first() {
        let mut list = WaitList::new();
        for number in 0..5 {
            list.push(number);
        }
        assert_eq!((0..5).map(|_| list.pop().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert!(list.is_empty());
        assert_eq!((list.pop(), list.len()), (None, 0));
    }

    #[test]
    fn a_ticket_works_once() {
        let mut list = WaitList::new();
        let tickets: Vec<_> = (0..4).map(|number| list.push(number)).collect();
        assert_eq!(list.remove(tickets[2]), Some(2));
        assert_eq!(list.remove(tickets[2]), None, "removed");
        assert_eq!(list.pop(), Some(0));
        assert_eq!(list.remove(tickets[0]), None, "popped");
        assert_eq!(list.drain().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(list.remove(tickets[3]), None, "drained");
        let later = list.push(9);
        assert!(later > tickets[3], "an emptied list starts no new count");
        assert_eq!(list.remove(later), Some(9));
    }

    #[test]
    fn a_ticket_that_was_given_away_names_nothing_elsewhere() {
        let (mut one, mut other) = (WaitList::new(), WaitList::new());
        (0..1_000).for_each(|number| _ = one.push(number));
        let mut given = Vec::new();
        for number in 0..100 {
            given.push(one.push_for_others(number));
            given.push(other.push_for_others(number));
            other.push(number);
        }
        let all = other.len();
        assert!(given.iter().step_by(2).all(|&ticket| other.remove(ticket).is_none()));
        assert_eq!(other.len(), all);
        assert!(given.iter().step_by(2).all(|&ticket| one.remove(ticket).is_some()));
        assert!(given.iter().skip(1).step_by(2).all(|&ticket| other.remove(ticket).is_some()));
    }

    #[test]
    fn one_that_was_popped_for_nothing_comes_back_to_its_place() {
        let mut list = WaitList::new();
        let tickets: Vec<_> = (0..4).map(|number| list.push(number)).collect();
        assert_eq!((list.pop(), list.pop()), (Some(0), Some(1)));
        list.restore(tickets[1], 1);
        list.restore(tickets[0], 0);
        assert!(list.contains(tickets[0]) && list.contains(tickets[3]));
        assert_eq!(list.iter_mut().map(|number| *number).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!((list.pop(), list.pop(), list.pop()), (Some(0), Some(1), Some(2)));
        list.restore(tickets[2], 2);
        assert_eq!(list.remove(tickets[2]), Some(2));
        assert_eq!((list.contains(tickets[2]), list.pop()), (false, Some(3)));
        list.restore(tickets[3], 3);
        assert_eq!(list.drain().collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn one_waiter_at_a_time_allocates_nothing() {
        let mut list = WaitList::new();
        for number in 0..1_000 {
            let ticket = list.push(number);
            assert_eq!(if number % 2 == 0 { list.pop() } else { list.remove(ticket) }, Some(number));
        }
        assert_eq!(list.rest.capacity(), 0);
    }

    #[test]
    fn an_old_waiter_in_front_keeps_no_memory_alive() {
        let mut list = WaitList::new();
        list.push(0);
        list.push(1);
        // Two overlapping newcomers, so that the one that leaves is not always the last.
        let mut previous = list.push(2);
        for number in 3..STEPS {
            let ticket = list.push(number);
            assert!(list.remove(previous).is_some());
            previous = ticket;
        }
        assert_eq!(list.len(), 3);
        assert!(list.rest.capacity() <= 4 * FEW, "capacity {}", list.rest.capacity());
    }

    #[test]
    fn drain_empties_the_list_even_if_it_is_dropped() {
        let mut list = WaitList::new();
        let tickets: Vec<_> = (0..6).map(|number| list.push(number)).collect();
        list.remove(tickets[3]);
        let drain = list.drain();
        assert_eq!(drain.len(), 5);
        drop(drain);
        assert_eq!((list.len(), list.pop()), (0, None));
    }

    #[test]
    fn it_agrees_with_a_naive_model() {
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let mut list = WaitList::new();
        let mut model: Vec<(Ticket, usize)> = Vec::new();
        let mut gone: Vec<Ticket> = Vec::new();
        // The bias swings, so that the list grows to some hundreds and empties again.
        for step in 0..STEPS {
            let growing = step / 500 % 2 == 0;
            match random.below(17) {
                0..6 => model.push((list.push(step), step)),
                6..9 if growing => model.push((list.push(step), step)),
                6..10 => {
                    let expected = (!model.is_empty()).then(|| model.remove(0));
                    gone.extend(expected.map(|(ticket, _)| ticket));
                    assert_eq!(list.pop(), expected.map(|(_, value)| value));
                }
                10..15 if !model.is_empty() => {
                    let (ticket, value) = model.remove(random.below(model.len()));
                    gone.push(ticket);
                    assert_eq!(list.remove(ticket), Some(value));
                }
                15 if step % 2 == 0 && !model.is_empty() => {
                    // One leaves from the middle and comes back.
                    let (ticket, value) = model[random.below(model.len())];
                    assert_eq!(list.remove(ticket), Some(value));
                    list.restore(ticket, value);
                }
                15 if !model.is_empty() => {
                    // Some are popped, and come back in another order.
                    let popped = model[..model.len().min(3)].iter().rev();
                    (0..popped.len()).for_each(|_| assert!(list.pop().is_some()));
                    popped.for_each(|&(ticket, value)| list.restore(ticket, value));
                }
                _ if random.below(100) == 0 => {
                    let expected: Vec<_> = model.iter().map(|&(_, value)| value).collect();
                    gone.extend(model.drain(..).map(|(ticket, _)| ticket));
                    assert_eq!(list.drain().collect::<Vec<_>>(), expected);
                }
                _ if !gone.is_empty() => assert_eq!(list.remove(gone[random.below(gone.len())]), None),
                _ => {}
            }
            assert_eq!(list.len(), model.len());
            assert_eq!(list.is_empty(), model.is_empty());
            assert!(model.first().is_none_or(|&(ticket, _)| list.contains(ticket)));
            assert!(gone.last().is_none_or(|&ticket| !list.contains(ticket)));
            assert_eq!(list.find_last(|_| true), model.last().map(|&(ticket, _)| ticket));
            assert!(list.tombstones <= list.rest.len() / 2 + FEW);
        }
    }
}
