use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use greenloop::net::unix::{UnixDatagram, UnixListener, UnixStream};
use greenloop::net::{TcpListener, TcpStream, UdpSocket};
use greenloop::spawn;

use crate::support::{each_driver, leaves_nothing_open};
use crate::{pair, secluded_listener, settle, unix_address};

fn assert_closed<T>(what: &str, result: io::Result<T>) {
    match result {
        Ok(_) => panic!("{what} works on a closed socket"),
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{what}: {error}"),
    }
}

/// Calls each method, all of which must say EBADF.
macro_rules! assert_all_closed {
    ($socket:ident: $($call:ident($($argument:expr),*))*) => {
        $(assert_closed(stringify!($call), (&$socket).$call($($argument),*));)*
    };
}

each_driver! {
    /// Conformance 136.
    fn a_close_wakes_who_waits() {
        let (stream, _peer) = pair();
        let stream = Rc::new(stream);
        let readers: Vec<_> = (0..3).map(|_| { let stream = stream.clone(); spawn(move || (&*stream).read(&mut [0; 1])) }).collect();
        let peeker = spawn({ let stream = stream.clone(); move || stream.peek(&mut [0; 1]) });
        settle();
        stream.close().unwrap();
        for reader in readers {
            assert_closed("read", reader.join().unwrap());
        }
        assert_closed("peek", peeker.join().unwrap());
    }

    /// While the hub of those who have waited does nothing.
    fn what_nobody_waits_at_any_more_is_closed_by_whoever_drops_it() {
        let listener = Arc::new(secluded_listener());
        let address = listener.local_addr().unwrap();
        let stream = Arc::new(TcpStream::connect(address).unwrap());
        let (peer, _) = listener.accept().unwrap();
        let accepting = spawn({ let listener = listener.clone(); move || drop(listener.accept()) });
        let peeking = spawn({ let stream = stream.clone(); move || drop(stream.peek(&mut [0; 1])) });
        settle();
        accepting.kill();
        peeking.kill();
        drop((accepting, peeking));
        let mut peer = std::net::TcpStream::from(peer);
        let elsewhere = thread::spawn(move || {
            drop((Arc::into_inner(listener).unwrap(), Arc::into_inner(stream).unwrap()));
            peer.set_nonblocking(false).unwrap();
            peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
            assert_eq!(std::net::TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        });
        elsewhere.join().unwrap();
    }

    fn a_close_wakes_who_waits_elsewhere() {
        let (stream, _peer) = pair();
        let stream = Arc::new(stream);
        let (sender, receiver) = channel();
        let elsewhere = thread::spawn({
            let stream = stream.clone();
            move || {
                let reader = spawn({ let stream = stream.clone(); move || (&*stream).read(&mut [0; 1]) });
                settle();
                sender.send(()).unwrap();
                reader.join().unwrap()
            }
        });
        receiver.recv().unwrap();
        stream.close().unwrap();
        assert_closed("read", elsewhere.join().unwrap());
    }

    fn a_close_wakes_who_accepts_and_who_receives() {
        let listener = Rc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let socket = Rc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        let (one, _other) = UnixDatagram::pair().unwrap();
        let one = Rc::new(one);
        let accepting = spawn({ let listener = listener.clone(); move || listener.accept().map(drop) });
        let receiving = spawn({ let socket = socket.clone(); move || socket.recv_from(&mut [0; 1]).map(drop) });
        let unix = spawn({ let one = one.clone(); move || one.recv(&mut [0; 1]).map(drop) });
        settle();
        listener.close().unwrap();
        socket.close().unwrap();
        one.close().unwrap();
        assert_closed("accept", accepting.join().unwrap());
        assert_closed("recv_from", receiving.join().unwrap());
        assert_closed("recv", unix.join().unwrap());
    }

    /// Conformance 137.
    fn every_call_on_a_closed_stream_says_so() {
        let (stream, mut peer) = pair();
        let some = Some(Duration::from_secs(1));
        stream.close().unwrap();
        assert_all_closed!(stream:
            close() read(&mut [0; 1]) write(b"x") peek(&mut [0; 1]) read_vectored(&mut []) write_vectored(&[]) peer_addr() local_addr()
            shutdown(Shutdown::Both) try_clone() take_error() nodelay() set_nodelay(true) ttl() set_ttl(1) quickack() set_quickack(true)
            set_nonblocking(true) set_read_timeout(some) set_write_timeout(some)
        );
        // The peer has heard of it.
        assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
    }

    /// Conformance 137.
    fn every_call_on_another_closed_socket_says_so() {
        let listener = secluded_listener();
        let address = listener.local_addr().unwrap();
        listener.close().unwrap();
        assert_all_closed!(listener: close() accept() local_addr() try_clone() take_error() ttl() set_ttl(1));
        assert_closed("incoming", listener.incoming().next().unwrap());
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);

        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (v4, v6) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        socket.close().unwrap();
        assert_all_closed!(socket:
            close() recv(&mut [0; 1]) recv_from(&mut [0; 1]) peek(&mut [0; 1]) peek_from(&mut [0; 1]) send(b"x") send_to(b"x", address)
            connect(address) local_addr() peer_addr() try_clone() take_error() broadcast() set_broadcast(true) ttl() set_ttl(1)
            multicast_loop_v4() set_multicast_loop_v4(true) multicast_ttl_v4() set_multicast_ttl_v4(1) multicast_loop_v6()
            set_multicast_loop_v6(true) join_multicast_v4(&v4, &v4) leave_multicast_v4(&v4, &v4) join_multicast_v6(&v6, 0)
            leave_multicast_v6(&v6, 0) set_nonblocking(true)
        );

        let (stream, _peer) = UnixStream::pair().unwrap();
        stream.close().unwrap();
        assert_all_closed!(stream:
            close() read(&mut [0; 1]) write(b"x") local_addr() peer_addr() try_clone() take_error() shutdown(Shutdown::Both)
        );

        let address = unix_address();
        let listener = UnixListener::bind_addr(&address).unwrap();
        listener.close().unwrap();
        assert_all_closed!(listener: close() accept() local_addr() try_clone() take_error());

        let (datagram, _peer) = UnixDatagram::pair().unwrap();
        datagram.close().unwrap();
        assert_all_closed!(datagram:
            close() recv(&mut [0; 1]) recv_from(&mut [0; 1]) send(b"x") send_to(b"x", "/path") send_to_addr(b"x", &address) connect("/path")
            connect_addr(&address) local_addr() peer_addr() try_clone() take_error() shutdown(Shutdown::Both)
        );
    }

    fn a_closed_name_is_free_again() {
        let listener = secluded_listener();
        let address = listener.local_addr().unwrap();
        listener.close().unwrap();
        let again = TcpListener::bind(address).unwrap();
        assert_eq!(again.local_addr().unwrap(), address);
        drop(listener);
    }

    /// Conformance 141.
    fn a_connection_ends_with_its_last_handle() {
        for clone_goes_first in [true, false] {
            let (stream, peer) = pair();
            let clone = stream.try_clone().unwrap();
            let reader = spawn(move || (&peer).read(&mut [0; 1]).unwrap());
            let (first, last) = if clone_goes_first { (clone, stream) } else { (stream, clone) };
            drop(first);
            settle();
            assert!(!reader.is_finished());
            drop(last);
            assert_eq!(reader.join().unwrap(), 0);
        }
    }

    fn a_clone_outlives_a_close() {
        let (stream, peer) = pair();
        let clone = stream.try_clone().unwrap();
        let reader = spawn({ let clone = clone.try_clone().unwrap(); move || (&clone).read(&mut [0; 1]) });
        settle();
        stream.close().unwrap();
        settle();
        assert!(!reader.is_finished());
        (&peer).write_all(b"x").unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), 1);
        (&clone).write_all(b"y").unwrap();
        assert_eq!((&peer).read(&mut [0; 1]).unwrap(), 1);
    }

    fn a_clone_on_which_somebody_waits_hears_of_what_comes() {
        let (stream, peer) = pair();
        let clone = stream.try_clone().unwrap();
        let reader = spawn(move || (&clone).read(&mut [0; 1]));
        settle();
        drop(stream);
        (&peer).write_all(b"x").unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), 1);
    }
}

#[test]
fn every_kind_of_socket_is_closed_when_dropped() {
    leaves_nothing_open(Duration::from_secs(60), || {
        let (one, other) = pair();
        let clone = one.try_clone().unwrap();
        let waiting = spawn(move || (&clone).read(&mut [0; 1]).unwrap());
        settle();
        drop(other);
        assert_eq!(waiting.join().unwrap(), 0);
        drop(std::net::TcpStream::from(one));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let clone = listener.try_clone().unwrap();
        drop((listener, std::os::fd::OwnedFd::from(clone)));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.close().unwrap();
        drop(std::net::UdpSocket::from(socket));
        let (one, other) = UnixStream::pair().unwrap();
        let waiting = spawn(move || (&one).read(&mut [0; 1]));
        settle();
        waiting.kill();
        drop(other);
        drop(UnixDatagram::pair().unwrap());
        drop(UnixListener::bind_addr(&unix_address()).unwrap());
    });
}
