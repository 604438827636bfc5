//! Where connections of a Unix socket come in.

use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;

use super::stream::UnixStream;
use crate::io::Source;
use crate::io::socket::Accept;
use crate::net::listening::Listening;

/// Takes connections of a Unix socket: [`std::os::unix::net::UnixListener`], whose [`accept`](UnixListener::accept) lets other
/// green threads run.
///
/// It stops listening when it is dropped, which leaves its path in place, as std does. It may be shared by reference, by
/// [clones](UnixListener::try_clone), and with other processes.
///
/// Its descriptor is O_NONBLOCK while a `UnixListener` holds it, and gets its
/// earlier mode back when the last one is converted into something else.
///
/// # Examples
///
/// ```
/// use std::os::linux::net::SocketAddrExt;
/// use greenloop::net::unix::{SocketAddr, UnixListener, UnixStream};
///
/// let address = SocketAddr::from_abstract_name(format!("greenloop-listener-{}", std::process::id()))?;
/// let listener = UnixListener::bind_addr(&address)?;
/// let _client = UnixStream::connect_addr(&address)?;
/// let (_stream, peer) = listener.accept()?;
/// assert!(peer.is_unnamed());
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "socket")]
pub struct UnixListener {
    // Dropped first, while the descriptor is open.
    listening: Listening,
    source: Source<std::os::unix::net::UnixListener>,
}

impl UnixListener {
    /// Listens at a path, which must not exist yet. Does not yield.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if the path exists, `InvalidInput` if it is too long.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::unix::{UnixListener, UnixStream};
    ///
    /// let path = std::env::temp_dir().join(format!("greenloop-bind-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// let stream = UnixStream::connect(&path)?;
    /// std::fs::remove_file(&path)?;
    /// assert_eq!(stream.peer_addr()?.as_pathname(), Some(path.as_path()));
    /// # drop(listener);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "listen")]
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixListener> {
        UnixListener::listening(std::os::unix::net::UnixListener::bind(path)?)
    }

    /// Listens at an address, which may be an abstract name. Does not yield.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if the path exists or the name is taken.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::linux::net::SocketAddrExt;
    /// use greenloop::net::unix::{SocketAddr, UnixListener};
    ///
    /// let address = SocketAddr::from_abstract_name(format!("greenloop-bind-{}", std::process::id()))?;
    /// let _listener = UnixListener::bind_addr(&address)?;
    /// let taken = UnixListener::bind_addr(&address).unwrap_err();
    /// assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixListener> {
        UnixListener::listening(std::os::unix::net::UnixListener::bind_addr(socket_addr)?)
    }

    fn listening(inner: std::os::unix::net::UnixListener) -> io::Result<UnixListener> {
        Ok(UnixListener { listening: Listening::new(&inner), source: Source::new(inner) })
    }

    /// Accepts the next connection. Returns it with the address of the peer, which is mostly unnamed.
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
    /// use std::os::linux::net::SocketAddrExt;
    /// use greenloop::{net::unix::{SocketAddr, UnixListener, UnixStream}, spawn};
    ///
    /// let address = SocketAddr::from_abstract_name(format!("greenloop-accept-{}", std::process::id()))?;
    /// let listener = UnixListener::bind_addr(&address)?;
    /// let server = spawn(move || listener.accept().map(|(_stream, peer)| peer));
    /// let client = UnixStream::connect_addr(&address)?;
    /// assert!(server.join().unwrap()?.is_unnamed());
    /// # drop(client);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (fd, address) = self.source.run(Accept)?;
        let stream = UnixStream::connected(Source::new(fd.into()));
        Ok((stream, address.to_unix()?))
    }

    /// Iterates over the connections that come in: [`accept`](UnixListener::accept) again and again, without an end. A loop
    /// over `&listener` is the same.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::linux::net::SocketAddrExt;
    /// use greenloop::net::unix::{SocketAddr, UnixListener, UnixStream};
    ///
    /// let address = SocketAddr::from_abstract_name(format!("greenloop-incoming-{}", std::process::id()))?;
    /// let listener = UnixListener::bind_addr(&address)?;
    /// let clients = [(); 2].map(|()| UnixStream::connect_addr(&address).unwrap());
    /// assert_eq!(listener.incoming().take(2).filter(|stream| stream.is_ok()).count(), clients.len());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
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
    /// use std::os::linux::net::SocketAddrExt;
    /// use greenloop::net::unix::{SocketAddr, UnixListener};
    ///
    /// let address = SocketAddr::from_abstract_name(format!("greenloop-local-{}", std::process::id()))?;
    /// let listener = UnixListener::bind_addr(&address)?;
    /// assert_eq!(listener.local_addr()?.as_abstract_name(), address.as_abstract_name());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr()
    }

    // adopt, release, try_clone, set_nonblocking.
    listener!(
        UnixListener,
        std::os::unix::net::UnixListener,
        "# use std::os::linux::net::SocketAddrExt;
use greenloop::net::unix::{SocketAddr, UnixListener};

# let address = SocketAddr::from_abstract_name(format!(\"greenloop-common-{}\", std::process::id()))?;
let socket = UnixListener::bind_addr(&address)?;"
    );
    // take_error, close.
    common!(
        "# use std::os::linux::net::SocketAddrExt;
use greenloop::net::unix::{SocketAddr, UnixListener};

# let address = SocketAddr::from_abstract_name(format!(\"greenloop-common-{}\", std::process::id()))?;
let socket = UnixListener::bind_addr(&address)?;"
    );
}

// From and into std::os::unix::net::UnixListener and OwnedFd, IntoRawFd, AsFd, AsRawFd, Debug.
convert!(UnixListener, std::os::unix::net::UnixListener);

/// The connections that a [`UnixListener`] takes, from [`incoming`](UnixListener::incoming).
#[derive(Debug)]
#[must_use = "iterators are lazy: no connection is taken before `next`"]
pub struct Incoming<'a> {
    listener: &'a UnixListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<UnixStream>;

    fn next(&mut self) -> Option<io::Result<UnixStream>> {
        Some(self.listener.accept().map(|(stream, _peer)| stream))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

impl FusedIterator for Incoming<'_> {}

impl<'a> IntoIterator for &'a UnixListener {
    type Item = io::Result<UnixStream>;
    type IntoIter = Incoming<'a>;

    fn into_iter(self) -> Incoming<'a> {
        self.incoming()
    }
}
