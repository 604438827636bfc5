//! One descriptor, or one number, for several hubs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::hub::{Config, Driver, configure};
use greenloop::io::Interest;
use greenloop::net::UdpSocket;
use greenloop::select::Selector;
use rustix::io::dup2;

use super::support::{each_driver, with_driver};

/// Long enough to tell that somebody waits.
const SHORT: Duration = Duration::from_millis(20);

/// The data of those that `selector` tells of.
fn told(selector: &Selector<&'static str>) -> Vec<&'static str> {
    selector.select(None).unwrap().into_iter().map(|(key, _)| key.data).collect()
}

/// Asserts that nothing is told, and that this takes its time: nothing keeps the selector busy either.
fn assert_quiet(selector: &Selector<&'static str>) {
    for _ in 0..2 {
        let start = Instant::now();
        assert_eq!(selector.select(Some(SHORT)).unwrap(), []);
        assert!(start.elapsed() >= SHORT, "woken for what is nobody's");
    }
}

/// The number of a socket that was registered, and means another one now, while the old one is open elsewhere: in a child perhaps.
struct Reused {
    number: OwnedFd,
    duplicate: UnixStream,
    old_peer: UnixStream,
    new_peer: UnixStream,
}

impl Reused {
    fn in_a(selector: &Selector<&'static str>) -> Reused {
        let (old, old_peer) = UnixStream::pair().unwrap();
        let (new, new_peer) = UnixStream::pair().unwrap();
        selector.register(&old, Interest::READABLE, "old").unwrap();
        let duplicate = old.try_clone().unwrap();
        let mut number = OwnedFd::from(old);
        dup2(&new, &mut number).unwrap();
        Reused { number, duplicate, old_peer, new_peer }
    }
}

each_driver! {
    fn the_key_of_a_number_used_again_hears_nothing_of_the_old_file() {
        let selector = Selector::new().unwrap();
        let Reused { number, duplicate, mut old_peer, mut new_peer } = Reused::in_a(&selector);
        selector.unregister(&number).unwrap();
        selector.register(&number, Interest::READABLE, "new").unwrap();
        old_peer.write_all(b"for the old one").unwrap();
        assert_quiet(&selector);
        new_peer.write_all(b"for the new one").unwrap();
        assert_eq!(told(&selector), ["new"]);
        assert_eq!(told(&selector), ["new"], "as long as it is ready");
        selector.unregister(&number).unwrap();
        assert_quiet(&selector);
        drop(duplicate);
    }

    fn a_key_whose_number_was_used_again_hears_of_neither_file() {
        let selector = Selector::new().unwrap();
        let Reused { number, duplicate, mut old_peer, mut new_peer } = Reused::in_a(&selector);
        new_peer.write_all(b"for the new one").unwrap();
        old_peer.write_all(b"for the old one").unwrap();
        assert_quiet(&selector);
        // The duplicate is another number, and a key of its own.
        selector.register(&duplicate, Interest::READABLE, "duplicate").unwrap();
        assert_eq!(told(&selector), ["duplicate"]);
        assert!(selector.modify(&number, Interest::BOTH, "old").is_err(), "it is not the file that was registered");
        assert_eq!(told(&selector), ["duplicate"]);
    }

    fn a_number_that_was_a_files_and_is_a_sockets_is_not_always_ready() {
        let selector = Selector::new().unwrap();
        let mut number = OwnedFd::from(File::open("/proc/self/exe").unwrap());
        selector.register(&number, Interest::READABLE, "file").unwrap();
        assert_eq!(told(&selector), ["file"]);
        let (new, _new_peer) = UnixStream::pair().unwrap();
        dup2(&new, &mut number).unwrap();
        assert_quiet(&selector);
        selector.unregister(&number).unwrap();
        selector.register(&number, Interest::WRITABLE, "socket").unwrap();
        assert_eq!(told(&selector), ["socket"]);
    }
}

/// One hub reads a socket that it knows while another comes to know it: each finds its own key, at any moment.
fn two_hubs_come_to_know_a_socket(driver: Driver) {
    const SOCKETS: usize = 3_000;
    let (sockets, other) = channel::<Arc<UdpSocket>>();
    let together = Arc::new(Barrier::new(2));
    let done = Arc::new(AtomicBool::new(false));
    let hub = thread::spawn({
        let (together, done) = (together.clone(), done.clone());
        move || {
            configure(Config::new().driver(driver)).unwrap();
            for (number, socket) in other.into_iter().enumerate() {
                together.wait();
                (0..number * 37 % 900).for_each(|_| std::hint::spin_loop());
                let result = socket.recv(&mut [0]).map_err(|error| error.kind());
                done.store(true, Ordering::SeqCst);
                drop(socket);
                together.wait();
                assert_eq!(result, Err(std::io::ErrorKind::WouldBlock));
            }
        }
    });
    let mut errors = BTreeMap::new();
    for _ in 0..SOCKETS {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        socket.set_read_timeout(Some(Duration::from_nanos(1))).unwrap();
        // From now on it is known here.
        socket.recv(&mut [0]).unwrap_err();
        done.store(false, Ordering::SeqCst);
        sockets.send(socket.clone()).unwrap();
        together.wait();
        while !done.load(Ordering::SeqCst) {
            let error = socket.recv(&mut [0]).unwrap_err();
            *errors.entry(error.kind()).or_insert(0) += 1;
        }
        together.wait();
    }
    drop(sockets);
    hub.join().unwrap();
    assert_eq!(errors.into_keys().collect::<Vec<_>>(), [std::io::ErrorKind::WouldBlock]);
}

#[test]
fn a_socket_of_two_hubs_stays_open() {
    for driver in [Driver::Epoll, Driver::Poll, Driver::IoUring] {
        with_driver(driver, move || two_hubs_come_to_know_a_socket(driver));
    }
}
