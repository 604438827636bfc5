//! Servers of datagrams.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::server::{Arrivals, Hook, Server, Work, uncaught};
use super::stopper::{Stopper, Stopping};
use crate::error::ServerError;
use crate::net::unix::{self, UnixDatagram};
use crate::net::{ToSocketAddrs, UdpSocket};

/// The longest datagram that there is.
const LONGEST: usize = 65_536;

/// A source of datagrams: [`UdpSocket`], [`UnixDatagram`], and types of your own that pass the calls on.
///
/// # Examples
///
/// A socket that counts the bytes that come in:
///
/// ```
/// use greenloop::net::UdpSocket;
/// use greenloop::server::{DatagramServer, DatagramSocket};
/// use std::net::SocketAddr;
/// use std::{cell::Cell, io, rc::Rc};
///
/// struct Counted(UdpSocket, Rc<Cell<usize>>);
///
/// impl DatagramSocket for Counted {
///     type Address = SocketAddr;
///
///     fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
///         let (length, peer) = self.0.recv_from(buffer)?;
///         self.1.set(self.1.get() + length);
///         Ok((length, peer))
///     }
///
///     fn local_addr(&self) -> io::Result<SocketAddr> {
///         self.0.local_addr()
///     }
/// }
///
/// let count = Rc::new(Cell::new(0));
/// let socket = Counted(UdpSocket::bind("127.0.0.1:0")?, Rc::clone(&count));
/// let server = DatagramServer::new(socket).handle(|socket, _datagram, peer| socket.0.send_to(b"ok", peer).map(drop));
/// server.start()?;
/// let client = UdpSocket::bind("127.0.0.1:0")?;
/// client.send_to(b"hello", server.local_addr()?)?;
/// client.recv_from(&mut [0; 2])?;
/// assert_eq!(count.get(), 5);
/// # Ok::<(), io::Error>(())
/// ```
pub trait DatagramSocket {
    /// The address of either end.
    type Address: Clone + 'static;

    /// Waits for the next datagram. Returns its length and the sender's address.
    ///
    /// # Errors
    ///
    /// EBADF, EINVAL and ENOTSOCK end the server; after other errors it tries again.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    /// use greenloop::server::DatagramSocket;
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// let address = DatagramSocket::local_addr(&socket)?;
    /// socket.send_to(b"hello", address)?;
    /// assert_eq!(DatagramSocket::recv_from(&socket, &mut [0; 64])?, (5, address));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, Self::Address)>;

    /// Returns the address at which it receives.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    /// use greenloop::server::DatagramSocket;
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// assert!(DatagramSocket::local_addr(&socket)?.ip().is_loopback());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn local_addr(&self) -> io::Result<Self::Address>;
}

impl DatagramSocket for UdpSocket {
    type Address = SocketAddr;

    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from(buffer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

impl DatagramSocket for UnixDatagram {
    type Address = unix::SocketAddr;

    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, unix::SocketAddr)> {
        self.recv_from(buffer)
    }

    fn local_addr(&self) -> io::Result<unix::SocketAddr> {
        self.local_addr()
    }
}

/// Passes the calls on.
macro_rules! pass_on {
    ($($pointer:ty),*) => {$(
        impl<D: DatagramSocket + ?Sized> DatagramSocket for $pointer {
            type Address = D::Address;

            fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, D::Address)> {
                (**self).recv_from(buffer)
            }

            fn local_addr(&self) -> io::Result<D::Address> {
                (**self).local_addr()
            }
        }
    )*};
}

pass_on!(&D, Arc<D>, Rc<D>, Box<D>);

/// A server of datagrams under construction: its socket and its settings. [`handle`](DatagramServer::handle) makes the [`Server`] of it.
/// This is gevent's `DatagramServer`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use greenloop::{net::UdpSocket, server::DatagramServer};
///
/// let server = DatagramServer::bind("127.0.0.1:0")?
///     .handle(|socket, datagram, peer| socket.send_to(&datagram.to_ascii_uppercase(), peer).map(|_sent| ()));
/// server.start()?;
///
/// let client = UdpSocket::bind("127.0.0.1:0")?;
/// client.send_to(b"hello", server.local_addr()?)?;
/// let mut answer = [0; 5];
/// client.recv_from(&mut answer)?;
/// assert_eq!(&answer, b"HELLO");
/// server.stop(Duration::from_secs(1));
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "it serves only after `handle`"]
pub struct DatagramServer<D: DatagramSocket = UdpSocket> {
    socket: D,
    limit: usize,
    hook: Hook<D::Address>,
    stopping: Stopping,
}

impl DatagramServer {
    /// Creates a server at an address of UDP. Port 0 stands for a free port. See [`UdpSocket::bind`].
    ///
    /// # Errors
    ///
    /// Of kind `AddrInUse` if another socket has the address, `InvalidInput` if `addr` is no address; those of the lookup of a name.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::server::DatagramServer;
    ///
    /// let server = DatagramServer::bind("127.0.0.1:0")?.handle(|_socket, _datagram, _peer| Ok(()));
    /// let taken = DatagramServer::bind(server.local_addr()?).unwrap_err();
    /// assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<DatagramServer> {
        Ok(DatagramServer::new(UdpSocket::bind(addr)?))
    }
}

