use std::io::{BufRead, BufReader, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use greenloop::net::unix::UnixStream;
use greenloop::net::{TcpListener, TcpStream};
use greenloop::{spawn, with_timeout, yield_now};

use crate::support::each_driver;
use crate::{hang_up, pair, settle};

fn read_byte(mut stream: &TcpStream) -> u8 {
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    byte[0]
}

/// Writes until the connection takes no more.
fn fill(mut stream: &TcpStream) {
    stream.set_nonblocking(true).unwrap();
    while stream.write(&[0; 65536]).is_ok() {}
    stream.set_nonblocking(false).unwrap();
}

fn is_nonblocking(fd: impl AsFd) -> bool {
    rustix::fs::fcntl_getfl(fd).unwrap().contains(rustix::fs::OFlags::NONBLOCK)
}

each_driver! {
    fn bytes_go_to_and_fro() {
        let (mut client, mut server) = pair();
        let echo = spawn(move || {
            let mut buffer = [0; 100];
            loop {
                match server.read(&mut buffer).unwrap() {
                    0 => return,
                    count => server.write_all(&buffer[..count]).unwrap(),
                }
            }
        });
        for text in ["one", "two", "three"] {
            client.write_all(text.as_bytes()).unwrap();
            let mut buffer = vec![0; text.len()];
            client.read_exact(&mut buffer).unwrap();
            assert_eq!(buffer, text.as_bytes());
        }
        client.shutdown(Shutdown::Write).unwrap();
        echo.join().unwrap();
    }

    /// Conformance 135.
    fn readers_of_one_connection_take_turns() {
        let (client, mut server) = pair();
        let client = Rc::new(client);
        let readers: Vec<_> = (0..5).map(|_| { let client = client.clone(); spawn(move || read_byte(&client)) }).collect();
        settle();
        server.write_all(b"abc").unwrap();
        settle();
        server.write_all(b"de").unwrap();
        let bytes: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        assert_eq!(bytes, b"abcde");
    }

    /// Conformance 135.
    fn a_reader_and_a_writer_do_not_wait_for_each_other() {
        let (client, server) = pair();
        let client = Rc::new(client);
        fill(&client);
        let writer = spawn({ let client = client.clone(); move || (&*client).write_all(b"more").unwrap() });
        let reader = spawn({ let client = client.clone(); move || read_byte(&client) });
        settle();
        assert!(!writer.is_finished() && !reader.is_finished());
        (&server).write_all(b"x").unwrap();
        assert_eq!(reader.join().unwrap(), b'x');
        assert!(!writer.is_finished());
        let drain = spawn(move || std::io::copy(&mut &server, &mut std::io::sink()).unwrap());
        writer.join().unwrap();
        hang_up(&client);
        drain.join().unwrap();
    }

    /// Conformance 138. The order of a timeout and of others that run meanwhile.
    fn a_read_timeout_lets_others_run() {
        let (mut client, _server) = pair();
        client.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let start = Instant::now();
        let other = spawn(|| (0..5).for_each(|_| yield_now()));
        assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(start.elapsed() >= Duration::from_millis(10));
        assert!(other.is_finished());
    }

    fn an_enclosing_time_limit_ends_a_read_and_a_write() {
        let (client, server) = pair();
        let limit = Duration::from_millis(5);
        assert!(with_timeout(limit, || read_byte(&client)).is_err());
        fill(&client);
        assert!(with_timeout(limit, || (&client).write(b"x")).is_err());
        (&server).write_all(b"y").unwrap();
        assert_eq!(read_byte(&client), b'y');
    }

    fn a_killed_reader_takes_nothing() {
        let (client, mut server) = pair();
        let client = Rc::new(client);
        let reader = spawn({ let client = client.clone(); move || read_byte(&client) });
        settle();
        server.write_all(b"x").unwrap();
        reader.kill();
        // Either it was killed, and the byte is still there, or it had read before.
        match reader.join() {
            Err(error) => {
                assert!(error.is_killed());
                assert_eq!(read_byte(&client), b'x');
            }
            Ok(byte) => assert_eq!(byte, b'x'),
        }
    }

    /// Conformance 140: what is always ready yields now and then.
    fn a_busy_reader_lets_others_run() {
        let (client, server) = pair();
        let writer = thread::spawn(move || while (&server).write_all(&[0; 1000]).is_ok() {});
        let other = spawn(|| (0..100).for_each(|_| yield_now()));
        let mut buffer = [0; 1];
        while !other.is_finished() {
            (&client).read_exact(&mut buffer).unwrap();
        }
        // With bytes unread, that is a reset.
        drop(client);
        writer.join().unwrap();
    }

    /// Conformance 146.
    fn a_client_and_a_server_of_http_in_one_thread() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = spawn(move || {
            for stream in listener.incoming().take(3) {
                let stream = stream.unwrap();
                let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
                let request = lines.next().unwrap();
                assert!(lines.any(|line| line.is_empty()));
                let path = request.split(' ').nth(1).unwrap();
                let body = format!("you asked for {path}");
                write!(&stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
            }
        });
        let clients: Vec<_> = (0..3)
            .map(|number| {
                spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    write!(stream, "GET /{number} HTTP/1.0\r\nHost: here\r\n\r\n").unwrap();
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).unwrap();
                    answer
                })
            })
            .collect();
        for (number, client) in clients.into_iter().enumerate() {
            assert!(client.join().unwrap().ends_with(&format!("you asked for /{number}")));
        }
        server.join().unwrap();
    }

    /// The end of the stream right behind the last bytes: a short read must not make the next wait for ever.
    fn the_end_behind_the_last_bytes_is_seen() {
        let (mut client, mut server) = pair();
        let reader = spawn(move || {
            let mut counts = Vec::new();
            let mut buffer = [0; 100];
            loop {
                counts.push(client.read(&mut buffer).unwrap());
                if counts.last() == Some(&0) {
                    return counts;
                }
            }
        });
        settle();
        server.write_all(b"last").unwrap();
        drop(server);
        assert_eq!(reader.join().unwrap(), [4, 0]);
    }

    /// The kernel stops a read at urgent data, and more may be behind it.
    fn urgent_data_hides_nothing() {
        let (client, server) = pair();
        let reader = spawn(move || {
            let mut seen = Vec::new();
            let mut buffer = [0; 100];
            while !seen.ends_with(b"after") {
                let count = (&client).read(&mut buffer).unwrap();
                seen.extend_from_slice(&buffer[..count]);
            }
            seen
        });
        settle();
        // All in one go for the reader, which is not running.
        rustix::net::send(&server, b"before!", rustix::net::SendFlags::OOB).unwrap();
        (&server).write_all(b"after").unwrap();
        assert_eq!(reader.join().unwrap(), b"beforeafter");
    }

    fn several_buffers_wait_too() {
        let (client, server) = pair();
        fill(&client);
        let parts = vec![1; 300_000];
        let writer = spawn(move || {
            let (first, second) = parts.split_at(1000);
            let mut sent = 0;
            while sent < parts.len() {
                let parts = match sent {
                    0 => vec![IoSlice::new(first), IoSlice::new(second)],
                    _ => vec![IoSlice::new(&parts[sent..])],
                };
                sent += (&client).write_vectored(&parts).unwrap();
            }
        });
        settle();
        assert!(!writer.is_finished());
        let mut bytes = Vec::new();
        (&server).read_to_end(&mut bytes).unwrap();
        writer.join().unwrap();
        assert_eq!(bytes.iter().filter(|&&byte| byte == 1).count(), 300_000);
        assert!(bytes.ends_with(&vec![1; 300_000]));
    }

    fn a_peek_leaves_the_bytes_and_the_readiness() {
        let (client, server) = pair();
        let client = Rc::new(client);
        let peeker = spawn({ let client = client.clone(); move || client.peek(&mut [0; 8]).unwrap() });
        settle();
        (&server).write_all(b"xyz").unwrap();
        assert_eq!(peeker.join().unwrap(), 3);
        assert_eq!(client.peek(&mut [0; 2]).unwrap(), 2);
        assert_eq!((&*client).read(&mut [0; 8]).unwrap(), 3);
    }

    fn a_shutdown_wakes_who_waits() {
        let (client, server) = pair();
        fill(&client);
        let client = Arc::new(client);
        let reader = spawn({ let client = client.clone(); move || (&*client).read(&mut [0; 8]) });
        let writer = spawn({ let client = client.clone(); move || (&*client).write(b"x") });
        settle();
        client.shutdown(Shutdown::Both).unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), 0);
        assert_eq!(writer.join().unwrap().unwrap_err().kind(), ErrorKind::BrokenPipe);
        drop(server);
    }

    fn a_stream_is_used_by_two_hubs() {
        let (client, server) = pair();
        let client = Arc::new(client);
        let elsewhere = thread::spawn({
            let client = client.clone();
            move || read_byte(&client)
        });
        (&server).write_all(b"a").unwrap();
        assert_eq!(elsewhere.join().unwrap(), b'a');
        (&server).write_all(b"b").unwrap();
        assert_eq!(read_byte(&client), b'b');
    }

    fn descriptors_stay_as_blocking_as_they_were() {
        let (client, server) = pair();
        settle();
        assert!(with_timeout(Duration::from_millis(2), || read_byte(&client)).is_err());
        let client = std::net::TcpStream::from(client);
        assert!(!is_nonblocking(&client));
        let server = OwnedFd::from(server);
        assert!(!is_nonblocking(&server));
        // What was non-blocking is so for us too, until it is told otherwise.
        client.set_nonblocking(true).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(9))).unwrap();
        let mut client = TcpStream::from(client);
        assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(client.read_timeout().unwrap(), Some(Duration::from_secs(9)));
        client.set_nonblocking(false).unwrap();
        let server = TcpStream::from(server);
        let reader = spawn(move || read_byte(&client));
        settle();
        (&server).write_all(b"x").unwrap();
        assert_eq!(reader.join().unwrap(), b'x');
    }

    fn unix_streams_wait_as_well() {
        let (one, other) = UnixStream::pair().unwrap();
        let reader = spawn(move || {
            let mut text = String::new();
            (&one).read_to_string(&mut text).unwrap();
            (text, one)
        });
        settle();
        (&other).write_all(b"hel").unwrap();
        settle();
        (&other).write_all(b"lo").unwrap();
        other.shutdown(Shutdown::Write).unwrap();
        let (text, one) = reader.join().unwrap();
        assert_eq!(text, "hello");
        // And the other way, with more than there is room for.
        let writer = spawn(move || (&one).write_all(&[7; 1_000_000]).unwrap());
        let mut bytes = Vec::new();
        (&other).read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, [7; 1_000_000]);
        writer.join().unwrap();
    }

    /// A read of a Unix stream stops where descriptors came along, and more may be behind them.
    fn descriptors_in_a_unix_stream_hide_nothing() {
        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
        let (one, other) = UnixStream::pair().unwrap();
        let reader = spawn(move || {
            let mut seen = Vec::new();
            let mut buffer = [0; 100];
            while seen.len() < 6 {
                let count = (&one).read(&mut buffer).unwrap();
                seen.extend_from_slice(&buffer[..count]);
            }
            seen
        });
        settle();
        let fds = [other.as_fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
        sendmsg(&other, &[IoSlice::new(b"abc")], &mut ancillary, SendFlags::empty()).unwrap();
        (&other).write_all(b"def").unwrap();
        assert_eq!(reader.join().unwrap(), b"abcdef");
    }
}

#[test]
fn sockets_go_to_any_thread() {
    fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<TcpStream>();
    assert_send_sync::<TcpListener>();
    assert_send_sync::<greenloop::net::UdpSocket>();
    assert_send_sync::<UnixStream>();
    assert_send_sync::<greenloop::net::unix::UnixListener>();
    assert_send_sync::<greenloop::net::unix::UnixDatagram>();
}

#[test]
fn they_look_as_std_s_do() {
    let (client, _server) = pair();
    let text = format!("{client:?}");
    let number = client.as_raw_fd();
    assert_eq!(text, format!("{:?}", std::net::TcpStream::from(client)));
    assert!(text.contains(&format!("fd: {number}")));
}
