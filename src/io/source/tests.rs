use std::cell::Cell;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use std::panic;

use super::*;
use crate::hub::{Config, Driver, configure};
use crate::io::operation::{ReadBytes, WriteBytes};
use crate::task::{idle, sleep, spawn, yield_now};

/// Sockets, which io_uring does not wait for, but sends, receives, accepts and connects as a whole.
mod sockets;

/// Runs `body` on a fresh hub for each driver.
fn on_each(body: fn()) {
    for driver in Driver::all_available() {
        let run = move || {
            configure(Config::new().driver(driver)).unwrap();
            body();
        };
        let (sender, finished) = channel();
        let thread = thread::spawn(move || {
            run();
            let _ = sender.send(());
        });
        match finished.recv_timeout(Duration::from_secs(60)) {
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("still running on {driver:?}"),
            _ => thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)),
        }
    }
}

/// Reads bytes of a stream as sockets do, counting the system calls.
struct Receive<'a> {
    buffer: &'a mut [u8],
    calls: &'a Cell<usize>,
}

impl Operation for Receive<'_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        self.calls.set(self.calls.get() + 1);
        descriptor::read(fd, self.buffer)
    }

    fn drained(&self, count: &usize) -> bool {
        *count < self.buffer.len()
    }
}

fn pair() -> (Source<UnixStream>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Source::new(ours), theirs)
}

fn read<T: AsFd>(source: &Source<T>, size: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; size];
    let count = source.run(ReadBytes { buffer: &mut buffer, lent: false })?;
    buffer.truncate(count);
    Ok(buffer)
}

fn write_until_full(source: &Source<UnixStream>) {
    source.set_nonblocking(true);
    while source.run(WriteBytes { buffer: &[0; 4096], lent: false }).is_ok() {}
    source.set_nonblocking(false);
}

/// Lets the hub hear of every descriptor, and everybody run whom that concerns.
fn settle() {
    for _ in 0..3 {
        sleep(Duration::from_nanos(1));
        idle();
    }
}

fn is_bad_descriptor<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.raw_os_error() == descriptor::bad_descriptor().raw_os_error())
}

#[test]
fn a_short_read_saves_the_call_that_would_say_eagain() {
    on_each(|| {
        let (source, mut peer) = pair();
        let source = Rc::new(source);
        let calls = Rc::new(Cell::new(0));
        let rounds = spawn({
            let (source, calls) = (source.clone(), calls.clone());
            move || {
                for _ in 0..10 {
                    let mut buffer = [0; 100];
                    assert_eq!(source.run(Receive { buffer: &mut buffer, calls: &calls }).unwrap(), 3);
                }
            }
        });
        for _ in 0..10 {
            settle();
            peer.write_all(b"abc").unwrap();
        }
        rounds.join().unwrap();
        // One to find that there is nothing, then one per round.
        assert_eq!(calls.get(), 11);
    });
}

#[test]
fn the_end_behind_a_short_read_is_not_missed() {
    on_each(|| {
        let (source, mut peer) = pair();
        let calls = Rc::new(Cell::new(0));
        let lengths = spawn(move || {
            let receive = || source.run(Receive { buffer: &mut [0; 100], calls: &calls }).unwrap();
            [receive(), receive(), receive()]
        });
        settle();
        peer.write_all(b"the last words").unwrap();
        drop(peer);
        assert_eq!(lengths.join().unwrap(), [14, 0, 0]);
    });
}

#[test]
fn a_reader_and_a_writer_do_not_wait_for_each_other() {
    on_each(|| {
        let (source, mut peer) = pair();
        write_until_full(&source);
        let source = Rc::new(source);
        let reading = spawn({
            let source = source.clone();
            move || read(&source, 1).unwrap()
        });
        let writing = spawn({
            let source = source.clone();
            move || source.run(WriteBytes { buffer: b"x", lent: false }).unwrap()
        });
        settle();
        assert!(!reading.is_finished() && !writing.is_finished());
        peer.write_all(b"r").unwrap();
        settle();
        assert!(reading.is_finished() && !writing.is_finished());
        peer.set_nonblocking(true).unwrap();
        while io::Read::read(&mut peer, &mut [0; 65_536]).is_ok() {}
        assert_eq!(writing.join().unwrap(), 1);
    });
}

