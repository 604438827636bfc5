//! Where connections of TCP come in.

use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use super::listening::Listening;
use super::resolve::ToSocketAddrs;
use super::tcp_stream::TcpStream;
use crate::io::Source;
use crate::io::socket::Accept;

/// Takes connections of TCP: [`std::net::TcpListener`], whose [`accept`](TcpListener::accept) lets other green threads run.
///
/// It stops listening when it is dropped. It may be shared by reference, by [clones](TcpListener::try_clone), and with other
/// processes: each connection goes to one of those that wait, and the others go on waiting.
///
/// Its descriptor is O_NONBLOCK while a `TcpListener` holds it, and gets its earlier mode back when the last one is converted into
/// something else, or dropped. If the process has forked meanwhile, a drop leaves it O_NONBLOCK for the other process.
///
/// # Examples
///
/// ```
/// use greenloop::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let client = TcpStream::connect(listener.local_addr()?)?;
/// let (_stream, peer) = listener.accept()?;
/// assert_eq!(peer, client.local_addr()?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "socket")]
pub struct TcpListener {
    // Dropped first, while the descriptor is open.
    listening: Listening,
    source: Source<std::net::TcpListener>,
}

impl TcpListener {
    /// Listens at an address, with SO_REUSEADDR and a backlog of 128, as std does; port 0 is a free one.
    ///
    /// If `addr` stands for several addresses, each is tried in turn until one can be bound. The calling green thread
    /// yields for the lookup of a name only.
    ///
    /// # Errors
    ///
    /// The error of the lookup, or of the last address; `InvalidInput` if there was none.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpListener;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let taken = TcpListener::bind(listener.local_addr()?).unwrap_err();
    /// assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias("create_server", "listen"))]
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        let addresses: Vec<_> = addr.to_socket_addrs()?.collect();
        let inner = std::net::TcpListener::bind(addresses.as_slice())?;
        Ok(TcpListener { listening: Listening::new(&inner), source: Source::new(inner) })
    }

    /// Returns the address at which it listens. Does not yield.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpListener;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "getsockname")]
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr()
    }

    /// Accepts the next connection. Returns it with the address of the peer.
    ///
    /// The calling green thread yields until there is one; several take turns in order of arrival. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait, and no connection is lost by it: on io_uring one that comes at that moment
    /// may be [returned](crate::net#waiting).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the listener is non-blocking and there is no connection; those of `accept`, after which the
    /// listener is as good as before: for instance when the process has no descriptor left.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{net::{TcpListener, TcpStream}, spawn};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let server = spawn(move || listener.accept().map(|(_stream, peer)| peer));
    /// let client = TcpStream::connect(address)?;
    /// assert_eq!(server.join().unwrap()?, client.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (fd, address) = self.source.run(Accept)?;
        let stream = TcpStream::connected(Source::new(fd.into()));
        Ok((stream, address.to_ip()?))
    }

    /// Iterates over the connections that come in: [`accept`](TcpListener::accept) again and again, without an end.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let clients = [(); 2].map(|()| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    /// for (client, stream) in clients.iter().zip(listener.incoming()) {
    ///     assert_eq!(stream?.peer_addr()?, client.local_addr()?);
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    // set_ttl, ttl.
    option!(
        set_ttl,
        ttl,
        u32,
        42,
        "how many hops a packet of the connections may make (IP_TTL)",
        "let socket = greenloop::net::TcpListener::bind(\"127.0.0.1:0\")?;"
    );
    // adopt, release, try_clone, set_nonblocking.
    listener!(
        TcpListener,
        std::net::TcpListener,
        "let socket = greenloop::net::TcpListener::bind(\"127.0.0.1:0\")?;"
    );
    // take_error, close.
    common!("let socket = greenloop::net::TcpListener::bind(\"127.0.0.1:0\")?;");
}

// From and into std::net::TcpListener and OwnedFd, IntoRawFd, AsFd, AsRawFd, Debug.
convert!(TcpListener, std::net::TcpListener);

/// The connections that a [`TcpListener`] takes, from [`incoming`](TcpListener::incoming).
#[derive(Debug)]
#[must_use = "iterators are lazy: no connection is taken before `next`"]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _peer)| stream))
    }
}

impl FusedIterator for Incoming<'_> {}
