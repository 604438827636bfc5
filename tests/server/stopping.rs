use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::net::{TcpListener, TcpStream, UdpSocket};
use greenloop::server::{DatagramServer, Server, ServerClosed, Stopper, StreamServer};
use greenloop::{hub::Hub, idle, select, spawn, yield_now};

use crate::support::{each_driver, run_child, spawn_parked, within};
use crate::{LIMIT, LOCAL, LONG, connect, hear};

/// Sends back what comes, until the connection or the server ends.
fn echo() -> (Server<std::net::SocketAddr>, Stopper) {
    let server = StreamServer::bind(LOCAL).unwrap();
    let stopper = server.stopper();
    let hears = stopper.clone();
    let server = server.handle(move |mut stream, _peer| {
        loop {
            select! {
                readable(stream) -> ready => ready?,
                recv(hears.stopping()) -> _ => return Ok(()),
            }
            let mut bytes = [0; 16];
            match stream.read(&mut bytes)? {
                0 => return Ok(()),
                length => stream.write_all(&bytes[..length])?,
            }
        }
    });
    (server, stopper)
}

fn speak(client: &mut TcpStream) {
    client.write_all(b"hello").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
}

#[test]
fn another_os_thread_stops_a_server_that_serves_forever() {
    within(LIMIT, || {
        let (server, stopper) = echo();
        let address = server.local_addr().unwrap();
        let stops = thread::spawn(move || {
            let mut idle = TcpStream::connect(address).unwrap();
            speak(&mut idle);
            assert!(!stopper.is_stopping());
            stopper.stop(LONG);
            stopper.wait();
            assert!(stopper.is_stopping());
            assert_eq!(idle.read(&mut [0]).unwrap(), 0, "the handler has ended");
            assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        });
        server.serve_forever().unwrap();
        stops.join().unwrap();
    });
}

#[test]
fn an_idle_connection_does_not_cost_the_grace() {
    within(LIMIT, || {
        let (server, stopper) = echo();
        server.start().unwrap();
        let mut idle = connect(&server);
        speak(&mut idle);
        let start = Instant::now();
        server.stop(LONG);
        assert!(start.elapsed() < LIMIT);
        assert!(stopper.is_stopping() && stopper.wait_timeout(Duration::ZERO));
        assert_eq!(server.handlers(), 0);
        // Again is harmless.
        stopper.stop(LONG);
    });
}

/// One whose handler waits for more from its client.
fn busy() -> (Server<std::net::SocketAddr>, TcpStream) {
    let server = StreamServer::bind(LOCAL).unwrap().handle(|mut stream, _peer| {
        stream.write_all(b"!")?;
        stream.read(&mut [0]).map(drop)
    });
    server.start().unwrap();
    let mut client = connect(&server);
    client.read_exact(&mut [0]).unwrap();
    (server, client)
}

#[test]
fn a_second_stop_may_give_less_time() {
    within(LIMIT, || {
        let (server, _client) = busy();
        // Also of a server that runs already.
        let stopper = server.stopper();
        stopper.stop(LONG);
        idle();
        assert!(stopper.is_stopping());
        assert!(!stopper.wait_timeout(Duration::from_millis(1)));
        stopper.stop(Duration::ZERO);
        stopper.wait();
        assert_eq!(server.handlers(), 0);
    });
}

#[test]
fn a_stopper_that_is_made_while_nothing_is_accepted_stops_too() {
    within(LIMIT, || {
        let (server, _client) = busy();
        server.stop_accepting();
        let stopper = server.stopper();
        stopper.stop(Duration::ZERO);
        stopper.wait();
        assert_eq!(server.handlers(), 0);

        // In the time of the handlers.
        let (server, _client) = busy();
        let stops = spawn_parked({
            let server = server.clone();
            move || server.stop(LONG)
        });
        server.stopper().stop(Duration::ZERO);
        stops.join().unwrap();
        assert_eq!(server.handlers(), 0);
    });
}

