//! How a connection of TCP is opened.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::resolve::ToSocketAddrs;
use super::socket::zero_timeout;
use super::tcp_stream::TcpStream;
use crate::io::Source;
use crate::io::socket::Connect;
use crate::sys::clock::Time;
use crate::sys::socket::{self, Address};
use crate::task::with_timeout;

/// Connects to the first of the addresses that lets it.
pub(super) fn any(addr: impl ToSocketAddrs, timeout: Option<Duration>) -> io::Result<TcpStream> {
    let Some(timeout) = timeout else { return each(addr.to_socket_addrs()?, None) };
    if timeout.is_zero() {
        return Err(zero_timeout());
    }
    let deadline = Time::after(timeout);
    let addresses = with_timeout(timeout, || addr.to_socket_addrs()).map_err(|_| timed_out())??;
    each(addresses, Some(deadline))
}

fn each(addresses: impl Iterator<Item = SocketAddr>, deadline: Option<Time>) -> io::Result<TcpStream> {
    let mut last = None;
    for address in addresses {
        match one(address, deadline) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last
        .unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "could not resolve to any addresses")))
}

fn one(address: SocketAddr, deadline: Option<Time>) -> io::Result<TcpStream> {
    let address = Address::from(address);
    let source = Source::new(std::net::TcpStream::from(socket::stream(&address)?));
    source.run_until(Connect { address }, deadline).map_err(|error| match error.kind() {
        // Not the kernel's own ETIMEDOUT.
        io::ErrorKind::TimedOut if error.raw_os_error().is_none() => timed_out(),
        _ => error,
    })?;
    // It blocks for whoever gets the descriptor; only the connecting could not be asked not to wait.
    source.get_ref().set_nonblocking(false)?;
    Ok(TcpStream::connected(source))
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "connection timed out")
}
