//! Conformance 133: the child of a fork has pools that work, though it has none of the parent's threads.

#![expect(unsafe_code, reason = "fork has no safe form")]

use std::io::Read;
use std::thread;
use std::time::Duration;

use greenloop::threadpool::{ThreadPool, unblock};

use crate::support::run_child;
use crate::{LIMIT, gate};

#[test]
fn a_child_has_pools_that_work() {
    let child = run_child(LIMIT, || {
        let pool = ThreadPool::new(2);
        let (gate, job) = gate();
        let busy = pool.spawn(job);
        gate.wait_until_begun();
        // Idle threads of two pools, which the child must not count on.
        pool.unblock(|| ());
        unblock(|| ());
        let (mut reader, writer) = std::io::pipe().unwrap();
        // On a thread without a hub: the child gets one of its own.
        let forked = thread::scope(|scope| {
            let fork = || {
                // SAFETY: the child does what a child may that shares nothing it needs with threads that are gone: glibc
                // keeps its allocator and its pthreads usable, and the pools are what is tested. It ends by `_exit`.
                match unsafe { libc::fork() } {
                    0 => {
                        let values = [
                            pool.unblock(|| 1),
                            unblock(|| 2),
                            pool.spawn(slow).join().unwrap_or(0),
                            pool.imap(0..5, |number| number).flatten().sum(),
                        ];
                        let mut writer = &writer;
                        let _ = std::io::Write::write_all(&mut writer, &values);
                        // SAFETY: takes no pointers, and runs nothing of the parent's.
                        unsafe { libc::_exit(0) }
                    }
                    child => child,
                }
            };
            scope.spawn(fork).join().unwrap()
        });
        assert!(forked > 0);
        drop(writer);
        let mut values = Vec::new();
        reader.read_to_end(&mut values).unwrap();
        assert_eq!(values, [1, 2, 3, 10]);
        // The parent's pools go on as before.
        assert_eq!(unblock(|| 4), 4);
        gate.open();
        busy.join().unwrap();
    });
    let Some(child) = child else { return };
    assert!(child.status.success(), "{child:?}");
}

/// Longer than a hub waits before it looks for a deadlock.
fn slow() -> u8 {
    thread::sleep(Duration::from_millis(60));
    3
}
