//! Servers, beyond what the conformance suite cites from gevent.

#[path = "../support/mod.rs"]
mod support;

/// Servers of UDP and Unix datagrams.
mod datagrams;
/// No descriptor left.
mod descriptors;
/// Stopped from other OS threads, and handlers that know.
mod stopping;
/// Kills, stops from everywhere, settings, errors of binding.
mod streams;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use greenloop::net::TcpStream;
use greenloop::server::Server;

/// The bound of a test that should take no time.
const LIMIT: Duration = Duration::from_secs(60);
/// Longer than any test lasts: for a wait that something else is to end.
const LONG: Duration = Duration::from_secs(3600);
/// A free port.
const LOCAL: &str = "127.0.0.1:0";

fn connect(server: &Server<SocketAddr>) -> TcpStream {
    TcpStream::connect(server.local_addr().expect("an address")).expect("a connection")
}

/// What the server sends until it closes.
fn hear(server: &Server<SocketAddr>) -> io::Result<String> {
    io::read_to_string(connect(server))
}
