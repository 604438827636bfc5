//! A lock for some instructions: it guards the few words of a primitive that several OS threads may reach.

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};

use super::atomic::{AtomicBool, Ordering, constant, spin_loop, yield_now};
use super::section::Section;

/// Turns of spinning before a contender offers its processor to the holder, which may have been preempted.
const SPINS: u32 = 100;

/// Exclusive access to a `T` for a moment. The uncontended path is one atomic read-modify-write; unlocking is a store.
///
/// It is never held while a greenlet switches, nor while user code runs, but for a queue's comparisons and clones: then a holder is at
/// most preempted, never parked. An allocation
/// under it may lead back to the library, by a patched lock of the allocator's: that finds a [`Section`] open.
pub(crate) struct Lock<T> {
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the guard gives one thread at a time access to `value`, so sharing a `Lock` hands the `T` from thread to
// thread and never to two at once: `T: Send` is what that needs.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    constant! {
        pub(crate) fn new(value: T) -> Lock<T> {
            Lock { locked: AtomicBool::new(false), value: UnsafeCell::new(value) }
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> LockGuard<'_, T> {
        self.lock_after(|| {})
    }

    /// Locks, and calls `contended` before it waits for who holds it: that may panic, where this very thread may be the one.
    #[inline]
    pub(crate) fn lock_after(&self, contended: impl FnOnce()) -> LockGuard<'_, T> {
        let section = Section::open();
        if !self.lock_at_once() {
            contended();
            self.lock_contended();
        }
        LockGuard { lock: self, _section: section }
    }

    #[inline]
    fn lock_at_once(&self) -> bool {
        // Acquire: what the last holder wrote, published by its Release store, is seen by this one. Relaxed: nothing is seen.
        self.locked.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Locks it without a guard.
    pub(crate) fn hold(&self) {
        std::mem::forget(self.lock());
    }

    /// Ends [`hold`](Lock::hold).
    ///
    /// # Safety
    ///
    /// The caller has called that; in the child of a fork, before the fork.
    pub(crate) unsafe fn release(&self) {
        drop(LockGuard { lock: self, _section: Section::left_open() });
    }

    #[cold]
    fn lock_contended(&self) {
        let mut spins = 0;
        loop {
            // Relaxed: only a hint; the locking orders.
            while self.locked.load(Ordering::Relaxed) {
                if spins < SPINS {
                    spins += 1;
                    spin_loop();
                } else {
                    yield_now();
                }
            }
            if self.lock_at_once() {
                return;
            }
        }
    }

    pub(crate) fn into_inner(self) -> T {
        self.value.into_inner()
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T> fmt::Debug for Lock<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Lock(..)")
    }
}

/// The right to the value; dropping it unlocks.
pub(crate) struct LockGuard<'a, T> {
    lock: &'a Lock<T>,
    /// Dropped after the lock is released.
    _section: Section,
}

impl<T> Deref for LockGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the pointer is valid as long as the lock lives; this guard is the only access while it lives.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for LockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `&mut self` makes it exclusive among the uses of this guard.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for LockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Release: publishes what was written under the lock to the next holder's locking.
        self.lock.locked.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_threads_count_exactly() {
        let count = Lock::new(0u32);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| *count.lock() += 1));
            }
        });
        assert_eq!(count.into_inner(), 40_000);
    }
}
