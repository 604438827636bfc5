//! Waiting for signals.

use std::mem;
use std::ptr;
use std::time::{Duration, Instant};

use greenloop::monkey::original;
use greenloop::{sleep, spawn, with_timeout};
use libc::{c_int, siginfo_t, sigset_t, timespec};

use crate::{patched, yields};

/// A set of one signal, which is blocked on the calling thread from now on: these tests are on threads of their own, and send
/// signals to those only.
fn blocked(signal: c_int) -> sigset_t {
    // SAFETY: zeros are a set.
    let mut set: sigset_t = unsafe { mem::zeroed() };
    // SAFETY: a set.
    unsafe { libc::sigemptyset(&mut set) };
    // SAFETY: a set, and the number of a signal.
    unsafe { libc::sigaddset(&mut set, signal) };
    // SAFETY: a set, and nothing to be written.
    assert_eq!(unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut()) }, 0);
    set
}

fn send(signal: c_int) {
    // SAFETY: no arguments.
    let this = unsafe { libc::pthread_self() };
    // SAFETY: the calling thread, and a signal that it blocks.
    assert_eq!(unsafe { libc::pthread_kill(this, signal) }, 0);
}

type Wait = fn(&sigset_t) -> c_int;

/// Ways to wait: which signal has come.
const WAITS: [Wait; 3] = [
    |set| {
        let mut signal = 0;
        // SAFETY: a set, and a place for a number.
        assert_eq!(unsafe { libc::sigwait(set, &mut signal) }, 0);
        signal
    },
    |set| {
        // SAFETY: zeros are numbers.
        let mut information: siginfo_t = unsafe { mem::zeroed() };
        // SAFETY: a set, and a place for what is told.
        let signal = unsafe { libc::sigwaitinfo(set, &mut information) };
        assert_eq!((information.si_signo, information.si_code), (signal, libc::SI_USER));
        signal
    },
    |set| {
        let timeout = timespec { tv_sec: 60, tv_nsec: 0 };
        // SAFETY: a set, a time, and nothing to be told.
        unsafe { libc::sigtimedwait(set, ptr::null_mut(), &timeout) }
    },
];

#[test]
fn a_signal_is_waited_for_beside_others() {
    patched(|| {
        let set = blocked(libc::SIGUSR1);
        for wait in WAITS {
            let waiter = spawn(move || wait(&set));
            sleep(Duration::from_millis(5));
            assert!(!waiter.is_finished());
            send(libc::SIGUSR1);
            assert_eq!(waiter.join().unwrap(), libc::SIGUSR1);
            send(libc::SIGUSR1);
            assert_eq!(spawn(move || wait(&set)).join().unwrap(), libc::SIGUSR1);
        }
        let waiters = WAITS.map(|wait| spawn(move || wait(&set)));
        sleep(Duration::from_millis(5));
        for taken in 0..3 {
            assert_eq!(waiters.iter().filter(|waiter| waiter.is_finished()).count(), taken);
            send(libc::SIGUSR1);
            while waiters.iter().filter(|waiter| waiter.is_finished()).count() == taken {
                sleep(Duration::from_millis(1));
            }
        }
    });
}

#[test]
fn a_wait_for_a_signal_ends_at_its_time() {
    patched(|| {
        let set = blocked(libc::SIGUSR1);
        let start = Instant::now();
        let told = yields(move || {
            let timeout = timespec { tv_sec: 0, tv_nsec: 30_000_000 };
            // SAFETY: a set, a time, and nothing to be told.
            let signal = unsafe { libc::sigtimedwait(&set, ptr::null_mut(), &timeout) };
            (signal, std::io::Error::last_os_error().raw_os_error())
        });
        assert_eq!(told, (-1, Some(libc::EAGAIN)));
        assert!(start.elapsed() >= Duration::from_millis(30));
        for (tv_sec, tv_nsec) in [(0, 0), (-1, 0), (0, -1), (0, 1_000_000_000)] {
            let ask = move |ours: bool| {
                let timeout = timespec { tv_sec, tv_nsec };
                let signal = match ours {
                    // SAFETY: as above.
                    true => unsafe { libc::sigtimedwait(&set, ptr::null_mut(), &timeout) },
                    // SAFETY: as above.
                    false => unsafe { original::sigtimedwait(&set, ptr::null_mut(), &timeout) },
                };
                (signal, std::io::Error::last_os_error().raw_os_error())
            };
            assert_eq!(spawn(move || ask(true)).join().unwrap(), ask(false), "{tv_sec} {tv_nsec}");
        }
    });
}

#[test]
fn a_time_limit_ends_a_wait_for_a_signal() {
    patched(|| {
        let set = blocked(libc::SIGUSR1);
        spawn(move || {
            let mut told = None;
            let limited = with_timeout(Duration::from_millis(20), || {
                // SAFETY: a set, and nothing to be told.
                let signal = unsafe { libc::sigwaitinfo(&set, ptr::null_mut()) };
                told = Some((signal, std::io::Error::last_os_error().raw_os_error()));
            });
            assert!(limited.is_err());
            assert_eq!(told, Some((-1, Some(libc::EINTR))));
        })
        .join()
        .unwrap();
    });
}
