//! Stopping a server from elsewhere, and hearing of it.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::channel::{Receiver, Sender, unbounded};
use crate::error::TryRecvError;
use crate::event::Event;

/// Stops a server from any OS thread, and tells its handlers that it stops. Clones stand for the same server. Made by
/// [`StreamServer::stopper`](crate::server::StreamServer::stopper) and its siblings.
///
/// # Examples
///
/// A handler that waits for the next request of a connection, and for the end of the server: an idle connection does not cost
/// the time that a stop gives.
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
///     stopper.stop(Duration::from_secs(3600)); // nobody uses that time up
///     idle.read(&mut [0]) // the end
/// });
/// server.serve_forever()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Stopper {
    graces: Sender<Duration>,
    stopping: Receiver<Infallible>,
    over: Arc<Event>,
}

impl Stopper {
    /// Has the server stopped as [`Server::stop`](crate::server::Server::stop) does it, by its own OS thread. Never yields, and does
    /// not wait for the end: see [`wait`](Stopper::wait).
    ///
    /// May be called again, with less time for the handlers. One that has not been started never is: `start` fails then.
    pub fn stop(&self, grace: Duration) {
        // An error says that the server is gone.
        let _ = self.graces.send(grace);
    }

    /// Waits until the server is over: it was stopped and its handlers have ended, or it has failed, or is gone.
    ///
    /// A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding.
    pub fn wait(&self) {
        self.over.wait();
    }

    /// Like [`wait`](Stopper::wait), for at most `limit`. Returns `true` if the server is over.
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        self.over.wait_timeout(limit)
    }

    /// Returns `true` from the moment on when the server begins to stop: no more is accepted, and handlers are to come to an end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// A channel without values that is disconnected when [`is_stopping`](Stopper::is_stopping) becomes true: for
    /// [`select!`](crate::select!), beside what a handler waits for.
    pub fn stopping(&self) -> &Receiver<Infallible> {
        &self.stopping
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
    pub(super) graces: Receiver<Duration>,
    /// Held until the server begins to stop.
    stopping: Cell<Option<Sender<Infallible>>>,
    /// Whether anybody has a [`Stopper`].
    asked_for: Cell<bool>,
}

impl Stopping {
    pub(super) fn new() -> Stopping {
        let (graces, asked) = unbounded();
        let (tell, stopping) = unbounded();
        let stopper = Stopper { graces, stopping, over: Arc::new(Event::new()) };
        Stopping { stopper, graces: asked, stopping: Cell::new(Some(tell)), asked_for: Cell::new(false) }
    }

    pub(super) fn stopper(&self) -> Stopper {
        self.asked_for.set(true);
        self.stopper.clone()
    }

    pub(super) fn is_asked_for(&self) -> bool {
        self.asked_for.get()
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
        self.begin();
        self.stopper.over.set();
    }
}
