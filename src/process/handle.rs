//! A process that runs a closure.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::born::{Born, End, Outcome};
use super::wire::Wire;
use crate::error::ProcessError;
use crate::io::{Interest, Watches};
use crate::sys::clock::Time;
use crate::task::{Notice, Subscription, Waitable};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// A child process that runs a closure or a function of this program.
///
/// [`Process::start`] forks: the child has a copy of everything, so the closure may use whatever it captures, and only its result travels.
/// That is done where it is safe, and refused otherwise. [`Zygote::start`](super::Zygote::start) is safe at any time.
///
/// It can be waited for together with other things, by [`wait`](crate::wait) and its siblings. Dropping it leaves the process running. What
/// the kernel keeps of a process that has ended is taken when the next one is started, by [`active_children`](super::active_children), or
/// at the end of the parent.
///
/// # The child
///
/// - It has an empty hub: none of the parent's green threads runs in it, and handlers of [`signal`](crate::signal) are gone.
/// - It has the ends of [channels](super::channel()) that its closure owns. All others are closed in the child, since an end that is
///   inherited by accident keeps its peer waiting. Other descriptors are inherited, as by any fork: the end of a socket or pipe comes when
///   the child has closed it too. A [`Zygote`](super::Zygote) that is started before those are opened has none of them.
/// - Ctrl-C ends it as it ends the parent, for a terminal sends SIGINT to all processes that it runs, unless its closure
///   [listens](crate::signal::on) to that.
/// - The parent's copy of the closure is dropped once the child is there, with all that it owns.
/// - It ends when the closure returns, whatever green threads it has then: join those that matter. Nothing runs at its end, no
///   destructor of a thread-local and no function of `atexit`; the standard output is flushed.
///
/// # Examples
///
/// ```
/// use greenloop::process::Process;
///
/// let table = vec![1_u64, 2, 3];
/// let child = Process::start(|| table.iter().sum::<u64>())?; // by reference: the child has its copy
/// assert_eq!(child.join()?, 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Process<T> {
    born: Arc<Born>,
    watches: Watches,
    value: PhantomData<fn() -> T>,
}

impl<T> Process<T> {
    pub(super) fn new(born: Arc<Born>) -> Process<T> {
        Process { born, watches: Watches::new(), value: PhantomData }
    }

