//! The room of a pool: a number of slots, or no limit.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::sync::Semaphore;

/// Where a member takes its slot.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    /// `None`: there is room for all.
    semaphore: Option<Rc<Semaphore>>,
    size: usize,
}

/// A slot that is taken, and free again when dropped.
#[derive(Debug)]
pub(super) struct Slot(Option<Rc<Semaphore>>);

impl Slots {
    pub(super) fn unlimited() -> Slots {
        Slots { semaphore: None, size: usize::MAX }
    }

    pub(super) fn new(size: usize) -> Slots {
        Slots { semaphore: Some(Rc::new(Semaphore::new(size))), size }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn free(&self) -> usize {
        self.semaphore.as_ref().map_or(usize::MAX, |semaphore| semaphore.available_permits())
    }

    /// Waits until one is free, and leaves it.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> bool {
        match (&self.semaphore, deadline) {
            (None, _) => true,
            (Some(semaphore), Some(deadline)) => semaphore.wait_deadline(deadline),
            (Some(semaphore), None) => {
                semaphore.wait();
                true
            }
        }
    }

    /// Takes a slot, and waits for one if it must, in line.
    pub(super) fn take(&self) -> Slot {
        if let Some(semaphore) = &self.semaphore {
            semaphore.acquire().forget();
        }
        Slot(self.semaphore.clone())
    }

    pub(super) fn try_take(&self) -> Option<Slot> {
        if let Some(semaphore) = &self.semaphore {
            semaphore.try_acquire()?.forget();
        }
        Some(Slot(self.semaphore.clone()))
    }

    pub(super) fn take_timeout(&self, timeout: Duration) -> Option<Slot> {
        if let Some(semaphore) = &self.semaphore {
            semaphore.acquire_timeout(timeout).ok()?.forget();
        }
        Some(Slot(self.semaphore.clone()))
    }

    /// How many elements of a map are to be begun and not given out: enough that a slow one does not stop the others.
    pub(super) fn look_ahead(&self) -> usize {
        self.size.saturating_mul(2)
    }

    /// A slot for the next element of a map.
    pub(super) fn take_for_element(&self, wait: bool) -> Option<Slot> {
        if wait { Some(self.take()) } else { self.try_take() }
    }
}

impl Slot {
    /// For a member that takes one of its own later.
    pub(super) fn none() -> Slot {
        Slot(None)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(semaphore) = &self.0 {
            semaphore.release(1);
        }
    }
}
