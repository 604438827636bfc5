//! What io_uring does as a whole, by what the kernel tells of its rings.

use std::fs::{read_dir, read_link, read_to_string};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use greenloop::hub::{Config, Driver, configure};
use greenloop::net::{TcpListener, TcpStream};
use greenloop::spawn;

use crate::support::leaves_nothing_open;
use crate::{pair, settle, unresponsive};

const LIMIT: Duration = Duration::from_secs(60);

const ACCEPT: u8 = 13;
const CONNECT: u8 = 16;
const SEND: u8 = 26;
const RECEIVE: u8 = 27;

/// Runs `run` where no other ring is, if the kernel has io_uring and tells what is under way.
fn on_a_ring(run: fn()) {
    leaves_nothing_open(LIMIT, move || {
        // The end of a ring may interrupt calls of its thread.
        if !thread::spawn(|| Driver::IoUring.is_available()).join().unwrap() {
            return println!("there is no io_uring here");
        }
        configure(Config::new().driver(Driver::IoUring)).unwrap();
        settle();
        match under_way() {
            None => println!("the kernel does not tell what is under way"),
            Some(operations) => {
                assert_eq!(operations, []);
                run();
                settle();
                assert_eq!(under_way().unwrap(), []);
            }
        }
    });
}

/// The operations in the process's rings that wait for their descriptor, without questions for readiness.
fn under_way() -> Option<Vec<u8>> {
    const QUESTION: u8 = 6;
    let mut operations = Vec::new();
    for entry in read_dir("/proc/self/fd").unwrap().flatten() {
        if read_link(entry.path()).is_ok_and(|link| link == Path::new("anon_inode:[io_uring]")) {
            // Of others, which close theirs, there is nothing to tell.
            let about = read_to_string(Path::new("/proc/self/fdinfo").join(entry.file_name()));
            let Ok(about) = about else { continue };
            let (_, list) = about.split_once("PollList:")?;
            let numbers =
                list.split("op=").skip(1).map(|rest| rest.split(',').next().unwrap().parse::<u8>().unwrap());
            operations.extend(numbers.filter(|&number| number != QUESTION));
        }
    }
    Some(operations)
}

/// Runs `wait` until it waits, expects `operation` under way, and kills it.
fn expect(operation: Option<u8>, wait: impl FnOnce() + 'static) {
    let waiting = spawn(wait);
    settle();
    assert!(!waiting.is_finished());
    assert_eq!(under_way().unwrap(), Vec::from_iter(operation));
    waiting.kill();
    assert!(waiting.join().unwrap_err().is_killed());
    assert_eq!(under_way().unwrap(), []);
}

#[test]
fn the_kernel_accepts() {
    on_a_ring(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        expect(Some(ACCEPT), move || drop(listener.accept()));
    });
}

#[test]
fn the_kernel_receives() {
    on_a_ring(|| {
        let (stream, _peer) = pair();
        expect(Some(RECEIVE), move || drop((&stream).read(&mut [0; 8])));
        let (stream, _peer) = pair();
        // What is left in its place is only looked for.
        expect(None, move || drop(stream.peek(&mut [0; 8])));
    });
}

#[test]
fn the_kernel_sends() {
    on_a_ring(|| {
        let (stream, _peer) = pair();
        stream.set_nonblocking(true).unwrap();
        while (&stream).write(&[0; 1 << 16]).is_ok() {}
        assert_eq!((&stream).write(&[0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
        stream.set_nonblocking(false).unwrap();
        expect(Some(SEND), move || drop((&stream).write(&[0; 1 << 16])));
    });
}

#[test]
fn the_kernel_connects_in_company() {
    on_a_ring(|| {
        let (listener, _inside) = unresponsive();
        let address = listener.local_addr().unwrap();
        let connect = move || drop(TcpStream::connect(address));
        // To this machine, one alone is connected by a call.
        expect(None, connect);
        expect(Some(CONNECT), move || {
            let _company = spawn(|| ());
            connect();
        });
    });
}

#[test]
fn among_many_sockets_what_comes_is_only_waited_for() {
    on_a_ring(|| {
        let (readers, peers): (Vec<_>, Vec<_>) = (0..300)
            .map(|_| {
                let (stream, peer) = pair();
                let reader = spawn(move || {
                    let mut text = String::new();
                    (&stream).read_to_string(&mut text).unwrap();
                    text
                });
                settle();
                (reader, peer)
            })
            .unzip();
        let receiving = under_way().unwrap();
        assert!((100..150).contains(&receiving.len()), "{}", receiving.len());
        assert!(receiving.iter().all(|&operation| operation == RECEIVE));
        for (number, mut peer) in peers.into_iter().enumerate() {
            peer.write_all(number.to_string().as_bytes()).unwrap();
        }
        for (number, reader) in readers.into_iter().enumerate() {
            assert_eq!(reader.join().unwrap(), number.to_string());
        }
    });
}
