//! Sockets of the Unix domain with the types and names of [`std::os::unix::net`]: where std's block the OS thread, these make only the
//! green thread wait.
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
