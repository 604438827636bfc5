//! Servers: a green thread for each connection, or for each datagram. This is gevent's `gevent.server`.
//!
//! [`StreamServer`] takes connections of TCP and of Unix sockets, [`DatagramServer`] datagrams of UDP and of Unix sockets. Each is
//! bound, set up by its methods, and becomes a [`Server`] by [`handle`](StreamServer::handle).
//!
//! ```
//! use std::io::{Read, Write};
//! use std::time::Duration;
//! use greenloop::net::TcpStream;
//! use greenloop::server::StreamServer;
//!
//! let server = StreamServer::bind("127.0.0.1:0")?.limit(100).handle(|mut stream, _peer| {
//!     let mut text = String::new();
//!     stream.read_to_string(&mut text)?;
//!     stream.write_all(text.to_uppercase().as_bytes())
//! });
//! server.start()?; // or `server.serve_forever()`, in a program that does nothing else
//!
//! let mut client = TcpStream::connect(server.local_addr()?)?;
//! client.write_all(b"hello")?;
//! client.shutdown(std::net::Shutdown::Write)?;
//! assert_eq!(std::io::read_to_string(&client)?, "HELLO");
//! server.stop(Duration::from_secs(1));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Several processors
//!
//! A server belongs to one OS thread. [`Workers::serve`](crate::workers::Workers::serve) has one on each processor, and spreads the
//! connections evenly. By hand, start several OS threads, each with a server of its own, and give all of them the same listener: each
//! connection goes to whoever is quickest.
//!
//! ```
//! use greenloop::net::{TcpListener, TcpStream};
//! use greenloop::{channel, server::StreamServer};
//! use std::{io, io::Write, sync::Arc, thread, time::Duration};
//!
//! let listener = Arc::new(TcpListener::bind("127.0.0.1:0")?);
//! let address = listener.local_addr()?;
//! let (sender, stoppers) = channel::unbounded();
//! let threads = [(); 2].map(|()| {
//!     let (listener, sender) = (Arc::clone(&listener), sender.clone());
//!     thread::spawn(move || -> io::Result<()> {
//!         let server = StreamServer::new(listener).handle(|mut stream, _peer| stream.write_all(b"hello"));
//!         server.start()?;
//!         let stopper = server.stopper();
//!         sender.send(stopper.clone()).unwrap();
//!         stopper.wait();
//!         Ok(())
//!     })
//! });
//!
//! for stopper in [stoppers.recv().unwrap(), stoppers.recv().unwrap()] {
//!     assert_eq!(io::read_to_string(TcpStream::connect(address)?)?, "hello");
//!     stopper.stop(Duration::from_secs(1));
//! }
//! for thread in threads {
//!     thread.join().unwrap()?;
//! }
//! # Ok::<(), io::Error>(())
//! ```
//!
//! # Overload
//!
//! With a [`limit`](StreamServer::limit), no connection is accepted while that many handlers run. New connections wait in the
//! kernel's [backlog](StreamServer::backlog), and when that is full, at their clients. When accepting fails, for instance because the
//! process has no descriptor left, the server reports it to its [hook](StreamServer::on_error) and tries again after 10 ms, then after
//! 20 ms, and so on up to a second.
//!
//! # The end
//!
//! [`Server::stop`] gives the handlers time to end, and kills those that need more. A [`Stopper`] stops a server from another OS thread.
//! It also tells handlers that the server stops, so that a handler whose connection is idle can end at once.
//! An orderly end upon SIGTERM is
//!
//! ```
//! # use greenloop::process::Command;
//! use greenloop::server::StreamServer;
//! use greenloop::signal::{self, SIGTERM};
//! use std::time::Duration;
//!
//! let server = StreamServer::bind("127.0.0.1:0")?.handle(|_stream, _peer| Ok(()));
//! let stopper = server.stopper();
//! let _handler = signal::on(SIGTERM, move || stopper.stop(Duration::from_secs(10)))?;
//! # greenloop::spawn(|| Command::new("kill").arg(std::process::id().to_string()).status()); // once the server serves
//! server.serve_forever()?; // returns when the handlers have ended, after ten seconds at the latest
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Ctrl-C sends another signal, SIGINT. For an orderly end upon that too, install a second handler, with a clone of the stopper. After a
//! stop that comes before the start, `serve_forever` fails with [`ServerClosed`].

mod datagram;
#[expect(clippy::module_inception, reason = "named for the type in it")]
mod server;
mod stopper;
mod stream;

pub use self::datagram::{DatagramServer, DatagramSocket};
pub use self::server::Server;
pub use self::stopper::Stopper;
pub use self::stream::{Listener, StreamServer};
#[doc(no_inline)]
pub use crate::error::{ServerClosed, ServerError};
