//! Servers of connections.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::server::{Arrivals, Hook, Server, Work, uncaught};
use super::stopper::{Stopper, Stopping};
use crate::error::ServerError;
use crate::net::unix::{self, UnixListener, UnixStream};
use crate::net::{TcpListener, TcpStream, ToSocketAddrs};
use crate::sys::{reuse_port, socket};

/// How many connections the kernel keeps that nobody has accepted, where nobody has said how many. As gevent's.
const BACKLOG: u32 = 256;

/// A source of connections: [`TcpListener`], [`UnixListener`], and types of your own that pass the calls on.
///
/// # Examples
///
/// A listener that counts the connections:
///
/// ```
/// use greenloop::net::{TcpListener, TcpStream};
/// use greenloop::server::{Listener, StreamServer};
/// use std::net::SocketAddr;
/// use std::os::fd::{AsFd, BorrowedFd};
/// use std::{cell::Cell, io, rc::Rc};
///
/// struct Counted(TcpListener, Rc<Cell<u32>>);
///
/// impl AsFd for Counted {
///     fn as_fd(&self) -> BorrowedFd<'_> {
///         self.0.as_fd()
///     }
/// }
///
/// impl Listener for Counted {
///     type Stream = TcpStream;
///     type Address = SocketAddr;
///
///     fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
///         let accepted = self.0.accept()?;
///         self.1.set(self.1.get() + 1);
///         Ok(accepted)
///     }
///
///     fn local_addr(&self) -> io::Result<SocketAddr> {
///         self.0.local_addr()
///     }
/// }
///
/// let count = Rc::new(Cell::new(0));
/// let listener = Counted(TcpListener::bind("127.0.0.1:0")?, Rc::clone(&count));
/// let server = StreamServer::new(listener).handle(|_stream, _peer| Ok(()));
/// server.start()?;
/// for _ in 0..3 {
///     io::read_to_string(TcpStream::connect(server.local_addr()?)?)?;
/// }
/// assert_eq!(count.get(), 3);
/// # Ok::<(), io::Error>(())
/// ```
pub trait Listener: AsFd {
    /// A connection.
    type Stream: 'static;
    /// The address of either end.
    type Address: Clone + 'static;

    /// Waits for the next connection. Returns it with the address of the peer.
    ///
    /// # Errors
    ///
    /// EBADF, EINVAL and ENOTSOCK end the server; after other errors it tries again.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    /// use greenloop::server::Listener;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let client = TcpStream::connect(Listener::local_addr(&listener)?)?;
    /// let (_stream, peer) = Listener::accept(&listener)?;
    /// assert_eq!(peer, client.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn accept(&self) -> io::Result<(Self::Stream, Self::Address)>;

    /// Returns the address at which it listens.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpListener;
    /// use greenloop::server::Listener;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// assert!(Listener::local_addr(&listener)?.ip().is_loopback());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn local_addr(&self) -> io::Result<Self::Address>;

