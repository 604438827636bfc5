//! A running process.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::end_watch::EndWatch;
use super::reaper::reap;
use crate::error::Unwinding;
use crate::hub::waiter::is_unwinding;
use crate::io::{Interest, Pauses, PipeReader, PipeWriter, Watches, give_soon, wait_fd};
use crate::sys::clock::Time;
use crate::sys::{descriptor, process};
use crate::task::{Notice, Subscription, Waitable};

/// A child's standard input.
pub type ChildStdin = PipeWriter;
/// A child's standard output.
pub type ChildStdout = PipeReader;
/// A child's standard error.
pub type ChildStderr = PipeReader;

/// A child process: [`std::process::Child`], except that waiting lets other green threads run.
///
/// It can be waited for together with other things, by [`wait`](crate::wait) and its siblings.
///
/// Dropping it leaves the process running, and its exit status in the kernel when it ends, as with std. If it was started with
/// [`kill_on_drop`](super::Command::kill_on_drop), dropping it kills the process.
///
/// # Examples
///
/// ```
/// use greenloop::process::{Command, Stdio};
/// use std::io::{Read, Write};
///
/// let mut sort = Command::new("sort").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// sort.stdin.take().unwrap().write_all(b"b\na\n")?;
/// let mut sorted = String::new();
/// sort.stdout.take().unwrap().read_to_string(&mut sorted)?;
/// assert_eq!(sorted, "a\nb\n");
/// assert!(sort.wait()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "Popen")]
pub struct Child {
    /// The writing end of its standard input, if that was piped. Dropped, the child reads the end of it.
    pub stdin: Option<ChildStdin>,
    /// The reading end of its standard output, if that was piped.
    pub stdout: Option<ChildStdout>,
    /// The reading end of its standard error, if that was piped.
    pub stderr: Option<ChildStderr>,
    process: Process,
    /// Opened by the first wait.
    ending: OnceLock<EndWatch>,
    watches: Watches,
    /// Whether the exit status is known.
    waited_for: bool,
}

/// Apart from the pipes, so that those can be moved out: of what has a destructor nothing can.
struct Process {
    /// `None` while it is dropped.
    inner: Option<std::process::Child>,
    kill_on_drop: bool,
}

impl Child {
    pub(super) fn new(mut inner: std::process::Child, kill_on_drop: bool) -> Child {
        let stdin = inner.stdin.take().map(|pipe| OwnedFd::from(pipe).into());
        let stdout = inner.stdout.take().map(|pipe| OwnedFd::from(pipe).into());
        let stderr = inner.stderr.take().map(|pipe| OwnedFd::from(pipe).into());
        Child {
            stdin,
            stdout,
            stderr,
            process: Process { inner: Some(inner), kill_on_drop },
            ending: OnceLock::new(),
            watches: Watches::new(),
            waited_for: false,
        }
    }

    fn inner(&self) -> &std::process::Child {
        self.process.inner.as_ref().expect("it is there until it is dropped")
    }

    fn inner_mut(&mut self) -> &mut std::process::Child {
        self.process.inner.as_mut().expect("it is there until it is dropped")
    }

    /// Returns the number of the process.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut child = greenloop::process::Command::new("true").spawn()?;
    /// assert_ne!(child.id(), greenloop::process::id());
    /// child.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "pid")]
    pub fn id(&self) -> u32 {
        self.inner().id()
    }

