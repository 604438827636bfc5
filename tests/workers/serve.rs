use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use greenloop::net::unix::{UnixListener, UnixStream};
use greenloop::net::{TcpListener, TcpStream, UdpSocket};
use greenloop::server::{DatagramServer, Listener, StreamServer};
use greenloop::workers::{Balance, Servers, Workers};

use crate::support::{leaves_nothing_open, within};
use crate::{GRACE, Gate, LIMIT, until, until_alone, while_they_come_and_go, workers};

const ALL: [Balance; 4] =
    [Balance::LeastConnections, Balance::RoundRobin, Balance::Kernel, Balance::ReusePort];

/// A listener at an address of its own, so that nobody else comes to listen there when it is closed.
fn listener() -> TcpListener {
    static NUMBER: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id().to_le_bytes()[0].max(1);
    let address = [127, 83, process, NUMBER.fetch_add(1, Ordering::SeqCst)];
    TcpListener::bind((Ipv4Addr::from(address), 0)).unwrap()
}

/// Servers that say who serves, and then give back what comes.
fn echo(workers: &Workers, balance: Balance) -> Servers<std::net::SocketAddr> {
    let serve = |mut stream: TcpStream, _peer| {
        let name = thread::current().name().unwrap_or_default().to_owned();
        writeln!(stream, "{name}")?;
        io::copy(&mut stream.try_clone()?, &mut stream).map(drop)
    };
    workers.serve(listener(), balance, serve).unwrap()
}

/// A connection, and who serves it.
fn connect(servers: &Servers<std::net::SocketAddr>) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(servers.local_addr()).unwrap();
    let mut name = Vec::new();
    while name.last() != Some(&b'\n') {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        name.push(byte[0]);
    }
    (stream, String::from_utf8(name).unwrap().trim().to_owned())
}

#[test]
fn each_balance_serves_everybody() {
    within(LIMIT, || {
        for balance in ALL {
            let workers = workers(3);
            let servers = echo(&workers, balance);
            let clients: Vec<_> = (0..50_u8)
                .map(|number| {
                    let servers = servers.clone();
                    greenloop::spawn(move || {
                        let (mut stream, _) = connect(&servers);
                        stream.write_all(&[number; 100]).unwrap();
                        let mut back = [0; 100];
                        stream.read_exact(&mut back).unwrap();
                        assert_eq!(back, [number; 100]);
                    })
                })
                .collect();
            clients.into_iter().for_each(|client| client.join().unwrap());
            servers.stop(GRACE);
            assert!(TcpStream::connect(servers.local_addr()).is_err(), "{balance}");
            workers.stop(GRACE);
        }
    });
}

#[test]
fn connections_that_last_are_even() {
    within(LIMIT, || {
        for balance in [Balance::LeastConnections, Balance::RoundRobin] {
            let workers = workers(4);
            let servers = echo(&workers, balance);
            let streams: Vec<_> = (0..40).map(|_| connect(&servers)).collect();
            assert_eq!(servers.handlers(), [10; 4]);
            drop(streams);
            until(|| servers.handlers() == [0; 4]);
            servers.stop(GRACE);
        }
    });
}

#[test]
fn who_has_fewest_gets_the_next() {
    within(LIMIT, || {
        let workers = workers(2);
        let servers = echo(&workers, Balance::LeastConnections);
        let (first, other): (Vec<_>, Vec<_>) =
            (0..20).map(|_| connect(&servers)).partition(|(_, name)| name == "worker-0");
        assert_eq!((first.len(), other.len()), (10, 10));
        drop(first);
        until(|| servers.handlers() == [0, 10]);
        let next: Vec<_> = (0..10).map(|_| connect(&servers)).collect();
        assert!(next.iter().all(|(_, name)| name == "worker-0"));
        servers.stop(Duration::ZERO);
    });
}

#[test]
fn handlers_have_the_grace_and_are_killed_after_it() {
    within(LIMIT, || {
        for balance in ALL {
            let workers = workers(2);
            let servers = echo(&workers, balance);
            let mut streams: Vec<_> = (0..6).map(|_| connect(&servers).0).collect();
            let last = streams.pop().unwrap();
            let stopping = greenloop::spawn({
                let servers = servers.clone();
                move || servers.stop(GRACE)
            });
            servers.stoppers().for_each(|stopper| until(|| stopper.is_stopping()));
            let mut last = last;
            last.write_all(b"still served").unwrap();
            let mut back = [0; 12];
            last.read_exact(&mut back).unwrap();
            assert!(!stopping.is_finished());
            drop((last, streams));
            stopping.join().unwrap();
            servers.wait();

            let servers = echo(&workers, balance);
            let (mut stream, _) = connect(&servers);
            servers.stop(Duration::ZERO);
            assert!(!matches!(stream.read(&mut [0]), Ok(1..)));
        }
    });
}

