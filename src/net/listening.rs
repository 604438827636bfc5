//! The mode of a listener's open file.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use crate::sys::mode::Nonblocking;

/// That a listener's file is O_NONBLOCK: for `accept` the kernel has no MSG_DONTWAIT.
///
/// Clones have one file, so they share this, and the last of them leaves it as it was found, unless other processes have it from here.
/// Dropped before the descriptor.
#[derive(Debug)]
pub(super) struct Listening {
    /// `None` once that is over.
    shared: Option<Arc<Nonblocking>>,
    /// This clone's descriptor.
    fd: RawFd,
}

impl Listening {
    pub(super) fn new(listener: &impl AsRawFd) -> Listening {
        let fd = listener.as_raw_fd();
        // It fails for no open descriptor; if it did, `accept` would wait as std's does.
        Listening { shared: Nonblocking::begin(fd).ok().map(Arc::new), fd }
    }

    /// For a clone of the listener.
    pub(super) fn of_clone(&self, listener: &impl AsRawFd) -> Listening {
        Listening { shared: self.shared.clone(), fd: listener.as_raw_fd() }
    }

    /// Leaves the file to whoever gets the descriptor. Returns whether no clone relies on the flag any more.
    pub(super) fn release(mut self) -> bool {
        self.shared.take().and_then(Arc::into_inner).map(Nonblocking::leave_so).is_some()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(last) = self.shared.take().and_then(Arc::into_inner) {
            last.end_if_alone(self.fd);
        }
    }
}
