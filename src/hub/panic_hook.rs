//! A panic says in which green thread.

use std::io::{self, Write};
use std::panic;
use std::sync::Once;

use crate::error::GreenThread;
use crate::fiber::existing_thread;

/// Lets the report of each panic name the green thread.
///
/// std's report names the OS thread, which all green threads of a hub have in common: `thread 'main' panicked`. After this call,
/// a line like this one comes before it on standard error, if the panic is in a green thread:
///
/// ```text
/// green thread 'worker', spawned at src/main.rs:7:5, panics:
/// ```
///
/// Then the panic hook runs that was installed before. Panics elsewhere are reported as before. The hook is for the whole
/// process, and a second call does nothing. A hook that is set later by [`std::panic::set_hook`] takes its place; if you want
/// such a line in a hook of your own, ask [`current`](crate::current).
///
/// You can do without it: a [`JoinError`](crate::JoinError) names the green thread that was joined, and the hook of
/// [`set_uncaught_hook`](super::set_uncaught_hook) names one that was not.
///
/// # Panics
///
/// Panics while the calling thread panics, as [`std::panic::set_hook`] does.
///
/// # Examples
///
/// ```
/// greenloop::hub::install_panic_hook();
/// let worker = greenloop::Builder::new().name("worker").spawn(|| panic!("no ink"))?;
/// assert!(worker.join().is_err()); // and both lines are on standard error
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn install_panic_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once_force(|_| {
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            print();
            next(info);
        }));
    });
}

fn print() {
    let fiber = existing_thread().map(|thread| thread.current());
    let Some(description) = fiber.as_ref().and_then(|fiber| fiber.description()) else { return };
    if description.id().is_some() {
        let name = description.name().map(|name| &**name);
        // Not `eprintln`, which panics where standard error is gone, and a panic in here aborts.
        let _ = writeln!(io::stderr(), "{} panics:", GreenThread { name, place: description.spawned_at() });
    }
}
