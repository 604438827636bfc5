//! One server on all workers.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{RefUnwindSafe, UnwindSafe, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::balance::{Balance, least};
use super::sharded::Sharded;
use super::{Crew, Workers};
use crate::channel::{Receiver, Sender, unbounded};
use crate::server::{Listener, Server, Stopper, StreamServer};
use crate::sys::lock::Lock;
use crate::task;

/// A server on each of some workers, which are stopped together. Made by [`Workers::serve`] and [`Workers::serve_with`].
///
/// It is a handle: clones stand for the same servers. When the last one is dropped, the servers go on, as long as there are workers; and
/// the workers go on, as long as there are servers.
///
/// # Examples
///
/// See [`Workers::serve`].
pub struct Servers<A> {
    shared: Arc<Shared<A>>,
}

// What it stands for is kept whole by the library, whoever unwinds.
impl<A> UnwindSafe for Servers<A> {}
impl<A> RefUnwindSafe for Servers<A> {}

/// A server on each worker.
type Each<A> = Sharded<Option<Server<A>>>;

struct Shared<A> {
    address: A,
    stoppers: Vec<Stopper>,
    /// Of who accepts for all, if there is one.
    acceptor: Option<Stopper>,
    /// Whether no connection is between who accepted it and its worker.
    is_settled: Box<dyn Fn() -> bool + Send + Sync>,
    /// The servers, each with its worker, until they are stopped.
    each: Lock<Option<Arc<Each<A>>>>,
}

impl Workers {
    /// Serves the connections of `listener` on all workers: for each, `handler` runs in a green thread of its own, on the worker that
    /// `balance` says, and stays there.
    ///
    /// It gets the connection and the address of the peer. If it returns an error, that goes to the
    /// [hook for uncaught errors](crate::hub::set_uncaught_hook). For a limit, a hook, TLS or datagrams, use
    /// [`serve_with`](Workers::serve_with).
    ///
    /// Yields until all workers have begun; must not be called where nothing may wait.
    ///
    /// # Errors
    ///
    /// Of kind `Unsupported` for [`Balance::ReusePort`] with a listener that cannot be [beside](Listener::beside) another; of kind
    /// `NotConnected` if the workers have been stopped; those of the sockets.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    /// use greenloop::workers::{Balance, Workers};
    /// use std::{io, io::Write, time::Duration};
    ///
    /// let workers = Workers::new();
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let servers = workers.serve(listener, Balance::default(), |mut stream, _peer| stream.write_all(b"hello"))?;
    ///
    /// let stream = TcpStream::connect(servers.local_addr())?;
    /// assert_eq!(io::read_to_string(stream)?, "hello");
    /// servers.stop(Duration::from_secs(1));
    /// # Ok::<(), io::Error>(())
    /// ```
    #[doc(alias("prefork", "ReusePort"))]
    pub fn serve<L, H>(&self, listener: L, balance: Balance, handler: H) -> io::Result<Servers<L::Address>>
    where
        L: Listener<Stream: Send, Address: Send + Sync> + Send + Sync + 'static,
        H: Fn(L::Stream, L::Address) -> io::Result<()> + Send + Sync + 'static,
    {
        let handler = Arc::new(handler);
        match balance {
            Balance::Kernel => {
                let listener = Arc::new(listener);
                self.serve_with(move || {
                    let handler = handler.clone();
                    Ok(StreamServer::new(listener.clone()).handle(move |stream, peer| handler(stream, peer)))
                })
            }
            Balance::ReusePort => {
                let others = (1..self.number()).map(|_| listener.beside());
                let mut listeners = others.collect::<io::Result<Vec<L>>>()?;
                listeners.push(listener);
                let listeners = Lock::new(listeners);
                self.begin(move |_| {
                    let handler = handler.clone();
                    let listener = listeners.lock().pop().ok_or(io::ErrorKind::NotConnected)?;
                    Ok(StreamServer::new(listener).handle(move |stream, peer| handler(stream, peer)))
                })
            }
            Balance::LeastConnections | Balance::RoundRobin => self.deal(listener, balance, handler),
        }
    }

