//! Unmodified code in a world in which things go wrong.

use std::cell::Cell;
use std::fs;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::time::Duration;

use greenloop::testing::{self, World};
use greenloop::{spawn, with_timeout};

use crate::patched;

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

fn in_world(test: impl FnOnce(&World) + Send + 'static) {
    patched(|| testing::run(test));
}

fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

#[test]
fn stds_connections_are_refused_reset_and_short() {
    in_world(|world| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let (mut one, mut other) = connection();
        world.faults().refuse(1.0);
        assert_eq!(TcpStream::connect(to).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let late = TcpStream::connect_timeout(&to, SECOND).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::ConnectionRefused);
        world.faults().refuse(0.0).short(1.0);
        assert_eq!(one.write(b"hello").unwrap(), 3);
        one.write_all(b"lo").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(other.read(&mut buffer).unwrap(), 3);
        assert_eq!(other.read(&mut buffer).unwrap(), 2);
        let (mut near, mut far) = UnixStream::pair().unwrap();
        assert_eq!(near.write(b"hello").unwrap(), 3);
        assert_eq!(far.read(&mut buffer).unwrap(), 3);
        world.faults().short(0.0).reset(1.0);
        assert_eq!(one.read(&mut buffer).unwrap_err().kind(), ErrorKind::ConnectionReset);
        world.faults().reset(0.0);
        assert_eq!(other.read(&mut buffer).unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

/// The first call is sendmsg, of two slices, and the second recvmsg: how many bytes each has moved.
fn move_messages(from: RawFd, to: RawFd) -> (isize, isize) {
    let mut bytes = *b"he,llo";
    let mut slices =
        bytes.chunks_mut(2).map(|part| libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: 2 });
    let mut slices = [slices.next().unwrap(), slices.next().unwrap(), slices.next().unwrap()];
    // SAFETY: zeros are a valid message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (slices.as_mut_ptr(), slices.len() as _);
    // SAFETY: three slices of bytes that live.
    let sent = unsafe { libc::sendmsg(from, &message, 0) };
    // SAFETY: as above.
    let received = unsafe { libc::recvmsg(to, &mut message, 0) };
    assert_eq!((message.msg_iov, message.msg_iovlen as usize), (slices.as_mut_ptr(), 3));
    (sent, received)
}

#[test]
fn messages_and_slices_are_short_and_late_too() {
    in_world(|world| {
        let (mut one, mut other) = connection();
        world.faults().short(1.0);
        assert_eq!(move_messages(one.as_raw_fd(), other.as_raw_fd()), (2, 2));
        assert_eq!(one.write_vectored(&[IoSlice::new(b"hell"), IoSlice::new(b"o")]).unwrap(), 3);
        assert_eq!(other.read(&mut [0; 8]).unwrap(), 3);
        world.faults().short(0.0).latency(SECOND..=SECOND);
        one.write_all(b"x").unwrap();
        greenloop::sleep(MILLISECOND);
        assert_eq!(move_messages(one.as_raw_fd(), other.as_raw_fd()), (6, 1));
        assert_eq!(world.elapsed(), SECOND);
        assert_eq!(other.read(&mut [0; 8]).unwrap(), 6);
        assert_eq!(world.elapsed(), SECOND + MILLISECOND);
    });
}

#[test]
fn listeners_and_what_does_not_wait_are_spared() {
    in_world(|world| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        world.faults().reset(1.0).short(1.0);
        let mut one = TcpStream::connect(to).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        let _another = (TcpStream::connect(to).unwrap(), listener.accept().unwrap());
        one.set_nonblocking(true).unwrap();
        other.set_nonblocking(true).unwrap();
        assert_eq!(one.write(b"hello").unwrap(), 5);
        assert_eq!(other.read(&mut [0; 8]).unwrap(), 5);
    });
}

#[test]
fn a_connection_for_which_there_is_no_room_is_tried_again_though_time_stands() {
    in_world(|world| {
        let path = std::env::temp_dir().join(format!("greenloop-no-room-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        // SAFETY: takes no pointers.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let _first = UnixStream::connect(&path).unwrap();
        let second = spawn({
            let path = path.clone();
            move || UnixStream::connect(path).map(drop)
        });
        greenloop::yield_now();
        let hold = world.hold();
        listener.accept().unwrap();
        listener.accept().unwrap();
        second.join().unwrap().unwrap();
        drop(hold);
        fs::remove_file(path).unwrap();
        assert_eq!(world.elapsed(), Duration::ZERO);
    });
}

#[test]
fn signals_interrupt_what_waits_and_nothing_else() {
    in_world(|world| {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        world.faults().interrupt(1.0);
        assert_eq!(one.read(&mut [0]).unwrap_err().kind(), ErrorKind::Interrupted);
        assert_eq!(one.write(b"x").unwrap_err().kind(), ErrorKind::Interrupted);
        one.set_nonblocking(true).unwrap();
        assert_eq!(one.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        one.set_nonblocking(false).unwrap();
        world.faults().interrupt(0.5);
        // std begins what has been interrupted again where it promises that.
        let writer = spawn(move || one.write_all(&[7; 100]).unwrap());
        other.read_exact(&mut [0; 100]).unwrap();
        writer.join().unwrap();
    });
}

#[test]
fn latency_and_cuts_reach_stds_sockets() {
    in_world(|world| {
        let (mut one, mut other) = connection();
        world.faults().latency(SECOND..=SECOND);
        one.write_all(b"hello").unwrap();
        greenloop::sleep(MILLISECOND);
        one.write_all(b"again").unwrap();
        let mut buffer = [0; 64];
        other.set_read_timeout(Some(SECOND / 10)).unwrap();
        assert_eq!(other.read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(world.elapsed(), 101 * MILLISECOND);
        other.set_read_timeout(None).unwrap();
        // A peek waits too, and takes nothing.
        assert_eq!(other.peek(&mut buffer).unwrap(), 5);
        assert_eq!(world.elapsed(), SECOND);
        assert_eq!(other.read(&mut buffer).unwrap(), 5);
        assert_eq!(world.elapsed(), SECOND);
        assert_eq!(other.read(&mut buffer).unwrap(), 5);
        assert_eq!(world.elapsed(), SECOND + MILLISECOND);
        world.faults().latency(Duration::ZERO..=Duration::ZERO);
        let home = IpAddr::from([127, 0, 0, 1]);
        let cut = world.faults().cut(home, home);
        one.write_all(b"held").unwrap();
        other.set_read_timeout(Some(SECOND)).unwrap();
        assert_eq!(other.read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        other.set_read_timeout(None).unwrap();
        let reader = spawn(move || other.read(&mut [0; 64]).unwrap());
        assert!(with_timeout(SECOND, || reader.wait()).is_err());
        drop(cut);
        assert_eq!(reader.join().unwrap(), 4);
        assert_eq!(world.elapsed(), 3 * SECOND + MILLISECOND);
        // Who was cut off is as late as others are.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let cut = world.faults().latency(SECOND..=SECOND).cut(home, home);
        let late = spawn(move || TcpStream::connect(to).map(drop));
        assert!(with_timeout(SECOND, || late.wait()).is_err());
        drop(cut);
        late.join().unwrap().unwrap();
        assert_eq!(world.elapsed(), 5 * SECOND + MILLISECOND);
    });
}

/// Sends a datagram of two slices where the socket is connected to.
fn send_message(from: RawFd) -> isize {
    let mut bytes = *b"mn";
    let mut slices = [0, 1].map(|place| libc::iovec { iov_base: (&raw mut bytes[place]).cast(), iov_len: 1 });
    // SAFETY: zeros are a valid message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (slices.as_mut_ptr(), slices.len() as _);
    // SAFETY: two slices of bytes that live.
    unsafe { libc::sendmsg(from, &message, 0) }
}

#[test]
fn datagrams_of_std_and_c_are_lost_late_and_twice_there() {
    in_world(|world| {
        let (one, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let to = other.local_addr().unwrap();
        one.connect(to).unwrap();
        other.set_read_timeout(Some(10 * SECOND)).unwrap();
        let mut buffer = [0; 8];
        let mut arrivals = || {
            let begin = world.elapsed();
            let next = || other.recv(&mut buffer).ok().map(|count| (count, world.elapsed() - begin));
            std::iter::from_fn(next).collect::<Vec<_>>()
        };
        let send = || {
            assert_eq!(one.send(b"abc").unwrap(), 3);
            assert_eq!(one.send_to(b"d", to).unwrap(), 1);
            assert_eq!(send_message(one.as_raw_fd()), 2);
        };
        world.faults().lose(1.0);
        send();
        assert_eq!(arrivals(), []);
        world.faults().lose(0.0).duplicate(1.0).latency(SECOND..=SECOND);
        send();
        assert_eq!(arrivals(), [3, 3, 1, 1, 2, 2].map(|count| (count, SECOND)));
        // What does not wait is spared.
        world.faults().lose(1.0).duplicate(0.0);
        one.set_nonblocking(true).unwrap();
        send();
        assert_eq!(arrivals(), [3, 1, 2].map(|count| (count, Duration::ZERO)));
    });
}

#[test]
fn disks_fail_for_std_too() {
    in_world(|world| {
        let path = std::env::temp_dir().join(format!("greenloop-disk-std-{}", std::process::id()));
        fs::write(&path, "kept").unwrap();
        let mut file = fs::File::open(&path).unwrap();
        world.faults().disk_error(1.0);
        assert_eq!(file.read(&mut [0; 8]).unwrap_err().raw_os_error(), Some(libc::EIO));
        assert_eq!(file.sync_all().unwrap_err().raw_os_error(), Some(libc::EIO));
        world.faults().disk_error(0.0);
        assert_eq!(file.read(&mut [0; 8]).unwrap(), 4);
        fs::remove_file(path).unwrap();
    });
}

#[test]
fn a_host_of_std_connects_from_its_address_and_crashes() {
    in_world(|world| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let host = world.host([127, 0, 0, 9].into());
        let farewell = Rc::new(Cell::new(None));
        let client = host.spawn({
            let farewell = farewell.clone();
            move || {
                let mut stream = TcpStream::connect(to).unwrap();
                let _ = stream.read(&mut [0]);
                farewell.set(Some(stream.write(b"bye").is_ok()));
            }
        });
        let (mut stream, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), host.address());
        world.settle();
        host.crash();
        assert_eq!(stream.read(&mut [0; 8]).unwrap_or(0), 0);
        world.settle();
        assert_eq!(farewell.get(), Some(false));
        drop(client);
    });
}
