//! Wakes that must not be lost.

#[cfg(feature = "monkey")]
mod patched {
    #![expect(unsafe_code, reason = "a fork, and what is to be done before it, as a C library does")]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant};

    use greenloop::monkey::{Parts, patch};
    use greenloop::sync::{Condvar, Mutex};
    use greenloop::{sleep, spawn, yield_now};

    use crate::support::{run_child, spawn_parked};

    /// Set while a fork is to hold the library's locks for as long as this.
    static SLOW: AtomicBool = AtomicBool::new(false);
    /// Set once it does.
    static HOLDS: AtomicBool = AtomicBool::new(false);
    /// Set once another green thread runs.
    static OTHER_RUNS: AtomicBool = AtomicBool::new(false);
    const HELD: Duration = Duration::from_millis(300);

    /// Registered first, so it runs last, with the locks held.
    extern "C" fn prepare() {
        HOLDS.store(SLOW.load(SeqCst), SeqCst);
        let end = Instant::now() + HELD;
        while SLOW.load(SeqCst) && Instant::now() < end {
            std::hint::spin_loop();
        }
    }

    /// A waiter for a condition gives its mutex to a hub whose door is locked, and so has to wait for a lock of the library's. The
    /// notification comes meanwhile.
    #[test]
    fn a_lock_of_the_librarys_does_not_switch() {
        let child = run_child(Duration::from_secs(30), || {
            // SAFETY: the function may run in any thread.
            assert_eq!(unsafe { libc::pthread_atfork(Some(prepare), None, None) }, 0);
            patch(Parts::TIME);
            let (mutex, condition) = (Arc::new(Mutex::new(())), Arc::new(Condvar::new()));
            let guard = mutex.lock().unwrap();
            let (parked, is_parked) = channel();
            let next = std::thread::spawn({
                let mutex = mutex.clone();
                move || {
                    let next = spawn_parked(move || drop(mutex.lock()));
                    parked.send(()).unwrap();
                    while !SLOW.load(SeqCst) {
                        std::hint::spin_loop();
                    }
                    // SAFETY: the child ends at once.
                    let child = unsafe { libc::fork() };
                    if child == 0 {
                        // SAFETY: as above.
                        unsafe { libc::_exit(0) };
                    }
                    SLOW.store(false, SeqCst);
                    next.join().unwrap();
                    // SAFETY: no status is asked for.
                    assert_eq!(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) }, child);
                }
            });
            is_parked.recv().unwrap();
            let notifier = std::thread::spawn({
                let condition = condition.clone();
                move || {
                    // In line, it gives the mutex to the other hub, whose door is locked.
                    while !format!("{condition:?}").contains("waiting: 1") {
                        std::hint::spin_loop();
                    }
                    // Until it would have switched.
                    let since = Instant::now();
                    while !OTHER_RUNS.load(SeqCst) && since.elapsed() < HELD / 3 {
                        std::hint::spin_loop();
                    }
                    condition.notify_one();
                }
            });
            // Would run if the lock switched, and keep the hub from looking at its letters no longer than it needs.
            let other = spawn(|| {
                loop {
                    OTHER_RUNS.store(true, SeqCst);
                    yield_now();
                }
            });
            SLOW.store(true, SeqCst);
            while !HOLDS.load(SeqCst) {
                std::hint::spin_loop();
            }
            let (start, limit) = (Instant::now(), Duration::from_secs(10));
            drop(condition.wait_timeout(guard, limit).unwrap());
            // It would be notified in the end all the same.
            assert!(start.elapsed() < limit, "the wake is lost");
            other.kill();
            next.join().unwrap();
            notifier.join().unwrap();
            sleep(Duration::ZERO);
        });
        let Some(child) = child else { return };
        assert!(child.status.success(), "{child:?}");
    }
}
