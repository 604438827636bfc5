//! A server that is set up: what streams and datagrams have in common.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::time::Duration;

use super::stopper::{Stopper, Stopping};
use crate::channel::Receiver;
use crate::error::{ServerClosed, ServerError};
use crate::fiber::report_text;
use crate::pool::Pool;
use crate::sys::socket::is_unusable;
use crate::task::{self, JoinHandle};

/// How long to wait after accepting has failed for the first time; then twice as long each time.
const FIRST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// What is to be done for one connection or one datagram.
pub(super) type Work = Box<dyn FnOnce() -> io::Result<()>>;

/// Where connections or datagrams come in.
pub(super) trait Arrivals {
    type Address;

    /// Begins to let them come.
    fn open(&self) -> io::Result<()>;

    /// Waits for the next: whom it is from, and what is to be done.
    fn next(&self) -> io::Result<(Self::Address, Work)>;

    fn local_addr(&self) -> io::Result<Self::Address>;
}

/// What is told of errors.
pub(super) type Hook<A> = Rc<dyn Fn(ServerError<A>)>;

/// Where nobody has asked to be told.
pub(super) fn uncaught<A>(error: ServerError<A>) {
    report_text(&format!("a server: {error}"));
}

/// A server with its handler, which can be started, paused and stopped. Made by
/// [`StreamServer::handle`](crate::server::StreamServer::handle) and
/// [`DatagramServer::handle`](crate::server::DatagramServer::handle).
///
/// It is a handle: clones stand for the same server. It belongs to one OS thread. When the last handle is dropped, the server goes
/// on.
///
/// In the child of a fork a server that the parent has started counts as stopped: nothing accepts there, and nobody waits for handlers. One
/// that has not been started yet may be started there.
///
/// # Examples
///
/// See the [module](crate::server).
#[doc(alias = "BaseServer")]
pub struct Server<A> {
    shared: Rc<Service<A>>,
}

// What it stands for is kept whole by the library, whoever unwinds.
impl<A> UnwindSafe for Server<A> {}
impl<A> RefUnwindSafe for Server<A> {}

struct Service<A> {
    /// `None`: closed.
    arrivals: RefCell<Option<Rc<dyn Arrivals<Address = A>>>>,
    handlers: Pool,
    hook: Hook<A>,
    /// The green thread that accepts.
    accepting: RefCell<Option<JoinHandle<()>>>,
    /// Whether it has ever accepted.
    started: Cell<bool>,
    /// How many stop it at this moment.
    ends: Cell<usize>,
    /// Who waits for word from the [`Stopper`]s.
    listening: RefCell<Option<JoinHandle<()>>>,
    stopping: Stopping,
    /// Why, if it has failed.
    failure: RefCell<Option<io::Error>>,
}

