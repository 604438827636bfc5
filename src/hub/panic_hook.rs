//! A panic says in which green thread.

use std::io::{self, Write};
use std::panic;
use std::sync::Once;

use crate::error::GreenThread;
use crate::fiber::existing_thread;

/// Lets each panic in a green thread say in which: a line before what the present panic hook prints, on standard error, with its name
/// and the place where it was spawned.
///
/// std names the OS thread, which all green threads of a hub have in common: `thread 'main' panicked`. The line is
///
/// ```text
/// green thread 'worker', spawned at src/main.rs:7:5, panics:
/// ```
///
/// and then comes the hook that was installed before. It is for the whole process, and a second call does nothing. A hook that is
/// set later by [`std::panic::set_hook`] takes its place; one that would write such a line itself asks [`current`](crate::current).
/// Panics elsewhere are told as before.
///
/// Without it a joined green thread's [`JoinError`](crate::JoinError) names it all the same, and so does the hook of
/// [`set_uncaught_hook`](super::set_uncaught_hook) where nobody joins.
///
/// # Panics
///
/// While the calling thread panics, as [`std::panic::set_hook`] does.
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
