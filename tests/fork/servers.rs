use std::io::{Read, Write};
use std::time::Duration;

use greenloop::net::{TcpListener, TcpStream};
use greenloop::server::{DatagramServer, ServerClosed, StreamServer};
use greenloop::{sleep, spawn, with_timeout};

use crate::{LONG, alone, forked, succeeds};

const LOCAL: &str = "127.0.0.1:0";

fn hear(address: std::net::SocketAddr) -> String {
    let mut text = String::new();
    TcpStream::connect(address).unwrap().read_to_string(&mut text).unwrap();
    text
}

/// A handler runs, and another green thread waits for the end, when the child is forked.
#[test]
fn the_parents_server_is_over_in_the_child_and_serves_on_in_the_parent() {
    alone(|| {
        let server = StreamServer::bind(LOCAL).unwrap();
        let stopper = server.stopper();
        let server = server.handle(|mut stream, _peer| {
            stream.write_all(b"hello")?;
            if stream.read(&mut [0])? == 1 {
                sleep(LONG);
            }
            Ok(())
        });
        let address = server.local_addr().unwrap();
        server.start().unwrap();
        let mut busy = TcpStream::connect(address).unwrap();
        busy.read_exact(&mut [0; 5]).unwrap();
        let waits = spawn({
            let stopper = stopper.clone();
            move || stopper.wait()
        });
        let asked = stopper.stopping().clone();
        let whole = StreamServer::bind(LOCAL).unwrap().handle(|_stream, _peer| Ok(()));
        whole.start().unwrap();
        let stops = whole.stopper();
        let child = forked(|| {
            assert!(stopper.is_stopping() && stopper.stopping().recv().is_err());
            stopper.stop(LONG);
            stopper.wait();
            assert!(stopper.wait_timeout(Duration::ZERO));
            assert!(server.stopper().wait_timeout(LONG));
            assert_eq!((server.is_accepting(), server.handlers()), (false, 0));
            assert_eq!(server.local_addr().unwrap(), address);
            let error = server.serve_forever().unwrap_err();
            assert!(error.get_ref().unwrap().is::<ServerClosed>());
            server.stop_accepting();
            server.stop(LONG);
            assert!(server.local_addr().is_err());
            drop(whole);
            // By the parent.
            let mut stream = TcpStream::connect(address).unwrap();
            stream.read_exact(&mut [0; 5]).unwrap();
        });
        succeeds(child);
        assert!(server.is_accepting() && server.handlers() > 0 && !stopper.is_stopping());
        assert!(asked.try_recv().is_err_and(|error| error == greenloop::channel::TryRecvError::Empty));
        drop(busy);
        server.stop(LONG);
        waits.join().unwrap();
        stops.stop(LONG);
        stops.wait();
    });
}

#[test]
fn a_server_that_has_not_been_started_may_be_started_in_the_child() {
    alone(|| {
        let listener = TcpListener::bind(LOCAL).unwrap();
        let address = listener.local_addr().unwrap();
        let server = StreamServer::new(listener).handle(|mut stream, _peer| stream.write_all(b"hello"));
        let datagrams = DatagramServer::bind(LOCAL).unwrap().handle(|_socket, _datagram, _peer| Ok(()));
        let stopper = server.stopper();
        let child = forked(|| {
            server.start().unwrap();
            datagrams.start().unwrap();
            assert_eq!(hear(address), "hello");
            stopper.stop(LONG);
            stopper.wait();
            datagrams.stop(LONG);
            assert!(!server.is_accepting() && stopper.is_stopping());
        });
        succeeds(child);
        server.start().unwrap();
        assert_eq!(hear(address), "hello");
        server.stop(LONG);
        assert!(stopper.is_stopping());
    });
}

/// Closing it takes nothing back that the other process relies on, whichever of them is first.
#[test]
fn a_listener_that_two_processes_have_makes_neither_wait_in_its_call() {
    alone(|| {
        let listener = TcpListener::bind(LOCAL).unwrap();
        let address = listener.local_addr().unwrap();
        let child = forked(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"hello").unwrap();
            assert!(with_timeout(Duration::from_millis(1), || listener.accept()).is_err());
        });
        // The parent's copy is closed.
        assert_eq!(hear(address), "hello");
        succeeds(child);

        let listener = TcpListener::bind(LOCAL).unwrap();
        let mut own = Some(listener);
        succeeds(forked(|| drop(own.take())));
        let listener = own.unwrap();
        assert!(with_timeout(Duration::from_millis(1), || listener.accept()).is_err());
    });
}
