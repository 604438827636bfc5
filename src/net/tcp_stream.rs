//! A connection of TCP.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::linux::net::TcpStreamExt;
use std::time::Duration;

use super::connect;
use super::resolve::ToSocketAddrs;
use crate::io::socket::{Receive, ReceiveVectored, Send, SendVectored, Short};
use crate::io::{Direction, Source};
use crate::sys::socket::Taking;

/// A connection of TCP: [`std::net::TcpStream`], whose reads and writes let other green threads run while they wait.
///
/// It is closed when it is dropped. [Waiting](crate::net#waiting) is the same for all sockets.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use greenloop::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// let (mut server, _) = listener.accept()?;
///
/// client.write_all(b"ping")?;
/// let mut buffer = [0; 4];
/// server.read_exact(&mut buffer)?;
/// assert_eq!(&buffer, b"ping");
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias("socket", "recv_into", "sendall", "makefile", "StreamReader", "StreamWriter"))]
pub struct TcpStream {
    source: Source<std::net::TcpStream>,
}

impl TcpStream {
    /// A stream that is connected, and that nobody has set to anything.
    pub(super) fn connected(source: Source<std::net::TcpStream>) -> TcpStream {
        TcpStream { source }
    }

    /// Opens a connection.
    ///
    /// If `addr` stands for several addresses, they are tried in turn, IPv4 and IPv6 alternating. The next attempt begins when one
    /// has failed, or after 250 ms while it still runs. The first that connects wins ("happy eyeballs").
    ///
    /// The calling green thread yields during the lookup of a name and until a connection is made. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the attempts.
    ///
    /// # Errors
    ///
    /// The error of the lookup, or of the last address; `InvalidInput` if there was none.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(("localhost", listener.local_addr()?.port()))?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias("create_connection", "open_connection"))]
    pub fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        connect::any(addr).map(TcpStream::connected)
    }

    /// Opens a connection to one address within `timeout`. For names, and for several addresses, there is
    /// [`connect_within`](TcpStream::connect_within).
    ///
    /// The calling green thread yields until the connection is made. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the attempt.
    ///
    /// # Errors
    ///
    /// `TimedOut` when the time is over, `InvalidInput` if it is zero, and those of [`connect`](TcpStream::connect).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect_timeout(&listener.local_addr()?, Duration::from_secs(5))?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        connect::within(addr, timeout).map(TcpStream::connected)
    }

    /// Opens a connection within `timeout`: the lookup of a name, and the attempts at all of its addresses, together.
    ///
    /// Everything else is as with [`connect`](TcpStream::connect).
    ///
    /// # Errors
    ///
    /// `TimedOut` when the time is over, `InvalidInput` if it is zero, and those of [`connect`](TcpStream::connect).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let port = listener.local_addr()?.port();
    /// let stream = TcpStream::connect_within(("localhost", port), Duration::from_secs(5))?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "settimeout")]
    pub fn connect_within<A: ToSocketAddrs>(addr: A, timeout: Duration) -> io::Result<TcpStream> {
        connect::within(addr, timeout).map(TcpStream::connected)
    }

    /// Returns the address of the other end. Does not yield.
    ///
    /// # Errors
    ///
    /// `NotConnected` if there is no other end any more.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "getpeername")]
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().peer_addr()
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
    /// use greenloop::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// let (_, peer) = listener.accept()?;
    /// assert_eq!(stream.local_addr()?, peer);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "getsockname")]
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr()
    }

    /// Ends the reading half, the writing half, or both, for all handles on the connection. Does not yield.
    ///
    /// Waits for the ended half end too: a read gets 0 bytes, a write `BrokenPipe`.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the connection has been ended already.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    /// use greenloop::net::{Shutdown, TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let client = TcpStream::connect(listener.local_addr()?)?;
    /// let (mut server, _) = listener.accept()?;
    /// client.shutdown(Shutdown::Write)?;
    /// assert_eq!(server.read(&mut [0; 8])?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.source.get_ref().shutdown(how)
    }

    /// Reads without taking: the next read gets the same bytes.
    ///
    /// The calling green thread yields until there is something. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait.
    ///
    /// # Errors
    ///
    /// Those of a read.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use greenloop::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// let (mut server, _) = listener.accept()?;
    /// client.write_all(b"x")?;
    /// let mut buffer = [0; 8];
    /// assert_eq!(server.peek(&mut buffer)?, 1);
    /// assert_eq!(server.read(&mut buffer)?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.source.run(Receive { buffer: buf, taking: Taking::Peek, short: Short::Usual })
    }

    // set_nodelay, nodelay.
    option!(
        set_nodelay,
        nodelay,
        bool,
        true,
        "whether small segments are sent at once (TCP_NODELAY)",
        "# let listener = greenloop::net::TcpListener::bind(\"127.0.0.1:0\")?;
let socket = greenloop::net::TcpStream::connect(listener.local_addr()?)?;"
    );
    // set_ttl, ttl.
    option!(
        set_ttl,
        ttl,
        u32,
        42,
        "how many hops a packet may make (IP_TTL)",
        "# let listener = greenloop::net::TcpListener::bind(\"127.0.0.1:0\")?;
let socket = greenloop::net::TcpStream::connect(listener.local_addr()?)?;"
    );

    /// Sets whether segments are acknowledged at once (TCP_QUICKACK), for now: the kernel changes it back as it sees fit.
    /// Does not yield.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_quickack(true)?;
    /// assert!(stream.quickack()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_quickack(&self, quickack: bool) -> io::Result<()> {
        self.source.get_ref().set_quickack(quickack)
    }

    /// Returns `true` if segments are acknowledged at once (TCP_QUICKACK). Does not yield.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// assert!(stream.quickack().is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn quickack(&self) -> io::Result<bool> {
        self.source.get_ref().quickack()
    }

    // adopt, release, try_clone, set_nonblocking, set_read_timeout, set_write_timeout, read_timeout, write_timeout.
    transfer!(
        TcpStream,
        std::net::TcpStream,
        "# let listener = greenloop::net::TcpListener::bind(\"127.0.0.1:0\")?;
let socket = greenloop::net::TcpStream::connect(listener.local_addr()?)?;",
        "socket.peek(&mut [0; 1])"
    );
    // take_error, close.
    common!(
        "# let listener = greenloop::net::TcpListener::bind(\"127.0.0.1:0\")?;
let socket = greenloop::net::TcpStream::connect(listener.local_addr()?)?;"
    );
}

// From and into std::net::TcpStream and OwnedFd, IntoRawFd, AsFd, AsRawFd, Debug.
convert!(TcpStream, std::net::TcpStream);
// Read and Write, also for a reference.
stream!(TcpStream, Short::Exhausted);