impl<D: DatagramSocket + 'static> DatagramServer<D> {
    /// Creates a server of the datagrams of `socket`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{net::unix::UnixDatagram, server::DatagramServer};
    ///
    /// let (client, socket) = UnixDatagram::pair()?;
    /// let server = DatagramServer::new(socket).handle(|socket, datagram, _peer| socket.send(&datagram).map(drop));
    /// server.start()?;
    /// client.send(b"hello")?;
    /// assert_eq!(client.recv(&mut [0; 64])?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "set_listener")]
    pub fn new(socket: D) -> DatagramServer<D> {
        DatagramServer { socket, limit: usize::MAX, hook: Rc::new(uncaught), stopping: Stopping::new() }
    }

    /// Sets how many datagrams are handled at a time. By default there is no limit.
    ///
    /// While that many handlers run, no datagram is received, and the kernel drops those that its buffer cannot hold.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{net::UdpSocket, server::DatagramServer};
    ///
    /// let server = DatagramServer::bind("127.0.0.1:0")?.limit(1).handle(|socket, datagram, peer| {
    ///     greenloop::yield_now(); // and still no other handler runs
    ///     socket.send_to(&datagram, peer).map(drop)
    /// });
    /// server.start()?;
    /// let client = UdpSocket::bind("127.0.0.1:0")?;
    /// for number in 0..3 {
    ///     client.send_to(&[number], server.local_addr()?)?;
    /// }
    /// for number in 0..3 {
    ///     let mut answer = [0];
    ///     client.recv(&mut answer)?;
    ///     assert_eq!(answer, [number]);
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias("pool", "set_spawn"))]
    pub fn limit(mut self, datagrams: usize) -> DatagramServer<D> {
        self.limit = datagrams;
        self
    }

    /// Sets a function that is called with each error: see [`StreamServer::on_error`](crate::server::StreamServer::on_error).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{channel, net::UdpSocket, server::DatagramServer};
    /// use std::io;
    ///
    /// let (sender, errors) = channel::unbounded();
    /// let server = DatagramServer::bind("127.0.0.1:0")?
    ///     .on_error(move |error| sender.send(error.to_string()).unwrap())
    ///     .handle(|_socket, _datagram, _peer| Err(io::Error::other("the disk is full")));
    /// server.start()?;
    /// UdpSocket::bind("127.0.0.1:0")?.send_to(b"hello", server.local_addr()?)?;
    /// assert!(errors.recv().unwrap().contains("the disk is full"));
    /// # Ok::<(), io::Error>(())
    /// ```
    pub fn on_error(mut self, hook: impl Fn(ServerError<D::Address>) + 'static) -> DatagramServer<D> {
        self.hook = Rc::new(hook);
        self
    }

    /// Returns a [`Stopper`], which stops the server from other OS threads and tells handlers that it stops.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::server::DatagramServer;
    /// use std::time::Duration;
    ///
    /// let server = DatagramServer::bind("127.0.0.1:0")?;
    /// let stopper = server.stopper();
    /// let server = server.handle(|_socket, _datagram, _peer| Ok(()));
    /// server.start()?;
    /// std::thread::spawn({ let stopper = stopper.clone(); move || stopper.stop(Duration::from_secs(1)) });
    /// stopper.wait();
    /// assert!(server.start().is_err()); // it has been stopped
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stopper(&self) -> Stopper {
        self.stopping.stopper()
    }

    /// Sets the handler, and returns the server.
    ///
    /// For each datagram, `handler` runs in a green thread of its own. It gets the socket, to answer, the datagram, and the sender's
    /// address. Nothing is received before [`Server::start`] or [`Server::serve_forever`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{net::UdpSocket, server::DatagramServer};
    ///
    /// let server = DatagramServer::bind("127.0.0.1:0")?.handle(|socket, mut datagram, peer| {
    ///     datagram.reverse();
    ///     socket.send_to(&datagram, peer).map(drop)
    /// });
    /// server.start()?;
    /// let client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.send_to(b"abc", server.local_addr()?)?;
    /// let mut answer = [0; 3];
    /// client.recv(&mut answer)?;
    /// assert_eq!(&answer, b"cba");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "set_handle")]
    pub fn handle(
        self,
        handler: impl Fn(&D, Vec<u8>, D::Address) -> io::Result<()> + 'static,
    ) -> Server<D::Address> {
        let DatagramServer { socket, limit, hook, stopping } = self;
        let datagrams =
            Datagrams { socket: Rc::new(socket), handle: Rc::new(handler), buffer: Cell::default() };
        Server::new(datagrams, limit, hook, stopping)
    }
}

struct Datagrams<D, H> {
    socket: Rc<D>,
    handle: Rc<H>,
    /// Taken while it is waited for a datagram.
    buffer: Cell<Vec<u8>>,
}

impl<D, H> Arrivals for Datagrams<D, H>
where
    D: DatagramSocket + 'static,
    H: Fn(&D, Vec<u8>, D::Address) -> io::Result<()> + 'static,
{
    type Address = D::Address;

    fn open(&self) -> io::Result<()> {
        Ok(())
    }

    fn next(&self) -> io::Result<(D::Address, Work)> {
        let mut buffer = self.buffer.take();
        buffer.resize(LONGEST, 0);
        let received = self.socket.recv_from(&mut buffer);
        let datagram = received.map(|(length, peer)| (buffer[..length].to_vec(), peer));
        self.buffer.set(buffer);
        let (datagram, peer) = datagram?;
        let (socket, handle, address) = (self.socket.clone(), self.handle.clone(), peer.clone());
        Ok((peer, Box::new(move || handle(&socket, datagram, address))))
    }

    fn local_addr(&self) -> io::Result<D::Address> {
        self.socket.local_addr()
    }
}

impl<D: DatagramSocket> fmt::Debug for DatagramServer<D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DatagramServer")
            .field("limit", &Some(self.limit).filter(|&limit| limit < usize::MAX))
            .finish_non_exhaustive()
    }
}
