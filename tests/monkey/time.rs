//! Sleeps.

use std::thread;
use std::time::{Duration, Instant};

use greenloop::{joinall, spawn};

use crate::patched;

/// Conformance 158.
#[test]
fn a_thousand_sleepers_take_one_sleep() {
    patched(|| {
        let start = Instant::now();
        let sleepers: Vec<_> =
            (0..1000).map(|_| spawn(|| thread::sleep(Duration::from_millis(100)))).collect();
        joinall(&sleepers);
        assert!((Duration::from_millis(100)..Duration::from_secs(10)).contains(&start.elapsed()));
    });
}

#[test]
fn every_way_to_sleep_lasts_as_long_as_it_says() {
    patched(|| {
        let short = libc::timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        let sleeps: [fn(libc::timespec) -> i32; 5] = [
            // SAFETY: the pointer is valid; what is left need not be told.
            |short| unsafe { libc::nanosleep(&short, std::ptr::null_mut()) },
            // SAFETY: as above.
            |short| unsafe { libc::clock_nanosleep(libc::CLOCK_REALTIME, 0, &short, std::ptr::null_mut()) },
            |short| {
                let mut then = libc::timespec { tv_sec: 0, tv_nsec: 0 };
                // SAFETY: `then` is valid for writes.
                unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut then) };
                then.tv_nsec += short.tv_nsec;
                then.tv_sec += then.tv_nsec / 1_000_000_000;
                then.tv_nsec %= 1_000_000_000;
                let flags = libc::TIMER_ABSTIME;
                // SAFETY: the pointer is valid; what is left need not be told.
                unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, flags, &then, std::ptr::null_mut()) }
            },
            // SAFETY: takes no pointers.
            |_| unsafe { libc::usleep(20_000) },
            |_| {
                thread::sleep(Duration::from_millis(20));
                0
            },
        ];
        for sleep in sleeps {
            let start = Instant::now();
            assert_eq!(crate::yields(move || sleep(short)), 0);
            assert!(start.elapsed() >= Duration::from_millis(20));
        }
    });
}

#[test]
fn a_bad_duration_is_refused_as_ever() {
    patched(|| {
        spawn(|| {
            let bad = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
            // SAFETY: the pointer is valid; what is left need not be told.
            assert_eq!(unsafe { libc::nanosleep(&bad, std::ptr::null_mut()) }, -1);
            assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EINVAL));
        })
        .join()
        .unwrap();
    });
}

#[test]
fn giving_way_lets_others_run() {
    patched(|| {
        let order = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let tasks = ["A", "B"].map(|name| {
            let order = order.clone();
            spawn(move || {
                for turn in 1..=2 {
                    order.borrow_mut().push(format!("{turn}{name}"));
                    thread::yield_now();
                }
            })
        });
        joinall(&tasks);
        assert_eq!(*order.borrow(), ["1A", "1B", "2A", "2B"]);
    });
}
