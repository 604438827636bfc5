use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::super::socket::{self, Address};
use super::*;

/// `None` where the kernel has none.
fn uring() -> Option<Uring> {
    match Uring::new() {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => None,
        uring => Some(uring.unwrap()),
    }
}

fn pipe() -> (PipeReader, PipeWriter) {
    io::pipe().unwrap()
}

fn events_within(uring: &mut Uring, timeout: Option<Duration>) -> Vec<Readiness> {
    let mut events = Vec::new();
    uring.wait(timeout, |event| events.push(event)).unwrap();
    events
}

fn events(uring: &mut Uring) -> Vec<Readiness> {
    events_within(uring, Some(Duration::ZERO))
}

fn readable(token: u64) -> Readiness {
    Readiness { token, ready: Interest::READABLE, marked: false }
}

/// A connection whose first end can take no more, and whose other end has hung up its own direction.
fn full_and_half_closed() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    one.set_nonblocking(true).unwrap();
    fill(&one);
    other.shutdown(Shutdown::Write).unwrap();
    one.set_nonblocking(false).unwrap();
    assert_eq!(one.read(&mut [0]).unwrap(), 0);
    one.set_nonblocking(true).unwrap();
    fill(&one);
    (one, other)
}

/// Writes until there is no room. What is on its way makes some once more when it has arrived.
fn fill(mut one: &TcpStream) {
    while one.write(&[0; 65_536]).is_ok() {}
}

fn has_room(one: &TcpStream) -> bool {
    let mut room = libc::pollfd { fd: one.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: `room` is one element, which is borrowed for the call.
    unsafe { libc::poll(&mut room, 1, 0) == 1 && room.revents & libc::POLLOUT != 0 }
}

#[test]
fn asking_holds_for_one_answer() {
    let Some(mut uring) = uring() else { return };
    let (reader, mut writer) = pipe();
    let fd = reader.as_raw_fd();
    uring.ask(fd, 1, Interest::READABLE);
    assert_eq!(events(&mut uring), []);
    writer.write_all(b"a").unwrap();
    assert_eq!(events_within(&mut uring, None), [readable(1)]);
    assert_eq!(events(&mut uring), []);
    uring.ask(fd, 2, Interest::READABLE);
    assert_eq!(events(&mut uring), [readable(2)]);
    drop(writer);
    uring.ask(fd, 3, Interest::BOTH);
    assert!(matches!(events(&mut uring)[..], [Readiness { token: 3, marked: true, .. }]));
}

#[test]
fn what_is_taken_back_is_not_told() {
    let Some(mut uring) = uring() else { return };
    let (reader, mut writer) = pipe();
    let fd = reader.as_raw_fd();
    uring.ask(fd, 1, Interest::READABLE);
    uring.ask(fd, 2, Interest::READABLE);
    writer.write_all(b"a").unwrap();
    assert_eq!(events(&mut uring), [readable(2)]);
    uring.ask(fd, 3, Interest::READABLE);
    uring.ask(fd, 3, Interest::NONE);
    let start = Instant::now();
    let wait = Duration::from_millis(2);
    while start.elapsed() < wait {
        assert_eq!(events_within(&mut uring, Some(wait)), []);
    }
    assert_eq!((uring.requests.len(), uring.leaving), (0, 0));
}

#[test]
fn a_file_is_let_go() {
    let Some(mut uring) = uring() else { return };
    let (mut reader, writer) = pipe();
    let (other, mut other_writer) = pipe();
    uring.ask(other.as_raw_fd(), 1, Interest::READABLE);
    uring.ask(writer.as_raw_fd(), 2, Interest::NONE);
    // An empty pipe has room: what is asked has been answered, and is held by nobody.
    uring.ask(writer.as_raw_fd(), 2, Interest::WRITABLE);
    assert_eq!(events(&mut uring).len(), 1);
    writer.try_clone().unwrap().write_all(&[0; 65_536]).unwrap();
    uring.ask(writer.as_raw_fd(), 3, Interest::WRITABLE);
    assert_eq!(events(&mut uring), []);
    uring.ask(writer.as_raw_fd(), 3, Interest::NONE);
    other_writer.write_all(b"a").unwrap();
    uring.let_go().unwrap();
    drop(writer);
    // The end comes, though the ring was not used again.
    assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap(), 65_536);
    assert_eq!(events_within(&mut uring, None), [readable(1)]);
}

#[test]
fn a_level_is_told_until_it_falls() {
    let Some(mut uring) = uring() else { return };
    let (mut reader, mut writer) = pipe();
    uring.add_level(reader.as_raw_fd(), 9, Interest::READABLE);
    assert_eq!(events(&mut uring), []);
    for _ in 0..3 {
        writer.write_all(b"a").unwrap();
        assert_eq!(events_within(&mut uring, None), [readable(9)]);
        assert_eq!(events_within(&mut uring, None), [readable(9)]);
        reader.read_exact(&mut [0]).unwrap();
        let _ = events(&mut uring);
        assert_eq!(events(&mut uring), []);
    }
}

