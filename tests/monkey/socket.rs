//! std's sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use greenloop::sync::Barrier;
use greenloop::{joinall, spawn, yield_now};

use crate::patched;

fn flags(socket: &impl AsRawFd) -> i32 {
    // SAFETY: takes no pointers.
    unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFL) }
}

#[test]
fn a_hundred_connections_are_served_in_one_thread() {
    patched(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let all_asked = Arc::new(Barrier::new(100));
        let server = spawn(move || {
            let handlers: Vec<_> = listener
                .incoming()
                .take(100)
                .map(|stream| {
                    let mut stream = stream.unwrap();
                    assert_eq!(flags(&stream) & libc::O_NONBLOCK, 0);
                    let all_asked = all_asked.clone();
                    spawn(move || {
                        let mut request = [0; 5];
                        stream.read_exact(&mut request).unwrap();
                        // One after another, none would be answered.
                        all_asked.wait();
                        stream.write_all(&request).unwrap();
                    })
                })
                .collect();
            assert_eq!(flags(&listener) & libc::O_NONBLOCK, 0);
            joinall(&handlers);
        });
        let clients: Vec<_> = (0..100)
            .map(|number| {
                spawn(move || {
                    let mut stream = match number % 2 {
                        0 => TcpStream::connect(address).unwrap(),
                        _ => TcpStream::connect_timeout(&address, Duration::from_secs(30)).unwrap(),
                    };
                    assert_eq!(flags(&stream) & libc::O_NONBLOCK, 0);
                    let request = format!("{number:5}");
                    stream.write_all(request.as_bytes()).unwrap();
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).unwrap();
                    assert_eq!(answer, request);
                })
            })
            .collect();
        joinall(&clients);
        clients.into_iter().for_each(|client| client.join().unwrap());
        server.join().unwrap();
    });
}

#[test]
fn a_blocking_write_is_finished_before_it_returns() {
    patched(|| {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let sent: Vec<u8> = (0..4_000_000_u32).map(|number| number as u8).collect();
        let expected = sent.clone();
        let writer = spawn(move || {
            assert_eq!(one.write(&sent).unwrap(), sent.len());
            let slices =
                [std::io::IoSlice::new(&sent[..1_000_000]), std::io::IoSlice::new(&sent[1_000_000..])];
            assert_eq!(one.write_vectored(&slices).unwrap(), sent.len());
        });
        yield_now();
        assert!(!writer.is_finished());
        let mut received = Vec::new();
        other.read_to_end(&mut received).unwrap();
        writer.join().unwrap();
        assert!(received[..expected.len()] == expected && received[expected.len()..] == expected);
    });
}

