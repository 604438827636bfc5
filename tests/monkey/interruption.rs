//! What kills and time limits do to calls from C.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloop::sync::Mutex;
use greenloop::{sleep, spawn, with_timeout, yield_now};

use crate::patched;

#[test]
fn a_kill_makes_a_call_fail_and_is_raised_at_the_next_wait_of_greenloop() {
    patched(|| {
        let (mut one, _other) = UnixStream::pair().unwrap();
        let (told, tell) = std::sync::mpsc::channel();
        let reader = spawn(move || {
            let first = one.read(&mut [0]).unwrap_err().raw_os_error();
            let second = one.read(&mut [0]).unwrap_err().raw_os_error();
            told.send((first, second)).unwrap();
            let start = Instant::now();
            std::thread::sleep(Duration::from_secs(1000));
            assert!(start.elapsed() < Duration::from_secs(500));
            sleep(Duration::from_secs(1000));
            unreachable!("the kill is raised");
        });
        yield_now();
        reader.kill();
        assert_eq!(tell.recv().unwrap(), (Some(libc::ECANCELED), Some(libc::ECANCELED)));
        assert!(reader.join().unwrap_err().is_killed());
    });
}

#[test]
fn a_time_limit_ends_a_call_and_its_scope() {
    patched(|| {
        spawn(|| {
            let (mut one, _other) = UnixStream::pair().unwrap();
            let mut seen = None;
            let result = with_timeout(Duration::from_millis(20), || {
                seen = one.read(&mut [0]).unwrap_err().raw_os_error();
                "the code went on"
            });
            assert_eq!(seen, Some(libc::ETIMEDOUT));
            assert_eq!(result.unwrap_err().limit(), Duration::from_millis(20));
            // It is over with the scope.
            assert_eq!(with_timeout(Duration::from_secs(60), || sleep(Duration::from_millis(1))), Ok(()));
            let inner = with_timeout(Duration::from_secs(60), || {
                with_timeout(Duration::from_millis(5), || std::thread::sleep(Duration::from_secs(1000)))
            });
            assert!(inner.unwrap().is_err());
        })
        .join()
        .unwrap();
    });
}

/// Code that never has to wait, as it reads what has always come already, ends like any other.
#[test]
fn calls_that_would_not_wait_fail_too() {
    patched(|| {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let mut forever = move || loop {
            let round = one.write_all(b"x").and_then(|()| other.read_exact(&mut [0]));
            if let Err(error) = round {
                return error.raw_os_error();
            }
        };
        spawn(move || {
            let mut seen = None;
            let limit = Duration::from_millis(20);
            let late = with_timeout(limit, || seen = forever());
            assert_eq!((seen, late.unwrap_err().limit()), (Some(libc::ETIMEDOUT), limit));
            let (told, tell) = std::sync::mpsc::channel();
            let task = spawn(move || {
                let first = forever();
                told.send((first, forever())).unwrap();
                sleep(Duration::from_secs(1000));
            });
            yield_now();
            task.kill();
            assert_eq!(tell.recv().unwrap(), (Some(libc::ECANCELED), Some(libc::ECANCELED)));
            assert!(task.join().unwrap_err().is_killed());
        })
        .join()
        .unwrap();
    });
}

#[test]
fn a_lock_is_not_given_up() {
    patched(|| {
        let lock = std::sync::Arc::new(std::sync::Mutex::new(0));
        let held = lock.lock().unwrap();
        let waiter = spawn({
            let lock = lock.clone();
            move || {
                *lock.lock().unwrap() += 1;
                sleep(Duration::from_secs(1000));
            }
        });
        yield_now();
        assert!(!waiter.try_kill());
        yield_now();
        drop(held);
        waiter.wait();
        assert!(waiter.join().unwrap_err().is_killed());
        assert_eq!(*lock.lock().unwrap(), 1);
    });
}

/// Conformance 165, for calls from C.
#[test]
fn a_destructor_that_unwinding_runs_does_not_wait() {
    struct ReadsAtEnd(UnixStream);
    impl Drop for ReadsAtEnd {
        fn drop(&mut self) {
            let errno = self.0.read(&mut [0]).unwrap_err().raw_os_error();
            assert_eq!(errno, Some(libc::ECANCELED));
        }
    }
    patched(|| {
        let (one, _other) = UnixStream::pair().unwrap();
        let task = spawn(move || {
            let _reads = ReadsAtEnd(one);
            sleep(Duration::from_secs(1000));
        });
        yield_now();
        task.kill();
        assert!(task.join().unwrap_err().is_killed());
    });
}

/// A time limit that passes while a destructor waits for a lock is nothing to what that does afterwards.
#[test]
fn a_destructor_that_unwinding_runs_is_told_of_no_time_limit() {
    struct WritesAtEnd(UnixStream, Rc<Mutex<()>>);
    impl Drop for WritesAtEnd {
        fn drop(&mut self) {
            let _held = self.1.lock();
            self.0.write_all(b"end").unwrap();
        }
    }
    patched(|| {
        let (one, mut other) = UnixStream::pair().unwrap();
        let lock = Rc::new(Mutex::new(()));
        let held = lock.lock().unwrap();
        let task = spawn({
            let lock = lock.clone();
            move || {
                with_timeout(Duration::from_millis(50), || {
                    let _writes = WritesAtEnd(one, lock);
                    sleep(Duration::from_secs(1000));
                })
            }
        });
        yield_now();
        assert!(!task.try_kill());
        sleep(Duration::from_millis(100));
        drop(held);
        assert!(task.join().unwrap_err().is_killed());
        let mut written = String::new();
        other.read_to_string(&mut written).unwrap();
        assert_eq!(written, "end");
    });
}
