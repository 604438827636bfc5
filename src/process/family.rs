//! Who this process is, and whose.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::wire::{Incoming, Outgoing, Wire};
use crate::io::{Interest, wait_fd};
use crate::sys::heirloom::Heirloom;
use crate::sys::lock::Lock;
use crate::sys::{descriptor, poll, process};
use crate::task;

const FIRST: &str = "main";

/// What a child is told of itself.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) is_daemon: bool,
    pub(super) parent: u32,
    pub(super) parent_name: String,
}

/// This process, if it was started as a [`Process`](super::Process).
static SELF: Lock<Option<Known>> = Lock::new(None);

#[derive(Debug, Clone)]
struct Known {
    /// A plain fork of it is another.
    id: u32,
    name: Arc<str>,
    is_daemon: bool,
    parent: Parent,
    /// Kept open, since the kernel looks at it.
    _lifeline: Option<Arc<Heirloom>>,
}

fn known() -> Option<Known> {
    let known = SELF.lock().clone();
    known.filter(|known| known.id == std::process::id())
}

/// The calling process: see [`current`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    id: u32,
    name: Arc<str>,
    is_daemon: bool,
}

impl Current {
    /// Returns its number.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::process::current().id(), std::process::id());
    /// ```
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Returns the name that it was started with; `main` for the first.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::process::current().name(), "main");
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns `true` if it ends with its parent.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!greenloop::process::current().is_daemon());
    /// ```
    pub fn is_daemon(&self) -> bool {
        self.is_daemon
    }
}

/// Returns what the calling process is called. Does not yield.
///
/// # Examples
///
/// ```
/// use greenloop::process::{Process, current};
///
/// let child = Process::builder().name("indexer").start(|| current().name().to_owned())?;
/// assert_eq!(child.join()?, "indexer");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "current_process")]
pub fn current() -> Current {
    match known() {
        Some(Known { id, name, is_daemon, .. }) => Current { id, name, is_daemon },
        None => Current { id: std::process::id(), name: FIRST.into(), is_daemon: false },
    }
}

/// The process that started the calling one: see [`parent`].
#[derive(Clone)]
pub struct Parent {
    id: u32,
    name: Arc<str>,
    /// `None` if it had ended before, or the kernel has no such descriptors.
    pidfd: Option<Arc<Heirloom>>,
}

/// Returns the process that started the calling one. `None` in the first. Does not yield.
///
/// # Examples
///
/// ```
/// use greenloop::process::{Process, parent};
///
/// assert!(parent().is_none());
/// let child = Process::start(|| parent().unwrap().id())?;
/// assert_eq!(child.join()?, std::process::id());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "parent_process")]
pub fn parent() -> Option<Parent> {
    known().map(|known| known.parent)
}

impl Parent {
    /// Returns its number.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Process, parent};
    ///
    /// let child = Process::start(|| parent().unwrap().id())?;
    /// assert_eq!(child.join()?, std::process::id());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Returns its name.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Process, parent};
    ///
    /// let child = Process::start(|| parent().unwrap().name().to_owned())?;
    /// assert_eq!(child.join()?, "main");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns `true` if it has not ended. Does not yield.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Process, parent};
    ///
    /// let child = Process::start(|| parent().unwrap().is_alive())?;
    /// assert!(child.join()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_alive(&self) -> bool {
        let ended = |fd: &Arc<Heirloom>| {
            poll::check(fd.as_fd(), Interest::READABLE).map_or(true, |ready| !ready.is_none())
        };
        self.pidfd.as_ref().is_some_and(|fd| !ended(fd))
    }

    /// Waits at most `timeout` until it has ended, and returns `true` if it has.
    ///
    /// The calling green thread yields. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait.
    ///
    /// # Errors
    ///
    /// Those of waiting for a descriptor.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Process, parent};
    /// use std::time::Duration;
    ///
    /// let child = Process::start(|| parent().unwrap().wait_timeout(Duration::from_millis(1)).unwrap())?;
    /// assert!(!child.join()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> io::Result<bool> {
        let Some(pidfd) = &self.pidfd else { return Ok(true) };
        match wait_fd(&**pidfd, Interest::READABLE, Some(timeout)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for Parent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Parent")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Of a child of the calling process. Whether it ends with that is inherited.
    pub(super) fn of_child(name: String, is_daemon: Option<bool>) -> Identity {
        let Current { id, name: parent_name, is_daemon: inherited } = current();
        let is_daemon = is_daemon.unwrap_or(inherited);
        Identity { name, is_daemon, parent: id, parent_name: (*parent_name).to_owned() }
    }

    /// In the child: this is who it is from now on. `is_own` says whether the parent forked it itself.
    pub(super) fn assume(self, is_own: bool, lifeline: Option<OwnedFd>) {
        let Identity { name, is_daemon, parent, parent_name } = self;
        let pidfd = process::open_pidfd(parent).ok();
        // A number may have been given to another since.
        let pidfd = pidfd.filter(|_| !is_own || std::os::unix::process::parent_id() == parent);
        let parent =
            Parent { id: parent, name: parent_name.into(), pidfd: pidfd.map(Heirloom::new).map(Arc::new) };
        let lifeline = lifeline.map(Heirloom::new).map(Arc::new);
        if is_daemon {
            end_with(&parent, lifeline.as_ref());
        }
        let known =
            Known { id: std::process::id(), name: name.into(), is_daemon, parent, _lifeline: lifeline };
        // What was there is the parent's own.
        std::mem::forget(SELF.lock().replace(known));
    }
}

