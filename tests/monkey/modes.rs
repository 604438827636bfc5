//! O_NONBLOCK of files that others share.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use greenloop::spawn;

use crate::{patched, yields};

fn is_nonblocking(fd: RawFd) -> bool {
    // SAFETY: takes no pointers.
    unsafe { libc::fcntl(fd, libc::F_GETFL) & libc::O_NONBLOCK != 0 }
}

/// Accepts until a connection says that it is the last; how many there were.
fn accept_until_told(listener: &TcpListener) -> usize {
    let mut count = 0;
    loop {
        let (mut connection, _) = listener.accept().expect("no error of another's making");
        let mut byte = [0];
        connection.read_exact(&mut byte).unwrap();
        if byte == *b"q" {
            return count;
        }
        count += 1;
    }
}

#[test]
fn a_listener_is_accepted_from_by_hubs_and_os_threads() {
    patched(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let native = greenloop::net::TcpListener::from(listener.try_clone().unwrap());
        let acceptors: Vec<_> = (0..4)
            .map(|number| {
                let listener = listener.try_clone().unwrap();
                thread::spawn(move || match number {
                    // Without a hub.
                    0 => accept_until_told(&listener),
                    _ => spawn(move || accept_until_told(&listener)).join().unwrap(),
                })
            })
            .collect();
        let send = |byte: &[u8]| TcpStream::connect(address).unwrap().write_all(byte).unwrap();
        (0..200).for_each(|_| send(b"x"));
        drop(native);
        (0..200).for_each(|_| send(b"x"));
        acceptors.iter().for_each(|_| send(b"q"));
        let counts = acceptors.into_iter().map(|acceptor| acceptor.join().unwrap());
        assert_eq!(counts.sum::<usize>(), 400);
        assert!(!is_nonblocking(listener.as_raw_fd()), "nobody has made it so");
    });
}

/// However often it is asked for a connection: only while there is one to be taken it is O_NONBLOCK.
#[test]
fn a_listener_that_is_waited_for_is_left_as_it_is() {
    patched(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let limit = libc::timeval { tv_sec: 0, tv_usec: 100 };
        // SAFETY: the limit is valid for reads of its size.
        let result = unsafe {
            libc::setsockopt(
                listener.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVTIMEO,
                (&raw const limit).cast(),
                size_of_val(&limit) as libc::socklen_t,
            )
        };
        assert_eq!(result, 0);
        let (watched, done) = (listener.try_clone().unwrap(), Arc::new(AtomicBool::new(false)));
        let watcher = thread::spawn({
            let done = done.clone();
            move || {
                let mut seen = 0;
                while !done.load(Ordering::SeqCst) {
                    seen += usize::from(is_nonblocking(watched.as_raw_fd()));
                }
                seen
            }
        });
        spawn(move || {
            for _ in 0..2000 {
                assert_eq!(listener.accept().unwrap_err().raw_os_error(), Some(libc::EAGAIN));
            }
        })
        .join()
        .unwrap();
        done.store(true, Ordering::SeqCst);
        assert_eq!(watcher.join().unwrap(), 0);
    });
}

#[test]
fn what_cannot_be_accepted_from_says_so_at_once() {
    patched(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (stream, _peer) = UnixStream::pair().unwrap();
        let accept = |fd| {
            // SAFETY: no address is asked for.
            let accepted = unsafe { libc::accept(fd, std::ptr::null_mut(), std::ptr::null_mut()) };
            (accepted, std::io::Error::last_os_error().raw_os_error())
        };
        for (fd, errno) in
            [(socket.as_raw_fd(), libc::EOPNOTSUPP), (stream.as_raw_fd(), libc::EINVAL), (1000, libc::EBADF)]
        {
            assert_eq!(spawn(move || accept(fd)).join().unwrap(), (-1, Some(errno)));
        }
    });
}

/// Sends `length` bytes of `file` from `offset` on, or from where it stands.
fn send_file(to: RawFd, file: &File, offset: Option<&mut i64>, length: usize) -> isize {
    let offset = offset.map_or(std::ptr::null_mut(), |offset| offset);
    // SAFETY: null or valid for reads and writes.
    unsafe { libc::sendfile(to, file.as_raw_fd(), offset, length) }
}

#[test]
fn a_file_is_sent_without_a_change_of_mode() {
    patched(|| {
        let path = std::env::temp_dir().join(format!("greenloop-modes-{}", std::process::id()));
        let contents: Vec<u8> = (0..500_000_u32).map(|number| (number % 251) as u8).collect();
        std::fs::write(&path, &contents).unwrap();
        let mut file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.seek(SeekFrom::Start(100)).unwrap();
        let (to_socket, mut from_socket) = UnixStream::pair().unwrap();
        let (mut from_pipe, to_pipe) = std::io::pipe().unwrap();
        let (socket, pipe) = (to_socket.as_raw_fd(), to_pipe.as_raw_fd());
        let sender = spawn(move || {
            let mut offset = 7;
            assert_eq!(send_file(socket, &file, Some(&mut offset), 400_000), 400_000);
            assert_eq!((offset, file.stream_position().unwrap()), (400_007, 100));
            assert_eq!(send_file(socket, &file, None, 1_000_000), 499_900);
            assert_eq!(file.stream_position().unwrap(), 500_000);
            drop(to_socket);
            let mut offset = 0;
            assert_eq!(send_file(pipe, &file, Some(&mut offset), 200_000), 200_000);
            drop(to_pipe);
        });
        let mut received = Vec::new();
        yields(move || {
            assert!(!is_nonblocking(socket) && !is_nonblocking(pipe));
            from_socket.read_to_end(&mut received).unwrap();
            from_pipe.read_to_end(&mut received).unwrap();
            let sent = [&contents[7..400_007], &contents[100..], &contents[..200_000]].concat();
            assert!(received == sent, "{} bytes of {}", received.len(), sent.len());
        });
        sender.join().unwrap();
    });
}
