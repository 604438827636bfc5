//! Locking and unlocking in order of arrival: what the mutexes have in common.

use std::sync::atomic::AtomicUsize;

use crate::hub::waiter::{Waiter, WaitingOn, Wake, Wakeup, departures};
use crate::hub::waitlist::{Ticket, WaitList};
use crate::sys::atomic::{AtomicU8, AtomicU64, Ordering, constant};
use crate::sys::clock::Time;
use crate::sys::lock::{Lock, LockGuard};

/// Nobody holds it, and nobody waits.
const UNLOCKED: u8 = 0;
/// Somebody holds it, and nobody waits.
const LOCKED: u8 = 1;
/// Somebody holds it, and must look at the list when unlocking it. Set only under the lock of the list. One more than LOCKED:
/// unlocking takes one away.
const CONTENDED: u8 = 2;

/// Locked or not, and who waits for it. An unlock hands it to the first in line.
pub(super) struct RawMutex {
    /// | state     | in line | `lock`                   | `unlock`                                                | who leaves its wait in vain  |
    /// |-----------|---------|--------------------------|---------------------------------------------------------|------------------------------|
    /// | UNLOCKED  | nobody  | LOCKED                   | is not called                                           | nobody is there              |
    /// | LOCKED    | nobody  | CONTENDED, gets in line  | UNLOCKED                                                | only one that was called     |
    /// | CONTENDED | some    | gets in line             | the first is called: LOCKED if it was alone, else as is | out of the line, state as is |
    /// | CONTENDED | nobody  | gets in line             | UNLOCKED: all have left their waits                     | only one that was called     |
    /// | LOCKED    | some    | CONTENDED, gets in line  | is under way: it has the line's lock next, and calls    | out of the line, state as is |
    ///
    /// It is never UNLOCKED while somebody is in line. Who was called holds it, from the call on: one that has timed out keeps it,
    /// one that was killed unlocks it. If its OS thread has ended, whoever comes next does (`called` is not `claimed` then).
    state: AtomicU8,
    /// Touched only when contended.
    waiters: Lock<Waiters>,
    /// Whose ticket has a smaller number has left the line. So who is woken sees without the lock whether it was called.
    called: AtomicU64,
    /// The same number once the one that was called last has run. Until then it may turn out to be gone.
    claimed: AtomicU64,
    /// The departures of which it has taken notice.
    noticed: AtomicU64,
    /// Who holds it, as [`WaitingOn::held`] wants it, for reports.
    pub(super) holder: AtomicUsize,
}

struct Waiters {
    line: WaitList<Wake>,
    /// Who was called last.
    heir: Option<Wake>,
}

impl RawMutex {
    constant! {
        pub(super) fn new() -> RawMutex {
            let (called, claimed, noticed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
            let waiters = Lock::new(Waiters { line: WaitList::new(), heir: None });
            let holder = AtomicUsize::new(0);
            RawMutex { state: AtomicU8::new(UNLOCKED), waiters, called, claimed, noticed, holder }
        }
    }

    /// Locks if nobody holds it. One for whom it was set aside and who is gone does not.
    #[inline]
    pub(super) fn try_lock(&self) -> bool {
        self.lock_at_once() || self.is_unclaimed() && self.pass_on_from_gone() && self.lock_at_once()
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
        let waiter = Waiter::new(WaitingOn::held(on, &self.holder));
        let Some(ticket) = self.stand_in_line(waiter.wake()) else { return true };
        loop {
            match waiter.park(deadline) {
                Wakeup::Woken if self.claim(ticket) => return true,
                Wakeup::Woken => _ = self.pass_on_from_gone(),
                ended => return self.leave_line(ticket, ended),
            }
        }
    }

    /// Whether the one with this ticket was called, and so holds it.
    #[inline(always)]
    fn claim(&self, ticket: Ticket) -> bool {
        // Acquire: as in `lock_at_once`; it was handed over by the store in `hand_over`.
        let called = self.called.load(Ordering::Acquire);
        if called <= ticket.number() {
            return false;
        }
        // Relaxed: read by who has seen that this thread has gone, which is later, or by the holder.
        self.claimed.store(called, Ordering::Relaxed);
        true
    }

    /// Whether who was called last may not have run yet.
    #[inline]
    fn is_unclaimed(&self) -> bool {
        // Relaxed: a hint; under the lock it is looked at again.
        self.claimed.load(Ordering::Relaxed) != self.called.load(Ordering::Relaxed)
    }

    /// Passes it on if it was set aside for one whose OS thread has ended before that ran. Returns whether it was.
    #[cold]
    fn pass_on_from_gone(&self) -> bool {
        let waiters = self.waiters.lock();
        // Relaxed: under the lock, and else a hint, for a departure that it misses wakes who stands in line by then.
        self.noticed.store(departures(), Ordering::Relaxed);
        let is_gone = self.is_unclaimed() && waiters.heir.is_some_and(|heir| !heir.is_living());
        if is_gone {
            self.hand_over(waiters);
        }
        is_gone
    }

    /// Puts `wake` in line; `None` if it has been locked after all.
    #[inline(never)]
    fn stand_in_line(&self, wake: Wake) -> Option<Ticket> {
        // Relaxed: as in `pass_on_from_gone`.
        if self.noticed.load(Ordering::Relaxed) != departures() {
            self.pass_on_from_gone();
        }
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
        Some(waiters.line.push(wake))
    }

    /// Ends a wait in vain; whether it has been locked in the last moment.
    #[cold]
    fn leave_line(&self, ticket: Ticket, ended: Wakeup) -> bool {
        let called = self.waiters.lock().line.remove(ticket).is_none() && self.claim(ticket);
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

    #[cold]
    fn unlock_contended(&self) {
        self.hand_over(self.waiters.lock());
    }

    /// Hands the mutex to the first in line; it stays locked meanwhile.
    #[inline(always)]
    fn hand_over(&self, mut waiters: LockGuard<'_, Waiters>) {
        let line = &mut waiters.line;
        // Relaxed: changed under the lock.
        let mut called = self.called.load(Ordering::Relaxed);
        let next = loop {
            let Some((ticket, next)) = line.pop_with_ticket() else { break None };
            // All with smaller numbers have left, and who comes later has a greater one.
            called = ticket.number() + 1;
            if next.is_living() {
                break Some(next);
            }
        };
        let state = match next {
            None => UNLOCKED,
            Some(_) if line.is_empty() => LOCKED,
            Some(_) => CONTENDED,
        };
        // Release: as in `unlock`, for who finds it unlocked.
        self.state.store(state, Ordering::Release);
        // Release: the same, for who is called.
        self.called.store(called, Ordering::Release);
        waiters.heir = next;
        if next.is_none() {
            // Relaxed: under the lock.
            self.claimed.store(called, Ordering::Relaxed);
        }
        drop(waiters);
        if let Some(next) = next {
            next.wake();
        }
    }
}
