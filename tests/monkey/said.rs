//! What a call of C's says.

use std::io;

use libc::c_int;

/// What errno is before each call, and nobody sets.
pub(crate) const UNTOUCHED: c_int = 9_999;

/// What a call returns, and errno then.
pub(crate) type Said = (i64, c_int);

pub(crate) fn set_errno(errno: c_int) {
    // SAFETY: takes nothing, and returns a valid pointer to the calling thread's own errno.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    unsafe { *place = errno };
}

pub(crate) fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap()
}

macro_rules! said {
    ($call:expr) => {{
        $crate::said::set_errno($crate::said::UNTOUCHED);
        // SAFETY: what the call looks at is there, or null, which the kernel refuses.
        let result = unsafe { $call };
        (result as i64, $crate::said::errno())
    }};
}
