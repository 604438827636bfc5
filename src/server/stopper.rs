//! Stopping a server from elsewhere, and hearing of it.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::mem;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::channel::{Receiver, Sender, unbounded};
use crate::error::TryRecvError;
use crate::event::Event;
use crate::hub::fork;

/// Stops a server from any OS thread, and tells its handlers that it stops. Clones stand for the same server. Made by
/// [`StreamServer::stopper`](crate::server::StreamServer::stopper), [`DatagramServer::stopper`](crate::server::DatagramServer::stopper)
/// and [`Server::stopper`](crate::server::Server::stopper).
///
/// In the child of a fork a server that the parent has started counts as over.
///
/// # Examples
///
/// This handler waits for the next request of its connection, and for the end of the server. So an idle connection does not use up the
/// time that a stop gives.
///
/// ```
/// use std::io::{Read, Write};
/// use std::time::Duration;
/// use greenloop::net::TcpStream;
/// use greenloop::select;
/// use greenloop::server::StreamServer;
///
/// let server = StreamServer::bind("127.0.0.1:0")?;
/// let stopper = server.stopper();
/// let server = server.handle({
///     let stopper = stopper.clone();
///     move |mut stream, _peer| loop {
///         select! {
///             readable(stream) -> ready => ready?,
///             recv(stopper.stopping()) -> _ => return Ok(()),
///         }
///         let mut request = [0; 512];
///         match stream.read(&mut request)? {
///             0 => return Ok(()),
///             length => stream.write_all(&request[..length])?,
///         }
///     }
/// });
/// let address = server.local_addr()?;
///
/// std::thread::spawn(move || {
///     let mut idle = TcpStream::connect(address)?;
///     idle.write_all(b"hello")?;
///     idle.read_exact(&mut [0; 5])?;
///     stopper.stop(Duration::from_secs(3600)); // no handler uses that time up
///     idle.read(&mut [0]) // the end
/// });
/// server.serve_forever()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Stopper {
    graces: Ours<Sender<Duration>>,
    stopping: Ours<Receiver<Infallible>>,
    /// In place of that where the server is another process's.
    gone: Receiver<Infallible>,
    over: Arc<Event>,
    home: Arc<Home>,
}

/// The process in which the server was started.
#[derive(Default)]
struct Home(
    /// One more than its generation; 0 before the start.
    AtomicU32,
);

impl Home {
    fn begin(&self) {
        // Relaxed: where it makes a difference, in the child of a fork, there is but one OS thread.
        self.0.store(fork::generation() + 1, Ordering::Relaxed);
    }

    /// Whether it is this process, or may be yet. In any other nothing of the server is touched: an OS thread of the parent may have held
    /// its locks at the fork.
    fn is_here(&self) -> bool {
        // Relaxed: as above.
        let home = self.0.load(Ordering::Relaxed);
        home == 0 || home == fork::generation() + 1
    }
}

/// What is forgotten in another process than the server's, where to drop it would be to touch it.
#[derive(Clone)]
pub(super) struct Ours<T> {
    /// Until the drop.
    value: Option<T>,
    home: Arc<Home>,
}

impl<T> Ours<T> {
    fn new(value: T, home: &Arc<Home>) -> Ours<T> {
        Ours { value: Some(value), home: home.clone() }
    }
}

impl<T> Deref for Ours<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("it is there until the drop")
    }
}

impl<T> Drop for Ours<T> {
    fn drop(&mut self) {
        if !self.home.is_here() {
            mem::forget(self.value.take());
        }
    }
}

