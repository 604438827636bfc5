//! Starting a process.

use std::io::{self, Write};
use std::sync::Arc;

use super::body;
use super::born::{self, Born};
use super::family::{self, Identity};
use super::handle::Process;
use super::handover;
use super::line::Line;
use super::report::Report;
use super::wire::Wire;
use crate::error::{StartError, Unwinding};
use crate::hub::birth::{Childless, fork_alone};
use crate::hub::waiter::is_unwinding;

/// Settings of a [`Process`] that is to be started: see [`Process::builder`].
#[derive(Debug, Clone, Default)]
pub struct ProcessBuilder {
    name: Option<String>,
    is_daemon: Option<bool>,
    /// The names of ends that the child keeps, beside those that the closure owns.
    passed: Vec<u64>,
}

impl Process<()> {
    /// Forks a child that runs `run`, and returns at once. The child's result is had by [`join`](Process::join).
    ///
    /// Only where that is safe: see [`Process`]. It takes as long as the kernel needs to copy the page tables: 0.1 ms in a small process,
    /// and 10 to 60 ms where a gigabyte is in use. A [`Zygote`](super::Zygote) stays small.
    ///
    /// The closure is dropped here, with what it owns, once the child is there. It may borrow, for the child has a copy of everything.
    ///
    /// # Errors
    ///
    /// [`StartError::ForeignThreads`] if the process has OS threads other than the calling one and idle ones of pools; those of fork(2).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::error::StartError;
    /// use greenloop::process::Process;
    ///
    /// assert_eq!(Process::start(|| 6 * 7)?.join()?, 42);
    ///
    /// let child = Process::start(|| std::fs::read_to_string("/proc/self/comm"))?;
    /// assert!(!child.join()??.is_empty()); // an error of the process, and one of the closure
    ///
    /// let (release, wait) = std::sync::mpsc::channel::<()>();
    /// let thread = std::thread::spawn(move || wait.recv());
    /// let refused = Process::start(|| ()).unwrap_err();
    /// assert!(matches!(refused, StartError::ForeignThreads { count: 1 }));
    /// # drop(release);
    /// # let _ = thread.join();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start<T: Wire>(run: impl FnOnce() -> T) -> Result<Process<T>, StartError> {
        Process::builder().start(run)
    }

    /// Returns the settings of a process that is yet to be started.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Process;
    ///
    /// let child = Process::builder().name("indexer").daemon(true).start(|| 7)?;
    /// assert_eq!((child.name(), child.is_daemon()), ("indexer", true));
    /// assert_eq!(child.join()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> ProcessBuilder {
        ProcessBuilder::default()
    }
}

impl ProcessBuilder {
    /// Sets its name, by default `process`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Process;
    ///
    /// let child = Process::builder().name("indexer").start(|| ())?;
    /// assert_eq!(child.name(), "indexer");
    /// child.join()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> ProcessBuilder {
        self.name = Some(name.into());
        self
    }

    /// Sets whether it ends when the calling process ends, however that comes. By default it is as the calling process is.
    ///
    /// The kernel kills it, whatever it does at that moment. If the calling process has forked by other ways than these, and the child came
    /// from a zygote or from another OS thread than the main one, it ends with the last of those forks, or as soon as its hub runs.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Process;
    ///
    /// let child = Process::builder().daemon(true).start(|| greenloop::process::current().is_daemon())?;
    /// assert!(child.join()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn daemon(mut self, is_daemon: bool) -> ProcessBuilder {
        self.is_daemon = Some(is_daemon);
        self
    }

    /// Has the child keep the ends of these names, too.
    pub(super) fn keeping(mut self, names: &[u64]) -> ProcessBuilder {
        self.passed.extend(names);
        self
    }

    /// Starts it: see [`Process::start`].
    ///
    /// # Errors
    ///
    /// As [`Process::start`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Process;
    ///
    /// let child = Process::builder().name("answer").start(|| 42)?;
    /// assert_eq!(child.join()?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A builder starts one process, a clone of it another:
    ///
    /// ```compile_fail,E0382
    /// let builder = greenloop::process::Process::builder();
    /// let first = builder.start(|| 1)?;
    /// let second = builder.start(|| 2)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start<T: Wire>(self, run: impl FnOnce() -> T) -> Result<Process<T>, StartError> {
        self.bear(run, false).map(Process::new)
    }

    /// Starts one that is not among the active children.
    pub(super) fn start_hidden<T: Wire>(self, run: impl FnOnce() -> T) -> Result<Process<T>, StartError> {
        self.bear(run, true).map(Process::new)
    }

    pub(super) fn identity(self) -> Identity {
        Identity::of_child(self.name.unwrap_or_else(|| "process".to_owned()), self.is_daemon)
    }

    fn bear<T: Wire>(mut self, run: impl FnOnce() -> T, is_hidden: bool) -> Result<Arc<Born>, StartError> {
        if is_unwinding() {
            return Err(Unwinding.into());
        }
        let passed = std::mem::take(&mut self.passed);
        // What has ended gives its number back first.
        born::running();
        let identity = self.identity();
        let (name, is_daemon) = (identity.name.clone(), identity.is_daemon);
        let (ours, theirs) = Line::pair()?;
        let (mut lifeline, kept) = family::lifeline(is_daemon, true)?.unzip();
        // What stands in the buffer would be written twice.
        let _ = io::stdout().flush();
        let mut run = Some(run);
        let live = || match run.take() {
            Some(run) => body::live(&theirs, identity, true, lifeline.take(), run),
            None => unreachable!("it is taken once"),
        };
        let id = fork_alone(|| body::inherit(&theirs), live)?;
        let born = Born::of_own(id, ours, name, is_daemon, is_hidden, kept);
        born::enlist(&born);
        let mut handing = Handing { born: &born, names: passed };
        handing.names.extend(handover::ends_of(run));
        drop(handing);
        Ok(born)
    }
}

/// Tells the child what it has been handed, in any case: it waits for that.
struct Handing<'a> {
    born: &'a Arc<Born>,
    names: Vec<u64>,
}

impl Drop for Handing<'_> {
    fn drop(&mut self) {
        Report::Handed(std::mem::take(&mut self.names)).tell(self.born.line());
    }
}

impl From<Childless> for StartError {
    fn from(childless: Childless) -> StartError {
        match childless {
            Childless::ForeignThreads(count) => StartError::ForeignThreads { count },
            Childless::System(error) => StartError::System(error),
        }
    }
}
