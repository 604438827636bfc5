//! Code that is an event loop already.

use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::time::{Duration, Instant};

use greenloop::{spawn, yield_now};

use crate::patched;

/// Ways to wait for one descriptor to be readable, in milliseconds: how many were.
const WAYS: [fn(i32, i32) -> i32; 5] = [
    |fd, timeout| {
        let mut set = [libc::pollfd { fd, events: libc::POLLIN, revents: 0 }];
        // SAFETY: the set is valid for its length.
        unsafe { libc::poll(set.as_mut_ptr(), 1, timeout) }
    },
    |fd, timeout| {
        let mut set = [libc::pollfd { fd, events: libc::POLLIN, revents: 0 }];
        let timeout = libc::timespec { tv_sec: 0, tv_nsec: i64::from(timeout) * 1_000_000 };
        // SAFETY: the set is valid for its length, and there is no mask.
        unsafe { libc::ppoll(set.as_mut_ptr(), 1, &timeout, ptr::null()) }
    },
    |fd, timeout| {
        // SAFETY: zeros are an empty set.
        let mut set: libc::fd_set = unsafe { std::mem::zeroed() };
        // SAFETY: the number is small.
        unsafe { libc::FD_SET(fd, &mut set) };
        let mut timeout = libc::timeval { tv_sec: 0, tv_usec: i64::from(timeout) * 1000 };
        // SAFETY: a set or null, and a time.
        let count = unsafe { libc::select(fd + 1, &mut set, ptr::null_mut(), ptr::null_mut(), &mut timeout) };
        // SAFETY: as above.
        assert_eq!(unsafe { libc::FD_ISSET(fd, &set) }, count == 1);
        count
    },
    |fd, timeout| {
        // SAFETY: zeros are an empty set.
        let mut set: libc::fd_set = unsafe { std::mem::zeroed() };
        // SAFETY: the number is small.
        unsafe { libc::FD_SET(fd, &mut set) };
        let timeout = libc::timespec { tv_sec: 0, tv_nsec: i64::from(timeout) * 1_000_000 };
        // SAFETY: a set or null, a time, and no mask.
        unsafe { libc::pselect(fd + 1, &mut set, ptr::null_mut(), ptr::null_mut(), &timeout, ptr::null()) }
    },
    |fd, timeout| {
        // SAFETY: takes no pointers.
        let set = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        // SAFETY: the new descriptor is nobody else's.
        let set = unsafe { OwnedFd::from_raw_fd(set) };
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 7 };
        // SAFETY: the event is valid.
        assert_eq!(unsafe { libc::epoll_ctl(set.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) }, 0);
        // SAFETY: there is room for one event.
        unsafe { libc::epoll_wait(set.as_raw_fd(), &mut event, 1, timeout) }
    },
];

#[test]
fn each_waits_until_something_is_ready() {
    patched(|| {
        for way in WAYS {
            let (one, mut other) = UnixStream::pair().unwrap();
            let waiter = spawn(move || way(one.as_raw_fd(), 900));
            yield_now();
            assert!(!waiter.is_finished());
            other.write_all(b"x").unwrap();
            assert_eq!(waiter.join().unwrap(), 1);
        }
    });
}

#[test]
fn each_ends_at_its_time() {
    patched(|| {
        for way in WAYS {
            let (one, _other) = UnixStream::pair().unwrap();
            let start = Instant::now();
            assert_eq!(crate::yields(move || way(one.as_raw_fd(), 30)), 0);
            assert!(start.elapsed() >= Duration::from_millis(30));
        }
    });
}

#[test]
fn each_looks_once_with_no_time() {
    patched(|| {
        for way in WAYS {
            let (one, mut other) = UnixStream::pair().unwrap();
            other.write_all(b"x").unwrap();
            assert_eq!(spawn(move || way(one.as_raw_fd(), 0)).join().unwrap(), 1);
        }
    });
}

/// Conformance 142.
#[test]
fn a_closed_number_is_told_of() {
    patched(|| {
        let (one, _other) = UnixStream::pair().unwrap();
        let fd = one.as_raw_fd();
        let waiter = spawn(move || {
            let mut set = [libc::pollfd { fd, events: libc::POLLIN, revents: 0 }];
            // SAFETY: the set is valid for its length.
            (unsafe { libc::poll(set.as_mut_ptr(), 1, -1) }, set[0].revents)
        });
        yield_now();
        drop(one);
        assert_eq!(waiter.join().unwrap(), (1, libc::POLLNVAL));
    });
}