#[test]
fn more_than_there_is_room_for() {
    let Some(mut uring) = uring() else { return };
    let pipes: Vec<_> = (0..700).map(|_| pipe()).collect();
    for (token, (reader, writer)) in pipes.iter().enumerate() {
        uring.ask(reader.as_raw_fd(), token as u64, Interest::READABLE);
        (&*writer).write_all(b"a").unwrap();
    }
    let mut tokens = Vec::new();
    while tokens.len() < pipes.len() {
        tokens.extend(events_within(&mut uring, None).iter().map(|event| event.token));
    }
    tokens.sort_unstable();
    assert!(tokens.into_iter().eq(0..700));
}

#[test]
fn who_writes_to_one_that_sends_no_more_is_told_once_there_is_room() {
    let Some(mut uring) = uring() else { return };
    let (one, mut other) = full_and_half_closed();
    for token in [1, 2] {
        uring.ask(one.as_raw_fd(), token, Interest::WRITABLE);
        let (mut start, mut waits) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_millis(20) {
            waits += 1;
            let told = events_within(&mut uring, Some(Duration::from_millis(20)));
            if !told.is_empty() {
                // The kernel asks for the other end's room again and again, and has found some.
                assert!(has_room(&one), "{told:?}");
                fill(&one);
                uring.ask(one.as_raw_fd(), token, Interest::WRITABLE);
                (start, waits) = (Instant::now(), 0);
            }
        }
        assert!(waits < 10, "{waits} waits");
        let mut bytes = vec![0; 1 << 20];
        let event = loop {
            let _ = other.read(&mut bytes).unwrap();
            if let [event] = events(&mut uring)[..] {
                break event;
            }
        };
        assert!(event.token == token && event.ready.is_writable());
        fill(&one);
    }
    uring.let_go().unwrap();
    assert_eq!((uring.requests.len(), uring.leaving), (0, 0));
}

#[test]
fn a_number_that_is_not_open_is_ready_for_everything() {
    let Some(mut uring) = uring() else { return };
    let number = pipe().0.as_raw_fd().max(100) + 10_000;
    uring.ask(number, 1, Interest::READABLE);
    assert_eq!(events(&mut uring), [Readiness { token: 1, ready: Interest::BOTH, marked: true }]);
    let file = File::open("/proc/self/exe").unwrap();
    uring.ask(file.as_raw_fd(), 2, Interest::READABLE);
    assert!(matches!(events(&mut uring)[..], [Readiness { token: 2, .. }]));
}

#[test]
fn a_wait_ends_in_time() {
    let Some(mut uring) = uring() else { return };
    let start = Instant::now();
    let wait = Duration::from_micros(1_100);
    while start.elapsed() < wait {
        events_within(&mut uring, Some(wait));
    }
    assert!(start.elapsed() < Duration::from_secs(10));
}

/// The oldest operation that is done, after a wait if need be.
fn next_done(uring: &mut Uring) -> (u64, io::Result<Done>) {
    while uring.done.is_empty() {
        assert_eq!(events_within(uring, None), []);
    }
    uring.done.remove(0)
}

fn begin(uring: &mut Uring, entry: &Entry<'_>, token: u64) -> Begun {
    assert!(!entry.takes_buffer() || uring.has_buffers());
    // SAFETY: the tests drop their entries after the ring, or after they have been told of.
    unsafe { uring.begin(entry, token) }
}

fn error_of(done: (u64, io::Result<Done>)) -> Option<i32> {
    done.1.unwrap_err().raw_os_error()
}

#[test]
fn what_is_received_comes_in_a_buffer_of_the_ring() {
    let Some(mut uring) = uring() else { return };
    let (one, mut other) = UnixStream::pair().unwrap();
    let entry = Entry::receive(one.as_fd(), 3);
    for _ in 0..3 * usize::from(provided::FIRST) {
        begin(&mut uring, &entry, 7);
        assert_eq!(events(&mut uring), []);
        assert!(uring.done.is_empty());
        other.write_all(b"word").unwrap();
        let (token, done) = next_done(&mut uring);
        let mut buffer = [0; 4];
        assert_eq!((token, done.unwrap().received(&mut buffer)), (7, 3));
        assert_eq!(buffer, *b"wor\0");
        assert_eq!((&one).read(&mut buffer).unwrap(), 1);
    }
    drop(other);
    begin(&mut uring, &entry, 8);
    assert_eq!(next_done(&mut uring).1.unwrap().received(&mut []), 0);
    assert_eq!((uring.requests.len(), uring.under_way), (0, 0));
}

