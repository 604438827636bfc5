//! What a mutex of C's says of itself: who holds it, and of which kind it is.
//!
//! glibc promises the place of the kind to every program that was compiled with an initialiser of its own, and tells debuggers that of
//! the owner. The tests hold both to what the library does.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use super::readiness::timespec;
use super::{futex, original};

/// The beginning of a `pthread_mutex_t`.
#[repr(C)]
struct Layout {
    lock: AtomicU32,
    /// How often its holder has taken a recursive one.
    count: AtomicU32,
    /// The number of the thread that holds it, or zero.
    owner: AtomicI32,
    #[cfg(target_pointer_width = "64")]
    users: AtomicU32,
    kind: AtomicI32,
}

/// The bits of the kind that tell what happens if the holder takes it once more.
const TYPE: libc::c_int = 0b11;
/// The next holder is told that one has ended.
const ROBUST: libc::c_int = 16;
/// PTHREAD_PRIO_INHERIT and PTHREAD_PRIO_PROTECT.
const INHERITS: libc::c_int = 32;
const PROTECTS: libc::c_int = 64;
const SHARED: libc::c_int = 128;

/// In the place of the owner: the last one has ended, and nobody has put right what it left.
const INCONSISTENT: i32 = i32::MAX;

/// A mutex of C's, not locked nor changed here.
#[derive(Clone, Copy)]
pub(crate) struct MutexView<'a>(&'a Layout);

impl MutexView<'_> {
    /// # Safety
    ///
    /// `mutex` must be initialised, and stay as long as the result is used.
    pub(crate) unsafe fn new<'a>(mutex: *const libc::pthread_mutex_t) -> MutexView<'a> {
        // SAFETY: the caller's contract; it begins with these fields, which the C library changes as atomics.
        MutexView(unsafe { &*mutex.cast() })
    }

    /// Whoever holds it, as the C library numbers threads; zero if nobody does, or it is just being taken.
    #[inline]
    pub(crate) fn owner(self) -> i32 {
        // Relaxed: what the calling OS thread has written itself it reads; what others write is out of date at once.
        match self.bits() & (ROBUST | INHERITS) {
            0 => self.0.owner.load(Ordering::Relaxed),
            // In their words, for the kernel. In the other place they say that one has ended. Relaxed: as above.
            _ => (self.0.lock.load(Ordering::Relaxed) & libc::FUTEX_TID_MASK).cast_signed(),
        }
    }

    /// Whether it tells its holder from others when that takes it once more: a recursive or an error-checking one.
    #[inline]
    pub(crate) fn knows_its_holder(self) -> bool {
        matches!(self.kind(), libc::PTHREAD_MUTEX_RECURSIVE | libc::PTHREAD_MUTEX_ERRORCHECK)
    }

    /// Whether its holder has it after one more unlock.
    pub(crate) fn is_held_again(self) -> bool {
        // Relaxed: as above.
        self.kind() == libc::PTHREAD_MUTEX_RECURSIVE && self.0.count.load(Ordering::Relaxed) > 1
    }

    /// Whether its next holder is told that one has ended.
    #[inline]
    pub(crate) fn is_robust(self) -> bool {
        self.bits() & ROBUST != 0
    }

    /// Whether the kernel has to know its holder, which is an OS thread then: for a priority, or to tell that it has ended.
    #[inline]
    pub(crate) fn is_held_by_os_threads(self) -> bool {
        self.bits() & (ROBUST | INHERITS | PROTECTS) != 0
    }

    /// Does what the kernel does with a robust one that an OS thread of this number has held, which has ended. One that inherits
    /// priority, and for which others wait, is the kernel's to give: `hand_over` is to give it, where that is possible.
    pub(crate) fn abandon(self, number: u32, hand_over: impl FnOnce()) {
        // Relaxed: what the calling thread has written; else it is another's.
        let mut word = self.0.lock.load(Ordering::Relaxed);
        loop {
            if word & libc::FUTEX_TID_MASK != number {
                return;
            }
            // The kernel does not, but the number will be another's. Relaxed: the exchange publishes it.
            self.0.owner.store(0, Ordering::Relaxed);
            if word & libc::FUTEX_WAITERS != 0 && self.bits() & INHERITS != 0 {
                return hand_over();
            }
            let left = word & libc::FUTEX_WAITERS | libc::FUTEX_OWNER_DIED;
            // Release: publishes what its holder has written. Relaxed: nothing is seen.
            match self.0.lock.compare_exchange(word, left, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(changed) => word = changed,
            }
        }
        if word & libc::FUTEX_WAITERS != 0 {
            futex::wake_one_among_processes(&self.0.lock);
        }
    }

    /// Has the kernel give one that inherits priority to the first who waits for it. The calling OS thread must hold it.
    pub(crate) fn hand_over(self) {
        futex::unlock_inheriting(&self.0.lock, self.bits() & SHARED != 0);
    }

    /// Makes a robust one, which the caller has just taken, say that its last holder has ended.
    pub(crate) fn make_inconsistent(self) {
        // Relaxed: the caller holds it, and whoever gets it next does so by its word.
        self.0.owner.store(INCONSISTENT, Ordering::Relaxed);
    }

    fn kind(self) -> libc::c_int {
        self.bits() & TYPE
    }

    #[inline]
    fn bits(self) -> libc::c_int {
        // Relaxed: it is set once, before anybody uses the mutex.
        self.0.kind.load(Ordering::Relaxed)
    }
}

