//! OS threads that are made in the world of a test.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::testing::{self, World};
use greenloop::{spawn, with_timeout};

use crate::patched;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Runs `test` in a world whose code is patched.
fn in_world(test: impl FnOnce(&World) + Send + 'static) {
    patched(|| testing::run(test));
}

#[test]
fn time_stands_while_a_thread_is_at_work() {
    in_world(|world| {
        let (sender, receiver) = mpsc::channel();
        let worker = thread::spawn(move || {
            // Real time.
            let start = Instant::now();
            thread::sleep(Duration::from_millis(20));
            while start.elapsed() < Duration::from_millis(40) {}
            sender.send(5).unwrap();
        });
        assert_eq!(receiver.recv_timeout(SECOND), Ok(5));
        assert_eq!(world.elapsed(), Duration::ZERO);
        worker.join().unwrap();
        thread::sleep(HOUR);
        assert_eq!(world.elapsed(), HOUR, "it has ended");
    });
}

#[test]
fn time_stands_while_a_thread_is_at_work_that_another_has_made() {
    in_world(|world| {
        let (sender, receiver) = mpsc::channel();
        let outer = thread::spawn(move || {
            let inner = thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                sender.send(5).unwrap();
            });
            inner.join().unwrap();
        });
        assert_eq!(receiver.recv_timeout(SECOND), Ok(5));
        assert_eq!(world.elapsed(), Duration::ZERO);
        outer.join().unwrap();
    });
}

#[test]
fn time_passes_while_a_thread_waits_for_the_world() {
    in_world(|world| {
        let (ask, asked) = mpsc::channel::<u32>();
        let (answer, answered) = mpsc::channel();
        let worker = thread::spawn(move || asked.iter().for_each(|number| answer.send(number + 1).unwrap()));
        for number in 0..5 {
            thread::sleep(HOUR);
            ask.send(number).unwrap();
            assert_eq!(answered.recv_timeout(SECOND), Ok(number + 1));
        }
        assert_eq!(world.elapsed(), HOUR * 5);
        // Who joins it waits for the world too.
        spawn(move || {
            thread::sleep(HOUR);
            drop(ask);
        });
        worker.join().unwrap();
        assert_eq!(world.elapsed(), HOUR * 6);
    });
}

#[test]
fn time_passes_while_a_thread_waits_for_a_descriptor_on_which_nothing_comes() {
    in_world(|world| {
        let (mut one, mut other) = std::os::unix::net::UnixStream::pair().unwrap();
        let worker = thread::spawn(move || {
            use std::io::{Read, Write};
            other.read_exact(&mut [0]).unwrap();
            other.write_all(b"y").unwrap();
        });
        thread::sleep(HOUR);
        use std::io::{Read, Write};
        one.write_all(b"x").unwrap();
        with_timeout(SECOND, || one.read_exact(&mut [0]).unwrap()).unwrap();
        assert_eq!(world.elapsed(), HOUR);
        worker.join().unwrap();
    });
}

#[test]
fn a_thread_that_never_ends_keeps_no_test_from_ending() {
    let is_over = Arc::new(AtomicBool::new(false));
    let ticker = patched({
        let is_over = is_over.clone();
        move || {
            testing::run(|_| {
                thread::spawn(move || {
                    while !is_over.load(SeqCst) {
                        thread::sleep(Duration::from_millis(1));
                    }
                })
            })
        }
    });
    is_over.store(true, SeqCst);
    ticker.join().unwrap();
}

#[test]
fn threads_can_be_denied() {
    in_world(|world| {
        thread::spawn(|| ()).join().unwrap();
        let (denied, told) = mpsc::channel();
        let other = thread::spawn(move || {
            told.recv().unwrap();
            thread::Builder::new().spawn(|| ()).map(|_| ()).unwrap_err().kind()
        });
        world.deny_threads();
        let refused = thread::Builder::new().spawn(|| ()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
        denied.send(()).unwrap();
        assert_eq!(
            other.join().unwrap(),
            ErrorKind::PermissionDenied,
            "nor by another thread of the world's"
        );
        // The library's own are none of the test's.
        let pool = greenloop::threadpool::ThreadPool::new(1);
        assert_eq!(pool.spawn(|| 7).join().unwrap(), 7);
        testing::run(|inner| assert_eq!(inner.elapsed(), Duration::ZERO));
        thread::sleep(HOUR);
        assert_eq!(world.elapsed(), HOUR);
    });
    patched(|| thread::spawn(|| ()).join().unwrap());
}
