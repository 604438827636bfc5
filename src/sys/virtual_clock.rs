//! A clock that one OS thread has for itself, and that only passes when it is told to; and what is random there.

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[cfg(feature = "monkey")]
use super::counted_threads::CountedThreads;
#[cfg(feature = "monkey")]
use super::random::Random;

/// When a world begins, after 1970: with the year 2000.
pub(crate) const EPOCH: Duration = Duration::from_secs(946_684_800);

/// How often it says the same time to others.
#[cfg(feature = "monkey")]
const PATIENCE: u64 = 1_000_000;
/// By how many nanoseconds it passes then with each answer.
#[cfg(feature = "monkey")]
const STEP: u64 = 1_000;

/// The time of one world. Only its OS thread sets and reads it; others hold it.
// Relaxed wherever it is used, and with what follows: nothing is published with a time. The end of a hold publishes what was
// done before it.
#[derive(Debug)]
pub(crate) struct VirtualClock {
    /// When it began, as std tells that.
    origin: Instant,
    /// The same, in nanoseconds of CLOCK_MONOTONIC.
    began: u64,
    /// Nanoseconds since then.
    elapsed: AtomicU64,
    /// How often others have asked since it last passed.
    #[cfg(feature = "monkey")]
    asked: AtomicU64,
    /// The seed of the next random bytes.
    #[cfg(feature = "monkey")]
    random: AtomicU64,
    /// The OS threads that were made by its own.
    #[cfg(feature = "monkey")]
    threads: Arc<CountedThreads>,
    /// How many have something under way for which real time must pass.
    holds: Arc<AtomicUsize>,
    /// Whether others than its OS thread have had a part in its world.
    was_held: AtomicBool,
    /// Whether it counts no more, in the child of a fork.
    is_over: AtomicBool,
}

thread_local! {
    /// # Invariant
    /// Null, or valid until it is set again.
    static CLOCK: Cell<*const VirtualClock> = const { Cell::new(ptr::null()) };
}

/// Sets the clock of the calling OS thread back to what it was.
struct Former(*const VirtualClock);

impl Drop for Former {
    fn drop(&mut self) {
        CLOCK.set(self.0);
    }
}

/// While it lives its clock stands, and whoever waits for a time waits in real time.
#[derive(Debug)]
pub(crate) struct Hold(Arc<AtomicUsize>);

impl VirtualClock {
    /// One that stands at `origin`, which is `began` in nanoseconds of CLOCK_MONOTONIC, and its random bytes have this seed.
    #[cfg_attr(not(feature = "monkey"), expect(unused_variables, reason = "nobody asks it for random bytes"))]
    pub(super) fn new(origin: Instant, began: u64, seed: u64) -> VirtualClock {
        VirtualClock {
            origin,
            began,
            elapsed: AtomicU64::new(0),
            #[cfg(feature = "monkey")]
            asked: AtomicU64::new(0),
            #[cfg(feature = "monkey")]
            random: AtomicU64::new(seed),
            #[cfg(feature = "monkey")]
            threads: Arc::new(CountedThreads::new()),
            holds: Arc::default(),
            was_held: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        }
    }

    /// Runs `function` with it as the clock of the calling OS thread, and with the thread-local variables that are in use now.
    pub(crate) fn lend<R>(&self, function: impl FnOnce() -> R) -> R {
        let _former = Former(CLOCK.replace(self));
        function()
    }