/// A pipe, of which the child gets the reader, and the parent keeps the writer, if the child is to end with it and the kernel would not know
/// its parent: the kernel's own way is tied to the OS thread that forked, and only the main thread does not end before its process.
pub(super) fn lifeline(is_daemon: bool, is_own: bool) -> io::Result<Option<(OwnedFd, Heirloom)>> {
    if !is_daemon || is_own && process::on_main_thread() {
        return Ok(None);
    }
    let (reader, writer) = descriptor::pipe()?;
    Ok(Some((reader, Heirloom::new(writer))))
}

/// Ends this process when its parent ends.
fn end_with(parent: &Parent, lifeline: Option<&Arc<Heirloom>>) {
    let (is_asked, has_ended) = match lifeline {
        Some(lifeline) => (process::die_at_hang_up(lifeline.as_fd()).is_ok(), is_hung_up(lifeline)),
        None => (process::die_with_parent().is_ok(), std::os::unix::process::parent_id() != parent.id),
    };
    if has_ended {
        process::end_now(KILLED);
    }
    if is_asked && (lifeline.is_none() || parent.pidfd.is_none()) {
        return;
    }
    // Other forks of the parent may have the pipe, too.
    if let Some(end) = parent.pidfd.as_ref().or(lifeline) {
        end_at(end, KILLED);
    }
}

/// Ends this process, in which nobody is to hear of it, when its parent has ended.
pub(super) fn end_after_parent() {
    if let Some(Parent { pidfd: Some(pidfd), .. }) = parent() {
        end_at(&pidfd, 0);
    }
}

/// Has a green thread end this process when `end` is readable.
fn end_at(end: &Arc<Heirloom>, status: i32) {
    let end = end.clone();
    drop(task::spawn(move || {
        // It fails where there are no descriptors to wait with.
        while wait_fd(&*end, Interest::READABLE, None).is_err() && !is_hung_up(&end) {
            task::sleep(PAUSE);
        }
        process::end_now(status)
    }));
}

fn is_hung_up(lifeline: &Heirloom) -> bool {
    poll::check(lifeline.as_fd(), Interest::READABLE).is_ok_and(|ready| !ready.is_none())
}

/// Where it cannot be waited for, it is looked at so often.
const PAUSE: Duration = Duration::from_millis(5);

/// What a daemon ends with that has seen its parent's end: as a shell tells of SIGKILL.
const KILLED: i32 = 128 + 9;

impl Wire for Identity {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        self.name.put(into);
        self.is_daemon.put(into);
        self.parent.put(into);
        self.parent_name.put(into);
    }

    fn take(from: &mut Incoming<'_>) -> Option<Identity> {
        let name = String::take(from)?;
        let is_daemon = bool::take(from)?;
        Some(Identity { name, is_daemon, parent: u32::take(from)?, parent_name: String::take(from)? })
    }
}
