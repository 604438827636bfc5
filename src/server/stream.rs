//! Servers of connections.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::running::{Arrivals, Hook, Server, Work, uncaught};
use super::stopper::{Stopper, Stopping};
use crate::error::ServerError;
use crate::net::unix::{self, UnixListener, UnixStream};
use crate::net::{TcpListener, TcpStream, ToSocketAddrs};
use crate::sys::socket;

/// How many connections the kernel keeps that nobody has accepted, where nobody has said how many. As gevent's.
const BACKLOG: u32 = 256;

/// Where connections come in: [`TcpListener`], [`UnixListener`], and types of one's own that pass the calls on.
pub trait Listener: AsFd {
    /// A connection.
    type Stream: 'static;
    /// The address of either end.
    type Address: Clone + 'static;

    /// Waits for the next connection.
    ///
    /// # Errors
    ///
    /// EBADF, EINVAL and ENOTSOCK end the server; after others it tries again.
    fn accept(&self) -> io::Result<(Self::Stream, Self::Address)>;

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    fn local_addr(&self) -> io::Result<Self::Address>;
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

/// A server of connections, before it has its handler: what it listens at, and its settings. gevent's `StreamServer`.
///
/// # Examples
///
/// See the [module](crate::server).
#[must_use = "it serves nobody before `handle`"]
pub struct StreamServer<L: Listener = TcpListener, S = <L as Listener>::Stream> {
    listener: L,
    wrap: Box<dyn Fn(L::Stream) -> io::Result<S>>,
    backlog: Option<u32>,
    limit: usize,
    hook: Hook<L::Address>,
    stopping: Stopping,
}

impl StreamServer {
    /// A server at an address of TCP; port 0 is a free one. See [`TcpListener::bind`].
    ///
    /// # Errors
    ///
    /// Of kind `AddrInUse` if another listens there, `PermissionDenied` for a port that is not for everybody, `InvalidInput` if
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
    /// A server at a path, which must not exist yet and is left in place. See [`UnixListener::bind`].
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
    /// A server of the connections of `listener`, whose backlog stays as it is.
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
    /// Lets the kernel keep so many connections that nobody has accepted: 256 if this is not called. The kernel has a limit
    /// of its own, `net.core.somaxconn`.
    ///
    /// # Examples
    ///
    /// ```
    /// let server = greenloop::server::StreamServer::bind("127.0.0.1:0")?.backlog(1024);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn backlog(mut self, connections: u32) -> StreamServer<L, S> {
        self.backlog = Some(connections);
        self
    }

    /// Lets at most `connections` be handled at a time; nobody is accepted meanwhile. Without it there is no limit.
    ///
    /// # Examples
    ///
    /// See the [module](crate::server).
    #[doc(alias("pool", "set_spawn"))]
    pub fn limit(mut self, connections: usize) -> StreamServer<L, S> {
        self.limit = connections;
        self
    }

    /// Has `hook` told what goes wrong: that accepting has failed and is tried again, or that a handler or the wrapper has
    /// returned an error. It may yield, and stop the server. Without it, the [hook of the hub](crate::hub::set_uncaught_hook) is told, which
    /// prints a line; `on_error(|_| ())` keeps silent.
    ///
    /// A panic of a handler is for the hook of the hub in any case.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::server::StreamServer;
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?.on_error(|error| eprintln!("{error}"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_error(mut self, hook: impl Fn(ServerError<L::Address>) + 'static) -> StreamServer<L, S> {
        self.hook = Rc::new(hook);
        self
    }

    /// Has each connection wrapped before it is handled, in the green thread of its handler: for TLS, or a buffer. If `wrap`
    /// fails, the connection is closed and the [hook](StreamServer::on_error) told.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{BufRead, BufReader};
    /// use greenloop::server::StreamServer;
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?.wrap(|stream| Ok(BufReader::new(stream))).handle(|lines, _peer| {
    ///     for line in lines.lines() {
    ///         drop(line?);
    ///     }
    ///     Ok(())
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias("wrap_socket", "wrap_socket_and_handle"))]
    pub fn wrap<W: 'static>(self, wrap: impl Fn(S) -> io::Result<W> + 'static) -> StreamServer<L, W> {
        let StreamServer { listener, wrap: inner, backlog, limit, hook, stopping } = self;
        let wrap = Box::new(move |stream| wrap(inner(stream)?));
        StreamServer { listener, wrap, backlog, limit, hook, stopping }
    }

    /// What will stop the server from other OS threads, and tells handlers that it stops.
    ///
    /// # Examples
    ///
    /// See [`Stopper`].
    pub fn stopper(&self) -> Stopper {
        self.stopping.stopper()
    }

    /// Makes the server: `handler` is called with each connection and its peer's address, in a green thread of its own. The
    /// connection is closed when the handler drops it, at its end at the latest, however that comes.
    ///
    /// Nothing is accepted before [`Server::start`] or [`Server::serve_forever`].
    ///
    /// # Examples
    ///
    /// See the [module](crate::server).
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