    /// Makes another listener at the same address, with a queue of its own (`SO_REUSEPORT`). Does not yield.
    ///
    /// The kernel deals connections out to the listeners by a hash of their addresses; what waits in the queue of one that is closed is
    /// reset. [`Balance::ReusePort`](crate::workers::Balance::ReusePort) uses it.
    ///
    /// # Errors
    ///
    /// Of kind `Unsupported` if the type does not say otherwise: a [`TcpListener`] does. Those of `bind` and `listen`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpListener;
    /// use greenloop::server::Listener;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let other = listener.beside()?;
    /// assert_eq!(other.local_addr()?, listener.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias("SO_REUSEPORT", "reuse_port"))]
    fn beside(&self) -> io::Result<Self>
    where
        Self: Sized,
    {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;
    type Address = SocketAddr;

    fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn beside(&self) -> io::Result<TcpListener> {
        let listener = reuse_port::listener_beside(self.as_fd(), self.local_addr()?)?;
        let listener = std::net::TcpListener::from(listener);
        listener.set_nonblocking(false)?;
        Ok(listener.into())
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;
    type Address = unix::SocketAddr;

    fn accept(&self) -> io::Result<(UnixStream, unix::SocketAddr)> {
        self.accept()
    }

    fn local_addr(&self) -> io::Result<unix::SocketAddr> {
        self.local_addr()
    }
}

/// Passes the calls on: one listener for the servers of several OS threads, each with a hub, is an `Arc`.
macro_rules! pass_on {
    ($($pointer:ty),*) => {$(
        impl<L: Listener + ?Sized> Listener for $pointer {
            type Stream = L::Stream;
            type Address = L::Address;

            fn accept(&self) -> io::Result<(L::Stream, L::Address)> {
                (**self).accept()
            }

            fn local_addr(&self) -> io::Result<L::Address> {
                (**self).local_addr()
            }
        }
    )*};
}

pass_on!(&L, Arc<L>, Rc<L>, Box<L>);

/// A server of connections under construction: its listener and its settings. [`handle`](StreamServer::handle) makes the [`Server`] of
/// it. This is gevent's `StreamServer`.
///
/// # Examples
///
/// See the [module](crate::server).
#[must_use = "it serves only after `handle`"]
pub struct StreamServer<L: Listener = TcpListener, S = <L as Listener>::Stream> {
    listener: L,
    wrap: Box<dyn Fn(L::Stream) -> io::Result<S>>,
    backlog: Option<u32>,
    limit: usize,
    hook: Hook<L::Address>,
    stopping: Stopping,
}

impl StreamServer {
    /// Creates a server at an address of TCP. Port 0 stands for a free port. See [`TcpListener::bind`].
    ///
    /// # Errors
    ///
    /// Of kind `AddrInUse` if another listener has the address, `PermissionDenied` for a port that needs privileges, `InvalidInput` if
    /// `addr` is no address; those of the lookup of a name.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::server::StreamServer;
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?.handle(|_stream, _peer| Ok(()));
    /// let taken = StreamServer::bind(server.local_addr()?).unwrap_err();
    /// assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "start_server")]
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<StreamServer> {
        Ok(StreamServer::new(TcpListener::bind(addr)?).backlog(BACKLOG))
    }
}

impl StreamServer<UnixListener> {
    /// Creates a server at a path, which must not exist yet and is left in place. See [`UnixListener::bind`].
    ///
    /// # Errors
    ///
    /// Of kind `AddrInUse` if the path exists, `InvalidInput` if it is too long.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::server::StreamServer;
    ///
    /// let path = std::env::temp_dir().join(format!("greenloop-server-{}", std::process::id()));
    /// let server = StreamServer::bind_unix(&path)?.handle(|_stream, _peer| Ok(()));
    /// assert_eq!(server.local_addr()?.as_pathname(), Some(&*path));
    /// std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "start_unix_server")]
    pub fn bind_unix<P: AsRef<Path>>(path: P) -> io::Result<StreamServer<UnixListener>> {
        Ok(StreamServer::new(UnixListener::bind(path)?).backlog(BACKLOG))
    }
}

impl<L: Listener> StreamServer<L> {
    /// Creates a server of the connections of `listener`, whose backlog stays as it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{net::TcpListener, server::StreamServer};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let server = StreamServer::new(listener).handle(|_stream, _peer| Ok(()));
    /// assert_eq!(server.local_addr()?, address);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "set_listener")]
    pub fn new(listener: L) -> StreamServer<L> {
        StreamServer {
            listener,
            wrap: Box::new(Ok),
            backlog: None,
            limit: usize::MAX,
            hook: Rc::new(uncaught),
            stopping: Stopping::new(),
        }
    }
}

impl<L: Listener + 'static, S: 'static> StreamServer<L, S> {
    /// Sets how many connections that have not been accepted the kernel keeps: 256 by default. The kernel has a limit of its own,
    /// `net.core.somaxconn`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpStream;
    /// use greenloop::server::StreamServer;
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?.backlog(1024).handle(|_stream, _peer| Ok(()));
    /// server.start()?;
    /// server.stop_accepting();
    /// let waiting: Vec<_> = (0..300).map(|_| TcpStream::connect(server.local_addr().unwrap())).collect();
    /// assert!(waiting.iter().all(Result::is_ok));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn backlog(mut self, connections: u32) -> StreamServer<L, S> {
        self.backlog = Some(connections);
        self
    }

    /// Sets how many connections are handled at a time. While that many handlers run, no connection is accepted. By default there is
    /// no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpStream;
    /// use greenloop::server::StreamServer;
    /// use std::{cell::Cell, rc::Rc};
    ///
    /// let running = Rc::new(Cell::new(0));
    /// let most = Rc::new(Cell::new(0));
    /// let server = StreamServer::bind("127.0.0.1:0")?.limit(2).handle({
    ///     let most = Rc::clone(&most);
    ///     move |_stream, _peer| {
    ///         running.set(running.get() + 1);
    ///         most.set(most.get().max(running.get()));
    ///         greenloop::yield_now();
    ///         running.set(running.get() - 1);
    ///         Ok(())
    ///     }
    /// });
    /// server.start()?;
    /// let clients: Vec<_> = (0..10).map(|_| TcpStream::connect(server.local_addr().unwrap()).unwrap()).collect();
    /// for client in clients {
    ///     std::io::read_to_string(client)?; // to the end of its handler
    /// }
    /// assert!(most.get() <= 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias("pool", "set_spawn"))]
    pub fn limit(mut self, connections: usize) -> StreamServer<L, S> {
        self.limit = connections;
        self
    }

    /// Sets a function that is called with each error: accepting has failed and is tried again, or a handler or the wrapper has
    /// returned an error. The function may yield, and may stop the server.
    ///
    /// By default errors go to the [hook of the hub](crate::hub::set_uncaught_hook), which prints a line. `on_error(|_| ())` keeps
    /// silent. A panic of a handler goes to the hook of the hub in any case.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{channel, net::TcpStream, server::StreamServer};
    /// use std::io;
    ///
    /// let (sender, errors) = channel::unbounded();
    /// let server = StreamServer::bind("127.0.0.1:0")?
    ///     .on_error(move |error| sender.send(error.to_string()).unwrap())
    ///     .handle(|_stream, _peer| Err(io::Error::other("the disk is full")));
    /// server.start()?;
    /// let _client = TcpStream::connect(server.local_addr()?)?;
    /// assert!(errors.recv().unwrap().contains("the disk is full"));
    /// # Ok::<(), io::Error>(())
    /// ```
    pub fn on_error(mut self, hook: impl Fn(ServerError<L::Address>) + 'static) -> StreamServer<L, S> {
        self.hook = Rc::new(hook);
        self
    }

    /// Sets a function that wraps each connection before it is handled: for TLS, or a buffer.
    ///
    /// It runs in the green thread of the handler. If it fails, the connection is closed, and its error goes to the
    /// [hook](StreamServer::on_error).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpStream;
    /// use greenloop::server::StreamServer;
    /// use std::io::{self, BufRead, BufReader, Write};
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?
    ///     .wrap(|stream| Ok(BufReader::new(stream)))
    ///     .handle(|mut lines, _peer| {
    ///         let mut name = String::new();
    ///         lines.read_line(&mut name)?;
    ///         write!(lines.get_mut(), "hello, {name}")
    ///     });
    /// server.start()?;
    /// let mut client = TcpStream::connect(server.local_addr()?)?;
    /// client.write_all(b"ann\n")?;
    /// assert_eq!(io::read_to_string(client)?, "hello, ann\n");
    /// # Ok::<(), io::Error>(())
    /// ```
    #[doc(alias("wrap_socket", "wrap_socket_and_handle"))]
    pub fn wrap<W: 'static>(self, wrap: impl Fn(S) -> io::Result<W> + 'static) -> StreamServer<L, W> {
        let StreamServer { listener, wrap: inner, backlog, limit, hook, stopping } = self;
        let wrap = Box::new(move |stream| wrap(inner(stream)?));
        StreamServer { listener, wrap, backlog, limit, hook, stopping }
    }

