//! References that stay in their OS thread.

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;

/// A reference to something that lives as long as its OS thread runs greenlets: a fiber, the thread's own record, its hub.
///
/// It is neither `Send` nor `Sync`, so it cannot outlive the thread in another one.
pub(crate) struct Local<T>(NonNull<T>);

impl<T> Local<T> {
    /// # Safety
    ///
    /// `target` must be valid for shared access until the thread's last use of the reference.
    pub(crate) unsafe fn new(target: NonNull<T>) -> Local<T> {
        Local(target)
    }

    #[inline]
    pub(crate) fn as_ptr(self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Clone for Local<T> {
    #[inline]
    fn clone(&self) -> Local<T> {
        *self
    }
}

impl<T> Copy for Local<T> {}

impl<T> PartialEq for Local<T> {
    #[inline]
    fn eq(&self, other: &Local<T>) -> bool {
        self.0 == other.0
    }
}

impl<T> fmt::Debug for Local<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Local({:p})", self.0)
    }
}

impl<T> Deref for Local<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: who made the reference vouched that the target outlives all its uses, and it is only shared.
        unsafe { self.0.as_ref() }
    }
}
