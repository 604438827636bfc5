use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use super::{is_bad_descriptor, on_each, settle};
use crate::hub::{Config, Driver, configure, hub};
use crate::io::socket::{self, Accept, Short};
use crate::io::{Direction, Source};
use crate::sys::clock::Time;
use crate::sys::socket::Taking;
use crate::task::{spawn, yield_now};

/// A listener, and the two ends of a connection to it.
fn connection() -> (Source<TcpListener>, Source<TcpStream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    listener.set_nonblocking(true).unwrap();
    (Source::new(listener), Source::new(stream), peer)
}

fn receive(source: &Source<TcpStream>, size: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; size];
    let operation = socket::Receive { buffer: &mut buffer, taking: Taking::Consume, short: Short::Exhausted };
    let count = source.run(operation)?;
    buffer.truncate(count);
    Ok(buffer)
}

fn send(source: &Source<TcpStream>, buffer: &[u8]) -> io::Result<usize> {
    source.run(socket::Send { buffer, short: Short::Exhausted })
}

#[test]
fn what_comes_during_a_kill_is_not_lost() {
    on_each(|| {
        let (_listener, source, mut peer) = connection();
        let source = Rc::new(source);
        for round in 0..200u8 {
            let got = Rc::new(Cell::new(None));
            let receiver = spawn({
                let (source, got) = (source.clone(), got.clone());
                move || got.set(Some(receive(&source, 1).unwrap()[0]))
            });
            (0..round % 3).for_each(|_| settle());
            if round % 2 == 0 {
                peer.write_all(&[round]).unwrap();
            }
            if round % 5 == 0 {
                yield_now();
            }
            receiver.try_kill();
            if round % 2 == 1 {
                peer.write_all(&[round]).unwrap();
            }
            let _ = receiver.join();
            let byte = got.take().unwrap_or_else(|| receive(&source, 1).unwrap()[0]);
            assert_eq!(byte, round);
        }
        settle();
        assert_eq!(hub().reactor().waiting(), 0);
    });
}

#[test]
fn a_time_limit_takes_no_connection_and_no_bytes() {
    on_each(|| {
        let (listener, source, mut peer) = connection();
        let limit = Duration::from_millis(2);
        source.set_timeout(Direction::Read, Some(limit));
        listener.set_timeout(Direction::Read, Some(limit));
        let start = Instant::now();
        assert_eq!(receive(&source, 1).unwrap_err().raw_os_error(), Some(11));
        assert_eq!(listener.run(Accept).unwrap_err().raw_os_error(), Some(11));
        assert!(start.elapsed() >= 2 * limit);
        let error = listener.run_until(Accept, Some(Time::after(limit))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(crate::task::with_timeout(limit, || listener.run_until(Accept, None)).is_err());
        assert_eq!(hub().reactor().waiting(), 0);
        peer.write_all(b"x").unwrap();
        let client = TcpStream::connect(listener.get_ref().local_addr().unwrap()).unwrap();
        assert_eq!(receive(&source, 8).unwrap(), b"x");
        let (_connection, address) = listener.run_until(Accept, None).unwrap();
        assert_eq!(address.to_ip().unwrap(), client.local_addr().unwrap());
    });
}

#[test]
fn close_ends_what_the_kernel_does() {
    on_each(|| {
        let (listener, source, peer) = connection();
        let address = listener.get_ref().local_addr().unwrap();
        let file = source.get_ref().try_clone().unwrap();
        let (listener, source) = (Rc::new(listener), Rc::new(source));
        let receivers: Vec<_> = (0..3)
            .map(|_| {
                let source = source.clone();
                spawn(move || receive(&source, 1))
            })
            .collect();
        let acceptor = spawn({
            let listener = listener.clone();
            move || listener.run(Accept).map(drop)
        });
        settle();
        source.close().unwrap();
        listener.close().unwrap();
        // Nobody listens any more, and what comes is left for the other owner of the file.
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        (&peer).write_all(b"x").unwrap();
        for receiver in receivers {
            assert!(is_bad_descriptor(receiver.join().unwrap()));
        }
        assert!(is_bad_descriptor(acceptor.join().unwrap()));
        assert_eq!(receive(&Source::new(file), 8).unwrap(), b"x");
    });
}

#[test]
fn a_number_used_again_gets_nothing_of_before() {
    on_each(|| {
        let (_listener, source, mut peer) = connection();
        let number = source.get_ref().as_raw_fd();
        let source = Rc::new(source);
        let receiver = spawn({
            let source = source.clone();
            move || receive(&source, 8)
        });
        settle();
        assert!(receiver.try_kill() || receiver.join().is_err());
        drop(source);
        let (_other_listener, other, mut other_peer) = connection();
        // Mostly it has the number, unless other tests are faster.
        let _ = (number, peer.write_all(b"old"));
        other_peer.write_all(b"new").unwrap();
        assert_eq!(receive(&other, 8).unwrap(), b"new");
    });
}

#[test]
fn many_receive_at_once_and_each_its_own() {
    on_each(|| {
        let connections: Vec<_> = (0..300).map(|_| connection()).collect();
        let (receivers, peers): (Vec<_>, Vec<_>) = connections
            .into_iter()
            .map(|(_, source, peer)| {
                let receiver = spawn(move || {
                    let word = receive(&source, 100).unwrap();
                    (word, receive(&source, 100).unwrap())
                });
                (receiver, peer)
            })
            .unzip();
        settle();
        for (number, mut peer) in peers.into_iter().enumerate() {
            peer.write_all(format!("number {number}").as_bytes()).unwrap();
        }
        for (number, receiver) in receivers.into_iter().enumerate() {
            let (word, end) = receiver.join().unwrap();
            assert_eq!((word, end), (format!("number {number}").into_bytes(), Vec::new()));
        }
    });
}

#[test]
fn much_is_sent_whole_and_in_order() {
    on_each(|| {
        let (_listener, source, peer) = connection();
        let bytes: Vec<u8> = (0..5_000_000u32).map(|number| (number / 7) as u8).collect();
        let sender = spawn({
            let bytes = bytes.clone();
            move || {
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    rest = &rest[send(&source, rest).unwrap()..];
                }
            }
        });
        settle();
        assert!(!sender.is_finished());
        let peer = Source::new(peer);
        let mut got = Vec::new();
        loop {
            let more = receive(&peer, 1 << 17).unwrap();
            if more.is_empty() {
                break;
            }
            got.extend(more);
        }
        sender.join().unwrap();
        assert!(got == bytes);
    });
}