    /// Has each worker make a server of its own, and start it.
    ///
    /// `make` is called once on each worker. All may have the same listener or socket, in an [`Arc`]: then each connection or datagram goes
    /// to the worker that is quickest, as with [`Balance::Kernel`].
    ///
    /// Yields until all servers have started.
    ///
    /// # Errors
    ///
    /// The first error of `make` or of [`Server::start`]: then none is left. Of kind `NotConnected` if the workers have been stopped.
    ///
    /// # Panics
    ///
    /// Panics with the payload of `make` if that panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{net::UdpSocket, server::DatagramServer, workers::Workers};
    /// use std::{sync::Arc, time::Duration};
    ///
    /// let workers = Workers::new();
    /// let socket = Arc::new(UdpSocket::bind("127.0.0.1:0")?);
    /// let servers = workers.serve_with(move || {
    ///     let server = DatagramServer::new(socket.clone());
    ///     Ok(server.handle(|socket, datagram, peer| socket.send_to(&datagram, peer).map(drop)))
    /// })?;
    ///
    /// let client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.send_to(b"hello", servers.local_addr())?;
    /// assert_eq!(client.recv(&mut [0; 64])?, 5);
    /// servers.stop(Duration::from_secs(1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn serve_with<A, M>(&self, make: M) -> io::Result<Servers<A>>
    where
        A: Clone + Send + Sync + 'static,
        M: Fn() -> io::Result<Server<A>> + Send + Sync + 'static,
    {
        self.begin(move |_| make())
    }

    /// One worker accepts, and deals the connections out.
    fn deal<L, H>(&self, listener: L, balance: Balance, handler: Arc<H>) -> io::Result<Servers<L::Address>>
    where
        L: Listener<Stream: Send, Address: Send + Sync> + Send + Sync + 'static,
        H: Fn(L::Stream, L::Address) -> io::Result<()> + Send + Sync + 'static,
    {
        let listener = Arc::new(listener);
        let lines: Arc<[Line<L>]> = (0..self.number()).map(|_| Line::new()).collect();
        let mut servers = self.begin({
            let (listener, lines) = (listener.clone(), lines.clone());
            move |worker| {
                let handler = handler.clone();
                let dealt = Dealt { line: lines[worker].receiver.clone(), listener: listener.clone() };
                Ok(StreamServer::new(dealt).handle(move |(stream, _ticket), peer| handler(stream, peer)))
            }
        })?;
        let accepts = self.crew().next_acceptor();
        let acceptor = self.spawn_on(accepts, {
            let lines = lines.clone();
            move || {
                let turn = AtomicUsize::new(0);
                let server = StreamServer::new(listener).handle(move |stream, peer| {
                    // Relaxed: it is one OS thread.
                    let turn = turn.fetch_add(1, Ordering::Relaxed);
                    let line = match balance {
                        Balance::RoundRobin => turn % lines.len(),
                        _ => least(lines.iter().map(Line::connections), turn),
                    };
                    // The line stays open as long as this does.
                    let _ = lines[line].sender.send((lines[line].ticket(stream), peer));
                    Ok(())
                });
                server.start().map(|()| server.stopper())
            }
        });
        let acceptor = acceptor.join().map_err(|_killed| io::ErrorKind::NotConnected)?;
        match (acceptor, Arc::get_mut(&mut servers.shared)) {
            (Ok(acceptor), Some(shared)) => {
                shared.acceptor = Some(acceptor);
                shared.is_settled = Box::new(move || lines.iter().all(|line| line.sender.is_empty()));
                Ok(servers)
            }
            (acceptor, _) => {
                servers.stop(Duration::ZERO);
                Err(acceptor.err().unwrap_or_else(|| io::ErrorKind::NotConnected.into()))
            }
        }
    }

