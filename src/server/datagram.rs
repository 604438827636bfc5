//! Servers of datagrams.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::running::{Arrivals, Hook, Server, Work, uncaught};
use super::stopper::{Stopper, Stopping};
use crate::error::ServerError;
use crate::net::unix::{self, UnixDatagram};
use crate::net::{ToSocketAddrs, UdpSocket};

/// The longest datagram that there is.
const LONGEST: usize = 65_536;

/// Where datagrams come in: [`UdpSocket`], [`UnixDatagram`], and types of one's own that pass the calls on.
pub trait DatagramSocket {
    /// The address of either end.
    type Address: Clone + 'static;

    /// Waits for the next datagram.
    ///
    /// # Errors
    ///
    /// EBADF, EINVAL and ENOTSOCK end the server; after others it tries again.
    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, Self::Address)>;

    /// Where it receives.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
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

/// A server of datagrams, before it has its handler: where it receives, and its settings. gevent's `DatagramServer`.
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
#[must_use = "it serves nobody before `handle`"]
pub struct DatagramServer<D: DatagramSocket = UdpSocket> {
    socket: D,
    limit: usize,
    hook: Hook<D::Address>,
    stopping: Stopping,
}

impl DatagramServer {
    /// A server at an address of UDP; port 0 is a free one. See [`UdpSocket::bind`].
    ///
    /// # Errors
    ///
    /// Of kind `AddrInUse` if another receives there, `InvalidInput` if `addr` is no address; those of the lookup of a name.
    ///
    /// # Examples
    ///
    /// See [`DatagramServer`].
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<DatagramServer> {
        Ok(DatagramServer::new(UdpSocket::bind(addr)?))
    }
}

impl<D: DatagramSocket + 'static> DatagramServer<D> {
    /// A server of the datagrams of `socket`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{net::unix::UnixDatagram, server::DatagramServer};
    ///
    /// let (_client, socket) = UnixDatagram::pair()?;
    /// let server = DatagramServer::new(socket).handle(|_socket, _datagram, _peer| Ok(()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "set_listener")]
    pub fn new(socket: D) -> DatagramServer<D> {
        DatagramServer { socket, limit: usize::MAX, hook: Rc::new(uncaught), stopping: Stopping::new() }
    }

    /// Lets at most `datagrams` be handled at a time; none is received meanwhile, and the kernel drops what its buffer
    /// cannot hold. Without it there is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// let server = greenloop::server::DatagramServer::bind("127.0.0.1:0")?.limit(100);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias("pool", "set_spawn"))]
    pub fn limit(mut self, datagrams: usize) -> DatagramServer<D> {
        self.limit = datagrams;
        self
    }

    /// Has `hook` told what goes wrong: see [`StreamServer::on_error`](crate::server::StreamServer::on_error).
    ///
    /// # Examples
    ///
    /// ```
    /// let server = greenloop::server::DatagramServer::bind("127.0.0.1:0")?.on_error(|error| eprintln!("{error}"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_error(mut self, hook: impl Fn(ServerError<D::Address>) + 'static) -> DatagramServer<D> {
        self.hook = Rc::new(hook);
        self
    }

    /// What will stop the server from other OS threads, and tells handlers that it stops: see [`Stopper`].
    pub fn stopper(&self) -> Stopper {
        self.stopping.stopper()
    }

    /// Makes the server: `handler` is called with the socket, for answers, with each datagram and its peer's address, in a
    /// green thread of its own.
    ///
    /// # Examples
    ///
    /// See [`DatagramServer`].
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
