//! Datagrams of a Unix socket.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::io::socket::{Receive, ReceiveFrom, Send, SendTo, Short, UntilShutDown};
use crate::io::{Direction, Pauses, Source};
use crate::sys::clock::Time;
use crate::sys::socket::{Address, Taking};

/// A Unix socket of datagrams: [`std::os::unix::net::UnixDatagram`], whose calls let other green threads run while they
/// wait.
///
/// It is closed when it is dropped, which leaves its path in place, as std does. [Waiting](crate::net#waiting) is the same
/// for all sockets.
///
/// # Examples
///
/// ```
/// use greenloop::net::unix::UnixDatagram;
///
/// let (one, other) = UnixDatagram::pair()?;
/// one.send(b"ping")?;
/// let mut buffer = [0; 16];
/// assert_eq!(other.recv(&mut buffer)?, 4);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "socket")]
pub struct UnixDatagram {
    source: Source<std::os::unix::net::UnixDatagram>,
}

impl UnixDatagram {
    fn new(inner: std::os::unix::net::UnixDatagram) -> UnixDatagram {
        UnixDatagram { source: Source::new(inner) }
    }

    /// Makes a socket with a path of its own, which must not exist yet. Does not yield.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if the path exists, `InvalidInput` if it is too long.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::unix::UnixDatagram;
    ///
    /// let path = std::env::temp_dir().join(format!("greenloop-datagram-{}", std::process::id()));
    /// let socket = UnixDatagram::bind(&path)?;
    /// std::fs::remove_file(&path)?;
    /// assert_eq!(socket.local_addr()?.as_pathname(), Some(path.as_path()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixDatagram> {
        std::os::unix::net::UnixDatagram::bind(path).map(UnixDatagram::new)
    }

    /// Makes a socket with an address of its own, which may be an abstract name. Does not yield.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if the path exists or the name is taken.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::linux::net::SocketAddrExt;
    /// use greenloop::net::unix::{SocketAddr, UnixDatagram};
    ///
    /// let address = SocketAddr::from_abstract_name(format!("greenloop-datagram-{}", std::process::id()))?;
    /// let socket = UnixDatagram::bind_addr(&address)?;
    /// assert_eq!(socket.local_addr()?.as_abstract_name(), address.as_abstract_name());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixDatagram> {
        std::os::unix::net::UnixDatagram::bind_addr(socket_addr).map(UnixDatagram::new)
    }

    /// Makes a socket without an address. Does not yield.
    ///
    /// # Errors
    ///
    /// Those of `socket`, for instance when no descriptor is left.
    ///
    /// # Examples
    ///
    /// ```
    /// let socket = greenloop::net::unix::UnixDatagram::unbound()?;
    /// assert!(socket.local_addr()?.is_unnamed());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unbound() -> io::Result<UnixDatagram> {
        std::os::unix::net::UnixDatagram::unbound().map(UnixDatagram::new)
    }

    /// Makes two sockets that are connected to each other. Does not yield.
    ///
    /// # Errors
    ///
    /// Those of `socketpair`, for instance when no descriptor is left.
    ///
    /// # Examples
    ///
    /// ```
    /// let (one, other) = greenloop::net::unix::UnixDatagram::pair()?;
    /// one.send(b"x")?;
    /// assert_eq!(other.recv(&mut [0; 8])?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "socketpair")]
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = std::os::unix::net::UnixDatagram::pair()?;
        Ok((UnixDatagram::new(one), UnixDatagram::new(other)))
    }

    /// Sets the path to which [`send`](UnixDatagram::send) sends, and from which alone datagrams are received. Does not
    /// yield.
    ///
    /// # Errors
    ///
    /// `NotFound` if nothing is there, `ConnectionRefused` if no socket is behind it any more.
    ///
    /// # Examples
    ///
    /// ```
    /// let socket = greenloop::net::unix::UnixDatagram::unbound()?;
    /// assert_eq!(socket.connect("/no/such/socket").unwrap_err().kind(), std::io::ErrorKind::NotFound);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.source.get_ref().connect(path)
    }

    /// Sets the address to which [`send`](UnixDatagram::send) sends, and from which alone datagrams are received. Does not
    /// yield.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](UnixDatagram::connect).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::linux::net::SocketAddrExt;
    /// use greenloop::net::unix::{SocketAddr, UnixDatagram};
    ///
    /// let address = SocketAddr::from_abstract_name(format!("greenloop-peer-{}", std::process::id()))?;
    /// let peer = UnixDatagram::bind_addr(&address)?;
    /// let socket = UnixDatagram::unbound()?;
    /// socket.connect_addr(&address)?;
    /// assert_eq!(socket.send(b"ping")?, 4);
    /// assert_eq!(peer.recv(&mut [0; 8])?, 4);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect_addr(&self, socket_addr: &SocketAddr) -> io::Result<()> {
        self.source.get_ref().connect_addr(socket_addr)
    }

    /// Returns the socket's own address. Does not yield.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    ///
    /// # Examples
    ///
    /// ```
    /// let (socket, _peer) = greenloop::net::unix::UnixDatagram::pair()?;
    /// assert!(socket.local_addr()?.is_unnamed());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr()
    }

    /// Returns the address to which the socket is [connected](UnixDatagram::connect). Does not yield.
    ///
    /// # Errors
    ///
    /// `NotConnected` if it is not.
    ///
    /// # Examples
    ///
    /// ```
    /// let socket = greenloop::net::unix::UnixDatagram::unbound()?;
    /// assert_eq!(socket.peer_addr().unwrap_err().kind(), std::io::ErrorKind::NotConnected);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().peer_addr()
    }

    /// Receives a datagram. Returns its length and the sender's address. Bytes that do not fit into `buf` are lost.
    ///
    /// The calling green thread yields until there is one. A kill or an enclosing [`with_timeout`](crate::with_timeout)
    /// ends the wait, and no datagram is lost by it.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the read timeout is over, or at once if the socket is non-blocking; those of `recvfrom`.
    ///
    /// # Examples
    ///
    /// ```
    /// let (one, other) = greenloop::net::unix::UnixDatagram::pair()?;
    /// one.send(b"ping")?;
    /// let (count, address) = other.recv_from(&mut [0; 8])?;
    /// assert_eq!(count, 4);
    /// assert!(address.is_unnamed());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias("recvfrom", "recvfrom_into"))]
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (count, address) =
            self.source.run(UntilShutDown(ReceiveFrom { buffer: buf, taking: Taking::Consume }))?;
        Ok((count, address.to_unix()?))
    }

    /// Receives a datagram. Returns its length. Bytes that do not fit into `buf` are lost.
    ///
    /// The calling green thread yields as in [`recv_from`](UnixDatagram::recv_from).
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](UnixDatagram::recv_from).
    ///
    /// # Examples
    ///
    /// ```
    /// let (one, other) = greenloop::net::unix::UnixDatagram::pair()?;
    /// one.send(b"ping")?;
    /// assert_eq!(other.recv(&mut [0; 2])?, 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.source.run(UntilShutDown(Receive { buffer: buf, taking: Taking::Consume, short: Short::Usual }))
    }

    /// Sends a datagram to the socket at a path.
    ///
    /// While that has no room, the calling green thread sleeps for 1 to 50 ms at a time and tries again: the kernel does not
    /// tell when there is room in a socket that this one is not [connected](UnixDatagram::connect) to. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) gives up, and nothing is sent.
    ///
    /// # Errors
    ///
    /// `NotFound` or `ConnectionRefused` if no socket is there; `WouldBlock` when the write timeout is over, or at once if
    /// the socket is non-blocking.
    ///
    /// # Examples
    ///
    /// ```
    /// let socket = greenloop::net::unix::UnixDatagram::unbound()?;
    /// let error = socket.send_to(b"ping", "/no/such/socket").unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "sendto")]
    pub fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.send_to_addr(buf, &SocketAddr::from_pathname(path)?)
    }

    /// Sends a datagram to the socket at an address, which may be an abstract name. It waits as
    /// [`send_to`](UnixDatagram::send_to) does.
    ///
    /// # Errors
    ///
    /// Those of [`send_to`](UnixDatagram::send_to).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::linux::net::SocketAddrExt;
    /// use greenloop::net::unix::{SocketAddr, UnixDatagram};
    ///
    /// let address = SocketAddr::from_abstract_name(format!("greenloop-send-{}", std::process::id()))?;
    /// let peer = UnixDatagram::bind_addr(&address)?;
    /// assert_eq!(UnixDatagram::unbound()?.send_to_addr(b"ping", &address)?, 4);
    /// assert_eq!(peer.recv(&mut [0; 8])?, 4);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_to_addr(&self, buf: &[u8], socket_addr: &SocketAddr) -> io::Result<usize> {
        let address = Address::from(socket_addr);
        if self.source.nonblocking() {
            return self.source.run(SendTo { buffer: buf, address });
        }
        let mut pauses =
            Pauses::until(self.source.timeout(Direction::Write).map_or(Time::NEVER, Time::after));
        loop {
            // One attempt, and no wait for readiness: the kernel would call the socket ready, or never do so.
            match self.source.run_until(SendTo { buffer: buf, address }, Some(Time::now())) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                result => return result,
            }
            if !pauses.pause() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
    }

    /// Sends a datagram to the [connected](UnixDatagram::connect) address.
    ///
    /// The calling green thread yields until there is room for it. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait, and nothing is sent.
    ///
    /// # Errors
    ///
    /// `NotConnected` if there is no such address; `WouldBlock` when the write timeout is over, or at once if the socket is
    /// non-blocking.
    ///
    /// # Examples
    ///
    /// ```
    /// let (one, other) = greenloop::net::unix::UnixDatagram::pair()?;
    /// assert_eq!(one.send(b"ping")?, 4);
    /// assert_eq!(other.recv(&mut [0; 8])?, 4);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.source.run(Send { buffer: buf, short: Short::Usual })
    }

    /// Ends receiving, sending, or both, for all handles on the socket. Does not yield.
    ///
    /// Waits for the ended half end too: receiving gets 0 bytes, sending `BrokenPipe`.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the socket is not.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{Shutdown, unix::UnixDatagram};
    ///
    /// let (socket, _peer) = UnixDatagram::pair()?;
    /// socket.shutdown(Shutdown::Read)?;
    /// assert_eq!(socket.recv(&mut [0; 8])?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.source.get_ref().shutdown(how)
    }

    // adopt, release, try_clone, set_nonblocking, set_read_timeout, set_write_timeout, read_timeout, write_timeout.
    transfer!(
        UnixDatagram,
        std::os::unix::net::UnixDatagram,
        "let (socket, _peer) = greenloop::net::unix::UnixDatagram::pair()?;",
        "socket.recv(&mut [0; 1])"
    );
    // take_error, close.
    common!("let (socket, _peer) = greenloop::net::unix::UnixDatagram::pair()?;");
}

// From and into std::os::unix::net::UnixDatagram and OwnedFd, IntoRawFd, AsFd, AsRawFd, Debug.
convert!(UnixDatagram, std::os::unix::net::UnixDatagram);
