use std::fmt::Debug;
use std::io;

use crate::support::with_driver;

/// What a script has seen.
#[derive(Default)]
struct Log(Vec<String>);

impl Log {
    fn note<T: Debug>(&mut self, what: &str, result: io::Result<T>) {
        self.0.push(match result {
            Ok(value) => format!("{what}: {value:?}"),
            Err(error) => format!("{what}: {:?}, {error}", error.kind()),
        });
    }
}

/// std's words for the scripts.
mod theirs {
    pub(super) use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
    pub(super) use std::os::unix::net as unix;
}

/// Ours.
mod ours {
    pub(super) use greenloop::net::{
        Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket, unix,
    };
}

/// Makes each script a module of two tests, `epoll` and `poll`, that compare its log with std's types with that with ours.
macro_rules! same_as_std {
    ($(fn $name:ident($log:ident) $body:block)*) => {
        $(mod $name {
            #[allow(unused_imports, reason = "each script takes what it needs")]
            mod theirs {
                use std::io::{IoSlice, IoSliceMut, Read, Write};
                use std::net::Shutdown;
                use std::time::Duration;
                use super::super::theirs::*;
                pub(super) fn run($log: &mut super::super::Log) $body
            }

            #[allow(unused_imports, reason = "each script takes what it needs")]
            mod ours {
                use std::io::{IoSlice, IoSliceMut, Read, Write};
                use std::net::Shutdown;
                use std::time::Duration;
                use super::super::ours::*;
                pub(super) fn run($log: &mut super::super::Log) $body
            }

            #[test]
            fn epoll() {
                super::compare(greenloop::hub::Driver::Epoll, theirs::run, ours::run);
            }

            #[test]
            fn poll() {
                super::compare(greenloop::hub::Driver::Poll, theirs::run, ours::run);
            }

            #[test]
            fn io_uring() {
                super::compare(greenloop::hub::Driver::IoUring, theirs::run, ours::run);
            }
        })*
    };
}

fn compare(driver: greenloop::hub::Driver, theirs: fn(&mut Log), ours: fn(&mut Log)) {
    with_driver(driver, move || {
        let (mut expected, mut got) = (Log::default(), Log::default());
        theirs(&mut expected);
        ours(&mut got);
        assert!(!expected.0.is_empty());
        assert_eq!(got.0, expected.0);
    });
}