#[test]
fn what_finds_no_buffer_is_left_and_there_are_more_the_next_time() {
    let Some(mut uring) = uring() else { return };
    let count = 2 * usize::from(provided::FIRST);
    let pairs: Vec<_> = (0..count).map(|_| UnixStream::pair().unwrap()).collect();
    let entries: Vec<_> = pairs.iter().map(|(one, _)| Entry::receive(one.as_fd(), 8)).collect();
    for refused in [1..=count / 2, 0..=0] {
        for (token, entry) in entries.iter().enumerate() {
            begin(&mut uring, entry, token as u64);
            (&pairs[token].1).write_all(&[token as u8]).unwrap();
        }
        let mut done = Vec::new();
        while done.len() < count {
            done.push(next_done(&mut uring));
        }
        let mut without = 0;
        for (token, result) in done {
            let mut byte = [0];
            match result {
                Ok(done) => assert_eq!(done.received(&mut byte), 1),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS));
                    (&pairs[token as usize].0).read_exact(&mut byte).unwrap();
                    without += 1;
                }
            }
            assert_eq!(byte, [token as u8]);
        }
        assert!(refused.contains(&without), "{without}");
    }
}

#[test]
fn what_is_given_up_has_taken_nothing() {
    let Some(mut uring) = uring() else { return };
    let (one, mut other) = UnixStream::pair().unwrap();
    let entry = Entry::receive(one.as_fd(), 8);
    let begun = begin(&mut uring, &entry, 1);
    assert_eq!(events(&mut uring), []);
    uring.cancel(begun);
    assert_eq!(error_of(next_done(&mut uring)), Some(libc::ECANCELED));
    let begun = begin(&mut uring, &entry, 2);
    uring.hurry(begun);
    uring.hurry(begun);
    uring.let_go().unwrap();
    assert_eq!((uring.requests.len(), uring.leaving, uring.under_way), (0, 0, 0));
    assert_eq!(error_of(next_done(&mut uring)), Some(libc::ECANCELED));
    other.write_all(b"kept").unwrap();
    assert_eq!((&one).read(&mut [0; 8]).unwrap(), 4);
}

#[test]
fn a_connection_is_made_and_taken() {
    let Some(mut uring) = uring() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let accept = Entry::accept(listener.as_fd());
    begin(&mut uring, &accept, 1);
    assert_eq!(events(&mut uring), []);
    let client = TcpStream::connect(address).unwrap();
    let connection = TcpStream::from(next_done(&mut uring).1.unwrap().opened().unwrap());
    assert_eq!(connection.peer_addr().unwrap(), client.local_addr().unwrap());
    assert_eq!(accept.into_address().to_ip().unwrap(), client.local_addr().unwrap());
    // SAFETY: takes no pointers.
    assert_eq!(unsafe { libc::fcntl(connection.as_raw_fd(), libc::F_GETFD) }, libc::FD_CLOEXEC);

    let target = Address::from(address);
    let socket = socket::stream(&target).unwrap();
    let connect = Entry::connect(socket.as_fd(), target);
    begin(&mut uring, &connect, 2);
    assert_eq!(next_done(&mut uring).1.unwrap().count(), 0);
    assert_eq!(TcpStream::from(socket).peer_addr().unwrap(), address);
    drop(listener);
    let socket = socket::stream(&target).unwrap();
    let connect = Entry::connect(socket.as_fd(), target);
    begin(&mut uring, &connect, 3);
    assert_eq!(error_of(next_done(&mut uring)), Some(libc::ECONNREFUSED));
}

#[test]
fn what_is_sent_is_a_copy() {
    let Some(mut uring) = uring() else { return };
    let (one, mut other) = UnixStream::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    let mut before = 0;
    while let Ok(count) = (&one).write(&[1; 4096]) {
        before += count;
    }
    let bytes = vec![2; 100_000];
    let entry = Entry::send(one.as_fd(), &bytes);
    drop(bytes);
    assert_eq!(entry.length(), 1 << 16);
    begin(&mut uring, &entry, 1);
    assert_eq!(events(&mut uring), []);
    assert!(uring.done.is_empty());
    other.read_exact(&mut vec![0; before]).unwrap();
    let count = next_done(&mut uring).1.unwrap().count();
    assert!(0 < count && count <= 1 << 16);
    let mut sent = vec![0; count];
    other.read_exact(&mut sent).unwrap();
    assert!(sent.iter().all(|&byte| byte == 2));
    drop(other);
    begin(&mut uring, &entry, 2);
    assert_eq!(error_of(next_done(&mut uring)), Some(libc::EPIPE));
}