#[test]
fn servers_of_their_own_kind_and_of_datagrams() {
    within(LIMIT, || {
        let workers = workers(2);
        let path = std::env::temp_dir().join(format!("greenloop-workers-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = Arc::new(UnixListener::bind(&path).unwrap());
        let servers = workers
            .serve_with(move || {
                let server = StreamServer::new(listener.clone()).limit(1);
                Ok(server.handle(|mut stream, _peer| stream.write_all(b"hello")))
            })
            .unwrap();
        for _ in 0..10 {
            assert_eq!(io::read_to_string(UnixStream::connect(&path).unwrap()).unwrap(), "hello");
        }
        servers.stop(GRACE);
        std::fs::remove_file(&path).unwrap();

        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        let servers = workers
            .serve_with(move || {
                let server = DatagramServer::new(socket.clone());
                Ok(server.handle(|socket, datagram, peer| socket.send_to(&datagram, peer).map(drop)))
            })
            .unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..50 {
            client.send_to(&[number], servers.local_addr()).unwrap();
            let mut back = [0];
            client.recv(&mut back).unwrap();
            assert_eq!(back, [number]);
        }
        servers.stop(GRACE);
    });
}

#[test]
fn what_cannot_begin_leaves_nothing() {
    within(LIMIT, || {
        let workers = workers(3);
        let path = std::env::temp_dir().join(format!("greenloop-workers-none-{}", std::process::id()));
        let unix = UnixListener::bind(&path).unwrap();
        let unsupported = workers.serve(unix, Balance::ReusePort, |_stream, _peer| Ok(())).unwrap_err();
        assert_eq!(unsupported.kind(), io::ErrorKind::Unsupported);
        std::fs::remove_file(&path).unwrap();

        let left = Arc::new(Mutex::new(2));
        let listener = Arc::new(listener());
        let address = Listener::local_addr(&listener).unwrap();
        let failing = workers.serve_with(move || {
            let mut left = left.lock().unwrap();
            if *left == 0 {
                return Err(io::Error::other("the third one"));
            }
            *left -= 1;
            Ok(StreamServer::new(listener.clone()).handle(|_stream, _peer| Ok(())))
        });
        assert_eq!(failing.unwrap_err().to_string(), "the third one");
        until(|| TcpStream::connect(address).is_err());

        workers.stop(GRACE);
        let stopped =
            workers.serve(self::listener(), Balance::default(), |_stream, _peer| Ok(())).unwrap_err();
        assert_eq!(stopped.kind(), io::ErrorKind::NotConnected);
    });
}

#[test]
fn a_listener_that_breaks_ends_the_wait_and_handlers_go_on() {
    within(LIMIT, || {
        for balance in [Balance::LeastConnections, Balance::RoundRobin, Balance::Kernel] {
            let workers = workers(3);
            let listener = listener();
            let same = listener.try_clone().unwrap();
            let serve = |mut stream: TcpStream, _peer| {
                stream.write_all(b"begun")?;
                io::copy(&mut stream.try_clone()?, &mut stream).map(drop)
            };
            let servers = workers.serve(listener, balance, serve).unwrap();
            let mut stream = TcpStream::connect(servers.local_addr()).unwrap();
            stream.read_exact(&mut [0; 5]).unwrap();
            rustix::net::shutdown(&same, rustix::net::Shutdown::Both).unwrap();
            servers.wait();
            stream.write_all(b"still").unwrap();
            stream.read_exact(&mut [0; 5]).unwrap();
            // Handlers of servers that have failed are waited for, too.
            stream.shutdown(Shutdown::Write).unwrap();
            servers.stop(GRACE);
            assert_eq!(servers.handlers(), [0; 3], "{balance}");
            workers.stop(GRACE);
        }
    });
}

#[test]
fn one_server_that_is_stopped_gets_no_more_connections() {
    within(LIMIT, || {
        for balance in [Balance::LeastConnections, Balance::RoundRobin] {
            let workers = workers(3);
            let servers = echo(&workers, balance);
            // The first one is that of who accepts.
            let one = servers.stoppers().nth(1).unwrap();
            one.stop(GRACE);
            one.wait();
            let names: Vec<_> = (0..6).map(|_| connect(&servers).1).collect();
            let first = &names[0];
            assert!(names.iter().any(|name| name != first), "the others take turns: {names:?}");
            servers.stop(GRACE);
        }
    });
}

#[test]
fn a_beginning_that_is_given_up_leaves_nothing() {
    within(LIMIT, || {
        for balance in ALL {
            let workers = workers(2);
            let gate = Gate::on(&workers, 1);
            let listener = listener();
            let address = listener.local_addr().unwrap();
            let serving = greenloop::with_timeout(Duration::from_millis(20), || {
                workers.serve(listener, balance, |_stream, _peer| Ok(()))
            });
            assert!(serving.is_err(), "a worker was blocked");
            gate.open();
            until(|| TcpStream::connect(address).is_err());
            workers.stop(GRACE);
        }
    });
}

#[test]
fn servers_begin_while_workers_come_and_go() {
    within(LIMIT, || {
        let workers = workers(2);
        while_they_come_and_go(&workers, || {
            for round in 0..60 {
                let servers = echo(&workers, ALL[round % 4]);
                drop(connect(&servers));
                servers.stop(GRACE);
            }
        });
        workers.stop(GRACE);
    });
}

#[test]
fn nothing_is_left_open() {
    leaves_nothing_open(LIMIT, || {
        until_alone();
        for balance in ALL {
            let workers = workers(2);
            let servers = echo(&workers, balance);
            let streams: Vec<_> = (0..5).map(|_| connect(&servers)).collect();
            drop(streams);
            servers.stop(GRACE);
            workers.stop(GRACE);
        }
    });
}