    fn begin<A, M>(&self, make: M) -> io::Result<Servers<A>>
    where
        A: Clone + Send + Sync + 'static,
        M: Fn(usize) -> io::Result<Server<A>> + Send + Sync + 'static,
    {
        let each = Sharded::new(self, || None);
        let make = Arc::new(make);
        let workers = self.clone();
        let begin = move |server: &mut Option<Server<A>>| {
            let made = make(workers.current().unwrap_or(0))?;
            made.start()?;
            let begun = (made.local_addr()?, made.stopper());
            *server = Some(made);
            io::Result::Ok(begun)
        };
        let mut begun = Vec::new();
        let mut failure = None;
        for result in each.on_all(begin) {
            match result {
                Ok(Ok(server)) => begun.push(server),
                Ok(Err(error)) => failure = failure.or(Some(Ok(error))),
                Err(error) if error.is_killed() => {
                    failure = failure.or_else(|| Some(Ok(io::ErrorKind::NotConnected.into())));
                }
                Err(error) => failure = failure.or_else(|| Some(Err(error.into_panic()))),
            }
        }
        let (addresses, stoppers): (Vec<_>, Vec<_>) = begun.into_iter().unzip();
        match (failure, addresses.into_iter().next()) {
            (None, Some(address)) => {
                let is_settled = Box::new(|| true);
                let each = Lock::new(Some(Arc::new(each)));
                Ok(Servers {
                    shared: Arc::new(Shared { address, stoppers, acceptor: None, is_settled, each }),
                })
            }
            (failure, _) => {
                stop_all(&stoppers, Duration::ZERO);
                match failure {
                    Some(Err(payload)) => resume_unwind(payload),
                    Some(Ok(error)) => Err(error),
                    None => Err(io::ErrorKind::NotConnected.into()),
                }
            }
        }
    }
}

impl<A: Clone + Send + Sync + 'static> Servers<A> {
    /// Returns the address at which they listen: that of the first one, if they do not all share it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{net::TcpListener, workers::{Balance, Workers}};
    ///
    /// let workers = Workers::new();
    /// let servers = workers.serve(TcpListener::bind("127.0.0.1:0")?, Balance::ReusePort, |_stream, _peer| Ok(()))?;
    /// assert_ne!(servers.local_addr().port(), 0);
    /// # servers.stop(std::time::Duration::ZERO);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn local_addr(&self) -> A {
        self.shared.address.clone()
    }

    /// Returns how many handlers run on each worker. Yields until each has told.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{net::TcpListener, workers::{Balance, Workers}};
    ///
    /// let workers = Workers::new();
    /// let servers = workers.serve(TcpListener::bind("127.0.0.1:0")?, Balance::RoundRobin, |_stream, _peer| Ok(()))?;
    /// assert_eq!(servers.handlers(), vec![0; workers.number()]);
    /// # servers.stop(std::time::Duration::ZERO);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn handlers(&self) -> Vec<usize> {
        let each = self.shared.each.lock().clone();
        let Some(each) = each else { return vec![0; self.shared.stoppers.len()] };
        let counts = each.on_all(|server| server.as_ref().map_or(0, Server::handlers));
        counts.into_iter().map(|count| count.unwrap_or(0)).collect()
    }

    /// Stops all: closes the listening sockets, gives handlers `grace` to end, and kills those that still run then. See [`Server::stop`].
    ///
    /// Yields until all handlers have ended. A handler may not call this, as it would wait for itself: use the
    /// [`stoppers`](Servers::stoppers).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    /// use greenloop::workers::{Balance, Workers};
    /// use std::time::Duration;
    ///
    /// let workers = Workers::new();
    /// let servers = workers.serve(TcpListener::bind("127.0.0.1:0")?, Balance::Kernel, |_stream, _peer| Ok(()))?;
    /// servers.stop(Duration::from_secs(1));
    /// assert!(TcpStream::connect(servers.local_addr()).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stop(&self, grace: Duration) {
        // Too far to be said is no end.
        let end = Instant::now().checked_add(grace);
        let left = || end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
        if let Some(acceptor) = &self.shared.acceptor {
            acceptor.stop(grace);
            acceptor.wait();
            // What was accepted is to be handled, as far as there is time.
            while !(self.shared.is_settled)() && !left().is_zero() {
                task::sleep(Duration::from_micros(100));
            }
        }
        stop_all(&self.shared.stoppers, left());
        let each = self.shared.each.lock().take();
        drop(each);
    }

    /// Waits until all have been stopped. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding, and
    /// leaves the servers alone.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{net::TcpListener, workers::{Balance, Workers}};
    /// use std::time::Duration;
    ///
    /// let workers = Workers::new();
    /// let servers = workers.serve(TcpListener::bind("127.0.0.1:0")?, Balance::default(), |_stream, _peer| Ok(()))?;
    /// let others = servers.clone();
    /// let stopping = greenloop::spawn(move || others.stop(Duration::from_secs(1)));
    /// servers.wait();
    /// assert!(stopping.join().is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait(&self) {
        self.stoppers().for_each(Stopper::wait);
    }

    /// Returns the [`Stopper`]s of all: each tells its handlers that it stops, and stops without waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{net::TcpListener, workers::{Balance, Workers}};
    /// use std::time::Duration;
    ///
    /// let workers = Workers::new();
    /// let servers = workers.serve(TcpListener::bind("127.0.0.1:0")?, Balance::default(), |_stream, _peer| Ok(()))?;
    /// servers.stoppers().for_each(|stopper| stopper.stop(Duration::ZERO));
    /// servers.wait();
    /// assert!(servers.stoppers().all(|stopper| stopper.is_stopping()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stoppers(&self) -> impl Iterator<Item = &Stopper> {
        self.shared.acceptor.iter().chain(&self.shared.stoppers)
    }
}

