use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::net::unix::{UnixListener, UnixStream};
use greenloop::net::{TcpListener, TcpStream};
use greenloop::{sleep, spawn, with_timeout};

use crate::support::each_driver;
use crate::{settle, unix_address};

fn listener() -> (Rc<TcpListener>, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (Rc::new(listener), address)
}

const LIMIT: Duration = Duration::from_secs(60);

fn is_nonblocking(fd: impl AsFd) -> bool {
    rustix::fs::fcntl_getfl(fd).unwrap().contains(rustix::fs::OFlags::NONBLOCK)
}

each_driver! {
    fn an_accept_waits_for_a_connection() {
        let (listener, address) = listener();
        let accepting = spawn({ let listener = listener.clone(); move || listener.accept().unwrap().1 });
        settle();
        assert!(!accepting.is_finished());
        let client = TcpStream::connect(address).unwrap();
        assert_eq!(accepting.join().unwrap(), client.local_addr().unwrap());
    }

    fn those_who_accept_take_turns() {
        let (listener, address) = listener();
        let accepting: Vec<_> = (0..4).map(|_| { let listener = listener.clone(); spawn(move || listener.accept().unwrap().1) }).collect();
        settle();
        let clients: Vec<_> = (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
        let peers: Vec<_> = accepting.into_iter().map(|accepting| accepting.join().unwrap()).collect();
        let expected: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
        assert_eq!(peers, expected);
    }

    fn a_killed_accept_loses_no_connection() {
        let (listener, address) = listener();
        for _ in 0..20 {
            let first = Rc::new(spawn({ let listener = listener.clone(); move || listener.accept().unwrap().1 }));
            let second = spawn({ let listener = listener.clone(); move || listener.accept().unwrap().1 });
            settle();
            let client = std::net::TcpStream::connect(address).unwrap();
            // Its timer is due when the hub looks next, and timers are looked at before descriptors: the first in line is
            // woken and killed in one pass.
            let killer = spawn({
                let first = first.clone();
                move || { sleep(Duration::from_micros(1)); assert!(!first.try_kill()); }
            });
            greenloop::yield_now();
            let due = Instant::now() + Duration::from_micros(100);
            while Instant::now() < due {}
            killer.join().unwrap();
            let client = client.local_addr().unwrap();
            match Rc::into_inner(first).unwrap().join() {
                Err(error) => assert!(error.is_killed() && second.join().unwrap() == client),
                // io_uring had accepted it before: then the call returns.
                Ok(peer) => assert!(peer == client && second.kill_timeout(LIMIT)),
            }
        }
    }

    fn a_time_limit_ends_an_accept() {
        let (listener, address) = listener();
        assert!(with_timeout(Duration::from_millis(3), || listener.accept().map(drop)).is_err());
        let _client = TcpStream::connect(address).unwrap();
        with_timeout(Duration::from_secs(60), || listener.accept().map(drop)).unwrap().unwrap();
    }

    /// Whoever comes second to a connection must not stop its hub.
    fn hubs_share_a_listener() {
        let (listener, address) = listener();
        let listener = Arc::new(Rc::into_inner(listener).unwrap());
        let served = Arc::new(AtomicUsize::new(0));
        let connections = 60;
        let servers: Vec<_> = (0..3)
            .map(|_| {
                let (listener, served) = (listener.clone(), served.clone());
                thread::spawn(move || {
                    // Another green thread of each hub shows that the hub is never stopped.
                    let ticker = spawn(|| loop { sleep(Duration::from_millis(1)) });
                    loop {
                        match with_timeout(Duration::from_millis(20), || listener.accept()) {
                            Ok(accepted) => {
                                accepted.unwrap().0.write_all(b"x").unwrap();
                                served.fetch_add(1, Ordering::SeqCst);
                            }
                            Err(_) if served.load(Ordering::SeqCst) >= connections => break,
                            Err(_) => {}
                        }
                    }
                    ticker.kill();
                })
            })
            .collect();
        let clients: Vec<_> = (0..connections)
            .map(|_| spawn(move || TcpStream::connect(address).unwrap().read_exact(&mut [0; 1]).unwrap()))
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        servers.into_iter().for_each(|server| server.join().unwrap());
        assert_eq!(served.load(Ordering::SeqCst), connections);
    }

    fn clones_share_the_connections() {
        let (listener, address) = listener();
        let clone = listener.try_clone().unwrap();
        let (one, other) = (spawn(move || listener.accept().map(drop)), spawn(move || clone.accept().map(drop)));
        settle();
        let _clients = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
        one.join().unwrap().unwrap();
        other.join().unwrap().unwrap();
    }

    fn the_last_handle_makes_the_descriptor_what_it_was() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let clone = listener.try_clone().unwrap();
        assert!(is_nonblocking(&listener));
        // While a clone lives, its accept must not stop the hub.
        let listener = std::net::TcpListener::from(listener);
        assert!(is_nonblocking(&listener));
        let clone = std::net::TcpListener::from(clone);
        assert!(!is_nonblocking(&clone) && !is_nonblocking(&listener));
        clone.set_nonblocking(true).unwrap();
        let ours = TcpListener::from(clone);
        assert_eq!(ours.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(is_nonblocking(std::net::TcpListener::from(ours)));
    }

    fn a_listener_that_is_dropped_leaves_the_mode_as_it_was() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let first = TcpListener::from(listener.try_clone().unwrap());
        // Adopted while the first one has changed the mode, which was nobody's wish.
        let second = TcpListener::from(listener.try_clone().unwrap());
        let clone = first.try_clone().unwrap();
        assert!(is_nonblocking(&listener));
        drop((first, clone));
        let accepting = spawn(move || second.accept().unwrap().1);
        settle();
        assert!(!accepting.is_finished() && is_nonblocking(&listener));
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(accepting.join().unwrap(), client.local_addr().unwrap());
        assert!(!is_nonblocking(&listener));
        listener.set_nonblocking(true).unwrap();
        drop(TcpListener::from(listener.try_clone().unwrap()));
        assert!(is_nonblocking(&listener), "that was its owner's wish");
    }

    fn a_std_listener_becomes_ours() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listener = TcpListener::from(listener);
        let accepting = spawn(move || listener.accept().unwrap().1);
        settle();
        let client = TcpStream::connect(address).unwrap();
        assert_eq!(accepting.join().unwrap(), client.local_addr().unwrap());
    }

    fn unix_listeners_wait_as_well() {
        let address = unix_address();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let server = spawn(move || {
            // The loop over a reference, which std's listener has too.
            let mut left = 3;
            for stream in &listener {
                stream.unwrap().write_all(b"hello").unwrap();
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        });
        settle();
        for _ in 0..3 {
            let mut text = String::new();
            UnixStream::connect_addr(&address).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello");
        }
        server.join().unwrap();
    }
}
