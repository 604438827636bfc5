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

/// Runs a closure once, whoever asks first: [`std::sync::Once`], but the closure may wait, and who comes meanwhile parks
/// alone, and the hub goes on with the others.
///
/// # Poisoning
///
/// As in std: when the closure unwinds, by a panic, or because its green thread is killed or a time limit around it is
/// over, the `Once` is poisoned, and every later [`call_once`](Once::call_once) panics.
/// [`call_once_force`](Once::call_once_force) tries again.
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

/// What the closure of [`Once::call_once_force`] is told: [`std::sync::OnceState`], which only std can make.
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
    /// Whether an earlier closure unwound.
    ///
    /// # Examples
    ///
    /// See [`Once::call_once_force`].
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

impl Once {
    constant! {
        /// Makes one that nobody has called.
        ///
        /// # Examples
        ///
        /// See [`Once`].
        #[must_use]
        pub fn new() -> Once {
            Once { state: AtomicU8::new(NEW), waiters: Lock::new(WaitList::new()) }
        }
    }

    /// Runs `f`, if this is the first call; when it returns, some closure has run to its end.
    ///
    /// If somebody is at it, the calling green thread yields until that one has ended. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait by unwinding, and harms nobody else. Calling it again from
    /// within `f` waits for itself, for ever.
    ///
    /// # Panics
    ///
    /// Panics if it is poisoned, as `f` does, or if it must wait inside a hub callback, where nothing may wait.
    ///
    /// # Examples
    ///
    /// See [`Once`].
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
    /// As `f` does, or if it must wait inside a hub callback, where nothing may wait.
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

    /// Whether some closure has run to its end. Never waits.
    ///
    /// # Examples
    ///
    /// See [`Once`].
    #[inline]
    pub fn is_completed(&self) -> bool {
        // Acquire: who sees it done sees what was done.
        self.state.load(Ordering::Acquire) == DONE
    }

    /// Waits until some closure has run to its end, without running one.
    ///
    /// It waits as [`call_once`](Once::call_once) does, also while nobody has begun.
    ///
    /// # Panics
    ///
    /// Panics if it is poisoned, or is so in the end; or if it must wait inside a hub callback, where nothing may wait.
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

    /// Like [`wait`](Once::wait), but goes on waiting when it is poisoned, for a
    /// [`call_once_force`](Once::call_once_force) that succeeds.
    ///
    /// # Panics
    ///
    /// Panics if it must wait inside a hub callback, where nothing may wait.
    ///
    /// # Examples
    ///
    /// ```
    /// let once = greenloop::sync::Once::new();
    /// once.call_once(|| ());
    /// once.wait_force();
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