fn stop_all(stoppers: &[Stopper], grace: Duration) {
    stoppers.iter().for_each(|stopper| stopper.stop(grace));
    stoppers.iter().for_each(Stopper::wait);
}

/// A connection on its way to its worker, and then with it.
type Arrival<L> = ((<L as Listener>::Stream, Ticket), <L as Listener>::Address);

/// The way of connections to one worker.
struct Line<L: Listener> {
    sender: Sender<Arrival<L>>,
    receiver: Receiver<Arrival<L>>,
    connections: Arc<AtomicUsize>,
}

impl<L: Listener> Line<L> {
    fn new() -> Line<L> {
        let (sender, receiver) = unbounded();
        Line { sender, receiver, connections: Arc::default() }
    }

    fn connections(&self) -> usize {
        // Relaxed: a count, of which a late one does no harm.
        self.connections.load(Ordering::Relaxed)
    }

    fn ticket(&self, stream: L::Stream) -> (L::Stream, Ticket) {
        // Relaxed: as above.
        self.connections.fetch_add(1, Ordering::Relaxed);
        (stream, Ticket(self.connections.clone()))
    }
}

/// A connection that counts while this lives.
struct Ticket(Arc<AtomicUsize>);

impl Drop for Ticket {
    fn drop(&mut self) {
        // Relaxed: as above.
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one worker accepts: what another one has accepted for it.
struct Dealt<L: Listener> {
    line: Receiver<Arrival<L>>,
    listener: Arc<L>,
}

impl<L: Listener> AsFd for Dealt<L> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl<L: Listener> Listener for Dealt<L> {
    type Stream = (L::Stream, Ticket);
    type Address = L::Address;

    fn accept(&self) -> io::Result<(Self::Stream, L::Address)> {
        self.line.recv().map_err(|_gone| io::ErrorKind::NotConnected.into())
    }

    fn local_addr(&self) -> io::Result<L::Address> {
        self.listener.local_addr()
    }
}

impl Crew {
    /// The worker that is to accept for the next server.
    fn next_acceptor(&self) -> usize {
        // Relaxed: any will do.
        self.acceptors.fetch_add(1, Ordering::Relaxed) % self.number()
    }
}

impl<A> Clone for Servers<A> {
    fn clone(&self) -> Servers<A> {
        Servers { shared: self.shared.clone() }
    }
}

impl<A: fmt::Debug> fmt::Debug for Servers<A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Servers").field("address", &self.shared.address).finish_non_exhaustive()
    }
}
