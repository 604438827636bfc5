//! A worker, as it sees itself.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::parent_id;
use std::rc::Rc;
use std::time::Duration;

use super::board::{Board, Told};
use super::settings::LOOK;
use crate::channel::{Receiver, Sender, unbounded};
use crate::error::TryRecvError;
use crate::io::wait_readable;
use crate::signal::{self, SIGHUP, SIGINT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR2};
use crate::task;

/// A worker of a [`Supervisor`](super::Supervisor), in its own process. Clones stand for the same worker.
///
/// # Examples
///
/// See [`Supervisor`](super::Supervisor).
#[derive(Clone)]
pub struct Worker {
    inner: Rc<Inner>,
}

struct Inner {
    board: Board,
    place: usize,
    generation: u64,
    listeners: Vec<OwnedFd>,
    grace: Duration,
    /// After how many requests it wants to be replaced.
    most_requests: u64,
    is_spent: Cell<bool>,
    stopping: Receiver<Infallible>,
    /// Held until it is told to stop.
    stop: RefCell<Option<Sender<Infallible>>>,
}

/// What a worker is made of.
pub(super) struct Equipment {
    pub(super) board: Board,
    pub(super) place: usize,
    pub(super) generation: u64,
    pub(super) listeners: Vec<OwnedFd>,
    pub(super) grace: Duration,
    pub(super) most_requests: u64,
    pub(super) beat: Duration,
    /// The number of its process,
    pub(super) supervisor: u32,
    /// and what is readable when that has ended, where that can be had.
    pub(super) parent: Option<OwnedFd>,
}

impl Worker {
    /// In its own process: begins to beat, and to listen to what it is told.
    pub(super) fn begin(equipment: Equipment) -> io::Result<Worker> {
        let Equipment { board, place, generation, listeners, grace, most_requests, beat, supervisor, parent } =
            equipment;
        let (stop, stopping) = unbounded();
        let inner = Inner {
            board: board.clone(),
            place,
            generation,
            listeners,
            grace,
            most_requests,
            is_spent: Cell::new(false),
            stopping,
            stop: RefCell::new(Some(stop)),
        };
        let worker = Worker { inner: Rc::new(inner) };
        let told = worker.clone();
        signal::on(SIGTERM, move || told.stop())?.detach();
        // Told before it could hear it.
        if board.is_dismissed(place) {
            worker.stop();
        }
        // A terminal sends these to all; what they mean is the supervisor's to say.
        for signal in [SIGHUP, SIGINT, SIGUSR2, SIGTTIN, SIGTTOU] {
            signal::on(signal, || {})?.detach();
        }
        drop(task::spawn(move || {
            loop {
                board.beat(place);
                task::sleep(beat);
            }
        }));
        let orphan = worker.clone();
        drop(task::spawn(move || {
            if parent.is_none_or(|parent| wait_readable(&parent).is_err()) {
                while parent_id() == supervisor {
                    task::sleep(LOOK);
                }
            }
            orphan.stop();
        }));
        Ok(worker)
    }

    /// Returns its generation: 1 at first, and one more for each reload.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::Supervisor;
    ///
    /// Supervisor::new().run(|worker| {
    ///     assert!(worker.generation() >= 1);
    ///     worker.ready();
    /// #     let stop = std::os::unix::process::parent_id().to_string();
    /// #     greenloop::process::Command::new("kill").arg(stop).status()?;
    ///     worker.wait_stopping();
    ///     Ok(())
    /// })?;
    /// # Ok::<(), greenloop::processes::SupervisorError>(())
    /// ```
    pub fn generation(&self) -> u64 {
        self.inner.generation
    }

