//! The calling thread's errno, which whoever runs in between must leave as it was.

/// Runs `leave`, in which other green threads of this OS thread may run. Afterwards errno is what it was.
#[inline(always)]
pub(crate) fn keeping<R>(leave: impl FnOnce() -> R) -> R {
    #[cfg(feature = "monkey")]
    {
        // SAFETY: takes nothing, and returns a valid pointer to the calling thread's own errno.
        let place = unsafe { libc::__errno_location() };
        // SAFETY: as above.
        let kept = unsafe { *place };
        let result = leave();
        // SAFETY: as above. A fiber goes on with the thread-local variables with which it has left.
        unsafe { *place = kept };
        result
    }
    #[cfg(not(feature = "monkey"))]
    leave()
}
