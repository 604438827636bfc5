//! Functions that are called once, and can be taken back until then.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Weak};

use crate::hub::waitlist::Ticket;
use crate::sys::lock::Lock;

/// A function, in the list of whom it is linked to until that is told, and then on its way to be called.
pub(crate) struct Linked<A> {
    /// The number of whom it is linked to.
    owner: u64,
    /// Taken when it is called, or taken back.
    function: Lock<Option<Function<A>>>,
}

type Function<A> = Box<dyn FnOnce(A) + Send>;

impl<A: 'static> Linked<A> {
    pub(crate) fn new(owner: u64, function: impl FnOnce(A) + Send + 'static) -> Arc<Linked<A>> {
        Arc::new(Linked { owner, function: Lock::new(Some(Box::new(function))) })
    }

    /// Calls it, unless it has been called or taken back.
    pub(crate) fn call(&self, argument: A) {
        let function = self.function.lock().take();
        if let Some(function) = function {
            function(argument);
        }
    }
}

trait TakeBack: Send + Sync {
    fn owner(&self) -> u64;

    /// Returns whether it was there.
    fn take_back(&self) -> bool;
}

impl<A> TakeBack for Linked<A> {
    fn owner(&self) -> u64 {
        self.owner
    }

    fn take_back(&self) -> bool {
        let function = self.function.lock().take();
        function.is_some()
    }
}

/// A function that was linked to a green thread, an event or a result, and can be taken back.
///
/// [`JoinHandle::link`](crate::JoinHandle::link) and its siblings return it. Only the object that returned it can take it back.
///
/// # Examples
///
/// ```
/// use greenloop::spawn;
///
/// let (task, other) = (spawn(|| ()), spawn(|| ()));
/// let link = task.link(|_| ());
/// assert!(!other.unlink(link)); // it is the other's
/// ```
pub struct Link {
    /// Its place in the list, if it was ever in one.
    ticket: Option<Ticket>,
    function: Weak<dyn TakeBack>,
}

impl UnwindSafe for Link {}
impl RefUnwindSafe for Link {}

impl Link {
    pub(crate) fn new<A: 'static>(ticket: Option<Ticket>, function: &Arc<Linked<A>>) -> Link {
        let function: Arc<dyn TakeBack> = function.clone();
        Link { ticket, function: Arc::downgrade(&function) }
    }

    /// Takes the function back from `owner`, who `remove`s it from its list. Returns whether it had not been called.
    pub(crate) fn take_back<R>(self, owner: u64, remove: impl FnOnce(Ticket) -> R) -> bool {
        let Some(function) = self.function.upgrade().filter(|function| function.owner() == owner) else {
            return false;
        };
        // Dropped with no lock held: it owns code of others.
        drop(self.ticket.map(remove));
        function.take_back()
    }
}

impl PartialEq for Link {
    fn eq(&self, other: &Link) -> bool {
        Weak::ptr_eq(&self.function, &other.function)
    }
}

impl Eq for Link {}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Link { .. }")
    }
}