same_as_std! {
    fn options_of_a_connection(log) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        log.note("nodelay", stream.nodelay());
        log.note("set_nodelay", stream.set_nodelay(true));
        log.note("nodelay", stream.nodelay());
        log.note("ttl", stream.ttl());
        log.note("set_ttl", stream.set_ttl(9));
        log.note("set_ttl", stream.set_ttl(999));
        log.note("ttl", stream.ttl());
        log.note("take_error", stream.take_error().map(|error| error.is_none()));
        log.note("peer_addr", stream.peer_addr().map(|address| address == listener.local_addr().unwrap()));
        log.note("local_addr", stream.local_addr().map(|address| address.ip()));
        log.note("listener's ttl", listener.set_ttl(7).and_then(|()| listener.ttl()));
        log.note("listener's error", listener.take_error().map(|error| error.is_none()));
    }

    fn timeouts(log) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _server = listener.accept().unwrap();
        log.note("read_timeout", stream.read_timeout());
        log.note("zero", stream.set_read_timeout(Some(Duration::ZERO)));
        log.note("zero", stream.set_write_timeout(Some(Duration::ZERO)));
        log.note("set", stream.set_read_timeout(Some(Duration::from_millis(20))));
        log.note("set", stream.set_write_timeout(Some(Duration::from_millis(20))));
        log.note("read_timeout", stream.read_timeout());
        log.note("write_timeout", stream.write_timeout());
        log.note("read", stream.read(&mut [0; 4]));
        log.note("peek", stream.peek(&mut [0; 4]));
        log.note("read_exact", stream.read_exact(&mut [0; 4]));
        let full = loop {
            if let Err(error) = stream.write(&[0; 65536]) {
                break error;
            }
        };
        log.note("write", Err::<(), _>(full));
        log.note("unset", stream.set_read_timeout(None));
        log.note("read_timeout", stream.read_timeout());
    }

    fn clones_share_timeouts_and_mode(log) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _server = listener.accept().unwrap();
        let clone = stream.try_clone().unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        log.note("read_timeout", clone.read_timeout());
        log.note("read", (&clone).read(&mut [0; 4]));
        clone.set_nonblocking(true).unwrap();
        stream.set_read_timeout(None).unwrap();
        log.note("read", (&stream).read(&mut [0; 4]));
        let clone = listener.try_clone().unwrap();
        clone.set_nonblocking(true).unwrap();
        log.note("accept", listener.accept().map(|_| ()));
    }

    fn nonblocking(log) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        log.note("accept", listener.accept().map(|_| ()));
        log.note("incoming", listener.incoming().next().unwrap().map(|_| ()));
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        // The kernel may be a moment behind.
        let accepted = loop {
            if let Ok((accepted, _)) = listener.accept() {
                break accepted;
            }
        };
        stream.set_nonblocking(true).unwrap();
        log.note("read", stream.read(&mut [0; 4]));
        let full = loop {
            if let Err(error) = stream.write(&[0; 65536]) {
                break error;
            }
        };
        log.note("write", Err::<(), _>(full));
        // What was accepted blocks; a timeout proves it.
        accepted.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        log.note("accepted", (&accepted).read(&mut [0; 4]));
    }

    fn the_end_of_a_connection(log) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut server = listener.accept().unwrap().0;
        client.write_all(b"last words").unwrap();
        log.note("shutdown", client.shutdown(Shutdown::Write));
        log.note("shutdown", client.shutdown(Shutdown::Write));
        log.note("write", client.write(b"x"));
        let mut text = String::new();
        log.note("read_to_string", server.read_to_string(&mut text));
        log.note("text", Ok(text));
        log.note("read", server.read(&mut [0; 4]));
        log.note("shutdown", server.shutdown(Shutdown::Read));
        log.note("read", server.read(&mut [0; 4]));
        log.note("write", server.write(b"answer"));
        drop(server);
        log.note("read", client.read(&mut [0; 16]));
        log.note("read", client.read(&mut [0; 16]));
        log.note("shutdown", client.shutdown(Shutdown::Both));
        log.note("peer_addr", client.peer_addr());
    }

    fn a_reset_connection(log) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        client.write_all(b"unread").unwrap();
        server.peek(&mut [0; 1]).unwrap();
        drop(server);
        log.note("read", client.read(&mut [0; 4]));
        log.note("write", client.write(b"x"));
        log.note("read", client.read(&mut [0; 4]));
    }

    fn several_buffers(log) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut server = listener.accept().unwrap().0;
        let parts = [IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"three")];
        log.note("write_vectored", client.write_vectored(&parts));
        let (mut first, mut second) = ([0; 4], [0; 9]);
        let mut into = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        log.note("read_vectored", server.read_vectored(&mut into));
        log.note("first", Ok(first));
        log.note("second", Ok(second));
        // More than the kernel takes at a time.
        let bytes = [7; 2];
        let many: Vec<_> = (0..1500).map(|_| IoSlice::new(&bytes)).collect();
        log.note("write_vectored", client.write_vectored(&many));
        log.note("nothing", client.write_vectored(&[]));
        log.note("nothing", client.write(&[]));
        log.note("flush", client.flush());
        log.note("read", server.read(&mut [0; 4096]));
    }

    fn errors_of_connecting(log) {
        // Where no other test binds, so that the port is nobody's afterwards.
        let listener = TcpListener::bind("127.0.0.78:0").unwrap();
        let address = listener.local_addr().unwrap();
        log.note("bind", TcpListener::bind(address).map(|_| ()));
        drop(listener);
        log.note("refused", TcpStream::connect(address).map(|_| ()));
        log.note("refused", TcpStream::connect_timeout(&address, Duration::from_secs(5)).map(|_| ()));
        log.note("zero", TcpStream::connect_timeout(&address, Duration::ZERO).map(|_| ()));
        log.note("none", TcpStream::connect(&[][..]).map(|_| ()));
        log.note("none", TcpListener::bind(&[][..]).map(|_| ()));
        log.note("none", UdpSocket::bind(&[][..]).map(|_| ()));
        log.note("all refused", TcpStream::connect(&[address, address][..]).map(|_| ()));
        let other: SocketAddr = "127.0.0.2:0".parse().unwrap();
        log.note("not ours", TcpListener::bind((Ipv4Addr::new(192, 0, 2, 1), 0)).map(|_| ()));
        log.note("first is bad", TcpListener::bind(&[address, other][..]).map(|_| ()));
        // Nobody can connect to port 0.
        log.note("port 0", TcpStream::connect("127.0.0.1:0").map(|_| ()));
    }

    fn one_of_several_addresses(log) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let deaf = SocketAddr::from(([127, 0, 0, 77], 1));
        let stream = TcpStream::connect(&[deaf, address][..]).unwrap();
        log.note("connected", stream.peer_addr().map(|peer| peer == address));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(&["[::1]:1".parse().unwrap(), address][..]).unwrap();
        log.note("udp", socket.peer_addr().map(|peer| peer == address));
    }

    fn datagrams(log) {
        // Where no other test binds, so that the port is nobody's afterwards.
        let one = UdpSocket::bind("127.0.0.78:0").unwrap();
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (from, to) = (one.local_addr().unwrap(), other.local_addr().unwrap());
        log.note("send", one.send(b"x"));
        log.note("peer_addr", one.peer_addr());
        log.note("none", one.send_to(b"x", &[][..]));
        log.note("send_to", one.send_to(b"0123456789", to));
        log.note("empty", one.send_to(b"", &[to, from][..]));
        log.note("too long", one.send_to(&[0; 70_000], to));
        let mut buffer = [0; 4];
        log.note("peek_from", other.peek_from(&mut buffer).map(|(count, peer)| (count, peer == from)));
        log.note("recv_from", other.recv_from(&mut buffer).map(|(count, peer)| (count, peer == from)));
        log.note("buffer", Ok(buffer));
        log.note("recv_from", other.recv_from(&mut buffer).map(|(count, peer)| (count, peer == from)));
        log.note("connect", other.connect(from));
        log.note("send", other.send(b"ab"));
        log.note("peek", one.peek(&mut buffer));
        log.note("recv", one.recv(&mut buffer));
        drop(one);
        log.note("send", other.send(b"cd"));
        // The refusal comes back at once on this machine.
        log.note("recv", other.recv(&mut buffer));
        other.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        log.note("timeout", other.recv(&mut buffer));
        other.set_nonblocking(true).unwrap();
        log.note("nonblocking", other.recv_from(&mut buffer));
    }

    fn options_of_datagrams(log) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        log.note("broadcast", socket.set_broadcast(true).and_then(|()| socket.broadcast()));
        log.note("loop", socket.set_multicast_loop_v4(false).and_then(|()| socket.multicast_loop_v4()));
        log.note("ttl", socket.set_multicast_ttl_v4(5).and_then(|()| socket.multicast_ttl_v4()));
        log.note("ttl", socket.set_ttl(5).and_then(|()| socket.ttl()));
        log.note("loop", socket.set_multicast_loop_v6(false).and_then(|()| socket.multicast_loop_v6()));
        let group = Ipv4Addr::new(224, 0, 0, 251);
        log.note("leave", socket.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST));
        log.note("join", socket.join_multicast_v4(&Ipv4Addr::LOCALHOST, &Ipv4Addr::LOCALHOST));
        log.note("take_error", socket.take_error().map(|error| error.is_none()));
    }

    fn unix_streams(log) {
        let (mut one, mut other) = unix::UnixStream::pair().unwrap();
        log.note("write", one.write(b"hello"));
        log.note("read", other.read(&mut [0; 3]));
        log.note("local_addr", one.local_addr().map(|address| address.is_unnamed()));
        log.note("peer_addr", one.peer_addr().map(|address| address.is_unnamed()));
        other.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        log.note("read", other.read(&mut [0; 3]));
        log.note("timeout", other.read(&mut [0; 3]));
        log.note("zero", other.set_read_timeout(Some(Duration::ZERO)));
        log.note("shutdown", other.shutdown(Shutdown::Read));
        log.note("shutdown", other.shutdown(Shutdown::Read));
        log.note("read", other.read(&mut [0; 3]));
        log.note("write", one.write(b"x"));
        drop(one);
        log.note("write", other.write(b"x"));
        log.note("none", unix::UnixStream::connect("/no/such/path").map(|_| ()));
        log.note("empty", unix::UnixStream::connect("").map(|_| ()));
        log.note("zero byte", unix::UnixStream::connect("a\0b").map(|_| ()));
        log.note("long", unix::UnixStream::connect("x".repeat(108)).map(|_| ()));
        log.note("directory", unix::UnixListener::bind("/").map(|_| ()));
    }

    fn unix_listeners(log) {
        let folder = std::env::temp_dir().join(format!("greenloop-{}-{:?}", std::process::id(), std::thread::current().id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        let listener = unix::UnixListener::bind(&path).unwrap();
        log.note("bind", unix::UnixListener::bind(&path).map(|_| ()));
        log.note("local_addr", listener.local_addr().map(|address| address.as_pathname() == Some(path.as_path())));
        let client = unix::UnixStream::connect(&path).unwrap();
        log.note("peer_addr", client.peer_addr().map(|address| address.as_pathname() == Some(path.as_path())));
        log.note("accept", listener.accept().map(|(_, peer)| peer.is_unnamed()));
        // A client with a name of its own.
        let named = folder.join("client");
        let datagram = unix::UnixDatagram::bind(&named).unwrap();
        log.note("wrong kind", unix::UnixStream::connect(&named).map(|_| ()));
        drop(datagram);
        listener.set_nonblocking(true).unwrap();
        log.note("accept", listener.accept().map(|_| ()));
        log.note("take_error", listener.take_error().map(|error| error.is_none()));
        drop(listener);
        log.note("refused", unix::UnixStream::connect(&path).map(|_| ()));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    fn unix_datagrams(log) {
        let folder = std::env::temp_dir().join(format!("greenloop-{}-{:?}-d", std::process::id(), std::thread::current().id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (here, there) = (folder.join("here"), folder.join("there"));
        let one = unix::UnixDatagram::bind(&here).unwrap();
        let other = unix::UnixDatagram::bind(&there).unwrap();
        let nameless = unix::UnixDatagram::unbound().unwrap();
        log.note("send", nameless.send(b"x"));
        log.note("peer_addr", nameless.peer_addr());
        log.note("send_to", nameless.send_to(b"x", folder.join("nowhere")));
        log.note("send_to", nameless.send_to(b"abc", &here));
        log.note("recv_from", one.recv_from(&mut [0; 8]).map(|(count, peer)| (count, peer.is_unnamed())));
        log.note("send_to", other.send_to(b"abcdef", &here));
        let peer = |peer: &std::os::unix::net::SocketAddr| peer.as_pathname() == Some(there.as_path());
        log.note("recv_from", one.recv_from(&mut [0; 2]).map(|(count, from)| (count, peer(&from))));
        log.note("connect", one.connect(&there));
        log.note("send", one.send(b"abcd"));
        log.note("recv", other.recv(&mut [0; 8]));
        log.note("too long", one.send(&vec![0; 10_000_000]));
        log.note("address", other.local_addr().map(|address| peer(&address)));
        other.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        log.note("timeout", other.recv(&mut [0; 8]));
        other.set_read_timeout(None).unwrap();
        log.note("shutdown", other.shutdown(Shutdown::Read));
        log.note("recv", other.recv(&mut [0; 8]));
        log.note("recv_from", other.recv_from(&mut [0; 8]).map(|(count, from)| (count, from.is_unnamed())));
        log.note("send", one.send(b"x"));
        drop(other);
        log.note("send", one.send(b"x"));
        log.note("bind", unix::UnixDatagram::bind(&here).map(|_| ()));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    fn strings_as_addresses(log) {
        let mut addresses = |text: &str| log.note(text, text.to_socket_addrs().map(Iterator::collect::<Vec<_>>));
        for text in [
            "127.0.0.1:80", "[::1]:80", "[fe80::1%2]:80", "localhost:80", "localhost:0", "127.0.0.1:65535", "127.0.0.1:65536",
            "127.0.0.1:-1", "127.0.0.1:", "127.0.0.1", "", ":", ":80", "localhost", "localhost:http", "::1:80", "[::1]", "a\0b:80",
            "127.1:80", "2130706433:80", "0x7f.1:80", "127.0.0.1:80 ", "127.0.0.1: 80", "127.0.0.1:+80",
        ] {
            addresses(text);
        }
        for (host, port) in [("127.0.0.1", 80), ("::1", 80), ("localhost", 80), ("", 80), ("a\0b", 1)] {
            log.note(host, (host, port).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
            log.note(host, (host.to_owned(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
        }
        log.note("String", String::from("127.0.0.1:80").to_socket_addrs().map(Iterator::collect::<Vec<_>>));
        log.note("reference", (&&"127.0.0.1:80").to_socket_addrs().map(Iterator::collect::<Vec<_>>));
        let ip: std::net::IpAddr = Ipv4Addr::LOCALHOST.into();
        log.note("ip", (ip, 80).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
        log.note("v4", (Ipv4Addr::LOCALHOST, 80).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
        let address = SocketAddr::from((ip, 80));
        log.note("address", address.to_socket_addrs().map(Iterator::collect::<Vec<_>>));
        log.note("slice", (&[address, address][..]).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    }
}