#[test]
fn whoever_wants_no_wait_gets_none() {
    patched(|| {
        spawn(|| {
            let (mut one, _other) = UnixStream::pair().unwrap();
            one.set_nonblocking(true).unwrap();
            assert_eq!(one.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
            assert_ne!(flags(&listener) & libc::O_NONBLOCK, 0);
            one.set_nonblocking(false).unwrap();
            // SAFETY: the buffer is valid for its one byte.
            let count =
                unsafe { libc::recv(one.as_raw_fd(), [0_u8].as_mut_ptr().cast(), 1, libc::MSG_DONTWAIT) };
            assert_eq!(count, -1);
            assert_eq!(std::io::Error::last_os_error().kind(), ErrorKind::WouldBlock);
        })
        .join()
        .unwrap();
    });
}

/// Conformance 170.
#[test]
fn time_limits_of_a_socket_hold() {
    patched(|| {
        let (mut one, _other) = UnixStream::pair().unwrap();
        let limit = Duration::from_millis(50);
        one.set_read_timeout(Some(limit)).unwrap();
        one.set_write_timeout(Some(limit)).unwrap();
        crate::yields(move || {
            let start = Instant::now();
            assert_eq!(one.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
            assert!(start.elapsed() >= limit);
            let error = (0..100).find_map(|_| one.write_all(&[0; 100_000]).err()).unwrap();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        });
    });
}

#[test]
fn a_shutdown_ends_a_wait() {
    patched(|| {
        let (mut one, _other) = UnixStream::pair().unwrap();
        let shared = one.try_clone().unwrap();
        let reader = spawn(move || one.read(&mut [0]).unwrap());
        yield_now();
        shared.shutdown(Shutdown::Read).unwrap();
        assert_eq!(reader.join().unwrap(), 0);
    });
}

/// Conformance 136, for descriptors that are not greenloop's own; natively nobody would be woken.
#[test]
fn a_close_ends_a_wait_with_ebadf() {
    patched(|| {
        let (one, _other) = UnixStream::pair().unwrap();
        let fd = one.as_raw_fd();
        let reader = spawn(move || {
            // SAFETY: the buffer is valid for its one byte.
            let count = unsafe { libc::recv(fd, [0_u8].as_mut_ptr().cast(), 1, 0) };
            (count, std::io::Error::last_os_error().raw_os_error())
        });
        yield_now();
        drop(one);
        // The number is given away at once, and means another file by the time the reader runs.
        let (again, mut peer) = UnixStream::pair().unwrap();
        peer.write_all(b"x").unwrap();
        assert_eq!(reader.join().unwrap(), (-1, Some(libc::EBADF)));
        assert_eq!(again.as_raw_fd(), fd);
    });
}

#[test]
fn errors_are_those_of_the_kernel() {
    patched(|| {
        spawn(|| {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            // SAFETY: the buffer is valid for its one byte.
            assert_eq!(unsafe { libc::recv(-1, [0_u8].as_mut_ptr().cast(), 1, 0) }, -1);
            assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EBADF));
            let (reader, _writer) = std::io::pipe().unwrap();
            // SAFETY: as above.
            assert_eq!(unsafe { libc::recv(reader.as_raw_fd(), [0_u8].as_mut_ptr().cast(), 1, 0) }, -1);
            assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ENOTSOCK));
        })
        .join()
        .unwrap();
    });
}

#[test]
fn datagrams_come_as_they_were_sent() {
    patched(|| {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = receiver.local_addr().unwrap();
        let reader = spawn(move || {
            let mut buffer = [0; 10];
            let (count, from) = receiver.recv_from(&mut buffer).unwrap();
            (buffer[..count].to_vec(), from)
        });
        yield_now();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(sender.send_to(b"datagram", address).unwrap(), 8);
        assert_eq!(reader.join().unwrap(), (b"datagram".to_vec(), sender.local_addr().unwrap()));

        let (one, other) = UnixDatagram::pair().unwrap();
        let writer = spawn(move || {
            (0..1000_u32).for_each(|number| assert_eq!(one.send(&number.to_le_bytes()).unwrap(), 4))
        });
        yield_now();
        for number in 0..1000_u32 {
            let mut buffer = [0; 10];
            assert_eq!(other.recv(&mut buffer).unwrap(), 4);
            assert_eq!(buffer[..4], number.to_le_bytes());
        }
        writer.join().unwrap();
    });
}

