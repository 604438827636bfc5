//! Functions that are called when something is ready: gevent's links.

use std::sync::Arc;
use std::task::Wake;

use crate::hub::remote::{Door, Letter};
use crate::hub::waiter::Notify;
use crate::hub::{hub, local_hub};
use crate::sys::lock::Lock;
use crate::task::{Notice, spawn};

/// A function, and the hub of the thread that linked it, which is to run it.
struct Linked {
    door: &'static Door,
    epoch: u32,
    /// Taken when it is told.
    function: Lock<Option<Box<dyn FnOnce() + Send>>>,
    /// Whether the hub itself runs it, and not a green thread.
    raw: bool,
}

/// A notice that runs `function` in a green thread of the calling thread's hub.
pub(super) fn in_green_thread(function: impl FnOnce() + Send + 'static) -> Notice {
    notice(Box::new(function), false)
}

/// A notice that runs `function` in the calling thread's hub itself, where nothing may wait.
pub(super) fn in_hub(function: impl FnOnce() + Send + 'static) -> Notice {
    notice(Box::new(function), true)
}

fn notice(function: Box<dyn FnOnce() + Send>, raw: bool) -> Notice {
    let hub = hub();
    let linked = Linked { door: hub.door(), epoch: hub.epoch(), function: Lock::new(Some(function)), raw };
    Notice(Notify::Task(Arc::new(linked).into()))
}

impl Wake for Linked {
    fn wake(self: Arc<Linked>) {
        let Some(function) = self.function.lock().take() else { return };
        let at_home = local_hub().is_some_and(|hub| hub.door().is(self.door) && hub.epoch() == self.epoch);
        let errand = match self.raw {
            true => function,
            false if at_home => return drop(spawn(function)),
            false => Box::new(|| drop(spawn(function))),
        };
        // A hub that is gone runs nothing.
        self.door.send(self.epoch, Letter::Run(errand));
    }
}
