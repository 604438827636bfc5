//! Unmodified code in the world of a test: std's clocks and time limits are that world's.

use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use greenloop::testing::{self, World};
use greenloop::{joinall, spawn};

use crate::patched;

const SECOND: Duration = Duration::from_secs(1);

/// Runs `test` in a world whose code is patched.
fn in_world(test: impl FnOnce(&World) + Send + 'static) {
    patched(|| testing::run(test));
}

#[test]
fn stds_clocks_are_the_worlds() {
    in_world(|world| {
        let (instant, date) = (Instant::now(), SystemTime::now());
        assert_eq!(instant, world.now());
        assert_eq!(date, world.system_time());
        thread::sleep(SECOND * 86_400);
        assert_eq!(instant.elapsed(), SECOND * 86_400);
        assert_eq!(date.elapsed().unwrap(), SECOND * 86_400);
        assert_eq!((Instant::now(), SystemTime::now()), (world.now(), world.system_time()));
        // In green threads, which have thread-local variables of their own, too.
        let elapsed = spawn(move || {
            thread::sleep(SECOND);
            instant.elapsed()
        });
        assert_eq!(elapsed.join().unwrap(), SECOND * 86_401);
        assert_eq!(world.elapsed(), SECOND * 86_401);
    });
}

#[test]
fn cs_clocks_are_the_worlds() {
    in_world(|world| {
        thread::sleep(Duration::from_micros(2_500_007));
        let mut now = libc::timeval { tv_sec: 0, tv_usec: 0 };
        // SAFETY: `now` is valid for writes; nobody asks for the zone.
        assert_eq!(unsafe { libc::gettimeofday(&mut now, std::ptr::null_mut()) }, 0);
        assert_eq!((now.tv_sec, now.tv_usec), (946_684_802, 500_007));
        // SAFETY: the pointer may be null.
        assert_eq!(unsafe { libc::time(std::ptr::null_mut()) }, 946_684_802);
        let mut processor = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `processor` is valid for writes.
        assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut processor) }, 0);
        assert!(processor.tv_sec < 100_000);
        assert_eq!(world.elapsed(), Duration::from_micros(2_500_007));
    });
}

#[test]
fn outside_of_worlds_they_are_real() {
    patched(|| {
        let (instant, date) = (Instant::now(), SystemTime::now());
        testing::run(|_| thread::sleep(SECOND * 1_000_000));
        assert!(instant.elapsed() < SECOND * 60 && date.elapsed().unwrap() < SECOND * 60);
        // Since the year 2020.
        assert!(date.duration_since(SystemTime::UNIX_EPOCH).unwrap() > SECOND * 1_577_836_800);
    });
}

#[test]
fn time_limits_of_stds_sockets_are_exact() {
    in_world(|world| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (silent, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(SECOND * 30)).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(world.elapsed(), SECOND * 30);
        drop(silent);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(SECOND)).unwrap();
        assert!(socket.recv(&mut [0]).is_err());
        assert_eq!(world.elapsed(), SECOND * 31);
    });
}

#[test]
fn time_limits_of_stds_locks_are_exact() {
    in_world(|world| {
        let pair = Arc::new((Mutex::new(()), Condvar::new()));
        let waits: Vec<_> = (1..=3)
            .map(|seconds| {
                let (pair, world) = (pair.clone(), world.clone());
                spawn(move || {
                    let guard = pair.0.lock().unwrap();
                    let (_guard, late) = pair.1.wait_timeout(guard, SECOND * seconds).unwrap();
                    assert!(late.timed_out());
                    assert_eq!(world.elapsed(), SECOND * seconds);
                })
            })
            .collect();
        joinall(&waits);
        let (_sender, receiver) = mpsc::channel::<()>();
        spawn(move || assert!(receiver.recv_timeout(SECOND * 7).is_err())).join().unwrap();
        assert_eq!(world.elapsed(), SECOND * 10);
        spawn(|| thread::park_timeout(SECOND * 5)).join().unwrap();
        assert_eq!(world.elapsed(), SECOND * 15);
    });
}

#[test]
fn time_limits_of_cs_waits_are_exact() {
    in_world(|world| {
        // SAFETY: no descriptors.
        assert_eq!(unsafe { libc::poll(std::ptr::null_mut(), 0, 1_500) }, 0);
        assert_eq!(world.elapsed(), Duration::from_millis(1_500));
        let mut limit = libc::timeval { tv_sec: 2, tv_usec: 500_000 };
        let none = std::ptr::null_mut;
        // SAFETY: no sets, and `limit` is valid.
        assert_eq!(unsafe { libc::select(0, none(), none(), none(), &mut limit) }, 0);
        assert_eq!(world.elapsed(), SECOND * 4);
        // SAFETY: takes nothing but flags.
        let set = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: there is room for one event.
        assert_eq!(unsafe { libc::epoll_wait(set, &mut event, 1, 6_000) }, 0);
        // SAFETY: it is this test's own.
        unsafe { libc::close(set) };
        assert_eq!(world.elapsed(), SECOND * 10);
        let mut semaphore = std::mem::MaybeUninit::<libc::sem_t>::uninit();
        // SAFETY: `semaphore` stays where it is.
        unsafe { libc::sem_init(semaphore.as_mut_ptr(), 0, 0) };
        let until = libc::timespec { tv_sec: 946_684_800 + 15, tv_nsec: 0 };
        // SAFETY: it was made, and `until` is valid.
        assert_eq!(unsafe { libc::sem_timedwait(semaphore.as_mut_ptr(), &until) }, -1);
        assert_eq!(world.elapsed(), SECOND * 15);
    });
}

#[test]
fn a_loop_that_asks_for_the_time_ends() {
    in_world(|_| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(1) {}
    });
}

/// Several std has for the whole process, such as that of standard output: whoever has it is no deadlock of the world.
#[test]
fn a_lock_that_another_os_thread_has_is_waited_for() {
    let lock = Arc::new(Mutex::new(0));
    let (locked, is_locked) = mpsc::channel();
    let holder = thread::spawn({
        let lock = lock.clone();
        move || {
            let mut held = lock.lock().unwrap();
            locked.send(()).unwrap();
            // So that the world waits meanwhile.
            thread::sleep(Duration::from_millis(20));
            *held = 1;
        }
    });
    is_locked.recv().unwrap();
    in_world(move |world| {
        assert_eq!(*lock.lock().unwrap(), 1);
        thread::sleep(SECOND);
        assert_eq!(world.elapsed(), SECOND);
    });
    holder.join().unwrap();
}