impl<A: Clone + 'static> Server<A> {
    pub(super) fn new(
        arrivals: impl Arrivals<Address = A> + 'static,
        limit: usize,
        hook: Hook<A>,
        stopping: Stopping,
    ) -> Server<A> {
        let shared = Service {
            arrivals: RefCell::new(Some(Rc::new(arrivals))),
            handlers: Pool::new(limit),
            hook,
            accepting: RefCell::new(None),
            started: Cell::new(false),
            ends: Cell::new(0),
            listening: RefCell::new(None),
            stopping,
            failure: RefCell::new(None),
        };
        Server { shared: Rc::new(shared) }
    }

    /// Begins to accept, in a green thread of its own, or goes on after [`stop_accepting`](Server::stop_accepting).
    ///
    /// Never yields. Does nothing if the server accepts already.
    ///
    /// # Errors
    ///
    /// Of kind `NotConnected`, with [`ServerClosed`] inside, if the server was stopped or has failed; those of `listen`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpStream;
    /// use greenloop::server::StreamServer;
    /// use std::io::{Read, Write};
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?.handle(|mut stream, _peer| stream.write_all(b"hello"));
    /// server.start()?;
    /// let mut text = String::new();
    /// TcpStream::connect(server.local_addr()?)?.read_to_string(&mut text)?;
    /// assert_eq!(text, "hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "start_accepting")]
    pub fn start(&self) -> io::Result<()> {
        if !self.is_here() {
            return Err(ServerClosed.into());
        }
        let arrivals = self.shared.open_arrivals()?;
        if self.is_accepting() {
            return Ok(());
        }
        self.listen_to_stoppers()?;
        arrivals.open()?;
        self.shared.stopping.settle();
        let shared = self.shared.clone();
        let accepting = task::spawn(move || shared.accept(&*arrivals));
        self.shared.accepting.replace(Some(accepting));
        self.shared.started.set(true);
        Ok(())
    }

    fn is_here(&self) -> bool {
        self.shared.stopping.is_here()
    }

    /// Has what the [`Stopper`]s say done from now on, if there are any, and that was not begun before.
    fn listen_to_stoppers(&self) -> io::Result<()> {
        if !self.shared.stopping.is_asked_for() || self.shared.listening.borrow().is_some() {
            return Ok(());
        }
        let graces = Receiver::clone(&self.shared.stopping.graces);
        if !graces.is_empty() {
            drop(Closing::begin(&self.shared));
            return Err(ServerClosed.into());
        }
        // Weak: it keeps nothing open that nobody else does.
        let shared = Rc::downgrade(&self.shared);
        let listening = task::spawn(move || {
            for grace in graces {
                let Some(shared) = shared.upgrade() else { return };
                drop(task::spawn(move || Server { shared }.stop(grace)));
            }
        });
        self.shared.listening.replace(Some(listening));
        Ok(())
    }

    /// Returns a [`Stopper`], which stops the server from other OS threads and tells handlers that it stops.
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
    /// std::thread::spawn({ let stopper = stopper.clone(); move || stopper.stop(Duration::from_secs(1)) });
    /// stopper.wait();
    /// assert!(stopper.is_stopping());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stopper(&self) -> Stopper {
        let stopper = self.shared.stopping.stopper();
        // Also while it pauses, or gives its handlers time: they are to be stopped then.
        if self.shared.started.get() && self.is_here() && !self.shared.stopping.over().is_set() {
            // Nothing was asked yet, so it succeeds.
            let _ = self.listen_to_stoppers();
        }
        stopper
    }

    /// Accepts no more until [`start`](Server::start). New connections wait in the kernel meanwhile, and handlers go on.
    ///
    /// Yields until the green thread that accepts has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::server::StreamServer;
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?.handle(|_stream, _peer| Ok(()));
    /// server.start()?;
    /// server.stop_accepting();
    /// assert!(!server.is_accepting());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stop_accepting(&self) {
        if !self.is_here() {
            return;
        }
        let accepting = self.shared.accepting.take();
        if let Some(task) = accepting {
            task.kill();
        }
    }

    /// Returns `true` if the server accepts, even if it must wait for a handler to end first.
    ///
    /// # Examples
    ///
    /// ```
    /// let server = greenloop::server::StreamServer::bind("127.0.0.1:0")?.handle(|_stream, _peer| Ok(()));
    /// assert!(!server.is_accepting());
    /// server.start()?;
    /// assert!(server.is_accepting());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "started")]
    pub fn is_accepting(&self) -> bool {
        self.is_here() && self.shared.accepting.borrow().is_some()
    }

    /// Returns the number of handlers that run.
    ///
    /// # Examples
    ///
    /// ```
    /// let server = greenloop::server::StreamServer::bind("127.0.0.1:0")?.handle(|_stream, _peer| Ok(()));
    /// assert_eq!(server.handlers(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn handlers(&self) -> usize {
        if self.is_here() { self.shared.handlers.len() } else { 0 }
    }

    /// Returns the address at which the server listens. If it was bound to port 0, the address has the port that was chosen.
    ///
    /// # Errors
    ///
    /// Of kind `NotConnected`, with [`ServerClosed`] inside, if the server was stopped or has failed.
    ///
    /// # Examples
    ///
    /// ```
    /// let server = greenloop::server::StreamServer::bind("127.0.0.1:0")?.handle(|_stream, _peer| Ok(()));
    /// assert_ne!(server.local_addr()?.port(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias("server_host", "server_port"))]
    pub fn local_addr(&self) -> io::Result<A> {
        self.shared.open_arrivals()?.local_addr()
    }

    /// Stops the server: closes the listening socket, so that connections are refused, gives handlers `grace` to end, and kills those
    /// that still run then.
    ///
    /// Handlers that ask a [`Stopper`] know that the server stops, and can end before.
    ///
    /// Yields until all handlers have ended; [`serve_forever`](Server::serve_forever) returns at the same time. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait by unwinding, and leaves the handlers alone.
    ///
    /// A handler that calls this is waited for too, so all of `grace` passes, and then it is killed, last of all. Use a [`Stopper`] in a
    /// handler: it does not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::net::TcpStream;
    /// use greenloop::server::StreamServer;
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?.handle(|_stream, _peer| Ok(()));
    /// server.start()?;
    /// let address = server.local_addr()?;
    /// server.stop(Duration::ZERO);
    /// assert_eq!(TcpStream::connect(address).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    /// assert!(server.start().is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "stop_timeout")]
    pub fn stop(&self, grace: Duration) {
        if !self.is_here() {
            // This process's copy of the listening socket.
            drop(self.shared.arrivals.take());
            return;
        }
        let _ending = Closing::begin(&self.shared);
        self.stop_accepting();
        if !self.shared.handlers.join_timeout(grace) {
            self.shared.handlers.kill();
        }
        self.shared.end_listening();
    }

    /// Starts the server, and waits until it is stopped: by another green thread, or by a [`Stopper`].
    ///
    /// A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding: the listening socket is closed and
    /// the handlers are killed, without waiting for their end.
    ///
    /// # Errors
    ///
    /// As [`start`](Server::start); the error of the socket if that is closed or broken, so that no accept can succeed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenloop::server::StreamServer;
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?.handle(|_stream, _peer| Ok(()));
    /// let stopping = server.clone();
    /// greenloop::spawn(move || stopping.stop(Duration::from_secs(1)));
    /// assert!(server.serve_forever().is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn serve_forever(&self) -> io::Result<()> {
        self.start()?;
        let abandoned = Abandoned(&self.shared);
        self.shared.stopping.over().wait();
        std::mem::forget(abandoned);
        self.shared.failure.take().map_or(Ok(()), Err)
    }
}