impl Stopper {
    /// Tells the server to stop, as [`Server::stop`](crate::server::Server::stop) does, on its own OS thread.
    ///
    /// Never yields, and does not wait for the end: see [`wait`](Stopper::wait). You can call it again, with less time for the handlers.
    /// If the server has not been started, it never will be: `start` fails.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::server::StreamServer;
    /// use std::time::Duration;
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?.handle(|_stream, _peer| Ok(()));
    /// server.stopper().stop(Duration::ZERO);
    /// assert!(server.start().is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stop(&self, grace: Duration) {
        if self.home.is_here() {
            // An error says that the server is gone.
            let _ = self.graces.send(grace);
        }
    }

    /// Waits until the server is over: it was stopped and its handlers have ended, or it has failed, or is gone.
    ///
    /// The calling green thread yields. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding.
    ///
    /// A server that was told to stop before its start is over when its `start` has failed, or when its last handle is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::server::StreamServer;
    /// use std::time::Duration;
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?.handle(|_stream, _peer| Ok(()));
    /// let stopper = server.stopper();
    /// server.start()?;
    /// stopper.stop(Duration::from_secs(1));
    /// stopper.wait();
    /// assert!(!server.is_accepting());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait(&self) {
        if self.home.is_here() {
            self.over.wait();
        }
    }

    /// Like [`wait`](Stopper::wait), but waits at most `limit`. Returns `true` if the server is over.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::server::StreamServer;
    /// use std::time::Duration;
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?.handle(|_stream, _peer| Ok(()));
    /// let stopper = server.stopper();
    /// server.start()?;
    /// assert!(!stopper.wait_timeout(Duration::from_millis(5)));
    /// server.stop(Duration::ZERO);
    /// assert!(stopper.wait_timeout(Duration::from_secs(60)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        !self.home.is_here() || self.over.wait_timeout(limit)
    }

    /// Returns `true` once the server has begun to stop: it accepts no more, and its handlers should end.
    ///
    /// # Examples
    ///
    /// ```
    /// let server = greenloop::server::StreamServer::bind("127.0.0.1:0")?.handle(|_stream, _peer| Ok(()));
    /// let stopper = server.stopper();
    /// assert!(!stopper.is_stopping());
    /// server.stop(std::time::Duration::ZERO);
    /// assert!(stopper.is_stopping());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_stopping(&self) -> bool {
        self.stopping().try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Returns a channel without values. It is disconnected when [`is_stopping`](Stopper::is_stopping) becomes true.
    ///
    /// Use it in a [`select!`](crate::select!), beside what the handler waits for.
    ///
    /// # Examples
    ///
    /// ```
    /// let server = greenloop::server::StreamServer::bind("127.0.0.1:0")?.handle(|_stream, _peer| Ok(()));
    /// let stopper = server.stopper();
    /// greenloop::spawn(move || server.stop(std::time::Duration::ZERO));
    /// assert!(stopper.stopping().recv().is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stopping(&self) -> &Receiver<Infallible> {
        if self.home.is_here() { &self.stopping } else { &self.gone }
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Stopper").field("is_stopping", &self.is_stopping()).finish_non_exhaustive()
    }
}

/// The server's end of its [`Stopper`]s. Dropped, it tells that the server is over.
pub(super) struct Stopping {
    stopper: Stopper,
    pub(super) graces: Ours<Receiver<Duration>>,
    /// Held until the server begins to stop.
    stopping: Cell<Option<Sender<Infallible>>>,
    /// Whether anybody has a [`Stopper`].
    asked_for: Cell<bool>,
}

impl Stopping {
    pub(super) fn new() -> Stopping {
        let (graces, asked) = unbounded();
        let (tell, stopping) = unbounded();
        let (_, gone) = unbounded();
        let (over, home) = (Arc::new(Event::new()), Arc::default());
        let (graces, asked) = (Ours::new(graces, &home), Ours::new(asked, &home));
        let stopping = Ours::new(stopping, &home);
        let stopper = Stopper { graces, stopping, gone, over, home };
        Stopping { stopper, graces: asked, stopping: Cell::new(Some(tell)), asked_for: Cell::new(false) }
    }

    pub(super) fn stopper(&self) -> Stopper {
        self.asked_for.set(true);
        self.stopper.clone()
    }

    pub(super) fn is_asked_for(&self) -> bool {
        self.asked_for.get()
    }

    /// Notes that the server is started here.
    pub(super) fn settle(&self) {
        self.stopper.home.begin();
    }

    /// Whether the server is not another process's, in the child of whose fork this is.
    pub(super) fn is_here(&self) -> bool {
        self.stopper.home.is_here()
    }

    /// Tells handlers that the server begins to stop.
    pub(super) fn begin(&self) {
        drop(self.stopping.take());
    }

    pub(super) fn over(&self) -> &Event {
        &self.stopper.over
    }
}

impl Drop for Stopping {
    fn drop(&mut self) {
        if self.is_here() {
            self.begin();
            self.stopper.over.set();
        } else {
            // To drop it is to tell.
            mem::forget(self.stopping.take());
        }
    }
}
