//! Whose a socket's other end is.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::SystemCall;

/// The user that this process acts as.
pub(crate) fn own_user() -> u32 {
    // SAFETY: takes nothing, and cannot fail.
    unsafe { libc::geteuid() }
}

/// The user of the process that has made the other end of a Unix socket, or has connected it.
pub(crate) fn peer_user(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = mem::size_of::<libc::ucred>() as libc::socklen_t;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    // SAFETY: `peer` is valid for writes of `length` bytes.
    unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut peer).cast(), &mut length) }
        .check()?;
    Ok(peer.uid)
}

/// Whether that is the user of this process, or root.
pub(crate) fn is_of_own_user(socket: BorrowedFd<'_>) -> bool {
    peer_user(socket).is_ok_and(|user| user == own_user() || user == 0)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::{descriptor, packet};

    #[test]
    fn the_other_end_of_a_pair_is_ones_own() {
        let (left, _right) = packet::pair().unwrap();
        assert_eq!(peer_user(left.as_fd()).unwrap(), own_user());
        assert!(is_of_own_user(left.as_fd()));
    }

    #[test]
    fn what_is_no_such_socket_is_nobodys() {
        let (reader, _writer) = descriptor::pipe().unwrap();
        assert!(!is_of_own_user(reader.as_fd()));
    }
}
