//! Locking and unlocking in order of arrival: what the mutexes have in common.

use crate::hub::line;
use crate::hub::waiter::{Waiter, WaitingOn, Wake, Wakeup};
use crate::hub::waitlist::{Ticket, WaitList};
use crate::sys::atomic::{AtomicU8, AtomicU64, Ordering, constant};
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
    /// Whose ticket has a smaller number has left the line. So who is woken sees without the lock whether it was called.
    called: AtomicU64,
}

impl RawMutex {
    constant! {
        pub(super) fn new() -> RawMutex {
            let (state, called) = (AtomicU8::new(UNLOCKED), AtomicU64::new(0));
            RawMutex { state, waiters: Lock::new(WaitList::new()), called }
        }
    }

    #[inline]
    pub(super) fn lock_at_once(&self) -> bool {
        // Relaxed: a hint, which saves who must wait the dearer operation.
        // Acquire: sees what the last holder wrote, published by the Release in `unlock`. Relaxed: not locked, nothing seen.
        self.state.load(Ordering::Relaxed) == UNLOCKED
            && self.state.compare_exchange(UNLOCKED, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Waits in line; `false` if the deadline has passed.
    ///
    /// Inlined up to the public call: the processor mispredicts each return after a switch.
    #[inline(always)]
    pub(super) fn lock_contended(&self, on: &'static str, deadline: Option<Time>) -> bool {
        let waiter = Waiter::new(WaitingOn::Other(on));
        let Some(ticket) = self.stand_in_line(waiter.wake()) else { return true };
        loop {
            match waiter.park(deadline) {
                // Acquire: as in `lock_at_once`; it was handed over by the store in `unlock_contended`.
                Wakeup::Woken if self.called.load(Ordering::Acquire) > ticket.number() => return true,
                Wakeup::Woken => {}
                ended => return self.leave_line(ticket, ended),
            }
        }
    }

    /// Puts `wake` in line; `None` if it has been locked after all.
    #[inline(never)]
    fn stand_in_line(&self, wake: Wake) -> Option<Ticket> {
        let mut waiters = self.waiters.lock();
        // Relaxed: CONTENDED says that the unlocking is yet to come; it will look at the list, under this lock, after us.
        // Acquire: as in `lock_at_once`.
        if self.state.load(Ordering::Relaxed) != CONTENDED
            && self.state.swap(CONTENDED, Ordering::Acquire) == UNLOCKED
        {
            // The holder has just left, and nobody waited: an unlock with a waiter hands over and stays locked.
            // Relaxed: only the holder, which we are, or somebody under this lock changes a state that is not UNLOCKED.
            self.state.store(LOCKED, Ordering::Relaxed);
            return None;
        }
        Some(waiters.push(wake))
    }

    /// Ends a wait in vain; whether it has been locked in the last moment.
    #[cold]
    fn leave_line(&self, ticket: Ticket, ended: Wakeup) -> bool {
        let called = self.waiters.lock().remove(ticket).is_none();
        if let Wakeup::Interrupted(interrupt) = ended {
            if called {
                self.unlock();
            }
            interrupt.raise();
        }
        called
    }

    /// Called by the holder.
    #[inline]
    pub(super) fn unlock(&self) {
        // Relaxed: CONTENDED stays until the holder hands it over, and then nothing is to be changed before that.
        // Else CONTENDED becomes LOCKED by this: still locked, so that nobody gets in between before it is handed over.
        // Release: publishes what was written under the lock to the next locker.
        if self.state.load(Ordering::Relaxed) == CONTENDED
            || self.state.fetch_sub(1, Ordering::Release) != LOCKED
        {
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
        // Release: as in `unlock`, for who finds it unlocked.
        self.state.store(state, Ordering::Release);
        let called = waiters.front().unwrap_or(waiters.next_ticket());
        // Release: the same, for who is called.
        self.called.store(called.number(), Ordering::Release);
        drop(waiters);
        if let Some(next) = next {
            next.wake();
        }
    }
}