    /// Returns its number.
    ///
    /// # Examples
    ///
    /// ```
    /// let child = greenloop::process::Process::start(std::process::id)?;
    /// let id = child.id();
    /// assert_eq!(child.join()?, id);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn id(&self) -> u32 {
        self.born.id
    }

    /// Returns its name.
    ///
    /// # Examples
    ///
    /// ```
    /// let child = greenloop::process::Process::builder().name("indexer").start(|| ())?;
    /// assert_eq!(child.name(), "indexer");
    /// child.join()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.born.name
    }

    /// Returns `true` if it ends with its parent.
    ///
    /// # Examples
    ///
    /// ```
    /// let child = greenloop::process::Process::builder().daemon(true).start(|| ())?;
    /// assert!(child.is_daemon());
    /// child.join()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_daemon(&self) -> bool {
        self.born.is_daemon
    }

    /// Returns `true` if it has not ended. Does not yield.
    ///
    /// # Examples
    ///
    /// ```
    /// let child = greenloop::process::Process::start(|| greenloop::sleep(std::time::Duration::from_secs(1000)))?;
    /// assert!(child.is_alive());
    /// child.kill()?;
    /// child.wait()?;
    /// assert!(!child.is_alive());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_alive(&self) -> bool {
        self.born.is_ours() && self.born.end().is_none()
    }

    /// Returns what it ended with, in Python's form: 0 if the closure returned, 101 if it panicked, the number of `exit`, or minus the
    /// number of the signal that killed it. `None` if it runs, or if nobody can tell. Does not yield.
    ///
    /// # Examples
    ///
    /// ```
    /// let child = greenloop::process::Process::start(|| std::process::exit(3) as ())?;
    /// child.wait()?;
    /// assert_eq!(child.exit_code(), Some(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "exitcode")]
    pub fn exit_code(&self) -> Option<i32> {
        self.born.end()?.code()
    }

    /// Waits until it has ended, and returns its exit status. Later calls return it again.
    ///
    /// The calling green thread yields unless it has ended. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait, and
    /// leaves the process alone.
    ///
    /// # Errors
    ///
    /// Another process started it; or nobody can tell how it ended, see [`ProcessError`].
    ///
    /// # Examples
    ///
    /// ```
    /// let child = greenloop::process::Process::start(|| ())?;
    /// assert!(child.wait()?.success());
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(&self) -> io::Result<ExitStatus> {
        let status = self.status_until(None)?;
        Ok(status.expect("without a deadline it waits for the end"))
    }

    /// Like [`wait`](Process::wait), but waits at most `timeout`. Returns `None` if it has not ended by then.
    ///
    /// # Errors
    ///
    /// As [`wait`](Process::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let child = greenloop::process::Process::start(|| greenloop::sleep(Duration::from_secs(1000)))?;
    /// assert!(child.wait_timeout(Duration::from_millis(1))?.is_none());
    /// child.terminate()?;
    /// child.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        self.status_until(Some(Time::after(timeout)))
    }

    /// Like [`wait_timeout`](Process::wait_timeout), but waits until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`wait`](Process::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let child = greenloop::process::Process::start(|| greenloop::sleep(Duration::from_secs(1000)))?;
    /// assert!(child.wait_deadline(Instant::now())?.is_none());
    /// child.kill()?;
    /// child.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_deadline(&self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        self.status_until(Some(Time::from_instant(deadline)))
    }

    fn status_until(&self, deadline: Option<Time>) -> io::Result<Option<ExitStatus>> {
        Ok(match self.end_until(deadline)? {
            Some(End::Status(status)) => Some(ExitStatus::from_raw(status)),
            Some(End::Unknown(why)) => return Err(ProcessError::Unknown(why).into()),
            None => None,
        })
    }

    fn end_until(&self, deadline: Option<Time>) -> Result<Option<End>, ProcessError> {
        if !self.born.is_ours() {
            return Err(ProcessError::NotOurs);
        }
        Ok(self.born.wait_until(deadline)?)
    }

    /// Sends SIGTERM, unless it has ended. Does not wait for the end.
    ///
    /// # Errors
    ///
    /// Those of kill(2).
    ///
    /// # Examples
    ///
    /// ```
    /// let child = greenloop::process::Process::start(|| greenloop::sleep(std::time::Duration::from_secs(1000)))?;
    /// child.terminate()?;
    /// child.wait()?;
    /// assert_eq!(child.exit_code(), Some(-15));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn terminate(&self) -> io::Result<()> {
        self.send_signal(SIGTERM)
    }

    /// Sends SIGKILL, unless it has ended. Does not wait for the end.
    ///
    /// # Errors
    ///
    /// Those of kill(2).
    ///
    /// # Examples
    ///
    /// ```
    /// let child = greenloop::process::Process::start(|| greenloop::sleep(std::time::Duration::from_secs(1000)))?;
    /// child.kill()?;
    /// child.wait()?;
    /// assert_eq!(child.exit_code(), Some(-9));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn kill(&self) -> io::Result<()> {
        self.send_signal(SIGKILL)
    }

    /// Sends a signal, unless it has ended. Does not wait for its effect.
    ///
    /// # Errors
    ///
    /// Those of kill(2): `InvalidInput` if there is no such signal. [`ProcessError::NotOurs`] if another process started it.
    ///
    /// # Examples
    ///
    /// ```
    /// let child = greenloop::process::Process::start(|| greenloop::sleep(std::time::Duration::from_secs(1000)))?;
    /// child.send_signal(10)?; // SIGUSR1
    /// child.wait()?;
    /// assert_eq!(child.exit_code(), Some(-10));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_signal(&self, signal: i32) -> io::Result<()> {
        if !self.born.is_ours() {
            return Err(ProcessError::NotOurs.into());
        }
        self.born.signal(signal)
    }
}