#[test]
fn a_server_that_is_stopped_before_it_starts_never_does() {
    within(LIMIT, || {
        let (server, stopper) = echo();
        stopper.stop(LONG);
        let refused = server.serve_forever().unwrap_err();
        assert!(refused.downcast::<ServerClosed>().is_ok());
        assert!(stopper.is_stopping() && stopper.wait_timeout(Duration::ZERO));

        let (server, stopper) = echo();
        let waits = thread::spawn(move || stopper.wait());
        drop(server);
        waits.join().unwrap();

        let (server, stopper) = echo();
        server.start().unwrap();
        server.stop_accepting();
        let address = server.local_addr().unwrap();
        drop(server);
        stopper.wait();
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn nothing_of_a_server_stays_behind() {
    within(LIMIT, || {
        for stop in [true, false] {
            let (server, stopper) = echo();
            let serving = spawn({
                let server = server.clone();
                move || server.serve_forever()
            });
            yield_now();
            if stop {
                stopper.stop(LONG)
            } else {
                serving.kill()
            }
            stopper.wait();
            drop((server, serving));
            idle();
            assert_eq!(Hub::current().alive(), 0);
        }
    });
}

#[test]
fn one_listener_serves_several_hubs() {
    const HUBS: usize = 3;
    within(LIMIT, || {
        let listener = Arc::new(TcpListener::bind(LOCAL).unwrap());
        let address = listener.local_addr().unwrap();
        let ready = Arc::new(Barrier::new(HUBS + 1));
        let servers: Vec<_> = (0..HUBS)
            .map(|_| {
                let (listener, ready) = (listener.clone(), ready.clone());
                let (tell, told) = std::sync::mpsc::channel();
                let thread = thread::spawn(move || {
                    let server =
                        StreamServer::new(listener).handle(|mut stream, _peer| stream.write_all(b"hello"));
                    tell.send(server.stopper()).unwrap();
                    server.start().unwrap();
                    ready.wait();
                    server.serve_forever()
                });
                (thread, told.recv().unwrap())
            })
            .collect();
        ready.wait();
        for _ in 0..30 {
            assert_eq!(io::read_to_string(TcpStream::connect(address).unwrap()).unwrap(), "hello");
        }
        for (thread, stopper) in servers {
            stopper.stop(LONG);
            thread.join().unwrap().unwrap();
        }
    });
}

#[test]
fn a_listener_is_served_behind_any_pointer() {
    within(LIMIT, || {
        fn serve<L: greenloop::server::Listener<Address = std::net::SocketAddr> + 'static>(listener: L)
        where
            L::Stream: Write,
        {
            let server = StreamServer::new(listener).handle(|mut stream, _peer| stream.write_all(b"hello"));
            server.start().unwrap();
            assert_eq!(hear(&server).unwrap(), "hello");
            server.stop(LONG);
        }
        let listen = || TcpListener::bind(LOCAL).unwrap();
        serve(Rc::new(listen()));
        serve(Box::new(listen()));
        serve(&*Box::leak(Box::new(listen())));
        let socket = Rc::new(UdpSocket::bind(LOCAL).unwrap());
        let address = socket.local_addr().unwrap();
        let server = DatagramServer::new(socket.clone())
            .handle(|socket, datagram, peer| socket.send_to(&datagram, peer).map(drop));
        server.start().unwrap();
        let client = UdpSocket::bind(LOCAL).unwrap();
        client.send_to(b"hello", address).unwrap();
        assert_eq!(client.recv(&mut [0; 8]).unwrap(), 5);
        server.stop(LONG);
    });
}

#[test]
fn what_nobody_asked_for_is_told_on_standard_error() {
    let Some(child) = run_child(LIMIT, || {
        for silent in [false, true] {
            let server = StreamServer::bind(LOCAL).unwrap();
            let server = if silent { server.on_error(|_| ()) } else { server };
            let server = server.handle(|_stream, _peer| Err(io::Error::other("the disk is full")));
            server.start().unwrap();
            assert_eq!(hear(&server).unwrap(), "");
            server.stop(LONG);
        }
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
    assert_eq!(child.stderr, "a server: a handler failed: the disk is full\n");
}

#[test]
fn a_server_that_was_stopped_leaves_no_green_thread() {
    within(LIMIT, || {
        let (server, stopper) = echo();
        let address = server.local_addr().unwrap();
        let stops = thread::spawn(move || {
            speak(&mut TcpStream::connect(address).unwrap());
            stopper.stop(LONG);
        });
        server.serve_forever().unwrap();
        assert_eq!(Hub::current().alive(), 0);
        stops.join().unwrap();

        let (server, _stopper) = echo();
        server.start().unwrap();
        server.stop(LONG);
        assert_eq!(Hub::current().alive(), 0);
    });
}

each_driver! {
    // With io_uring the one that accepts ends later than it is killed, and only the first stop waits for it.
    fn one_that_is_stopped_twice_is_over_when_nothing_accepts() {
        let listener = Arc::new(TcpListener::bind(LOCAL).unwrap());
        let server = StreamServer::new(listener.clone()).handle(|_stream, _peer| Ok(()));
        server.start().unwrap();
        idle();
        for _ in 0..2 {
            let server = server.clone();
            spawn(move || server.stop(LONG));
        }
        let stopper = server.stopper();
        stopper.wait();
        yield_now();
        assert_eq!(Hub::current().alive(), 0);
    }
}
