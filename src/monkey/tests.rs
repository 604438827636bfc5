//! The library's own locks and waits never come by the functions of this room.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use super::parts::ASKED;
use crate::channel::bounded;
use crate::hub::hub;
use crate::net::unix::UnixStream;
use crate::sync::Mutex;
use crate::sys::lock::Lock;
use crate::task::{scope, sleep, yield_now};
use crate::threadpool::ThreadPool;

/// Runs `work` on this OS thread, and tells how often it came by.
fn calls_of(work: impl FnOnce()) -> usize {
    hub();
    let before = ASKED.get();
    work();
    ASKED.get() - before
}

#[test]
fn what_std_does_is_counted() {
    assert_eq!(calls_of(thread::yield_now), 1);
    assert_eq!(calls_of(|| thread::sleep(Duration::from_nanos(1))), 1);
}

#[test]
fn who_finds_a_lock_held_gives_way_past_them() {
    let lock = Lock::new(());
    // The clock of the contender's processor time, once it has found the lock held.
    let contended = AtomicI32::new(0);
    let held = lock.lock();
    thread::scope(|scope| {
        let contender = scope.spawn(|| {
            let mut clock = 0;
            // SAFETY: takes nothing.
            let thread = unsafe { libc::pthread_self() };
            // SAFETY: the thread is the calling one, and `clock` valid for writes.
            let failed = unsafe { libc::pthread_getcpuclockid(thread, &mut clock) };
            assert_eq!(failed, 0);
            calls_of(|| {
                let _held = lock.lock_after(|| contended.store(clock, SeqCst));
            })
        });
        while contended.load(SeqCst) == 0 {
            thread::yield_now();
        }
        // Some milliseconds of its processor are thousands of turns, of which it spins for a hundred.
        let used = || {
            let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: `time` is valid for writes, and the thread lives until the lock is free.
            unsafe { libc::clock_gettime(contended.load(SeqCst), &mut time) };
            Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
        };
        let start = used();
        while used() - start < Duration::from_millis(5) {
            thread::sleep(Duration::from_millis(1));
        }
        drop(held);
        assert_eq!(contender.join().unwrap(), 0);
    });
}

#[test]
fn who_waits_for_others_goes_past_them() {
    let (sender, receiver) = bounded(0);
    let (mutex, pool) = (Mutex::new(0), ThreadPool::new(1));
    let (one, other) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..100 {
                sender.send(()).unwrap();
                *mutex.lock().unwrap() += 1;
            }
        });
        let calls = calls_of(|| {
            for _ in 0..100 {
                receiver.recv().unwrap();
                *mutex.lock().unwrap() += 1;
                yield_now();
            }
            sleep(Duration::from_millis(1));
        });
        assert_eq!(calls, 0, "locks and channels of two OS threads");
    });
    // Its thread waits for work in between.
    let calls = calls_of(|| (0..100).for_each(|_| pool.unblock(|| ())));
    assert_eq!(calls, 0, "a pool");
    let exchange = || {
        scope(|scope| {
            scope.spawn(|| (&other).read_exact(&mut [0; 100]).unwrap());
            for _ in 0..100 {
                (&one).write_all(&[0]).unwrap();
                yield_now();
            }
        });
    };
    // Whatever the first wait for a descriptor opens and closes.
    exchange();
    assert_eq!(calls_of(exchange), 0, "a socket");
}