    /// Returns a [`Stopper`], which stops the server from other OS threads and tells handlers that it stops.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::server::StreamServer;
    /// use std::time::Duration;
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?;
    /// let stopper = server.stopper(); // for a handler, too
    /// let server = server.handle(|_stream, _peer| Ok(()));
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
    /// For each connection, `handler` runs in a green thread of its own. It gets the connection and the address of the peer. The
    /// connection is closed when the handler drops it, at the end of the handler at the latest, also if that is killed or panics.
    ///
    /// Nothing is accepted before [`Server::start`] or [`Server::serve_forever`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpStream;
    /// use greenloop::server::StreamServer;
    /// use std::io::{self, Write};
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?.handle(|mut stream, peer| write!(stream, "hello, {peer}"));
    /// server.start()?;
    /// let client = TcpStream::connect(server.local_addr()?)?;
    /// let address = client.local_addr()?;
    /// assert_eq!(io::read_to_string(client)?, format!("hello, {address}"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "set_handle")]
    pub fn handle(self, handler: impl Fn(S, L::Address) -> io::Result<()> + 'static) -> Server<L::Address> {
        let StreamServer { listener, wrap, backlog, limit, hook, stopping } = self;
        let handle = move |stream, peer| handler(wrap(stream)?, peer);
        Server::new(Connections { listener, backlog, handle: Rc::new(handle) }, limit, hook, stopping)
    }
}

struct Connections<L, H> {
    listener: L,
    backlog: Option<u32>,
    handle: Rc<H>,
}

impl<L, H> Arrivals for Connections<L, H>
where
    L: Listener,
    H: Fn(L::Stream, L::Address) -> io::Result<()> + 'static,
{
    type Address = L::Address;

    fn open(&self) -> io::Result<()> {
        self.backlog.map_or(Ok(()), |connections| socket::listen(self.listener.as_fd(), connections))
    }

    fn next(&self) -> io::Result<(L::Address, Work)> {
        let (stream, peer) = self.listener.accept()?;
        let (handle, address) = (self.handle.clone(), peer.clone());
        Ok((peer, Box::new(move || handle(stream, address))))
    }

    fn local_addr(&self) -> io::Result<L::Address> {
        self.listener.local_addr()
    }
}

impl<L: Listener, S> fmt::Debug for StreamServer<L, S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StreamServer")
            .field("backlog", &self.backlog)
            .field("limit", &Some(self.limit).filter(|&limit| limit < usize::MAX))
            .finish_non_exhaustive()
    }
}
