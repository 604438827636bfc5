//! Servers on all workers, as who has them stops them.

use std::fmt;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Workers;
use super::sharded::{Sharded, result_of};
use crate::error::JoinError;
use crate::hub::fork;
use crate::server::{Server, Stopper};
use crate::sys::lock::Lock;
use crate::task::{self, JoinHandle};

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

/// What a worker has of them.
struct Post<A> {
    server: Option<Server<A>>,
    /// Who accepts for all, if that is done here.
    acceptor: Option<Server<A>>,
}

type Each<A> = Sharded<Post<A>>;

struct Shared<A> {
    address: A,
    stoppers: Vec<Stopper>,
    /// Of who accepts for all, if there is one.
    acceptor: Option<Stopper>,
    /// The servers, each with its worker, until they are stopped.
    each: Lock<Option<Arc<Each<A>>>>,
    /// The process that they are in, by its generation.
    process: u32,
}

impl<A: Clone + Send + Sync + 'static> Post<A> {
    /// Starts one; where it listens, and how it is stopped.
    fn start(place: &mut Option<Server<A>>, server: Server<A>) -> io::Result<(A, Stopper)> {
        // First of all, so that it is stopped with the others if there is an error.
        let server = place.insert(server);
        server.start()?;
        Ok((server.local_addr()?, server.stopper()))
    }

    /// Has green threads stop what there is. They end when that has ended.
    fn stop(&self, grace: Duration) -> Vec<JoinHandle<()>> {
        let stop = |server: Server<A>| task::spawn(move || server.stop(grace));
        [&self.acceptor, &self.server].into_iter().flatten().cloned().map(stop).collect()
    }
}

/// Stops all, and waits for that. Servers that accept no more because they failed have handlers all the same, so their stoppers do not do.
fn stop_each<A: Clone + Send + Sync + 'static>(each: &Each<A>, grace: Duration) {
    let stopping = each.on_all(move |post| post.stop(grace));
    for stopping in stopping.into_iter().flatten().flatten() {
        // An error says that its worker has been stopped.
        let _ = stopping.join();
    }
}

/// Servers that begin. If it is dropped before the end, those that have begun are stopped.
pub(super) struct Beginning<A: Clone + Send + Sync + 'static> {
    /// Until the end.
    each: Option<Each<A>>,
    begun: Lock<Vec<(A, Stopper)>>,
    acceptor: Option<Stopper>,
}

impl<A: Clone + Send + Sync + 'static> Beginning<A> {
    pub(super) fn on(workers: &Workers) -> Beginning<A> {
        let each = Sharded::new(workers, || Post { server: None, acceptor: None });
        Beginning { each: Some(each), begun: Lock::new(Vec::new()), acceptor: None }
    }

    fn each(&self) -> &Each<A> {
        self.each.as_ref().expect("it is there until the end")
    }

    /// How many there are.
    pub(super) fn number(&self) -> usize {
        self.each().parts()
    }

    /// Has each worker make a server, by its number, and start it.
    ///
    /// # Errors
    ///
    /// The first one. None is left then.
    pub(super) fn begin<M>(&self, make: M) -> io::Result<()>
    where
        M: Fn(usize) -> io::Result<Server<A>> + Send + Sync + 'static,
    {
        let make = Arc::new(make);
        let begin = |worker| {
            let make = make.clone();
            self.each().ask(worker, move |post: &mut Post<A>| Post::start(&mut post.server, make(worker)?))
        };
        let asked: Vec<_> = (0..self.number()).map(begin).collect();
        let results: Vec<_> = asked.iter().map(result_of).collect();
        for result in results {
            let begun = self.unless_failed(result)?;
            self.begun.lock().push(begun);
        }
        Ok(())
    }

    /// Has this worker make a server that accepts for all, and start it.
    ///
    /// # Errors
    ///
    /// Its own. None is left then.
    pub(super) fn accept<M>(&mut self, worker: usize, make: M) -> io::Result<()>
    where
        M: FnOnce() -> Server<A> + Send + 'static,
    {
        let asked =
            self.each().ask(worker, move |post: &mut Post<A>| Post::start(&mut post.acceptor, make()));
        let (_address, acceptor) = self.unless_failed(result_of(&asked))?;
        self.acceptor = Some(acceptor);
        Ok(())
    }

    /// Stops all if one has failed.
    fn unless_failed<T>(&self, result: Result<io::Result<T>, JoinError>) -> io::Result<T> {
        if let Ok(Ok(value)) = result {
            return Ok(value);
        }
        stop_each(self.each(), Duration::ZERO);
        match result {
            Ok(result) => result,
            Err(error) if error.is_killed() => Err(io::ErrorKind::NotConnected.into()),
            Err(error) => resume_unwind(error.into_panic()),
        }
    }

    pub(super) fn end(mut self) -> Servers<A> {
        let (addresses, stoppers): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *self.begun.lock()).into_iter().unzip();
        let address = addresses.into_iter().next().expect("there is a worker at least");
        let (acceptor, each) = (self.acceptor.take(), Lock::new(self.each.take().map(Arc::new)));
        let process = fork::generation();
        Servers { shared: Arc::new(Shared { address, stoppers, acceptor, each, process }) }
    }
}

impl<A: Clone + Send + Sync + 'static> Drop for Beginning<A> {
    fn drop(&mut self) {
        if let Some(each) = self.each.take() {
            // Nobody waits for it, since who unwinds must not.
            (0..each.parts()).for_each(|part| drop(each.ask(part, |post| drop(post.stop(Duration::ZERO)))));
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
        let each = if self.is_here() { self.shared.each.lock().clone() } else { None };
        let Some(each) = each else { return vec![0; self.shared.stoppers.len()] };
        let counts = each.on_all(|post| post.server.as_ref().map_or(0, Server::handlers));
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
        if !self.is_here() {
            return;
        }
        // Too far to be said is no end.
        let end = Instant::now().checked_add(grace);
        let left = || end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
        if let Some(acceptor) = &self.shared.acceptor {
            acceptor.stop(grace);
            acceptor.wait();
            // What was accepted is to be handled, as far as there is time. Then they accept no more by themselves.
            self.shared.stoppers.iter().all(|stopper| stopper.wait_timeout(left()));
        }
        let each = self.shared.each.lock().clone();
        if let Some(each) = each {
            stop_each(&each, left());
        }
        let each = self.shared.each.lock().take();
        drop(each);
    }

    /// Waits until all have been stopped, or accept no more because the listener is broken. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait by unwinding, and leaves the servers alone.
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
        if self.is_here() {
            self.stoppers().for_each(Stopper::wait);
        }
    }

    /// Whether they are in this process, and not in one that it was forked by: there is nothing to stop then, and nobody to ask.
    fn is_here(&self) -> bool {
        self.shared.process == fork::generation()
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
