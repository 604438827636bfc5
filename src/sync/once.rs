//! Doing something once.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::hub::handover::{self, Ended};
use crate::hub::waiter::{Notify, Waiter, WaitingOn, Wake};
use crate::hub::waitlist::WaitList;
use crate::sys::atomic::{AtomicU8, Ordering, constant};
use crate::sys::lock::{Lock, LockGuard};

/// Nobody has begun.
const NEW: u8 = 0;
/// Somebody has begun, and unwound.
const POISONED: u8 = 1;
/// Somebody is at it.
const RUNNING: u8 = 2;
/// It is done, for good.
const DONE: u8 = 3;

/// Runs a closure once: [`std::sync::Once`], but a wait parks the calling green thread alone.
///
/// The first call runs its closure, which may wait. Calls that come meanwhile wait until it has ended.
///
/// # Poisoning
///
/// As in std, the `Once` is poisoned if the closure unwinds: by a panic, by a kill of its green thread, or by a time limit around
/// it. Every later [`call_once`](Once::call_once) panics then. [`call_once_force`](Once::call_once_force) tries again.
///
/// # Examples
///
/// ```
/// use greenloop::sync::Once;
/// use greenloop::{spawn, yield_now};
///
/// static START: Once = Once::new();
///
/// let first = spawn(|| START.call_once(yield_now));
/// let second = spawn(|| START.call_once(|| unreachable!()));
/// first.join().unwrap();
/// second.join().unwrap();
/// assert!(START.is_completed());
/// ```
pub struct Once {
    /// Written only under the lock of `waiters`.
    state: AtomicU8,
    waiters: Lock<WaitList<Wake>>,
}

// No user's value is inside.
impl UnwindSafe for Once {}
impl RefUnwindSafe for Once {}

/// The state that the closure of [`Once::call_once_force`] gets. It is [`std::sync::OnceState`], which only std can make.
///
/// # Examples
///
/// ```
/// use greenloop::sync::Once;
///
/// Once::new().call_once_force(|state| assert!(!state.is_poisoned()));
/// ```
#[derive(Debug)]
pub struct OnceState {
    poisoned: bool,
}

impl OnceState {
    /// Returns `true` if an earlier closure unwound.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Once;
    ///
    /// let once = Once::new();
    /// once.call_once_force(|state| assert!(!state.is_poisoned()));
    /// assert!(once.is_completed());
    /// ```
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

impl Once {
    constant! {
        /// Makes a `Once` that has not been called.
        ///
        /// # Examples
        ///
        /// ```
        /// use greenloop::sync::Once;
        ///
        /// static START: Once = Once::new();
        /// assert!(!START.is_completed());
        /// ```
        #[must_use]
        pub fn new() -> Once {
            Once { state: AtomicU8::new(NEW), waiters: Lock::new(WaitList::new()) }
        }
    }

    /// Runs `f` if this is the first call. When it returns, a closure has run to its end.
    ///
    /// If another call's closure is running, the calling green thread yields until it has ended. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait by unwinding, and harms no other call. A call from within `f` waits
    /// for itself, for ever.
    ///
    /// # Panics
    ///
    /// Panics if the `Once` is poisoned, if `f` panics, or if it has to wait in a [hub callback](crate::hub#callbacks), which may
    /// not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Once;
    ///
    /// static START: Once = Once::new();
    /// let mut runs = 0;
    /// START.call_once(|| runs += 1);
    /// START.call_once(|| runs += 1);
    /// assert_eq!(runs, 1);
    /// ```
    #[inline]
    #[track_caller]
    pub fn call_once<F: FnOnce()>(&self, f: F) {
        if !self.is_completed() {
            let mut f = Some(f);
            self.call(false, &mut |_| f.take().expect("called once")());
        }
    }

    /// Like [`call_once`](Once::call_once), but also runs `f` if an earlier closure unwound.
    ///
    /// # Panics
    ///
    /// Panics if `f` panics, or if it has to wait in a [hub callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::panic::{catch_unwind, resume_unwind};
    /// use greenloop::sync::Once;
    ///
    /// let once = Once::new();
    /// assert!(catch_unwind(|| once.call_once(|| resume_unwind(Box::new("half done")))).is_err());
    /// once.call_once_force(|state| assert!(state.is_poisoned()));
    /// assert!(once.is_completed());
    /// ```
    #[inline]
    pub fn call_once_force<F: FnOnce(&OnceState)>(&self, f: F) {
        if !self.is_completed() {
            let mut f = Some(f);
            self.call(true, &mut |state| f.take().expect("called once")(state));
        }
    }

