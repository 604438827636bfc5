//! What may begin on any worker: a queue that its owner and everybody else take from.

use std::collections::VecDeque;

use crate::sys::atomic::{AtomicUsize, Ordering};
use crate::sys::lock::Lock;

/// A queue, first in, first out. Whoever takes is told apart by nothing.
///
/// A lock that is held for some instructions, and not a ring without one: that would be as many atomic operations, bounded, and need
/// `unsafe`; several jobs at a time go from one queue to another under one lock.
///
/// In cache lines of its own, and two at a time, as processors fetch them: who takes from one keeps nobody from what lies beside it.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Offers<J> {
    queue: Lock<Queue<J>>,
    /// How many there are, as one sees who has not locked it: a hint.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Queue<J> {
    jobs: VecDeque<J>,
    closed: bool,
}

impl<J> Offers<J> {
    pub(crate) fn new() -> Offers<J> {
        let queue = Queue { jobs: VecDeque::new(), closed: false };
        Offers { queue: Lock::new(queue), count: AtomicUsize::new(0) }
    }

    /// Adds one at the back; it comes back if the queue is closed.
    #[inline]
    pub(crate) fn push(&self, job: J) -> Result<(), J> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(job);
        }
        queue.jobs.push_back(job);
        self.tell(queue.jobs.len());
        Ok(())
    }

    /// Adds what is in `jobs`, which is empty after that unless the queue is closed.
    pub(crate) fn append(&self, jobs: &mut VecDeque<J>) {
        let mut queue = self.queue.lock();
        if !queue.closed {
            queue.jobs.append(jobs);
            self.tell(queue.jobs.len());
        }
    }

    /// Takes the one at the front.
    #[inline]
    pub(crate) fn pop(&self) -> Option<J> {
        if self.looks_empty() {
            return None;
        }
        let mut queue = self.queue.lock();
        let job = queue.jobs.pop_front();
        self.tell(queue.jobs.len());
        job
    }

    /// Takes those at the front into `loot`, which is empty: one of `share`, rounded up, and no more than `most`.
    pub(crate) fn steal(&self, share: usize, most: usize, loot: &mut VecDeque<J>) {
        if self.looks_empty() {
            return;
        }
        let mut queue = self.queue.lock();
        let count = queue.jobs.len().div_ceil(share).min(most);
        loot.extend(queue.jobs.drain(..count));
        self.tell(queue.jobs.len());
    }

    /// How many there are, as far as one sees who does not lock it: what was just added may be missed.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        // Relaxed: it is a hint. Who must not miss anything asks `is_empty`.
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there is nothing, as far as one sees who does not lock it.
    #[inline]
    pub(crate) fn looks_empty(&self) -> bool {
        self.count() == 0
    }

    /// Whether there is nothing. Who adds something later sees what the caller did before.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.lock().jobs.is_empty()
    }

    /// Lets nothing in any more, and returns what is there.
    pub(crate) fn close(&self) -> VecDeque<J> {
        let mut queue = self.queue.lock();
        queue.closed = true;
        self.tell(0);
        std::mem::take(&mut queue.jobs)
    }

    /// Lets nothing in any more if there is nothing; whether that is so now.
    pub(crate) fn close_if_empty(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.closed |= queue.jobs.is_empty();
        queue.closed
    }

    /// Lets something in again.
    pub(crate) fn open(&self) {
        self.queue.lock().closed = false;
    }

    #[inline]
    fn tell(&self, count: usize) {
        // Relaxed: it is a hint, and stored under the lock.
        self.count.store(count, Ordering::Relaxed);
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
    fn all_are_taken_from_the_front() {
        let offers = filled(0..10);
        assert_eq!(offers.pop(), Some(0));
        let mut loot = VecDeque::new();
        offers.steal(2, 100, &mut loot);
        assert_eq!(loot, [1, 2, 3, 4, 5]);
        assert_eq!(offers.pop(), Some(6));
    }

    #[test]
    fn a_thief_takes_one_of_one_and_no_more_than_it_may() {
        let mut loot = VecDeque::new();
        filled(0..1).steal(2, 100, &mut loot);
        assert_eq!(loot, [0]);
        loot.clear();
        filled(0..100).steal(2, 3, &mut loot);
        assert_eq!(loot, [0, 1, 2]);
    }

    #[test]
    fn what_is_closed_gives_all_back_and_takes_nothing() {
        let offers = filled(0..2);
        assert_eq!(offers.close(), [0, 1]);
        assert_eq!(offers.push(2), Err(2));
        let mut more = VecDeque::from([3]);
        offers.append(&mut more);
        assert_eq!((more.len(), offers.pop(), offers.is_empty()), (1, None, true));
        offers.open();
        offers.append(&mut more);
        assert_eq!((more.len(), offers.pop()), (0, Some(3)));
    }
}
