//! Which ends a closure owns: those whose handles are dropped when the parent drops its copy of the closure.

use std::cell::RefCell;

use super::wire::{Outgoing, Wire};
use crate::sys::heirloom;

thread_local! {
    /// The names of the ends whose handles were dropped since the recording began.
    static RECORDING: RefCell<Option<Vec<u64>>> = const { RefCell::new(None) };
}

/// A handle of this end is dropped.
pub(super) fn note(name: u64) {
    // Where the thread's variables are gone, no process is started.
    let _ = RECORDING.try_with(|recording| {
        if let Some(names) = recording.borrow_mut().as_mut() {
            names.push(name);
        }
    });
}

/// The names of the ends that a value has in it.
pub(crate) fn names_of<W: Wire>(value: &W) -> Vec<u64> {
    let mut message = Outgoing::new();
    value.put(&mut message);
    let (_, descriptors) = message.into_parts();
    descriptors.into_iter().flat_map(heirloom::names_of).collect()
}

/// Drops `owner`, and returns the names of the ends that it owned.
pub(super) fn ends_of<F>(owner: F) -> Vec<u64> {
    // One within another, as in a destructor that starts a process, has its own.
    let outer = RECORDING.replace(Some(Vec::new()));
    let restore = Restore(outer);
    drop(owner);
    let names = RECORDING.take().unwrap_or_default();
    drop(restore);
    names
}

struct Restore(Option<Vec<u64>>);

impl Drop for Restore {
    fn drop(&mut self) {
        RECORDING.set(self.0.take());
    }
}
