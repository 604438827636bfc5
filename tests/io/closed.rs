//! Descriptors that are not open, which safe code has no words for.

#![expect(unsafe_code, reason = "a test of what happens when a caller breaks the rules of descriptors")]

use std::os::fd::{BorrowedFd, RawFd};

/// A number that no open file of this process has, and none will get: they are given out from the lowest up.
pub(crate) fn free_number() -> RawFd {
    1_000_000
}

/// The number as a descriptor, whatever it means now and later.
pub(crate) fn number(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: it is not -1. That it stays open is not so, on purpose: it is only waited for, and the kernel says EBADF, or
    // tells of the file that has the number by then.
    unsafe { BorrowedFd::borrow_raw(number) }
}
