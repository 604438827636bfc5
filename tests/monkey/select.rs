//! Code that is an event loop already.

use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::time::{Duration, Instant};

use greenloop::monkey::original;
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
        let (low, _other) = UnixStream::pair().unwrap();
        // A number that no other test's descriptor gets once it is closed.
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::fcntl(low.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 800) };
        // SAFETY: the kernel has just made it, and nobody else owns it.
        let one = unsafe { OwnedFd::from_raw_fd(fd) };
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

/// A mask that is the thread's own already: nothing but the descriptors is waited for.
#[test]
fn a_mask_that_changes_nothing_is_none() {
    const MASKED: [fn(i32, &libc::timespec, *const libc::sigset_t) -> i32; 3] = [
        |fd, timeout, mask| {
            let mut set = [libc::pollfd { fd, events: libc::POLLIN, revents: 0 }];
            // SAFETY: the set is valid for its length, and the mask for reads.
            unsafe { libc::ppoll(set.as_mut_ptr(), 1, timeout, mask) }
        },
        |fd, timeout, mask| {
            // SAFETY: zeros are an empty set.
            let mut set: libc::fd_set = unsafe { std::mem::zeroed() };
            // SAFETY: the number is small.
            unsafe { libc::FD_SET(fd, &mut set) };
            // SAFETY: a set or null, a time, and a mask.
            unsafe { libc::pselect(fd + 1, &mut set, ptr::null_mut(), ptr::null_mut(), timeout, mask) }
        },
        |fd, timeout, mask| {
            // SAFETY: takes no pointers.
            let set = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
            // SAFETY: the new descriptor is nobody else's.
            let set = unsafe { OwnedFd::from_raw_fd(set) };
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 7 };
            // SAFETY: the event is valid.
            assert_eq!(unsafe { libc::epoll_ctl(set.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) }, 0);
            let timeout = timeout.tv_nsec / 1_000_000;
            // SAFETY: there is room for one event, and the mask is valid for reads.
            unsafe { libc::epoll_pwait(set.as_raw_fd(), &mut event, 1, timeout as i32, mask) }
        },
    ];
    patched(|| {
        let timeout = libc::timespec { tv_sec: 0, tv_nsec: 30_000_000 };
        // SAFETY: zeros are a set.
        let mut mask: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: no new mask, and a place for the present one.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &mut mask) };
        for wait in MASKED {
            let (one, mut other) = UnixStream::pair().unwrap();
            let fd = one.as_raw_fd();
            assert_eq!(crate::yields(move || wait(fd, &timeout, &mask)), 0);
            other.write_all(b"x").unwrap();
            assert_eq!(spawn(move || wait(fd, &timeout, &mask)).join().unwrap(), 1);
            // Another mask is the C library's to wait with.
            let mut changed = mask;
            // SAFETY: a set, and the number of a signal.
            unsafe { libc::sigaddset(&mut changed, libc::SIGWINCH) };
            assert_eq!(spawn(move || wait(fd, &timeout, &changed)).join().unwrap(), 1);
        }
    });
}

#[test]
fn a_select_knows_numbers_beyond_those_of_its_type() {
    patched(|| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: valid for writes.
        assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }, 0);
        limit.rlim_cur = limit.rlim_max.min(10_000);
        // SAFETY: valid for reads.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
        let (one, mut other) = UnixStream::pair().unwrap();
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::fcntl(one.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 2000) };
        assert!(fd >= 2000);
        // SAFETY: the new descriptor is nobody else's.
        let high = unsafe { OwnedFd::from_raw_fd(fd) };
        // As high as the kernel looks, and as high as a number can be.
        for count in [fd + 1, i32::MAX] {
            let wait = move |timeout: i64| {
                let mut set = vec![0_u64; (1 << 20) / 64];
                set[fd as usize / 64] |= 1 << (fd % 64);
                let mut timeout = libc::timeval { tv_sec: 0, tv_usec: timeout };
                let place = set.as_mut_ptr().cast();
                // SAFETY: a set that is longer than the process's table, and a time.
                let found =
                    unsafe { libc::select(count, place, ptr::null_mut(), ptr::null_mut(), &mut timeout) };
                (found, set[fd as usize / 64] >> (fd % 64) & 1)
            };
            assert_eq!(crate::yields(move || wait(30_000)), (0, 0));
            let waiter = spawn(move || wait(900_000));
            yield_now();
            assert!(!waiter.is_finished());
            other.write_all(b"x").unwrap();
            assert_eq!(waiter.join().unwrap(), (1, 1));
            std::io::Read::read_exact(&mut &one, &mut [0]).unwrap();
        }
        drop(high);
    });
}

/// The kernel reads and writes no more of a set than the highest number says.
#[test]
fn a_select_looks_no_further_than_it_must() {
    patched(|| {
        const PAGE: usize = 4096;
        let (read_write, private) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: new memory, wherever there is room.
        let pages = unsafe { libc::mmap(ptr::null_mut(), 2 * PAGE, read_write, private, -1, 0) };
        assert_ne!(pages, libc::MAP_FAILED);
        // SAFETY: the second of the two pages.
        assert_eq!(unsafe { libc::mprotect(pages.wrapping_byte_add(PAGE), PAGE, libc::PROT_NONE) }, 0);
        let address = pages.expose_provenance();
        let found = crate::yields(move || {
            let mut timeout = libc::timeval { tv_sec: 0, tv_usec: 30_000 };
            let set = ptr::with_exposed_provenance_mut(address + PAGE - 8);
            // SAFETY: a set of 64 numbers.
            unsafe { libc::select(64, set, ptr::null_mut(), set, &mut timeout) }
        });
        assert_eq!(found, 0);
        // SAFETY: nobody uses it any more.
        assert_eq!(unsafe { libc::munmap(pages, 2 * PAGE) }, 0);
    });
}

#[test]
fn the_microseconds_of_a_select_may_be_a_second_or_more() {
    type Select = unsafe fn(&mut libc::timeval) -> i32;
    patched(|| {
        let start = Instant::now();
        let waited = crate::yields(|| {
            let mut timeout = libc::timeval { tv_sec: 0, tv_usec: 1_010_000 };
            // SAFETY: no sets, and a time.
            unsafe { libc::select(0, ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), &mut timeout) }
        });
        assert_eq!(waited, 0);
        assert!(start.elapsed() >= Duration::from_millis(1010));
        let ways: [Select; 2] = [
            // SAFETY: no sets, and a time.
            |timeout| unsafe { libc::select(0, ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), timeout) },
            // SAFETY: as above.
            |timeout| unsafe {
                original::select(0, ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), timeout)
            },
        ];
        // The last one is 32 bits and a little.
        for (tv_sec, tv_usec) in [(0, 0), (0, -1), (-1, 0), (-1, 2_000_000), (0, 1 << 31), (0, (1 << 32) + 1)]
        {
            let told = ways.map(|select| {
                spawn(move || {
                    let mut timeout = libc::timeval { tv_sec, tv_usec };
                    // SAFETY: a time.
                    let result = unsafe { select(&mut timeout) };
                    (result, (result == -1).then(|| std::io::Error::last_os_error().raw_os_error()))
                })
                .join()
                .unwrap()
            });
            assert_eq!(told[0], told[1], "{tv_sec} s, {tv_usec} us");
        }
    });
}
