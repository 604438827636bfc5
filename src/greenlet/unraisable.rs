//! Errors that no one can receive go to a hook.

use std::any::Any;
use std::fmt;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use crate::error::{GreenletExit, payload_text};
use crate::sys::lock::Lock;

/// An error that no one can receive: what the hook of [`set_uncaught_hook`] is given.
///
/// Its `Display` is the line that the default hook prints.
pub struct Uncaught<'a> {
    place: &'a str,
    payload: Option<&'a (dyn Any + Send)>,
    text: &'a str,
}

impl Uncaught<'_> {
    /// Where it happened, for instance `green thread 'worker', spawned at src/main.rs:7:5`.
    pub fn place(&self) -> &str {
        self.place
    }

    /// What was raised, if it was a panic.
    pub fn payload(&self) -> Option<&(dyn Any + Send)> {
        self.payload
    }
}

impl fmt::Display for Uncaught<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.payload {
            Some(payload) => write!(formatter, "{} panicked: {}", self.place, payload_text(payload)),
            None => formatter.write_str(self.text),
        }
    }
}

impl fmt::Debug for Uncaught<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Uncaught({self})")
    }
}

/// How many payloads are dropped of which each comes from the destructor of the one before.
const DISCARDS: usize = 8;

/// What [`set_uncaught_hook`] installs.
pub type UncaughtHook = dyn Fn(&Uncaught<'_>) + Send + Sync;

static HOOK: Lock<Option<Arc<UncaughtHook>>> = Lock::new(None);

/// Holds what a fork must find free.
pub(super) fn hold_lock() {
    HOOK.hold();
}

/// Ends [`hold_lock`].
///
/// # Safety
///
/// As [`Lock::release`].
pub(super) unsafe fn release_lock() {
    // SAFETY: the caller's promise.
    unsafe { HOOK.release() };
}

/// Replaces what happens with an error that no one can receive: a panic that ended a green thread whose handle is gone, a
/// failing destructor, hook or callback. `None` brings back the default, which prints one line to standard error.
///
/// The hook is the process's, and runs where the error happened; a hook that panics is ignored. A panic whose green thread
/// is joined does not come here, and neither does a kill.
///
/// # Examples
///
/// ```
/// use std::sync::{Arc, Mutex};
///
/// let seen = Arc::new(Mutex::new(String::new()));
/// let log = seen.clone();
/// greenloop::hub::set_uncaught_hook(Some(Arc::new(move |uncaught| *log.lock().unwrap() = uncaught.to_string())));
/// drop(greenloop::spawn(|| panic!("no one will know")));
/// greenloop::yield_now();
/// assert!(seen.lock().unwrap().ends_with("panicked: no one will know"));
/// ```
pub fn set_uncaught_hook(hook: Option<Arc<UncaughtHook>>) {
    let former = mem::replace(&mut *HOOK.lock(), hook);
    drop(former);
}

/// Reports what was raised where nobody can catch it. A kill is nothing to report.
#[cold]
pub(crate) fn report(place: &str, payload: &(dyn Any + Send)) {
    if !payload.is::<GreenletExit>() {
        call(&Uncaught { place, payload: Some(payload), text: "" });
    }
}

/// Reports something that no payload tells.
#[cold]
pub(crate) fn report_text(text: &str) {
    call(&Uncaught { place: text, payload: None, text });
}

fn call(uncaught: &Uncaught<'_>) {
    let hook = HOOK.lock().clone();
    // A hook that fails has nobody left to tell.
    let _ = panic::catch_unwind(AssertUnwindSafe(|| match hook {
        Some(hook) => hook(uncaught),
        None => eprintln!("{uncaught}"),
    }));
}

/// Runs a callback, and reports what it raises.
pub(crate) fn catch(place: &str, callback: impl FnOnce()) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(callback)) {
        report(place, &*payload);
        discard(payload);
    }
}

/// Drops a payload, whose destructor may panic with another one.
#[cold]
pub(crate) fn discard(payload: Box<dyn Any + Send>) {
    let mut last = payload;
    for _ in 0..DISCARDS {
        match panic::catch_unwind(AssertUnwindSafe(|| drop(last))) {
            Ok(()) => return,
            Err(payload) => {
                report("the destructor of a payload", &*payload);
                last = payload;
            }
        }
    }
    // Each has another, without end.
    mem::forget(last);
}