/// Tells that it is over when dropped: a handler that stops its server is killed, and returns from nothing. The last of several tells,
/// since only one of them waits for who accepts.
struct Closing<'a, A>(&'a Service<A>);

impl<A> Closing<'_, A> {
    /// Lets nothing come any more, and says so.
    fn begin(shared: &Service<A>) -> Closing<'_, A> {
        shared.ends.update(|ends| ends + 1);
        let closing = Closing(shared);
        drop(shared.arrivals.take());
        shared.stopping.begin();
        closing
    }
}

impl<A> Drop for Closing<'_, A> {
    fn drop(&mut self) {
        self.0.ends.update(|ends| ends - 1);
        if self.0.ends.get() > 0 {
            return;
        }
        self.0.stopping.over().set();
        if let Some(task) = self.0.listening.take() {
            task.try_kill();
        }
    }
}

/// Dropped by who is raised out of serving.
struct Abandoned<'a, A>(&'a Service<A>);

impl<A> Drop for Abandoned<'_, A> {
    fn drop(&mut self) {
        let _ending = Closing::begin(self.0);
        if let Some(task) = self.0.accepting.take() {
            task.try_kill();
        }
        self.0.handlers.try_kill();
    }
}

impl<A: Clone + 'static> Service<A> {
    fn open_arrivals(&self) -> io::Result<Rc<dyn Arrivals<Address = A>>> {
        let arrivals = self.arrivals.borrow().clone();
        arrivals.ok_or_else(|| ServerClosed.into())
    }

    /// The life of the green thread that accepts.
    fn accept(self: Rc<Service<A>>, arrivals: &dyn Arrivals<Address = A>) {
        let mut delay = FIRST_DELAY;
        loop {
            // Before, not after: what is not accepted waits in the kernel, where its sender can tell.
            self.handlers.wait_available();
            match arrivals.next() {
                Ok((peer, work)) => {
                    delay = FIRST_DELAY;
                    self.begin(peer, work);
                }
                Err(error) if is_unusable(&error) => return self.fail(error),
                Err(error) => {
                    let hook = self.hook.clone();
                    // On its own: it may panic, or stop the server.
                    task::spawn(move || hook(ServerError::Accept(error)));
                    task::sleep(delay);
                    delay = LONGEST_DELAY.min(2 * delay);
                }
            }
        }
    }

    fn begin(&self, peer: A, work: Work) {
        let hook = self.hook.clone();
        self.handlers.spawn(move || {
            if let Err(error) = work() {
                hook(ServerError::Handler(peer, error));
            }
        });
    }

    fn fail(&self, error: io::Error) {
        let _ending = Closing::begin(self);
        // The handle of the green thread that this is.
        drop(self.accepting.take());
        self.failure.replace(Some(error));
        self.end_listening();
    }

    /// Before it is told that the server is over: its OS thread may end then, and nothing that is parked must be left.
    fn end_listening(&self) {
        let listening = self.listening.take();
        if let Some(task) = listening {
            task.kill();
        }
    }
}

impl<A> Clone for Server<A> {
    fn clone(&self) -> Server<A> {
        Server { shared: self.shared.clone() }
    }
}

impl<A> fmt::Debug for Server<A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_here = self.shared.stopping.is_here();
        let accepting = is_here && self.shared.accepting.borrow().is_some();
        let handlers = if is_here { self.shared.handlers.len() } else { 0 };
        formatter.debug_struct("Server").field("accepting", &accepting).field("handlers", &handlers).finish()
    }
}
