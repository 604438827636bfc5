//! Locking and unlocking in order of arrival: what the mutexes have in common.

use crate::hub::line::{self, Ended};
use crate::hub::waiter::{Waiter, WaitingOn, Wake};
use crate::hub::waitlist::WaitList;
use crate::sys::atomic::{AtomicU8, Ordering, constant};
use crate::sys::clock::Time;
use crate::sys::lock::Lock;

/// Nobody holds it, and nobody waits.
const UNLOCKED: u8 = 0;
/// Somebody holds it, and nobody waits.
const LOCKED: u8 = 1;
/// Somebody holds it, and must look at the list when unlocking it. Set only under the lock of the list. One more than LOCKED:
/// unlocking takes one away.
const CONTENDED: u8 = 2;

/// Locked or not, and who waits for it. An unlock hands it to the first in line.
pub(super) struct RawMutex {
    state: AtomicU8,
    /// Touched only when contended.
    waiters: Lock<WaitList<Wake>>,
}

impl RawMutex {
    constant! {
        pub(super) fn new() -> RawMutex {
            RawMutex { state: AtomicU8::new(UNLOCKED), waiters: Lock::new(WaitList::new()) }
        }
    }

    #[inline]
    pub(super) fn lock_at_once(&self) -> bool {
        // Acquire: sees what the last holder wrote, published by the Release in `unlock`. Relaxed: not locked, nothing seen.
        self.state.compare_exchange(UNLOCKED, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Waits in line; `false` if the deadline has passed.
    #[cold]
    pub(super) fn lock_contended(&self, on: &'static str, deadline: Option<Time>) -> bool {
        let mut waiters = self.waiters.lock();
        // Relaxed: CONTENDED says that the unlocking is yet to come; it will look at the list, under this lock, after us.
        // Acquire: as in `lock_at_once`.
        if self.state.load(Ordering::Relaxed) != CONTENDED
            && self.state.swap(CONTENDED, Ordering::Acquire) == UNLOCKED
        {
            // The holder has just left, and nobody waited: an unlock with a waiter hands over and stays locked.
            // Relaxed: only the holder, which we are, or somebody under this lock changes a state that is not UNLOCKED.
            self.state.store(LOCKED, Ordering::Relaxed);
            return true;
        }
        let waiter = Waiter::new(WaitingOn::Other(on));
        let ticket = waiters.push(waiter.wake());
        drop(waiters);
        let called = |waiters: &mut WaitList<Wake>| (!waiters.contains(ticket)).then_some(());
        let (mut waiters, ended) = waiter.stand(&self.waiters, deadline, called);
        match ended {
            Ok(()) => true,
            // Called all the same: then it is locked, in the last moment.
            Err(Ended::TimedOut) => waiters.remove(ticket).is_none(),
            Err(Ended::Interrupted(interrupt)) => {
                let called = waiters.remove(ticket).is_none();
                drop(waiters);
                if called {
                    self.unlock();
                }
                interrupt.raise()
            }
        }
    }

    /// Called by the holder.
    #[inline]
    pub(super) fn unlock(&self) {
        // CONTENDED becomes LOCKED by this: still locked, so that nobody gets in between before it is handed over.
        // Release: publishes what was written under the lock to the next locker.
        if self.state.fetch_sub(1, Ordering::Release) != LOCKED {
            self.unlock_contended();
        }
    }

    /// Hands the mutex to the first in line; it stays locked meanwhile.
    #[cold]
    fn unlock_contended(&self) {
        let mut waiters = self.waiters.lock();
        let next = line::call_first(&mut waiters);
        let state = match next {
            None => UNLOCKED,
            Some(_) if waiters.is_empty() => LOCKED,
            Some(_) => CONTENDED,
        };
        // Release: as in `unlock`. One who is handed the mutex sees it through the lock of `waiters` as well.
        self.state.store(state, Ordering::Release);
        drop(waiters);
        if let Some(next) = next {
            next.wake();
        }
    }
}
