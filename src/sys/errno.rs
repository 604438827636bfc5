//! The calling thread's errno, which whoever runs in between must leave as it was.

/// What errno was when this was made, and is again when this is dropped, though other green threads of this OS thread may have run. No
/// closure, which would be a call in the middle of each switch: the processor mispredicts its return.
pub(crate) struct Kept(#[cfg(feature = "monkey")] libc::c_int);

impl Kept {
    #[inline(always)]
    pub(crate) fn now() -> Kept {
        #[cfg(feature = "monkey")]
        // SAFETY: takes nothing, and returns a valid pointer to the calling thread's own errno.
        let place = unsafe { libc::__errno_location() };
        Kept(
            // SAFETY: as above.
            #[cfg(feature = "monkey")]
            unsafe {
                *place
            },
        )
    }
}

#[cfg(feature = "monkey")]
impl Drop for Kept {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: as in `now`. A fiber goes on with the thread-local variables with which it has left.
        let place = unsafe { libc::__errno_location() };
        // SAFETY: as in `now`.
        unsafe { *place = self.0 };
    }
}
