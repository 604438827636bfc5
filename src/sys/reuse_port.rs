//! Several listeners at one address: SO_REUSEPORT.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::SystemCall;
use super::socket::{self, Address};

/// How many connections wait at most to be accepted. The kernel has a limit of its own.
const BACKLOG: u32 = 4096;

/// A listener at `address` beside the one there, `fd`, which is made to allow that.
pub(crate) fn listener_beside(fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<OwnedFd> {
    allow(fd, libc::SO_REUSEPORT)?;
    let address = Address::from(address);
    let listener = socket::stream(&address)?;
    allow(listener.as_fd(), libc::SO_REUSEADDR)?;
    allow(listener.as_fd(), libc::SO_REUSEPORT)?;
    socket::bind(listener.as_fd(), &address)?;
    socket::listen(listener.as_fd(), BACKLOG)?;
    Ok(listener)
}

fn allow(fd: BorrowedFd<'_>, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = mem::size_of_val(&on) as libc::socklen_t;
    // SAFETY: `on` is valid for reads of `length` bytes.
    unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const on).cast(), length) }
        .check()?;
    Ok(())
}