    /// Sends SIGKILL, unless the exit status is known already. Does not wait for the end.
    ///
    /// # Errors
    ///
    /// Those of kill(2).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    ///
    /// let mut child = greenloop::process::Command::new("sleep").arg("1000").spawn()?;
    /// child.kill()?;
    /// assert_eq!(child.wait()?.signal(), Some(9));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn kill(&mut self) -> io::Result<()> {
        self.inner_mut().kill()
    }

    /// Sends a signal, unless the process has ended. Does not wait for its effect.
    ///
    /// # Errors
    ///
    /// Those of kill(2): `InvalidInput` if there is no such signal.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    ///
    /// let mut child = greenloop::process::Command::new("sleep").arg("1000").spawn()?;
    /// child.send_signal(15)?; // SIGTERM
    /// assert_eq!(child.wait()?.signal(), Some(15));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "terminate")]
    pub fn send_signal(&mut self, signal: i32) -> io::Result<()> {
        match self.try_wait()? {
            Some(_ended) => Ok(()),
            None => process::send_signal(self.id(), signal),
        }
    }

    /// Returns the exit status, if the process has ended. Does not yield.
    ///
    /// # Errors
    ///
    /// ECHILD if other code has taken the status, or SIGCHLD is ignored.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Command, Stdio};
    ///
    /// let mut child = Command::new("cat").stdin(Stdio::piped()).spawn()?;
    /// assert!(child.try_wait()?.is_none());
    /// drop(child.stdin.take());
    /// child.wait()?;
    /// assert!(child.try_wait()?.is_some_and(|status| status.success()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias("poll", "returncode"))]
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.inner_mut().try_wait()?;
        self.waited_for |= status.is_some();
        Ok(status)
    }

    /// Waits until the process has ended, and returns its exit status. Later calls return it again.
    ///
    /// Drops [`stdin`](Child::stdin) first, so that a child that reads to the end of its input can end. The calling green thread yields unless the process has ended. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait, and leaves the process alone.
    ///
    /// # Errors
    ///
    /// As [`try_wait`](Child::try_wait). Having no descriptor left is no error: then the calling green thread looks every 1 to 50 ms.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut child = greenloop::process::Command::new("sh").args(["-c", "exit 3"]).spawn()?;
    /// assert_eq!(child.wait()?.code(), Some(3));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "waitpid")]
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        let status = self.wait_until(None)?;
        Ok(status.expect("without a deadline it waits for the end"))
    }

    /// Like [`wait`](Child::wait), but waits at most `timeout`. Returns `None` if the process has not ended by then. Leaves
    /// [`stdin`](Child::stdin) open.
    ///
    /// # Errors
    ///
    /// As [`wait`](Child::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut child = greenloop::process::Command::new("sleep").arg("1000").spawn()?;
    /// assert!(child.wait_timeout(Duration::from_millis(5))?.is_none());
    /// child.kill()?;
    /// assert!(child.wait_timeout(Duration::from_secs(60))?.is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        self.wait_until(Some(Time::after(timeout)))
    }

    /// Like [`wait_timeout`](Child::wait_timeout), but waits until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`wait`](Child::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// let mut child = greenloop::process::Command::new("sleep").arg("1000").spawn()?;
    /// assert!(child.wait_deadline(std::time::Instant::now())?.is_none());
    /// child.kill()?;
    /// child.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_deadline(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        self.wait_until(Some(Time::from_instant(deadline)))
    }

    pub(super) fn wait_until(&mut self, deadline: Option<Time>) -> io::Result<Option<ExitStatus>> {
        let mut pauses = Pauses::until(deadline.unwrap_or(Time::NEVER));
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(Some(status));
            }
            let left = deadline.map(|deadline| Time::now().until(deadline));
            match self.ending().and_then(|ending| wait_fd(ending, Interest::READABLE, left)) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return self.try_wait(),
                Err(error) if descriptor::is_shortage(&error) => match pauses.pause() {
                    true => {}
                    false if is_unwinding() => return Err(Unwinding.into()),
                    false => return self.try_wait(),
                },
                ready => drop(ready?),
            }
        }
    }

    fn ending(&self) -> io::Result<&EndWatch> {
        if let Some(ending) = self.ending.get() {
            return Ok(ending);
        }
        let ending = EndWatch::of(self.id())?;
        Ok(self.ending.get_or_init(|| ending))
    }
}

/// Ready when the process has ended. The status is left to [`wait`](Child::wait).
impl Waitable for Child {
    fn is_ready(&self) -> bool {
        // If it cannot be found out, a wait returns at once too, with that error.
        self.waited_for || process::has_ended(self.id()).unwrap_or(true)
    }

    fn subscribe(&self, notice: Notice) -> Subscription {
        match self.ending() {
            Ok(ending) if !self.waited_for => {
                self.watches.subscribe(ending.as_fd(), Interest::READABLE, notice)
            }
            Err(error) if descriptor::is_shortage(&error) && !self.waited_for => {
                give_soon(notice);
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

/// With its pipes, which are greenloop's from now on.
impl From<std::process::Child> for Child {
    fn from(inner: std::process::Child) -> Child {
        Child::new(inner, false)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(mut inner) = self.inner.take().filter(|_| self.kill_on_drop) else { return };
        if inner.kill().is_ok() && matches!(inner.try_wait(), Ok(None)) {
            reap(inner);
        }
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Child")
            .field("id", &self.id())
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .finish_non_exhaustive()
    }
}