    /// Returns a handle of the supervisor's listener of this number, in the order in which they were given, from 0 on: a
    /// [`TcpListener`](crate::net::TcpListener), or what else it was.
    ///
    /// # Errors
    ///
    /// `NotFound` if there are not so many. Those of `fcntl`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpListener;
    /// use greenloop::processes::Supervisor;
    /// use greenloop::server::StreamServer;
    ///
    /// Supervisor::new().bind("127.0.0.1:0")?.run(|worker| {
    ///     let listener: TcpListener = worker.listener(0)?;
    ///     assert!(worker.listener::<TcpListener>(1).is_err());
    ///     let server = StreamServer::new(listener).handle(|_stream, _peer| Ok(()));
    ///     server.start()?;
    ///     worker.ready();
    /// #     let stop = std::os::unix::process::parent_id().to_string();
    /// #     greenloop::process::Command::new("kill").arg(stop).status()?;
    ///     worker.wait_stopping();
    ///     server.stop(worker.grace());
    ///     Ok(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn listener<L: From<OwnedFd>>(&self, number: usize) -> io::Result<L> {
        let listener = self.inner.listeners.get(number).ok_or(io::ErrorKind::NotFound)?;
        Ok(listener.as_fd().try_clone_to_owned()?.into())
    }

    /// Says that it can serve. Then the supervisor goes on with a reload. Does not yield.
    ///
    /// # Examples
    ///
    /// See [`listener`](Worker::listener).
    ///
    /// ```
    /// use greenloop::processes::Supervisor;
    ///
    /// Supervisor::new().run(|worker| {
    ///     let table: Vec<u32> = (1..100).collect(); // what takes long at the start comes first
    ///     worker.ready();
    ///     assert_eq!(table.len(), 99);
    /// #     let stop = std::os::unix::process::parent_id().to_string();
    /// #     greenloop::process::Command::new("kill").arg(stop).status()?;
    ///     worker.wait_stopping();
    ///     Ok(())
    /// })?;
    /// # Ok::<(), greenloop::processes::SupervisorError>(())
    /// ```
    pub fn ready(&self) {
        if self.inner.board.told(self.inner.place) == Told::Starting {
            self.inner.board.tell(self.inner.place, Told::Ready);
        }
    }

    /// Counts a request. After [`max_requests`](super::Supervisor::max_requests) of them the supervisor replaces the worker. Does not
    /// yield.
    ///
    /// # Examples
    ///
    /// See [`Supervisor`](super::Supervisor).
    ///
    /// ```
    /// use greenloop::processes::Supervisor;
    /// use std::io::Write;
    ///
    /// Supervisor::new().bind("127.0.0.1:0")?.max_requests(1000).run(|worker| {
    /// #     let stop = std::os::unix::process::parent_id().to_string();
    /// #     greenloop::spawn(|| greenloop::process::Command::new("kill").arg(stop).status());
    ///     let served = worker.clone();
    ///     worker.serve(move |mut stream, _peer| {
    ///         stream.write_all(b"hello")?;
    ///         served.request_served();
    ///         assert!(!served.is_stopping());
    ///         Ok(())
    ///     })
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn request_served(&self) {
        let count = self.inner.board.count_request(self.inner.place);
        if count >= self.inner.most_requests && !self.inner.is_spent.replace(true) {
            self.inner.board.tell(self.inner.place, Told::Spent);
        }
    }

    /// Returns how long the worker may take to finish when it is told to stop.
    ///
    /// # Examples
    ///
    /// See [`listener`](Worker::listener).
    ///
    /// ```
    /// use greenloop::processes::Supervisor;
    /// use std::time::Duration;
    ///
    /// Supervisor::new().grace(Duration::from_secs(5)).run(|worker| {
    ///     assert_eq!(worker.grace(), Duration::from_secs(5));
    ///     worker.ready();
    /// #     let stop = std::os::unix::process::parent_id().to_string();
    /// #     greenloop::process::Command::new("kill").arg(stop).status()?;
    ///     worker.wait_stopping();
    ///     Ok(())
    /// })?;
    /// # Ok::<(), greenloop::processes::SupervisorError>(())
    /// ```
    pub fn grace(&self) -> Duration {
        self.inner.grace
    }

    /// Returns `true` once the worker is to stop: it should accept no more, and finish what it has. Its supervisor has sent it SIGTERM, or
    /// is gone.
    ///
    /// # Examples
    ///
    /// See [`Supervisor`](super::Supervisor).
    ///
    /// ```
    /// use greenloop::processes::Supervisor;
    ///
    /// Supervisor::new().run(|worker| {
    ///     worker.ready();
    /// #     let stop = std::os::unix::process::parent_id().to_string();
    /// #     greenloop::process::Command::new("kill").arg(stop).status()?;
    ///     while !worker.is_stopping() {
    ///         greenloop::sleep(std::time::Duration::from_millis(10));
    ///     }
    ///     assert!(worker.stopping().recv().is_err());
    ///     Ok(())
    /// })?;
    /// # Ok::<(), greenloop::processes::SupervisorError>(())
    /// ```
    pub fn is_stopping(&self) -> bool {
        self.inner.stopping.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Returns a channel without values, which is disconnected when [`is_stopping`](Worker::is_stopping) becomes true. Use it in a
    /// [`select!`](crate::select!), beside what a handler waits for.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::Supervisor;
    ///
    /// Supervisor::new().run(|worker| {
    ///     worker.ready();
    /// #     let stop = std::os::unix::process::parent_id().to_string();
    /// #     greenloop::process::Command::new("kill").arg(stop).status()?;
    ///     assert!(worker.stopping().recv().is_err());
    ///     Ok(())
    /// })?;
    /// # Ok::<(), greenloop::processes::SupervisorError>(())
    /// ```
    pub fn stopping(&self) -> &Receiver<Infallible> {
        &self.inner.stopping
    }

    /// Waits until the worker is to stop. The calling green thread yields. A kill or an enclosing [`with_timeout`](crate::with_timeout)
    /// ends the wait by unwinding.
    ///
    /// # Examples
    ///
    /// See [`listener`](Worker::listener).
    ///
    /// ```
    /// use greenloop::processes::Supervisor;
    ///
    /// Supervisor::new().run(|worker| {
    ///     worker.ready();
    /// #     let stop = std::os::unix::process::parent_id().to_string();
    /// #     greenloop::process::Command::new("kill").arg(stop).status()?;
    ///     worker.wait_stopping();
    ///     assert!(worker.is_stopping());
    ///     Ok(())
    /// })?;
    /// # Ok::<(), greenloop::processes::SupervisorError>(())
    /// ```
    pub fn wait_stopping(&self) {
        // An error is all that comes.
        let _ = self.inner.stopping.recv();
    }

    fn stop(&self) {
        drop(self.inner.stop.take());
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Worker")
            .field("generation", &self.generation())
            .field("is_stopping", &self.is_stopping())
            .finish_non_exhaustive()
    }
}
