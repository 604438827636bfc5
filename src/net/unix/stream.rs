//! A connection of a Unix socket.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::io::faults::is_refused;
use crate::io::socket::{Receive, ReceiveVectored, Send, SendVectored, Short};
use crate::io::{Direction, Pauses, Source};
use crate::sys::clock::Time;
use crate::sys::descriptor;
use crate::sys::socket::{self, Address, Taking};

/// A connection of a Unix socket: [`std::os::unix::net::UnixStream`], whose reads and writes let other green threads run
/// while they wait.
///
/// It is closed when it is dropped. [Waiting](crate::net#waiting) is the same for all sockets.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use greenloop::{net::unix::UnixStream, spawn};
///
/// let (mut one, mut other) = UnixStream::pair()?;
/// let echo = spawn(move || {
///     let mut buffer = [0; 4];
///     other.read_exact(&mut buffer)?;
///     other.write_all(&buffer)
/// });
/// one.write_all(b"ping")?;
/// let mut buffer = [0; 4];
/// one.read_exact(&mut buffer)?;
/// assert_eq!(&buffer, b"ping");
/// echo.join().unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias("socket", "recv_into", "sendall", "makefile"))]
pub struct UnixStream {
    source: Source<std::os::unix::net::UnixStream>,
}

impl UnixStream {
    /// A stream that is connected, and that nobody has set to anything.
    pub(super) fn connected(source: Source<std::os::unix::net::UnixStream>) -> UnixStream {
        UnixStream { source }
    }

    /// Connects to the listener at a path.
    ///
    /// While the listener's backlog is full, the calling green thread sleeps for 1 to 50 ms at a time and tries again: the
    /// kernel does not tell when there is room. A kill or an enclosing [`with_timeout`](crate::with_timeout) gives up.
    ///
    /// # Errors
    ///
    /// `NotFound` if nothing is at the path, `ConnectionRefused` if no listener is there, `InvalidInput` for a path that is
    /// too long.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = greenloop::net::unix::UnixStream::connect("/no/such/socket").unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// ```
    #[doc(alias = "open_unix_connection")]
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixStream> {
        UnixStream::connect_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Connects to the listener at an address, which may be an abstract name. It waits as [`connect`](UnixStream::connect)
    /// does.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](UnixStream::connect).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::linux::net::SocketAddrExt;
    /// use greenloop::net::unix::{SocketAddr, UnixListener, UnixStream};
    ///
    /// let address = SocketAddr::from_abstract_name(format!("greenloop-connect-{}", std::process::id()))?;
    /// let _listener = UnixListener::bind_addr(&address)?;
    /// let stream = UnixStream::connect_addr(&address)?;
    /// assert_eq!(stream.peer_addr()?.as_abstract_name(), address.as_abstract_name());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect_addr(socket_addr: &SocketAddr) -> io::Result<UnixStream> {
        if is_refused() {
            return Err(descriptor::refused());
        }
        let address = Address::from(socket_addr);
        let inner = std::os::unix::net::UnixStream::from(socket::stream(&address)?);
        let mut pauses = Pauses::until(Time::NEVER);
        loop {
            match socket::connect(inner.as_fd(), &address) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && pauses.pause() => {}
                Err(error) => return Err(error),
            }
        }
        // It blocks for whoever gets the descriptor; only the connecting could not be asked not to wait.
        inner.set_nonblocking(false)?;
        Ok(UnixStream::connected(Source::new(inner)))
    }

    /// Makes two streams that are connected to each other. Does not yield.
    ///
    /// # Errors
    ///
    /// Those of `socketpair`, for instance when no descriptor is left.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    ///
    /// let (mut one, mut other) = greenloop::net::unix::UnixStream::pair()?;
    /// one.write_all(b"x")?;
    /// assert_eq!(other.read(&mut [0; 8])?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "socketpair")]
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = std::os::unix::net::UnixStream::pair()?;
        Ok((UnixStream::connected(Source::new(one)), UnixStream::connected(Source::new(other))))
    }

    /// Returns the address of this end. Does not yield.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    ///
    /// # Examples
    ///
    /// ```
    /// let (socket, _peer) = greenloop::net::unix::UnixStream::pair()?;
    /// assert!(socket.local_addr()?.is_unnamed());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr()
    }

    /// Returns the address of the other end. Does not yield.
    ///
    /// # Errors
    ///
    /// `NotConnected` if there is no other end.
    ///
    /// # Examples
    ///
    /// ```
    /// let (socket, _peer) = greenloop::net::unix::UnixStream::pair()?;
    /// assert!(socket.peer_addr()?.is_unnamed());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().peer_addr()
    }

    /// Ends the reading half, the writing half, or both, for all handles on the connection. Does not yield.
    ///
    /// Waits for the ended half end too: a read gets 0 bytes, a write `BrokenPipe`.
    ///
    /// # Errors
    ///
    /// Those of `shutdown`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    /// use greenloop::net::{Shutdown, unix::UnixStream};
    ///
    /// let (one, mut other) = UnixStream::pair()?;
    /// one.shutdown(Shutdown::Write)?;
    /// assert_eq!(other.read(&mut [0; 8])?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.source.get_ref().shutdown(how)
    }

    // adopt, release, try_clone, set_nonblocking, set_read_timeout, set_write_timeout, read_timeout, write_timeout.
    transfer!(
        UnixStream,
        std::os::unix::net::UnixStream,
        "let (socket, _peer) = greenloop::net::unix::UnixStream::pair()?;",
        "std::io::Read::read(&mut &socket, &mut [0; 1])"
    );
    // take_error, close.
    common!("let (socket, _peer) = greenloop::net::unix::UnixStream::pair()?;");
}

// From and into std::os::unix::net::UnixStream and OwnedFd, IntoRawFd, AsFd, AsRawFd, Debug.
convert!(UnixStream, std::os::unix::net::UnixStream);
// Read and Write, also for a reference.
stream!(UnixStream, Short::Usual);
