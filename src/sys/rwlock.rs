//! What a read-write lock of C's says of itself: who has it for writing.
//!
//! glibc tells debuggers the place of that. The tests hold it to what the library does.

use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// The beginning of a `pthread_rwlock_t`.
#[repr(C)]
struct Layout {
    words: [AtomicU32; 6],
    /// The number of the thread that has it for writing, or zero.
    writer: AtomicI32,
}

/// Who has `lock` for writing, as the C library numbers threads; zero if nobody does.
///
/// # Safety
///
/// `lock` must be initialised.
#[inline]
pub(crate) unsafe fn writer(lock: *const libc::pthread_rwlock_t) -> i32 {
    // SAFETY: the caller's contract; it begins with these fields, which the C library changes as atomics.
    let layout: &Layout = unsafe { &*lock.cast() };
    // Relaxed: what the calling OS thread has written itself it reads; what others write is out of date at once.
    layout.writer.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mutex::own_number;

    #[test]
    fn a_lock_names_its_writer() {
        let mut lock = libc::PTHREAD_RWLOCK_INITIALIZER;
        let lock = &raw mut lock;
        // SAFETY: a lock of this frame's, in this and all of what follows.
        assert_eq!(unsafe { writer(lock) }, 0);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::pthread_rwlock_tryrdlock(lock) }, 0);
        // SAFETY: as above.
        assert_eq!(unsafe { writer(lock) }, 0);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::pthread_rwlock_unlock(lock) }, 0);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::pthread_rwlock_trywrlock(lock) }, 0);
        // SAFETY: as above.
        assert_eq!(unsafe { writer(lock) }, own_number());
        // SAFETY: as above.
        assert_eq!(unsafe { libc::pthread_rwlock_unlock(lock) }, 0);
        // SAFETY: as above.
        assert_eq!(unsafe { writer(lock) }, 0);
    }
}
