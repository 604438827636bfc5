//! Networking with std's types and names: where std's block the OS thread, these make only the green thread wait.
//!
//! [`TcpStream`], [`TcpListener`], [`UdpSocket`] and the types of [`unix`] have the methods, signatures and errors of the
//! types of the same name in [`std::net`] and [`std::os::unix::net`]. They are shared by reference, convert from and into
//! std's types and [`OwnedFd`](std::os::fd::OwnedFd), and may be sent to another OS thread, whose hub then waits for them.
//!
//! ```
//! use std::io::{Read, Write};
//! use greenloop::{net::{TcpListener, TcpStream}, spawn};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! let server = spawn(move || {
//!     let (mut stream, _peer) = listener.accept()?;
//!     stream.write_all(b"hello")
//! });
//!
//! let mut greeting = String::new();
//! TcpStream::connect(address)?.read_to_string(&mut greeting)?;
//! assert_eq!(greeting, "hello");
//! server.join().unwrap()?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Waiting
//!
//! A call that cannot go on parks its green thread until the socket is ready, the timeout of the socket is over, or the
//! socket is closed by `close`. Several green threads may wait for one socket: readers take turns in order of arrival, and so do
//! writers. A kill, or the end of an enclosing [`with_timeout`](crate::with_timeout), ends any wait by unwinding;
//! bytes that the call had not begun to transfer are still there for the next call.
//!
//! On [io_uring](crate::hub::Driver::IoUring) the kernel itself receives, sends, accepts and connects in many cases. Then a kill or a time
//! limit ends the wait as soon as the kernel has cancelled the operation. If the operation was done by then, the call returns its result,
//! and the next wait raises the kill or the limit.
//!
//! # Names
//!
//! A numeric address is used as it is. Any other name is looked up by `getaddrinfo` on an OS thread of a pool, while the
//! green thread waits: see [`ToSocketAddrs`], [`lookup_host`], and [`set_lookup`] for a cache or a resolver of your own.
//!
//! # Differences from std
//!
//! - [`ToSocketAddrs`] is a trait of this module: std's own would block the thread for a lookup.
//! - [`TcpStream::connect_within`] is added: a limit for the lookup and the connection together.
//! - `close(&self)` ends a socket that others still hold.
//! - There is no `FromRawFd`: `From<OwnedFd>` says the same without `unsafe`.
//! - [`TcpListener`]'s deprecated `only_v6` and `set_only_v6`, which do nothing in std, are left out.

#[macro_use]
mod macros;
mod connect;
mod listening;
mod resolve;
mod tcp_listener;
mod tcp_stream;
mod udp;
pub mod unix;

pub use self::resolve::{Lookup, ToSocketAddrs, lookup_host, set_lookup, system_lookup};
pub use self::tcp_listener::{Incoming, TcpListener};
pub use self::tcp_stream::TcpStream;
pub use self::udp::UdpSocket;
pub use std::net::{
    AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6,
};
