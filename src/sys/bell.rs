//! A bell that another OS thread rings to end a hub's sleep: an eventfd.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::replaceable::Replaceable;
use super::{SystemCall, original};

/// An eventfd: readable from [`notify`](Bell::notify) until [`clear`](Bell::clear).
#[derive(Debug)]
pub(crate) struct Bell(Replaceable);

impl Bell {
    pub(crate) fn new() -> io::Result<Bell> {
        open().map(|fd| Bell(Replaceable::new(fd)))
    }

    /// One that another process has made.
    pub(crate) fn from_descriptor(fd: OwnedFd) -> Bell {
        Bell(Replaceable::new(fd))
    }

    /// Rings. The only failure possible, a full counter, means that it rings already.
    pub(crate) fn notify(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: `one` is valid for the 8 bytes that are read from it.
        unsafe { original::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Stops the ringing. `false` if the number does not mean a bell any more: somebody else has closed it.
    pub(crate) fn clear(&self) -> bool {
        let mut count = [0u8; 8];
        // SAFETY: `count` is valid for the 8 bytes that are written to it.
        let read =
            unsafe { original::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) }.check();
        match read {
            Ok(length) => length == size_of_val(&count) as isize,
            // It does not ring.
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    /// Puts another one in the place of one that somebody else has closed.
    pub(crate) fn renew(&self) -> io::Result<()> {
        self.0.replace(open()?);
        Ok(())
    }
}

fn open() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }.check()?;
    // SAFETY: the kernel has just made `fd`, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