/// `pthread_mutex_lock`, which stops the OS thread for `limit` at most, and then says ETIMEDOUT.
///
/// # Safety
///
/// As for that.
pub(crate) unsafe fn lock_for(mutex: *mut libc::pthread_mutex_t, limit: Duration) -> libc::c_int {
    let mut now = timespec(Duration::ZERO);
    // The OS thread's clock, whatever a world has. SAFETY: valid for writes.
    unsafe { original::clock_gettime(libc::CLOCK_REALTIME, &mut now) };
    let until = timespec(Duration::new(now.tv_sec.cast_unsigned(), now.tv_nsec as u32) + limit);
    // SAFETY: the caller's contract; the time is valid for reads.
    unsafe { original::pthread_mutex_timedlock(mutex, &until) }
}

/// The number by which the C library knows who calls: of a mutex that is taken here and now.
pub(crate) fn own_number() -> i32 {
    let mut mutex = MaybeUninit::new(libc::PTHREAD_MUTEX_INITIALIZER);
    // SAFETY: a mutex of this frame's, initialised, which nobody else knows.
    unsafe { original::pthread_mutex_lock(mutex.as_mut_ptr()) };
    // SAFETY: as above.
    let owner = unsafe { MutexView::new(mutex.as_ptr()) }.owner();
    // SAFETY: as above; taken just now.
    unsafe { original::pthread_mutex_unlock(mutex.as_mut_ptr()) };
    owner
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a mutex of this kind, robust or not, with this protocol, and runs `run` with it.
    fn of_kind(
        kind: libc::c_int,
        robust: bool,
        protocol: libc::c_int,
        run: impl FnOnce(*mut libc::pthread_mutex_t),
    ) {
        let mut attributes = MaybeUninit::uninit();
        let mut mutex = MaybeUninit::uninit();
        // SAFETY: valid for writes.
        assert_eq!(unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) }, 0);
        // SAFETY: initialised.
        assert_eq!(unsafe { libc::pthread_mutexattr_settype(attributes.as_mut_ptr(), kind) }, 0);
        let robust = libc::c_int::from(robust);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), robust) }, 0);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::pthread_mutexattr_setprotocol(attributes.as_mut_ptr(), protocol) }, 0);
        // SAFETY: the mutex is valid for writes, the attributes are initialised.
        assert_eq!(unsafe { libc::pthread_mutex_init(mutex.as_mut_ptr(), attributes.as_ptr()) }, 0);
        run(mutex.as_mut_ptr());
    }

    #[test]
    fn a_mutex_says_what_the_c_library_does_with_it() {
        // SAFETY: takes nothing.
        let number = unsafe { libc::gettid() };
        assert_eq!(own_number(), number);
        assert_ne!(std::thread::spawn(own_number).join().unwrap(), number);
        let kinds = [
            (libc::PTHREAD_MUTEX_NORMAL, false),
            (libc::PTHREAD_MUTEX_RECURSIVE, true),
            (libc::PTHREAD_MUTEX_ERRORCHECK, true),
            (3, false), // PTHREAD_MUTEX_ADAPTIVE_NP
        ];
        let protocols = [libc::PTHREAD_PRIO_NONE, libc::PTHREAD_PRIO_INHERIT];
        let others = [false, true].map(|robust| protocols.map(|protocol| (robust, protocol)));
        for ((kind, knows), (robust, protocol)) in
            kinds.into_iter().flat_map(|kind| others.into_iter().flatten().map(move |other| (kind, other)))
        {
            of_kind(kind, robust, protocol, |mutex| {
                // SAFETY: initialised, and it stays.
                let view = unsafe { MutexView::new(mutex) };
                assert_eq!((view.owner(), view.knows_its_holder()), (0, knows));
                assert_eq!(
                    (view.is_robust(), view.is_held_by_os_threads()),
                    (robust, robust || protocol != protocols[0])
                );
                for times in 1..=1 + u32::from(kind == libc::PTHREAD_MUTEX_RECURSIVE) {
                    // SAFETY: initialised; taken again only if it is recursive.
                    assert_eq!(unsafe { original::pthread_mutex_lock(mutex) }, 0);
                    assert_eq!((view.owner(), view.is_held_again()), (number, times > 1));
                }
                while view.owner() != 0 {
                    // SAFETY: held by this thread.
                    assert_eq!(unsafe { original::pthread_mutex_unlock(mutex) }, 0);
                }
            });
        }
        of_kind(libc::PTHREAD_MUTEX_NORMAL, false, libc::PTHREAD_PRIO_PROTECT, |mutex| {
            // SAFETY: initialised, and it stays.
            let view = unsafe { MutexView::new(mutex) };
            assert_eq!((view.owner(), view.is_robust(), view.is_held_by_os_threads()), (0, false, true));
        });
    }
}
