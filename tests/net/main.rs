//! Sockets, on each driver.

#[path = "../support/mod.rs"]
mod support;

/// `close`, clones, and who still holds what.
mod closing;
/// How connections are opened: refusals, limits, several addresses, full backlogs.
mod connecting;
/// UDP and Unix datagrams.
mod datagrams;
/// Listeners: alone, killed, shared by green threads and by hubs.
mod listening;
/// Many connections at once, and much through one.
mod load;
/// From names to addresses.
mod names;
/// The same script with std's types and with ours gives the same results and errors.
mod parity;
/// Reading and writing connections.
mod streams;
/// What io_uring sends, receives, accepts and connects itself.
mod whole;

use std::net::{Ipv4Addr, Shutdown};
use std::os::linux::net::SocketAddrExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use greenloop::net::unix::SocketAddr as UnixAddress;
use greenloop::net::{TcpListener, TcpStream};
use support::settle;

/// A connection with itself.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    let (server, _) = listener.accept().expect("the connection's other end");
    (client, server)
}

/// An abstract name that no other test has.
fn unix_address() -> UnixAddress {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    let name = format!("greenloop-test-{}-{number}", std::process::id());
    UnixAddress::from_abstract_name(name).expect("a short name")
}

/// A listener whose backlog is full, with what fills it: whoever connects to it waits.
fn unresponsive() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    rustix::net::listen(&listener, 0).expect("a shorter backlog");
    let address = listener.local_addr().expect("an address");
    let mut inside = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        inside.push(stream);
    }
    (listener, inside)
}

/// An address of this machine at which nobody listens: its port is none that the kernel gives out.
fn deaf() -> greenloop::net::SocketAddr {
    ([127, 0, 0, 77], 1).into()
}

/// A listener at an address of this machine that no other test uses: its port stays free when it is closed.
fn secluded_listener() -> TcpListener {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let [.., high, low] = NUMBER.fetch_add(1, Ordering::SeqCst).to_be_bytes();
    TcpListener::bind((Ipv4Addr::new(127, 77, high, low), 0)).expect("a listener")
}

/// Ends a connection in both directions, whoever holds it.
fn hang_up(stream: &TcpStream) {
    stream.shutdown(Shutdown::Both).expect("a connection");
}