    #[inline]
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.elapsed.load(Ordering::Relaxed))
    }

    /// In nanoseconds of CLOCK_MONOTONIC.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.began.saturating_add(self.elapsed.load(Ordering::Relaxed))
    }

    /// The same as std tells it.
    pub(super) fn instant(&self) -> Instant {
        self.origin + self.elapsed()
    }

    /// It is so many nanoseconds of CLOCK_MONOTONIC from now on, unless it is later already.
    pub(super) fn pass_until(&self, time: u64) {
        self.elapsed.fetch_max(time.saturating_sub(self.began), Ordering::Relaxed);
        #[cfg(feature = "monkey")]
        self.asked.store(0, Ordering::Relaxed);
    }

    /// What it says to others than the library: the date since 1970, or CLOCK_MONOTONIC. Who asks again and again waits for a time to come,
    /// and it does.
    #[cfg(feature = "monkey")]
    pub(super) fn tell(&self, is_date: bool) -> Duration {
        if self.asked.fetch_add(1, Ordering::Relaxed) >= PATIENCE {
            self.elapsed.fetch_add(STEP, Ordering::Relaxed);
        }
        if is_date { EPOCH + self.elapsed() } else { Duration::from_nanos(self.now()) }
    }

    /// Fills `bytes` with the next random ones.
    #[cfg(feature = "monkey")]
    pub(crate) fn fill(&self, bytes: &mut [u8]) {
        let mut random = Random::new(self.random.load(Ordering::Relaxed));
        for chunk in bytes.chunks_mut(size_of::<u64>()) {
            chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]);
        }
        self.random.store(random.state(), Ordering::Relaxed);
    }

    /// Has it stand until what this returns is dropped.
    pub(crate) fn hold(&self) -> Hold {
        self.was_held.store(true, Ordering::Relaxed);
        self.holds.fetch_add(1, Ordering::Relaxed);
        Hold(self.holds.clone())
    }

    pub(crate) fn was_held(&self) -> bool {
        self.was_held.load(Ordering::Relaxed)
    }

    pub(crate) fn is_held(&self) -> bool {
        // Acquire: pairs with the end of a hold.
        let is_held = self.holds.load(Ordering::Acquire) > 0;
        #[cfg(feature = "monkey")]
        let is_held = is_held || self.threads.are_at_work();
        is_held
    }

    /// The OS threads that were made by its own.
    #[cfg(feature = "monkey")]
    pub(crate) fn threads(&self) -> &Arc<CountedThreads> {
        &self.threads
    }

    /// Why it stands, in words.
    pub(crate) fn holders(&self) -> String {
        #[cfg(feature = "monkey")]
        let work = self.threads.work();
        #[cfg(not(feature = "monkey"))]
        let work = Vec::<String>::new();
        match work.is_empty() {
            true => "work of a pool, or a hold, has not ended".to_owned(),
            false => work.join(", "),
        }
    }

    /// The same OS threads, of which there is to be another one.
    #[cfg(feature = "monkey")]
    pub(crate) fn threads_to_come(&self) -> Arc<CountedThreads> {
        self.was_held.store(true, Ordering::Relaxed);
        self.threads.clone()
    }

    /// From now on time is real here.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Release: pairs with `is_held`.
        self.0.fetch_sub(1, Ordering::Release);
    }
}

/// Whether std reads the clock of the OS thread where there is one.
static IS_STD: AtomicBool = AtomicBool::new(false);

#[inline]
pub(crate) fn is_std() -> bool {
    IS_STD.load(Ordering::Relaxed)
}

/// Whether what `monkey` has put in the place of C's clocks is patched.
#[cfg(feature = "monkey")]
pub(crate) fn set_std(is_std: bool) {
    IS_STD.store(is_std, Ordering::Relaxed);
}

/// Runs `function`, which does not switch, as if the calling OS thread had no clock of its own.
#[cfg(feature = "monkey")]
pub(crate) fn unseen<R>(function: impl FnOnce() -> R) -> R {
    let _former = Former(CLOCK.replace(ptr::null()));
    function()
}

/// What the clock of the calling OS thread says to `ask`, if it has one of its own.
#[inline]
pub(crate) fn ask<R>(ask: impl FnOnce(&VirtualClock) -> R) -> Option<R> {
    // SAFETY: not null means set by `lend`, which has borrowed it, and takes it back before that ends. A frame that `lend` never
    // returns to, for its stack leaks, has the thread-local variables of its own stack set, which nobody reads any more.
    let clock = unsafe { CLOCK.get().as_ref() };
    clock.filter(|clock| !clock.is_over()).map(ask)
}
