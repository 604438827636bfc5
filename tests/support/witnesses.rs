//! Values that tell what has become of them.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// What happened, in order; shared by those of one OS thread.
#[derive(Debug)]
pub(crate) struct Log<T = String>(Rc<RefCell<Vec<T>>>);

impl<T> Log<T> {
    pub(crate) fn new() -> Log<T> {
        Log(Rc::new(RefCell::new(Vec::new())))
    }

    pub(crate) fn push(&self, entry: T) {
        self.0.borrow_mut().push(entry);
    }

    pub(crate) fn take(&self) -> Vec<T> {
        self.0.take()
    }
}

impl Log {
    /// [`push`](Log::push) of what `what` says.
    pub(crate) fn add(&self, what: impl ToString) {
        self.push(what.to_string());
    }
}

impl<T> Default for Log<T> {
    fn default() -> Log<T> {
        Log::new()
    }
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Log<T> {
        Log(self.0.clone())
    }
}

/// A value that counts how many of its kind there are.
#[derive(Debug)]
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub(crate) fn new(count: &Arc<AtomicUsize>) -> Counted {
        count.fetch_add(1, SeqCst);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// A value that counts how many of its kind were dropped.
pub(crate) struct CountsDrops(pub(crate) Rc<Cell<u32>>);

impl Drop for CountsDrops {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// Calls a function when it is dropped.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Raises `text`, past the panic hook.
pub(crate) fn raise(text: &'static str) -> ! {
    resume_unwind(Box::new(text))
}

/// The text that was raised.
pub(crate) fn text(payload: &(dyn Any + Send)) -> &str {
    payload.downcast_ref::<&'static str>().expect("a text was raised")
}