#[test]
fn a_unix_listener_with_a_full_backlog_is_tried_again() {
    patched(|| {
        let folder = std::env::temp_dir().join(format!("greenloop-monkey-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("listener");
        let listener = UnixListener::bind(&path).unwrap();
        // SAFETY: takes no pointers.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let clients: Vec<_> = (0..5_u8)
            .map(|number| {
                let path = path.clone();
                spawn(move || UnixStream::connect(path).unwrap().write_all(&[number]).unwrap())
            })
            .collect();
        yield_now();
        let mut heard: Vec<u8> = (0..5)
            .map(|_| {
                let mut byte = [0];
                listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
                byte[0]
            })
            .collect();
        heard.sort_unstable();
        assert_eq!(heard, [0, 1, 2, 3, 4]);
        clients.into_iter().for_each(|client| client.join().unwrap());
        std::fs::remove_dir_all(folder).unwrap();
    });
}

#[test]
fn a_whole_message_is_waited_for() {
    patched(|| {
        let (one, mut other) = UnixStream::pair().unwrap();
        let reader = spawn(move || {
            let mut buffer = [0_u8; 6];
            // SAFETY: the buffer is valid for its length.
            let count =
                unsafe { libc::recv(one.as_raw_fd(), buffer.as_mut_ptr().cast(), 6, libc::MSG_WAITALL) };
            (count, buffer)
        });
        for part in [b"ab", b"cd", b"ef"] {
            yield_now();
            assert!(!reader.is_finished());
            other.write_all(part).unwrap();
        }
        assert_eq!(reader.join().unwrap(), (6, *b"abcdef"));
    });
}

#[test]
fn names_are_looked_up_beside_others() {
    patched(|| {
        let found = crate::yields(|| {
            // Longer than any lookup in /etc/hosts, so that the counter has its turns.
            std::thread::sleep(Duration::from_millis(5));
            ("localhost", 80).to_socket_addrs().unwrap().collect::<Vec<_>>()
        });
        assert!(found.contains(&"127.0.0.1:80".parse().unwrap()), "{found:?}");
        let error = spawn(|| "no such name:80".to_socket_addrs().map(|_| ()).unwrap_err()).join().unwrap();
        let plain = std::thread::spawn(|| "no such name:80".to_socket_addrs().map(|_| ()).unwrap_err());
        assert_eq!(error.to_string(), plain.join().unwrap().to_string());
    });
}

#[test]
fn several_messages_are_sent_and_received_by_one_call() {
    patched(|| {
        let (one, other) = UnixDatagram::pair().unwrap();
        let receiver = spawn(move || {
            let mut bytes = [[0_u8; 4]; 3];
            let mut slices =
                bytes.each_mut().map(|bytes| libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 4 });
            // SAFETY: zeros are a valid header: no name, no slices, no control memory.
            let mut messages: [libc::mmsghdr; 3] = unsafe { std::mem::zeroed() };
            for (message, slice) in messages.iter_mut().zip(&mut slices) {
                message.msg_hdr.msg_iov = slice;
                message.msg_hdr.msg_iovlen = 1;
            }
            // SAFETY: three messages of one slice each, and no time limit.
            let count = unsafe {
                libc::recvmmsg(other.as_raw_fd(), messages.as_mut_ptr(), 3, 0, std::ptr::null_mut())
            };
            (count, messages.map(|message| message.msg_len), bytes)
        });
        yield_now();
        one.send(b"a").unwrap();
        yield_now();
        assert!(!receiver.is_finished(), "it waits for all three");
        one.send(b"bc").unwrap();
        one.send(b"def").unwrap();
        assert_eq!(receiver.join().unwrap(), (3, [1, 2, 3], [*b"a\0\0\0", *b"bc\0\0", *b"def\0"]));
    });
}

/// `std::io::copy` from a file to a socket is `sendfile`, and from a pipe `splice`.
#[test]
fn a_copy_within_the_kernel_yields() {
    patched(|| {
        let path = std::env::temp_dir().join(format!("greenloop-monkey-copy-{}", std::process::id()));
        let contents: Vec<u8> = (0..3_000_000_u32).map(|number| (number / 5) as u8).collect();
        std::fs::write(&path, &contents).unwrap();
        let (one, mut other) = UnixStream::pair().unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let length = contents.len();
        let sender = spawn(move || {
            // SAFETY: no offset is given.
            let sent =
                unsafe { libc::sendfile(one.as_raw_fd(), file.as_raw_fd(), std::ptr::null_mut(), length) };
            assert_eq!(sent, length as isize);
            assert_eq!(flags(&one) & libc::O_NONBLOCK, 0);
        });
        yield_now();
        assert!(!sender.is_finished());
        let mut received = Vec::new();
        other.read_to_end(&mut received).unwrap();
        assert!(received == contents);
        sender.join().unwrap();
        std::fs::remove_file(path).unwrap();

        let (reader, mut writer) = std::io::pipe().unwrap();
        let (one, mut other) = UnixStream::pair().unwrap();
        let mover = spawn(move || {
            let mut moved = 0;
            loop {
                let (from, to) = (reader.as_raw_fd(), one.as_raw_fd());
                // SAFETY: no offsets are given.
                match unsafe { libc::splice(from, std::ptr::null_mut(), to, std::ptr::null_mut(), 65_536, 0) }
                {
                    0 => return moved,
                    count => moved += usize::try_from(count).unwrap(),
                }
            }
        });
        let sent = contents.clone();
        let source = spawn(move || writer.write_all(&sent).unwrap());
        let mut received = Vec::new();
        other.read_to_end(&mut received).unwrap();
        assert!(received == contents);
        assert_eq!(mover.join().unwrap(), contents.len());
        source.join().unwrap();
    });
}
