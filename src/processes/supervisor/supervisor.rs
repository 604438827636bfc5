//! A supervisor, as it is set up.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use super::crew::Crew;
use super::handover::{self, Program};
use super::happening::SupervisorEvent;
use super::settings::{Listening, Reload, Settings};
use super::worker::Worker;
use crate::error::SupervisorError;
use crate::net::{TcpListener, ToSocketAddrs};
use crate::sys::mode::Nonblocking;

/// An example of a setting, with what its worker asserts. The worker has the supervisor stop.
macro_rules! asserted {
    ($setting:literal, $assertion:literal) => {
        concat!(
            "# use greenloop::processes::Supervisor;\n# #[allow(unused_imports)]\n# use std::time::Duration;\n",
            "let supervisor = ",
            $setting,
            ";\nsupervisor.run(|worker| {\n    worker.ready();\n    ",
            $assertion,
            "\n#     let stop = std::os::unix::process::parent_id().to_string();\n",
            "#     greenloop::process::Command::new(\"kill\").arg(stop).status()?;\n",
            "    worker.wait_stopping();\n    assert!(worker.is_stopping());\n    Ok(())\n})?;\n",
            "# Ok::<(), greenloop::processes::SupervisorError>(())"
        )
    };
}

/// Several processes that serve one listener, and one that looks after them: a pre-fork server, as gunicorn is one.
///
/// The supervisor binds the listener once and forks workers, each of which accepts from it. So no connection is refused or lost while
/// workers come and go: those that nobody has accepted wait in the one queue. (With SO_REUSEPORT each worker has a queue of its own, whose
/// connections are reset when it ends.) The supervisor itself serves nothing. Whichever worker is first accepts: connections that last are
/// not spread evenly over workers that are idle.
///
/// | what comes | what happens |
/// |---|---|
/// | the start | all workers are forked. Each says that it is [`ready`](Worker::ready); one that does not, in time, is killed. When five have failed in a row before any was ready, [`run`](Supervisor::run) returns with the error of the last |
/// | the end of a worker | another is forked at once; after 10 ms, 20 ms and so on up to 5 s if it was never ready |
/// | a worker's hub that does not run | SIGABRT, and SIGKILL after two seconds, when that has lasted [`stuck_after`](Supervisor::stuck_after) |
/// | SIGTERM, SIGINT | workers are sent SIGTERM and accept no more; those that have not ended after [`grace`](Supervisor::grace) are killed. A second one kills at once |
/// | SIGHUP | a new generation: one after another a worker is forked, and when that is ready one of before is told to stop. If the new ones fail, those of before stay |
/// | SIGUSR2 | the program is started anew, with the listener. When its workers are ready it says so, and this one stops; if it ends before, this one goes on |
/// | SIGTTIN, SIGTTOU | one worker more, one less |
/// | [`max_requests`](Supervisor::max_requests), [`max_memory`](Supervisor::max_memory) | the worker is replaced as in a reload |
/// | the death of the supervisor | workers stop as upon SIGTERM, and end |
///
/// Workers are forked by the process as it is, so what is loaded before is there in all of them. Nothing else of the supervisor runs in
/// them: its other green threads do not, and no destructor. But a worker has copies of all descriptors that are open at that time, so a
/// connection of the supervisor's own does not end while they live. The supervisor may not have other OS threads: run it before you start
/// any.
///
/// # Examples
///
/// ```
/// use greenloop::net::TcpStream;
/// use greenloop::processes::Supervisor;
/// use greenloop::spawn;
/// use std::io::{Write, read_to_string};
///
/// let supervisor = Supervisor::new().workers(2).bind("127.0.0.1:0")?;
/// let address = supervisor.local_addr()?;
/// let client = spawn(move || read_to_string(TcpStream::connect(address).unwrap()).unwrap());
/// let stopper = spawn(move || {
///     assert_eq!(client.join().unwrap(), "hello");
///     greenloop::process::Command::new("kill").arg(std::process::id().to_string()).status()
/// });
/// supervisor.run(|worker| worker.serve(|mut stream, _peer| stream.write_all(b"hello")))?;
/// # assert!(stopper.join().unwrap()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias("gunicorn", "prefork", "Arbiter"))]
#[must_use = "nothing is supervised before `run`"]
pub struct Supervisor {
    settings: Settings,
}

impl Default for Supervisor {
    fn default() -> Supervisor {
        Supervisor::new()
    }
}

