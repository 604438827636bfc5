use std::cell::Cell;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::rc::Rc;
use std::time::Duration;

use greenloop::channel;
use greenloop::net::UdpSocket;
use greenloop::net::unix::{SocketAddr, UnixDatagram};
use greenloop::server::{DatagramServer, ServerError};

use crate::support::each_driver;
use crate::{LOCAL, LONG};

/// A free abstract name.
fn name(what: &str) -> SocketAddr {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    SocketAddr::from_abstract_name(format!("greenloop-{what}-{}-{number}", std::process::id())).unwrap()
}

each_driver! {
    fn datagrams_are_answered_each_to_its_sender() {
        let echo = |socket: &UdpSocket, datagram: Vec<u8>, peer| socket.send_to(&datagram, peer).map(drop);
        let server = DatagramServer::bind(LOCAL).unwrap().handle(echo);
        server.start().unwrap();
        let address = server.local_addr().unwrap();
        let clients: Vec<_> = (0..10_usize).map(|number| (vec![number as u8; 1 + 1000 * number], UdpSocket::bind(LOCAL).unwrap())).collect();
        for (datagram, client) in &clients {
            client.send_to(datagram, address).unwrap();
        }
        for (datagram, client) in &clients {
            let mut buffer = vec![0; 65_536];
            let (length, peer) = client.recv_from(&mut buffer).unwrap();
            assert!(buffer[..length] == **datagram && peer == address);
        }
        server.stop(LONG);
        assert!(server.local_addr().is_err());
    }

    fn unix_datagrams_are_served() {
        let (here, there) = (name("client"), name("server"));
        let echo = |socket: &UnixDatagram, datagram: Vec<u8>, peer: SocketAddr| socket.send_to_addr(&datagram, &peer).map(drop);
        let server = DatagramServer::new(UnixDatagram::bind_addr(&there).unwrap()).handle(echo);
        server.start().unwrap();
        let client = UnixDatagram::bind_addr(&here).unwrap();
        client.send_to_addr(b"hello", &there).unwrap();
        let mut answer = [0; 8];
        assert_eq!(client.recv(&mut answer).unwrap(), 5);
        server.stop(LONG);
    }

    fn no_more_are_handled_at_a_time_than_the_limit() {
        let (running, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (tell, told) = channel::unbounded();
        let (now, peak) = (running.clone(), most.clone());
        let server = DatagramServer::bind(LOCAL).unwrap().limit(3).handle(move |_socket, datagram, _peer| {
            now.set(now.get() + 1);
            peak.set(peak.get().max(now.get()));
            greenloop::sleep(Duration::from_millis(1));
            now.set(now.get() - 1);
            tell.send(datagram[0]).unwrap();
            Ok(())
        });
        server.start().unwrap();
        let client = UdpSocket::bind(LOCAL).unwrap();
        for number in 0..20 {
            client.send_to(&[number], server.local_addr().unwrap()).unwrap();
        }
        let mut numbers: Vec<_> = told.iter().take(20).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
        assert_eq!(most.get(), 3);
        server.stop(LONG);
    }

    fn errors_of_handlers_are_told() {
        let (tell, told) = channel::unbounded();
        let server = DatagramServer::bind(LOCAL)
            .unwrap()
            .on_error(move |error| tell.send(error).unwrap())
            .handle(|_socket, datagram, _peer| Err(io::Error::other(String::from_utf8(datagram).unwrap())));
        server.start().unwrap();
        let client = UdpSocket::bind(LOCAL).unwrap();
        client.send_to(b"too short", server.local_addr().unwrap()).unwrap();
        let error = told.recv().unwrap();
        assert!(matches!(&error, ServerError::Handler(peer, _) if *peer == client.local_addr().unwrap()));
        assert_eq!(error.to_string(), "a handler failed: too short");
        server.stop(LONG);
    }
}
