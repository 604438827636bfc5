//! What kills and time limits do to calls from C.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::mem::zeroed;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::process::Command;
use std::ptr::null_mut;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloop::sync::Mutex;
use greenloop::{JoinHandle, sleep, spawn, with_timeout, yield_now};
use rustix::event::{EventfdFlags, eventfd};

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
        assert_eq!(tell.recv().unwrap(), (Some(libc::ECONNABORTED), Some(libc::ECONNABORTED)));
        assert!(reader.join().unwrap_err().is_killed());
    });
}

/// As a connection does that this machine has cut. libpq knows a few numbers that mean the end of one, and keeps it at all others, in the
/// midst of what it was asked.
#[test]
fn a_killed_connection_is_told_as_one_that_was_cut() {
    patched(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _accepted = listener.accept().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let seen = Rc::new(Cell::new(None));
        let task = killed({
            let seen = seen.clone();
            move || {
                // Waits, and is killed.
                let waited = stream.read(&mut [0]).unwrap_err();
                let written = stream.write(&[0]).unwrap_err();
                // An `accept` that says ECONNABORTED is one to be repeated, and what has no peer has no connection.
                let others = [listener.accept().unwrap_err(), socket.recv(&mut [0]).unwrap_err()];
                let [accepted, received] = others;
                seen.set(Some(
                    [waited, written, accepted, received].map(|error| error.raw_os_error().unwrap()),
                ));
                sleep(LONG);
            }
        });
        assert!(task.join().unwrap_err().is_killed());
        // Out here, since who panics after a failed call counts as killed.
        let expected = [libc::ECONNABORTED, libc::ECONNABORTED, libc::ECANCELED, libc::ECANCELED];
        assert_eq!(seen.take(), Some(expected));
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
            assert_eq!(tell.recv().unwrap(), (Some(libc::ECONNABORTED), Some(libc::ECONNABORTED)));
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
            assert_eq!(errno, Some(libc::ECONNABORTED));
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

const LONG: Duration = Duration::from_secs(1000);

/// Spawns `run` and kills it where it first waits.
fn killed<T: 'static>(run: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    let task = spawn(run);
    yield_now();
    assert!(!task.try_kill());
    task.wait();
    task
}

/// The same, of one that asserts something: when it is killed, its panic counts as its kill.
fn killed_and_right(run: impl FnOnce() + 'static) {
    let right = Rc::new(Cell::new(false));
    let task = killed({
        let right = right.clone();
        move || {
            run();
            right.set(true);
            sleep(LONG);
        }
    });
    assert!(task.join().unwrap_err().is_killed());
    assert!(right.get(), "it has panicked");
}

fn errno() -> Option<i32> {
    io::Error::last_os_error().raw_os_error()
}

/// What `poll` says of one descriptor: its result, the errno if that is -1, and the events.
fn poll(fd: RawFd, timeout: i32) -> (i32, Option<i32>, i16) {
    let mut asked = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: `asked` is valid for reads and writes as the one element that it is said to be.
    let result = unsafe { libc::poll(&mut asked, 1, timeout) };
    (result, errno().filter(|_| result == -1), asked.revents)
}

/// What its manual page allows: no caller that is right takes it for a fault.
#[test]
fn poll_says_that_it_was_interrupted_and_then_that_all_is_ready() {
    const READY: i16 = libc::POLLIN | libc::POLLERR | libc::POLLHUP;
    patched(|| {
        killed_and_right(|| {
            let (mut one, _other) = UnixStream::pair().unwrap();
            let fd = one.as_raw_fd();
            assert_eq!(poll(fd, -1), (-1, Some(libc::EINTR), 0));
            assert_eq!(poll(fd, -1), (1, None, READY));
            assert_eq!(poll(fd, 0), (1, None, READY));
            assert_eq!(one.read(&mut [0]).unwrap_err().raw_os_error(), Some(libc::ECONNABORTED));
        });
        spawn(|| {
            let (mut one, _other) = UnixStream::pair().unwrap();
            let late = with_timeout(Duration::from_millis(10), || {
                assert_eq!(poll(one.as_raw_fd(), -1), (-1, Some(libc::EINTR), 0));
                assert_eq!(poll(one.as_raw_fd(), 1_000_000), (1, None, READY));
                assert_eq!(one.read(&mut [0]).unwrap_err().raw_os_error(), Some(libc::ETIMEDOUT));
            });
            assert_eq!(late.unwrap_err().limit(), Duration::from_millis(10));
            // Nothing is pretended after the scope.
            assert_eq!(poll(one.as_raw_fd(), 1), (0, None, 0));
        })
        .join()
        .unwrap();
    });
}

#[test]
fn select_says_the_same() {
    let select = |fd: RawFd| {
        // SAFETY: zeros are an empty set.
        let mut sets: [libc::fd_set; 3] = unsafe { zeroed() };
        // SAFETY: the number is that of an open descriptor of a small program.
        sets.iter_mut().for_each(|set| unsafe { libc::FD_SET(fd, set) });
        let [readable, writable, exceptional] = &mut sets;
        // SAFETY: three sets, and no time.
        let result = unsafe { libc::select(fd + 1, readable, null_mut(), exceptional, null_mut()) };
        let errno = errno().filter(|_| result == -1);
        // SAFETY: as above.
        let told = [readable, writable, exceptional].map(|set| unsafe { libc::FD_ISSET(fd, set) });
        (result, errno, [told[0], told[2]])
    };
    patched(move || {
        killed_and_right(move || {
            let (one, _other) = UnixStream::pair().unwrap();
            assert_eq!((select(one.as_raw_fd()).0, errno()), (-1, Some(libc::EINTR)));
            assert_eq!(select(one.as_raw_fd()), (1, None, [true, false]));
        });
    });
}

/// A set of descriptors that only the kernel knows; each is told under its own number.
#[test]
fn epoll_wait_says_the_same() {
    const IN: u32 = libc::EPOLLIN as u32;
    const ERRORS: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;
    fn add(set: &OwnedFd, fd: RawFd, events: u32, number: u64) {
        let mut event = libc::epoll_event { events, u64: number };
        // SAFETY: `event` is valid for reads.
        let result = unsafe { libc::epoll_ctl(set.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) };
        assert_eq!(result, 0);
    }
    fn wait(set: &OwnedFd, room: i32) -> Result<Vec<(u64, u32)>, Option<i32>> {
        let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; room as usize];
        // SAFETY: there is room for so many.
        let count = unsafe { libc::epoll_wait(set.as_raw_fd(), events.as_mut_ptr(), room, -1) };
        let count = usize::try_from(count).map_err(|_| errno())?;
        let mut told: Vec<_> = events[..count].iter().map(|event| (event.u64, event.events)).collect();
        told.sort_unstable();
        Ok(told)
    }
    patched(|| {
        killed_and_right(|| {
            // SAFETY: takes no pointers.
            let set = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
            // SAFETY: the kernel has just made it, and nothing else owns it.
            let set = unsafe { OwnedFd::from_raw_fd(set) };
            let pairs = [(); 3].map(|()| UnixStream::pair().unwrap());
            add(&set, pairs[0].0.as_raw_fd(), IN | libc::EPOLLET as u32, 1 << 40);
            add(&set, pairs[1].0.as_raw_fd(), IN | libc::EPOLLOUT as u32 | libc::EPOLLONESHOT as u32, 2);
            // It is told now, and not again.
            assert_eq!(wait(&set, 4).unwrap(), [(2, libc::EPOLLOUT as u32)]);
            let bell = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
            add(&set, bell.as_raw_fd(), IN, 3);
            assert_eq!(wait(&set, 4), Err(Some(libc::EINTR)));
            assert_eq!(wait(&set, 4).unwrap(), [(1 << 40, IN | ERRORS)]);
            add(&set, pairs[2].0.as_raw_fd(), IN, 4);
            // What is true comes first, and once.
            rustix::io::write(&bell, &1_u64.to_ne_bytes()).unwrap();
            assert_eq!(wait(&set, 1).unwrap(), [(3, IN)]);
            assert_eq!(wait(&set, 9).unwrap(), [(3, IN), (4, IN | ERRORS), (1 << 40, IN | ERRORS)]);
        });
    });
}