impl Supervisor {
    /// Makes a supervisor of as many workers as there are processors, without a listener.
    ///
    /// # Examples
    ///
    /// See [`Supervisor`].
    ///
    /// ```
    /// let supervisor = greenloop::processes::Supervisor::new();
    /// assert!(supervisor.local_addr().is_err()); // it has no listener
    /// ```
    pub fn new() -> Supervisor {
        let settings = Settings {
            workers: thread::available_parallelism().map_or(1, Into::into),
            listeners: Vec::new(),
            ready_within: Duration::from_secs(30),
            grace: Duration::from_secs(30),
            stuck_after: Duration::from_secs(60),
            max_requests: u64::MAX,
            max_memory: u64::MAX,
            reload: Reload::Fork,
            hook: None,
            program: Program::this(),
        };
        Supervisor { settings }
    }

    /// Sets the number of workers, one at least.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = asserted!("Supervisor::new().workers(1)", "")]
    /// ```
    pub fn workers(mut self, workers: usize) -> Supervisor {
        self.settings.workers = workers.max(1);
        self
    }

    /// Listens at an address, for TCP, and gives the listener to all workers. Several may be given: each worker has them in that order.
    ///
    /// A program that was started anew by SIGUSR2, or by systemd, takes the listener over that it was given (LISTEN_FDS), and binds none.
    /// So it must ask for them in the same order.
    ///
    /// # Errors
    ///
    /// As [`TcpListener::bind`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::Supervisor;
    ///
    /// let supervisor = Supervisor::new().bind("127.0.0.1:0")?;
    /// assert!(supervisor.local_addr()?.ip().is_loopback());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind<A: ToSocketAddrs>(mut self, addr: A) -> io::Result<Supervisor> {
        let listener = match handover::next_listener() {
            Some(inherited) => inherited,
            None => TcpListener::bind(addr)?.into(),
        };
        self.settings.listeners.push(Listening { socket: listener, is_handed_on: true });
        Ok(self)
    }

    /// Gives a listener of any kind to all workers.
    ///
    /// It is not taken over by a program that is started anew, which would make another in its place: use [`bind`](Supervisor::bind) for
    /// that.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpListener;
    /// use greenloop::processes::Supervisor;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// assert_eq!(Supervisor::new().listener(listener).local_addr()?, address);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn listener(mut self, listener: impl Into<OwnedFd>) -> Supervisor {
        self.settings.listeners.push(Listening { socket: listener.into(), is_handed_on: false });
        self
    }

    /// Returns the address of the first listener.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none. Those of `getsockname`.
    ///
    /// # Examples
    ///
    /// See [`bind`](Supervisor::bind).
    ///
    /// ```
    /// let supervisor = greenloop::processes::Supervisor::new().bind("127.0.0.1:0")?;
    /// assert_ne!(supervisor.local_addr()?.port(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let listener = self.settings.listeners.first().ok_or(io::ErrorKind::NotFound)?;
        std::net::TcpListener::from(listener.socket.try_clone()?).local_addr()
    }

    /// Sets how long a worker may take until it is [`ready`](Worker::ready): 30 s if you do not say. Then it is killed, and counts as
    /// failed.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = asserted!("Supervisor::new().workers(1).ready_within(Duration::from_secs(5))", "")]
    /// ```
    pub fn ready_within(mut self, limit: Duration) -> Supervisor {
        self.settings.ready_within = limit;
        self
    }

    /// Sets how long a worker may take to finish what it has when it is told to stop: 30 s if you do not say. Then it is killed.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = asserted!("Supervisor::new().workers(1).grace(Duration::from_secs(5))", "assert_eq!(worker.grace(), Duration::from_secs(5));")]
    /// ```
    #[doc(alias = "graceful_timeout")]
    pub fn grace(mut self, grace: Duration) -> Supervisor {
        self.settings.grace = grace;
        self
    }

    /// Sets how long the hub of a worker may not run: 60 s if you do not say. Then it is sent SIGABRT, so that it can leave a dump, and two
    /// seconds later SIGKILL. A worker that is ready has a green thread that says each second, or more often, that it ran: so a green
    /// thread that computes for longer than this, or a call that blocks, ends the worker; one that waits does not. Time in which
    /// the supervisor did not run either does not count, as when all are stopped from a terminal. [`Duration::MAX`] is never.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = asserted!("Supervisor::new().workers(1).stuck_after(Duration::from_secs(5))", "")]
    /// ```
    pub fn stuck_after(mut self, limit: Duration) -> Supervisor {
        self.settings.stuck_after = limit;
        self
    }

    /// Sets after how many [requests](Worker::request_served) a worker is replaced, a tenth more or less, so that not all go at once. Never
    /// if you do not say.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = asserted!("Supervisor::new().workers(1).max_requests(10_000)", "worker.request_served();")]
    /// ```
    pub fn max_requests(mut self, requests: u64) -> Supervisor {
        self.settings.max_requests = requests;
        self
    }

    /// Sets how much memory a worker may have, in bytes that are resident, before it is replaced. It is looked at once a second. Any if you
    /// do not say.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = asserted!("Supervisor::new().workers(1).max_memory(1 << 30)", "")]
    /// ```
    pub fn max_memory(mut self, bytes: u64) -> Supervisor {
        self.settings.max_memory = bytes;
        self
    }

    /// Sets what SIGHUP does: [`Reload::Fork`] if you do not say.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = asserted!("Supervisor::new().workers(1).on_reload(greenloop::processes::Reload::Exec)", "")]
    /// ```
    pub fn on_reload(mut self, reload: Reload) -> Supervisor {
        self.settings.reload = reload;
        self
    }

    /// Has `hook` called with all that happens. It runs in the green thread of [`run`](Supervisor::run), and may wait, while nothing is
    /// looked after.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Command;
    /// use greenloop::processes::{Supervisor, SupervisorEvent};
    /// use std::cell::RefCell;
    /// use std::rc::Rc;
    ///
    /// let events = Rc::new(RefCell::new(Vec::new()));
    /// let supervisor = Supervisor::new().workers(1).on_event({
    ///     let events = Rc::clone(&events);
    ///     move |event| {
    ///         events.borrow_mut().push(event.clone());
    ///         if let SupervisorEvent::Ready { .. } = event {
    ///             Command::new("kill").arg(std::process::id().to_string()).status().unwrap();
    ///         }
    ///     }
    /// });
    /// supervisor.run(|worker| {
    ///     worker.ready();
    ///     worker.wait_stopping();
    ///     Ok(())
    /// })?;
    /// assert!(matches!(
    ///     events.take()[..],
    ///     [
    ///         SupervisorEvent::Started { pid: one, generation: 1 },
    ///         SupervisorEvent::Ready { pid: two, generation: 1 },
    ///         SupervisorEvent::Stopping,
    ///         SupervisorEvent::Ended { pid: three, status, .. },
    ///     ] if one == two && two == three && status.success()
    /// ));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_event(mut self, hook: impl Fn(&SupervisorEvent) + 'static) -> Supervisor {
        self.settings.hook = Some(Rc::new(hook));
        self
    }

    /// Forks the workers and looks after them, until it is told to stop by SIGTERM or SIGINT, or the program that was started anew is
    /// ready. Then it returns when all workers have ended.
    ///
    /// `serve` runs in each worker, in its own process, which ends when it returns: with status 0, with 1 if it returns an error, and with
    /// 101 if it panics. It never returns from this call.
    ///
    /// The calling green thread yields, and others of the supervisor run meanwhile. The handlers of the signals are this call's, and go
    /// with it. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends it by unwinding: all workers are killed then.
    ///
    /// # Errors
    ///
    /// [`SupervisorError::Boot`] if no worker was ever ready, [`SupervisorError::ForeignThreads`] if the process has other OS threads;
    /// those of fork(2) if there was never a worker. All workers have ended then.
    ///
    /// # Examples
    ///
    /// See [`Supervisor`]. A worker that cannot start:
    ///
    /// ```
    /// use greenloop::processes::{Supervisor, SupervisorError};
    ///
    /// let error = Supervisor::new().workers(2).run(|_worker| Err(std::io::Error::other("no database"))).unwrap_err();
    /// assert!(matches!(error, SupervisorError::Boot { last, .. } if last == "no database"));
    /// ```
    pub fn run(self, serve: impl Fn(Worker) -> io::Result<()> + 'static) -> Result<(), SupervisorError> {
        for listener in &self.settings.listeners {
            // All processes that have it rely on that, so it is never taken back.
            Nonblocking::claim(listener.socket.as_raw_fd())?;
        }
        Crew::new(self.settings, &serve)?.run()
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Supervisor")
            .field("workers", &self.settings.workers)
            .field("listeners", &self.settings.listeners.len())
            .field("reload", &self.settings.reload)
            .finish_non_exhaustive()
    }
}