    /// Returns `true` if a closure has run to its end. Never waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Once;
    ///
    /// let once = Once::new();
    /// assert!(!once.is_completed());
    /// once.call_once(|| assert!(!once.is_completed()));
    /// assert!(once.is_completed());
    /// ```
    #[inline]
    pub fn is_completed(&self) -> bool {
        // Acquire: who sees it done sees what was done.
        self.state.load(Ordering::Acquire) == DONE
    }

    /// Waits until a closure has run to its end, and runs none itself.
    ///
    /// The call waits as [`call_once`](Once::call_once) does, even if no closure has begun.
    ///
    /// # Panics
    ///
    /// Panics if the `Once` is poisoned, or becomes so meanwhile, or if it has to wait in a [hub callback](crate::hub#callbacks),
    /// which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use greenloop::spawn;
    /// use greenloop::sync::Once;
    ///
    /// let once = Arc::new(Once::new());
    /// let caller = spawn({ let once = Arc::clone(&once); move || once.call_once(|| ()) });
    /// once.wait();
    /// assert!(once.is_completed());
    /// # caller.join().unwrap();
    /// ```
    #[track_caller]
    pub fn wait(&self) {
        while !self.is_completed() {
            let waiters = self.waiters.lock();
            match self.state_under_lock() {
                DONE => return,
                POISONED => {
                    drop(waiters);
                    poisoned();
                }
                _ => self.stand(waiters),
            }
        }
    }

    /// Like [`wait`](Once::wait), but when the `Once` is poisoned it waits for a [`call_once_force`](Once::call_once_force) that
    /// succeeds.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait in a [hub callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// let once = greenloop::sync::Once::new();
    /// once.call_once(|| ());
    /// once.wait_force();
    /// assert!(once.is_completed());
    /// ```
    pub fn wait_force(&self) {
        while !self.is_completed() {
            let waiters = self.waiters.lock();
            if self.state_under_lock() != DONE {
                self.stand(waiters);
            }
        }
    }

    #[inline]
    fn state_under_lock(&self) -> u8 {
        // Acquire: as in `is_completed`; that it was done may be seen here first.
        self.state.load(Ordering::Acquire)
    }

    #[cold]
    #[track_caller]
    fn call(&self, force: bool, run: &mut dyn FnMut(&OnceState)) {
        loop {
            let waiters = self.waiters.lock();
            let state = self.state_under_lock();
            match state {
                DONE => return,
                RUNNING => self.stand(waiters),
                POISONED if !force => {
                    drop(waiters);
                    poisoned();
                }
                _ => {
                    // Relaxed: the lock orders, and nobody reads anything by RUNNING.
                    self.state.store(RUNNING, Ordering::Relaxed);
                    drop(waiters);
                    let mut running = Running { once: self, end: POISONED };
                    run(&OnceState { poisoned: state == POISONED });
                    running.end = DONE;
                    return;
                }
            }
        }
    }

    /// Waits until the one that runs ends, in whatever way.
    fn stand(&self, mut waiters: LockGuard<'_, WaitList<Wake>>) {
        let waiter = Waiter::new(WaitingOn::Other("Once::call_once"));
        let ticket = waiters.push(waiter.wake());
        drop(waiters);
        let told = |waiters: &mut WaitList<Wake>| (!waiters.contains(ticket)).then_some(());
        let (mut waiters, ended) = waiter.stand(&self.waiters, None, told, drop);
        waiters.remove(ticket);
        drop(waiters);
        if let Err(Ended::Interrupted(interrupt)) = ended {
            interrupt.raise();
        }
    }
}

/// The one that is at it. Dropped, it says how it ended, and wakes all who wait.
struct Running<'a> {
    once: &'a Once,
    end: u8,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let waiters = self.once.waiters.lock();
        // Release: publishes what was done to who finds it done.
        self.once.state.store(self.end, Ordering::Release);
        // Only those: after a failure some may wait again.
        let mut left = waiters.len();
        handover::notify_all(&self.once.waiters, waiters, |waiters| {
            left = left.checked_sub(1)?;
            waiters.pop().map(Notify::Wake)
        });
    }
}

#[cold]
#[track_caller]
fn poisoned() -> ! {
    panic!("Once instance has previously been poisoned");
}

impl Default for Once {
    fn default() -> Once {
        Once::new()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Once").finish_non_exhaustive()
    }
}