impl<T: Wire> Process<T> {
    /// Waits until it has ended, and returns what the closure returned.
    ///
    /// The calling green thread yields unless it has ended. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait, and
    /// leaves the process alone.
    ///
    /// # Errors
    ///
    /// It left no value: see [`ProcessError`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::error::ProcessError;
    /// use greenloop::process::Process;
    ///
    /// assert_eq!(Process::start(|| "value".to_owned())?.join()?, "value");
    /// let error = Process::start(|| -> u32 { std::panic::resume_unwind(Box::new("no ink")) })?.join().unwrap_err();
    /// assert_eq!(error.to_string(), "the process panicked: no ink");
    /// let error = Process::start(|| -> u32 { std::process::exit(3) })?.join().unwrap_err();
    /// assert!(matches!(error, ProcessError::Exited(3)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join(self) -> Result<T, ProcessError> {
        let end = self.end_until(None)?;
        self.outcome(end.expect("without a deadline it waits for the end"))
    }

    /// Like [`join`](Process::join), but waits at most `limit`.
    ///
    /// # Errors
    ///
    /// Returns the process itself if it has not ended after `limit`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Process;
    /// use std::time::Duration;
    ///
    /// let child = Process::start(|| greenloop::sleep(Duration::from_secs(1000)))?;
    /// let child = child.join_timeout(Duration::from_millis(1)).unwrap_err();
    /// child.kill()?;
    /// assert!(child.join().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join_timeout(self, limit: Duration) -> Result<Result<T, ProcessError>, Process<T>> {
        match self.end_until(Some(Time::after(limit))) {
            Ok(Some(end)) => Ok(self.outcome(end)),
            Ok(None) => Err(self),
            Err(error) => Ok(Err(error)),
        }
    }

    fn outcome(&self, end: End) -> Result<T, ProcessError> {
        match (self.born.take_outcome(), end) {
            (Some(Outcome::Returned(value)), _) => value
                .decode()
                .ok_or_else(|| ProcessError::Undecodable("the bytes are no value of that type".to_owned())),
            (Some(Outcome::Panicked(message, backtrace)), _) => {
                Err(ProcessError::Panicked { message, backtrace })
            }
            (Some(Outcome::Unsendable(why)), _) => Err(ProcessError::Undecodable(why)),
            (None, end) => Err(end.without_a_value()),
        }
    }
}

/// Ready when the process has ended.
impl<T> Waitable for Process<T> {
    fn is_ready(&self) -> bool {
        // Also if another process started it: then a wait for it returns at once too.
        !self.is_alive()
    }

    fn subscribe(&self, notice: Notice) -> Subscription {
        match self.born.pidfd() {
            Some(pidfd) if self.is_alive() => {
                self.watches.subscribe(pidfd.as_fd(), Interest::READABLE, notice)
            }
            None if self.is_alive() => {
                crate::io::give_soon(notice);
                Subscription::none()
            }
            _ => {
                notice.give();
                Subscription::none()
            }
        }
    }

    fn unsubscribe(&self, subscription: Subscription) {
        self.watches.unsubscribe(subscription);
    }
}

/// A descriptor that is readable once the process has ended, or has told what came of it. This is Python's `sentinel`.
impl<T> AsFd for Process<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.born.pidfd() {
            Some(pidfd) => pidfd.as_fd(),
            None => self.born.line().as_fd(),
        }
    }
}

impl<T> fmt::Debug for Process<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Born { id, name, is_daemon, .. } = &*self.born;
        formatter
            .debug_struct("Process")
            .field("id", id)
            .field("name", name)
            .field("is_daemon", is_daemon)
            .finish_non_exhaustive()
    }
}
