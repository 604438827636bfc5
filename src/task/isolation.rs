//! Green threads with thread-local variables of their own.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::fiber::isolation::Variables;

use crate::hub::door::BYSTANDERS;
use crate::hub::{hub, lend_hub};

/// Whether all that are spawned from now on are isolated.
static ALL: AtomicBool = AtomicBool::new(false);

/// Sets whether green threads are isolated whose builder does not say.
pub(crate) fn isolate_all(isolated: bool) {
    // Relaxed: nothing else is published with it.
    ALL.store(isolated, Ordering::Relaxed);
}

#[inline]
pub(super) fn are_all_isolated() -> bool {
    // Relaxed: see `isolate_all`.
    ALL.load(Ordering::Relaxed)
}

/// What an isolated green thread runs with, until it ends.
#[derive(Debug)]
pub(super) struct Isolation {
    variables: Variables,
    _bystander: Bystander,
}

/// The OS thread that the variables belong to, which wakes nobody.
#[derive(Debug)]
struct Bystander;

impl Drop for Bystander {
    fn drop(&mut self) {
        BYSTANDERS.remove();
    }
}

impl Isolation {
    #[cold]
    pub(super) fn new(name: Option<&str>) -> io::Result<Box<Isolation>> {
        let variables = Variables::new(name)?;
        BYSTANDERS.add();
        Ok(Box::new(Isolation { variables, _bystander: Bystander }))
    }

    /// Runs `body`, which does not unwind.
    #[cold]
    pub(super) fn run<T>(&self, body: impl FnOnce() -> T) -> T {
        let hub = hub();
        let (body, result) = (Cell::new(Some(body)), Cell::new(None));
        self.variables.run(&mut || lend_hub(hub, || result.set(body.take().map(|body| body()))));
        result.take().expect("it has run")
    }
}