#[test]
fn one_after_the_other_receives() {
    on_each(|| {
        let (_listener, source, mut peer) = connection();
        let source = Rc::new(source);
        let log = Rc::new(RefCell::new(Vec::new()));
        let receivers: Vec<_> = (0..4)
            .map(|number| {
                let (source, log) = (source.clone(), log.clone());
                spawn(move || {
                    let byte = receive(&source, 1).unwrap()[0];
                    log.borrow_mut().push((number, byte));
                })
            })
            .collect();
        settle();
        receivers[1].try_kill();
        for byte in 0..3 {
            peer.write_all(&[byte]).unwrap();
            settle();
        }
        drop(crate::task::joinall(&receivers));
        assert_eq!(*log.borrow(), [(0, 0), (2, 1), (3, 2)]);
    });
}

#[test]
fn a_killed_sender_has_been_told_of_all_that_went_out() {
    on_each(|| {
        let (_listener, source, mut peer) = connection();
        let (source, sent) = (Rc::new(source), Rc::new(Cell::new(0)));
        for round in 0..20 {
            let sender = spawn({
                let (source, sent) = (source.clone(), sent.clone());
                move || loop {
                    sent.update(|count| count + send(&source, &[7; 100_000]).unwrap());
                }
            });
            settle();
            if round % 2 == 0 {
                let count = peer.read(&mut vec![0; 1 << 20]).unwrap();
                sent.update(|sent| sent - count);
            }
            sender.try_kill();
            assert!(sender.join().is_err());
        }
        drop(source);
        let mut rest = Vec::new();
        assert_eq!(peer.read_to_end(&mut rest).unwrap(), sent.get());
    });
}

#[test]
fn who_is_parked_when_the_thread_ends_takes_nothing_later() {
    for driver in Driver::all_available() {
        let (listener, source, mut peer) = connection();
        let (mut stream, listening) =
            (source.get_ref().try_clone().unwrap(), listener.get_ref().try_clone().unwrap());
        let ends = move || {
            configure(Config::new().driver(driver)).unwrap();
            spawn(move || receive(&source, 1));
            spawn(move || listener.run(Accept).map(drop));
            settle();
        };
        thread::spawn(ends).join().unwrap();
        peer.write_all(b"x").unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
        let _client = TcpStream::connect(listening.local_addr().unwrap()).unwrap();
        listening.accept().unwrap();
    }
}

#[test]
fn a_kill_ends_who_receives_what_never_ends() {
    on_each(|| {
        let (_listener, source, peer) = connection();
        let peer = Source::new(peer);
        // As much at a time as is sent, so that each finds nothing at first.
        let sender = spawn(move || {
            loop {
                send(&peer, &[7; 100]).unwrap();
                yield_now();
            }
        });
        let receiver = spawn(move || {
            loop {
                receive(&source, 1000).unwrap();
            }
        });
        (0..100).for_each(|_| yield_now());
        receiver.kill();
        assert!(receiver.join().unwrap_err().is_killed());
        sender.kill();
    });
}