/// By these other OS threads wake an event loop, which takes any failure for a fault of its own.
#[test]
fn a_bell_is_told_of_truly() {
    patched(|| {
        killed_and_right(|| {
            let bell = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
            std::thread::sleep(LONG);
            for _ in 0..20 {
                assert_eq!(poll(bell.as_raw_fd(), 1_000_000), (-1, Some(libc::EINTR), 0));
                assert_eq!(poll(bell.as_raw_fd(), 0), (0, None, 0));
                let mut count = [0; 8];
                assert_eq!(rustix::io::read(&bell, &mut count), Err(rustix::io::Errno::AGAIN));
                assert_eq!(rustix::io::write(&bell, &2_u64.to_ne_bytes()), Ok(8));
                assert_eq!(poll(bell.as_raw_fd(), -1), (1, None, libc::POLLIN));
                assert_eq!(rustix::io::read(&bell, &mut count), Ok(8));
                assert_eq!(count, 2_u64.to_ne_bytes());
            }
        });
    });
}

/// Nobody reads from the pipe, or writes to it, beside the event loop itself: what it finds there is true. But a loop ends.
#[test]
fn a_pipe_that_does_not_wait_fails_in_the_end() {
    patched(|| {
        killed_and_right(|| {
            let (mut one, mut other) = UnixStream::pair().unwrap();
            one.set_nonblocking(true).unwrap();
            other.set_nonblocking(true).unwrap();
            std::thread::sleep(LONG);
            for _ in 0..20 {
                other.write_all(b"x").unwrap();
                assert_eq!(one.read(&mut [0]).unwrap(), 1);
                assert_eq!(one.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            }
            let mut polls = 1;
            let error = loop {
                match one.read(&mut [0]).unwrap_err() {
                    error if error.kind() == io::ErrorKind::WouldBlock => polls += 1,
                    error => break error,
                }
                poll(one.as_raw_fd(), -1);
            };
            assert_eq!((polls, error.raw_os_error()), (5, Some(libc::ECONNABORTED)));
        });
    });
}

/// std takes an error of its pipes for impossible.
#[test]
fn the_output_of_a_child_is_out_of_time_or_killed() {
    patched(|| {
        let (stdin, held) = io::pipe().unwrap();
        let stdin = Rc::new(stdin);
        let output = move || Command::new("cat").stdin(stdin.try_clone().unwrap()).output();
        let late = spawn({
            let output = output.clone();
            move || with_timeout(Duration::from_millis(50), output)
        });
        assert_eq!(late.join().unwrap().unwrap_err().limit(), Duration::from_millis(50));
        assert!(killed(output).join().unwrap_err().is_killed());
        drop(held);
    });
}

/// What code makes of a failed call is not what was asked for: neither a value nor a panic.
#[test]
fn whoever_returns_or_panics_after_a_failed_call_counts_as_killed() {
    struct Counts(Rc<Cell<u32>>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    patched(|| {
        let dropped = Rc::new(Cell::new(0));
        let value = Counts(dropped.clone());
        let returns = killed(move || {
            std::thread::sleep(LONG);
            value
        });
        assert!(returns.join().is_err_and(|error| error.is_killed()));
        assert_eq!(dropped.get(), 1);

        let panics = || {
            let (mut one, _other) = UnixStream::pair().unwrap();
            one.read_exact(&mut [0]).unwrap();
        };
        assert!(killed(panics).join().unwrap_err().is_killed());
        let late = spawn(move || with_timeout(Duration::from_millis(5), panics));
        assert_eq!(late.join().unwrap().unwrap_err().limit(), Duration::from_millis(5));

        // What is raised on purpose arrives, and so does what a kill brings.
        let raises = || {
            std::thread::sleep(LONG);
            resume_unwind(Box::new(7_u32));
        };
        assert_eq!(killed(raises).join().unwrap_err().into_panic().downcast_ref(), Some(&7_u32));
        let late = spawn(move || with_timeout(Duration::from_millis(5), raises));
        assert_eq!(late.join().unwrap_err().into_panic().downcast_ref(), Some(&7_u32));
        let task = spawn(|| std::thread::sleep(LONG));
        yield_now();
        task.kill_with(Box::new("too slow"));
        assert_eq!(task.join().unwrap_err().into_panic().downcast_ref(), Some(&"too slow"));
        // A panic that no call has failed for is one.
        let early = spawn(|| with_timeout(LONG, || panic!("a fault")));
        assert_eq!(early.join().unwrap_err().into_panic().downcast_ref(), Some(&"a fault"));
    });
}

/// It cannot yield, so it must not go round for ever.
#[test]
fn an_event_loop_in_a_destructor_that_unwinding_runs_ends() {
    struct LoopsAtEnd(UnixStream, Rc<Cell<u32>>);
    impl Drop for LoopsAtEnd {
        fn drop(&mut self) {
            self.0.set_nonblocking(true).unwrap();
            while self.0.read(&mut [0]).unwrap_err().kind() == io::ErrorKind::WouldBlock {
                self.1.set(self.1.get() + 1);
                assert!(matches!(poll(self.0.as_raw_fd(), -1), (-1, Some(libc::EINTR), 0) | (1, None, _)));
            }
        }
    }
    patched(|| {
        let rounds = Rc::new(Cell::new(0));
        let (one, _other) = UnixStream::pair().unwrap();
        let loops = LoopsAtEnd(one, rounds.clone());
        let task = killed(move || {
            let _loops = loops;
            sleep(LONG);
        });
        assert!(task.join().unwrap_err().is_killed());
        assert_eq!(rounds.get(), 1);
    });
}
