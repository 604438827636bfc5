//! Closures that run when a signal comes.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use super::listeners::Place;
use crate::error::{GreenletExit, Interrupted};
use crate::hub::hub;
use crate::task::spawn;

/// A handler of a signal, as [`on`] and [`raise_in_main`] return it. Dropping it removes the handler.
///
/// It belongs to the OS thread on which it was made.
#[derive(Debug)]
#[must_use = "a handler that is dropped is gone: keep it, or `detach` it"]
pub struct Handler {
    place: Place,
}

impl Handler {
    /// Removes the handler, as dropping it does. Green threads that it has begun run on.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::signal::{self, SIGUSR1};
    /// use std::rc::Rc;
    ///
    /// let data = Rc::new(5);
    /// let handler = signal::on(SIGUSR1, { let data = Rc::clone(&data); move || println!("{data}") })?;
    /// assert_eq!(Rc::strong_count(&data), 2);
    /// handler.cancel();
    /// assert_eq!(Rc::strong_count(&data), 1); // the closure is gone
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn cancel(self) {
        drop(self);
    }

    /// Keeps the handler for as long as its OS thread lives.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Command;
    /// use greenloop::signal::{self, SIGUSR1};
    /// use std::rc::Rc;
    ///
    /// let told = Rc::new(greenloop::event::Event::new());
    /// signal::on(SIGUSR1, { let told = Rc::clone(&told); move || told.set() })?.detach();
    /// Command::new("kill").args(["-USR1", &std::process::id().to_string()]).status()?;
    /// told.wait();
    /// assert!(told.is_set());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn detach(self) {
        let Handler { place } = self;
        std::mem::forget(place);
    }
}

/// Runs `handler` in a fresh green thread whenever `signal` comes. This is gevent's `signal_handler`.
///
/// The handler may wait. If the signal comes again meanwhile, another green thread runs it beside the first. A panic in the handler is
/// raised in the main greenlet of this OS thread, where that waits or at its next wait, and the handler stays. See
/// [the module](crate::signal) for when it runs.
///
/// # Errors
///
/// `InvalidInput` if there is no such signal, for SIGKILL and SIGSTOP, which no process can handle, and for signals that the running
/// instruction causes (SIGSEGV, SIGBUS, SIGFPE, SIGILL).
///
/// # Examples
///
/// ```
/// use greenloop::signal::{self, SIGHUP};
/// use greenloop::{process::Command, sleep};
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use std::time::Duration;
///
/// let count = Rc::new(Cell::new(0));
/// let handler = signal::on(SIGHUP, {
///     let count = Rc::clone(&count);
///     move || {
///         sleep(Duration::from_millis(1)); // a handler may wait
///         count.set(count.get() + 1);
///     }
/// })?;
/// for expected in 1..=2 {
///     Command::new("kill").args(["-HUP", &std::process::id().to_string()]).status()?;
///     while count.get() < expected {
///         sleep(Duration::from_millis(1));
///     }
/// }
/// handler.cancel();
/// assert!(signal::on(1000, || ()).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias("signal_handler", "signal"))]
pub fn on(signal: i32, handler: impl Fn() + 'static) -> io::Result<Handler> {
    let handler = Rc::new(handler);
    let tell = move |_| {
        let handler = Rc::clone(&handler);
        drop(spawn(move || run(&*handler)));
    };
    Ok(Handler { place: Place::take(&[signal], tell)? })
}

fn run(handler: &dyn Fn()) {
    match panic::catch_unwind(AssertUnwindSafe(handler)) {
        Ok(()) => {}
        Err(killed) if killed.is::<GreenletExit>() => panic::resume_unwind(killed),
        Err(payload) => hub().raise_in_main(payload),
    }
}

/// Raises [`Interrupted`] in the main greenlet of this OS thread whenever `signal` comes: where it waits, or at its next wait.
/// With SIGINT, this is the KeyboardInterrupt of Python and gevent.
///
/// It unwinds, so destructors run, and [`catch_unwind`](std::panic::catch_unwind) returns the `Interrupted`. If nothing catches it, the
/// program ends with exit status 101.
///
/// greenloop does not do this by itself: unless you ask for it, Ctrl-C ends the process at once, as it does for every program that is
/// not written in Python. If the library took the signal unasked, a main greenlet that computes, or is inside a C library, could not be
/// stopped, and a shell would see another exit status.
///
/// # Errors
///
/// As [`on`].
///
/// # Examples
///
/// ```
/// use greenloop::process::Command;
/// use greenloop::signal::{self, Interrupted, SIGINT};
/// use std::panic::catch_unwind;
/// use std::time::Duration;
///
/// let _handler = signal::raise_in_main(SIGINT)?;
/// Command::new("sh").args(["-c", &format!("sleep 0.1; kill -INT {}", std::process::id())]).spawn()?;
/// let served = catch_unwind(|| greenloop::sleep(Duration::from_secs(3600)));
/// assert_eq!(served.unwrap_err().downcast_ref(), Some(&Interrupted { signal: SIGINT }));
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias("KeyboardInterrupt", "interrupt_main"))]
pub fn raise_in_main(signal: i32) -> io::Result<Handler> {
    let tell = |signal| hub().raise_in_main(Box::new(Interrupted { signal }));
    Ok(Handler { place: Place::take(&[signal], tell)? })
}
