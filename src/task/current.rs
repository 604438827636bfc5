//! What a green thread knows of itself.

use std::panic::Location;
use std::sync::Arc;

use super::record::TaskId;
use crate::fiber;

/// A green thread as it sees itself: what [`current`] returns.
#[derive(Debug, Clone)]
pub struct Current {
    id: TaskId,
    name: Option<Arc<str>>,
    place: &'static Location<'static>,
}

/// Returns the green thread that calls, and `None` in the main greenlet, on an OS thread that never used greenloop, and in a
/// [greenlet](crate::greenlet) made by hand.
///
/// Never yields, and may be called anywhere, in a panic hook too. [`std::thread::current`] is the OS thread that all green threads of a
/// hub have in common.
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
    /// Returns the number that its [`JoinHandle::id`](crate::JoinHandle::id) has too.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Returns the name given by [`Builder::name`](crate::Builder::name).
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the place where it was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.place
    }

    pub(super) fn shared_name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }
}
