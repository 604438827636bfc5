//! Sockets of the Unix domain: [`std::os::unix::net`]'s types and words, with a green thread that waits where std's block
//! the OS thread.
//!
//! ```
//! use std::io::{Read, Write};
//! use greenloop::net::unix::UnixStream;
//!
//! let (mut one, mut other) = UnixStream::pair()?;
//! one.write_all(b"ping")?;
//! drop(one);
//! let mut text = String::new();
//! other.read_to_string(&mut text)?;
//! assert_eq!(text, "ping");
//! # Ok::<(), std::io::Error>(())
//! ```

mod datagram;
mod listener;
mod stream;

pub use self::datagram::UnixDatagram;
pub use self::listener::{Incoming, UnixListener};
pub use self::stream::UnixStream;
pub use std::os::unix::net::SocketAddr;