#[test]
fn a_timeout_is_stds_error_and_a_deadline_is_not() {
    on_each(|| {
        let (source, _peer) = pair();
        let limit = Duration::from_millis(5);
        source.set_timeout(Direction::Read, Some(limit));
        assert_eq!(source.timeout(Direction::Read), Some(limit));
        assert_eq!(source.timeout(Direction::Write), None);
        let start = Instant::now();
        let error = read(&source, 1).unwrap_err();
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::WouldBlock, Some(11)));
        assert!(start.elapsed() >= limit);

        let sibling = source.sibling(source.get_ref().try_clone().unwrap()).unwrap();
        assert_eq!(read(&sibling, 1).unwrap_err().kind(), ErrorKind::WouldBlock);
        sibling.set_timeout(Direction::Read, None);
        assert_eq!(source.timeout(Direction::Read), None);

        for deadline in [Time::after(limit), Time::from_nanoseconds(1)] {
            let buffer = &mut [0];
            let error = source.run_until(ReadBytes { buffer, lent: false }, Some(deadline)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(Time::now() >= deadline);
        }
    });
}

#[test]
fn what_comes_with_the_timeout_is_not_left_behind() {
    on_each(|| {
        let (source, mut peer) = pair();
        source.set_timeout(Direction::Read, Some(Duration::from_millis(1)));
        let byte = spawn(move || read(&source, 1));
        yield_now();
        // When the hub looks next, the timer is due and the byte is there.
        let due = Instant::now() + Duration::from_millis(2);
        while Instant::now() < due {}
        peer.write_all(b"x").unwrap();
        assert_eq!(byte.join().unwrap().unwrap(), b"x");
    });
}

#[test]
fn in_nonblocking_mode_the_kernel_is_asked_each_time() {
    on_each(|| {
        let (source, mut peer) = pair();
        source.set_timeout(Direction::Read, Some(Duration::from_millis(1)));
        assert!(read(&source, 1).is_err());
        source.set_nonblocking(true);
        assert!(source.nonblocking());
        assert_eq!(read(&source, 1).unwrap_err().kind(), ErrorKind::WouldBlock);
        peer.write_all(b"x").unwrap();
        // The hub has not heard of it.
        assert_eq!(read(&source, 1).unwrap(), b"x");
    });
}

#[test]
fn an_interrupted_call_is_made_again() {
    struct Interrupted(usize);
    impl Operation for Interrupted {
        type Output = usize;
        const DIRECTION: Direction = Direction::Write;

        fn attempt(&mut self, _: BorrowedFd<'_>) -> io::Result<usize> {
            self.0 += 1;
            if self.0 < 3 { Err(ErrorKind::Interrupted.into()) } else { Ok(self.0) }
        }

        fn drained(&self, _: &usize) -> bool {
            false
        }
    }
    let (source, _peer) = pair();
    assert_eq!(source.run(Interrupted(0)).unwrap(), 3);
}

#[test]
fn close_wakes_everybody_and_keeps_the_number() {
    on_each(|| {
        let (source, mut peer) = pair();
        write_until_full(&source);
        let source = Rc::new(source);
        let sibling = source.sibling(source.get_ref().try_clone().unwrap()).unwrap();
        let waiting: Vec<_> = (0..6)
            .map(|number| {
                let source = source.clone();
                spawn(move || match number % 2 {
                    0 => read(&source, 1).map(drop),
                    _ => source.run(WriteBytes { buffer: b"x", lent: false }).map(drop),
                })
            })
            .collect();
        settle();
        assert!(waiting.iter().all(|task| !task.is_finished()));
        source.close().unwrap();
        for task in waiting {
            assert!(is_bad_descriptor(task.join().unwrap()));
        }
        assert!(is_bad_descriptor(read(&source, 1)));
        assert!(is_bad_descriptor(source.close()));
        let number = source.get_ref().as_raw_fd();
        assert_ne!(UnixStream::pair().unwrap().0.as_raw_fd(), number);
        // The other descriptor of the file works on.
        let byte = spawn(move || read(&sibling, 1).unwrap());
        settle();
        peer.write_all(b"s").unwrap();
        assert_eq!(byte.join().unwrap(), b"s");
        assert_eq!(io::Read::read(&mut peer, &mut [0]).unwrap(), 1, "what was written before");
    });
}

