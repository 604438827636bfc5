//! Green threads with thread-local variables of their own.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::StackError;
use crate::fiber::isolation::{Variables, destroy, is_reserved};
use crate::hub::{hub, lend_hub};

/// Whether all that are spawned from now on are isolated.
static ALL: AtomicBool = AtomicBool::new(false);

/// Sets whether green threads are isolated whose builder does not say.
pub(crate) fn isolate_all(isolated: bool) {
    // Relaxed: nothing else is published with it.
    ALL.store(isolated, Ordering::Relaxed);
}

/// Which thread-local variables a green thread is to run with, until it begins.
#[derive(Debug)]
pub(super) enum Isolation {
    /// Those of its OS thread.
    Not,
    /// Some of its own, which it takes when it begins: so a burst of spawns needs no more than run at once.
    OnBeginning,
    /// These: its spawn was to tell whether there are any.
    With(Variables),
}

impl Isolation {
    /// For one whose builder does not say.
    #[inline]
    pub(super) fn by_default() -> Isolation {
        // Relaxed: see `isolate_all`.
        if ALL.load(Ordering::Relaxed) { Isolation::OnBeginning } else { Isolation::Not }
    }

    /// For one whose builder says so.
    pub(super) fn chosen(isolated: bool) -> io::Result<Isolation> {
        if isolated { Variables::take().map(Isolation::With) } else { Ok(Isolation::Not) }
    }

    /// What it begins with: `None` for those of its OS thread.
    #[inline]
    pub(super) fn begin(self) -> Result<Option<Variables>, StackError> {
        match self {
            // Relaxed: see `isolate_all`. No reservation is made while they are not isolated.
            Isolation::Not if !(ALL.load(Ordering::Relaxed) && is_reserved()) => Ok(None),
            Isolation::Not | Isolation::OnBeginning => {
                Variables::take().map(Some).map_err(StackError::Variables)
            }
            Isolation::With(variables) => Ok(Some(variables)),
        }
    }
}

/// Runs `body`, which does not unwind, with variables of its own, and destroys these.
#[cold]
pub(super) fn run_with<T>(variables: Variables, body: impl FnOnce() -> T) -> T {
    let hub = hub();
    let (body, result) = (Cell::new(Some(body)), Cell::new(None));
    variables.run(&mut || {
        lend_hub(hub, || {
            result.set(body.take().map(|body| body()));
            destroy();
        });
    });
    result.take().expect("it has run")
}
