//! What a green thread knows of itself.

use std::panic::Location;
use std::sync::Arc;

use super::record::TaskId;
use crate::fiber;

/// A green thread as it sees itself. [`current`] returns it.
#[derive(Debug, Clone)]
pub struct Current {
    id: TaskId,
    name: Option<Arc<str>>,
    place: &'static Location<'static>,
}

/// Returns the green thread that is running.
///
/// It is `None` in the main greenlet, on an OS thread that never used greenloop, and in a [greenlet](crate::greenlet) made by
/// hand. The call never yields, and may be made anywhere, in a panic hook too. [`std::thread::current`] returns the OS thread,
/// which all green threads of a hub have in common.
///
/// # Examples
///
/// ```
/// use greenloop::{Builder, current};
///
/// let worker = Builder::new().name("worker").spawn(|| current().unwrap())?;
/// let id = worker.id();
/// let itself = worker.join().unwrap();
/// assert_eq!((itself.name(), itself.id()), (Some("worker"), id));
/// assert!(current().is_none());
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias("getcurrent", "current_thread", "current_task"))]
pub fn current() -> Option<Current> {
    let fiber = fiber::existing_thread()?.current();
    let description = fiber.description()?;
    Some(Current {
        id: TaskId(description.id()?),
        name: description.name().cloned(),
        place: description.spawned_at(),
    })
}

impl Current {
    /// Returns the green thread's number, which its [`JoinHandle::id`](crate::JoinHandle::id) returns too.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{current, spawn};
    ///
    /// let task = spawn(|| current().unwrap().id());
    /// let id = task.id();
    /// assert_eq!(task.join().unwrap(), id);
    /// ```
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Returns the name given by [`Builder::name`](crate::Builder::name), if any.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Builder, current};
    ///
    /// let worker = Builder::new().name("worker").spawn(|| current().unwrap().name().map(str::to_owned))?;
    /// assert_eq!(worker.join().unwrap().as_deref(), Some("worker"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the place in the source where the green thread was spawned.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{current, spawn};
    ///
    /// let task = spawn(|| current().unwrap().spawned_at());
    /// let place = task.spawned_at();
    /// assert_eq!(task.join().unwrap(), place);
    /// ```
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.place
    }

    pub(super) fn shared_name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }
}