#[test]
fn close_hangs_up_though_the_source_still_exists() {
    on_each(|| {
        let (source, mut peer) = pair();
        source.close().unwrap();
        assert_eq!(io::Read::read(&mut peer, &mut [0]).unwrap(), 0);
        drop(source);
    });
}

#[test]
fn a_thread_without_hub_closes_and_drops() {
    on_each(|| {
        let (source, _peer) = pair();
        let source = Arc::new(source);
        let waiting = spawn({
            let source = source.clone();
            move || read(&source, 1)
        });
        settle();
        let closing = thread::spawn({
            let source = source.clone();
            move || {
                source.close().unwrap();
                assert!(local_hub().is_none());
            }
        });
        assert!(is_bad_descriptor(waiting.join().unwrap()));
        closing.join().unwrap();
        thread::spawn(move || drop(source)).join().unwrap();
        settle();
        assert_eq!(hub().reactor().waiting(), 0);
    });
}

/// The kernel knows it no more, though the file lives on and becomes ready: the hub is not woken for nobody.
#[test]
fn a_source_that_is_dropped_elsewhere_wakes_nobody() {
    on_each(|| {
        let (source, mut peer) = pair();
        let _file = source.get_ref().try_clone().unwrap();
        source.set_timeout(Direction::Read, Some(Duration::from_nanos(1)));
        assert!(read(&source, 1).is_err());
        thread::spawn(move || drop(source)).join().unwrap();
        settle();
        peer.write_all(b"x").unwrap();
        let start = Instant::now();
        hub().reactor().poll(Some(Duration::from_millis(3))).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(3));
    });
}

#[test]
fn two_hubs_wait_and_both_hear_of_the_end() {
    on_each(|| {
        let (source, _peer) = pair();
        let source = Arc::new(source);
        let there = thread::spawn({
            let source = source.clone();
            move || read(&source, 1)
        });
        let here = spawn({
            let source = source.clone();
            move || read(&source, 1)
        });
        while source.registrations.known.lock().others.is_empty() {
            settle();
        }
        source.close().unwrap();
        assert!(is_bad_descriptor(here.join().unwrap()));
        assert!(is_bad_descriptor(there.join().unwrap()));
    });
}

#[test]
fn hubs_that_have_ended_are_forgotten() {
    on_each(|| {
        let (source, mut peer) = pair();
        let source = Arc::new(source);
        for round in 0..10 {
            let there = thread::spawn({
                let source = source.clone();
                move || read(&source, 1).unwrap()
            });
            sleep(Duration::from_micros(50));
            peer.write_all(&[round]).unwrap();
            assert_eq!(there.join().unwrap(), [round]);
        }
        let known = source.registrations.known.lock();
        assert!(known.others.len() <= 1, "{}", known.others.len());
    });
}

#[test]
fn the_descriptor_comes_back_as_it_is() {
    on_each(|| {
        let (source, mut peer) = pair();
        source.set_timeout(Direction::Read, Some(Duration::from_millis(1)));
        assert!(read(&source, 1).is_err());
        let stream = source.into_inner();
        peer.write_all(b"x").unwrap();
        assert_eq!(descriptor::read(stream.as_fd(), &mut [0; 2]).unwrap(), 1);
        settle();
    });
}

/// What epoll cannot wait for is never waited for, and what says EAGAIN all the same is an error.
#[test]
fn a_regular_file_needs_no_waiting() {
    on_each(|| {
        let file = OwnedFd::from(std::fs::File::open(std::env::current_exe().unwrap()).unwrap());
        assert_eq!(read(&Source::new(file), 4).unwrap(), b"\x7fELF");
    });
}

#[test]
fn sources_go_between_threads() {
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Source<OwnedFd>>();
}
