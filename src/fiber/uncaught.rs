//! Errors that no one can receive go to a hook.

use std::any::Any;
use std::fmt;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use super::guard::{CALLBACK, guarded};
use crate::error::{GreenletExit, payload_text};
use crate::sys::lock::Lock;

/// How many payloads in a row are dropped whose destructors raise the next, before that one is left.
const DISCARDED_IN_A_ROW: usize = 16;

/// An error that cannot reach any caller, as the hook of [`set_uncaught_hook`] gets it.
///
/// Its `Display` is the line that the default hook prints.
#[doc(alias = "ExceptHookArgs")]
pub struct Uncaught<'a> {
    place: &'a str,
    payload: Option<&'a (dyn Any + Send)>,
    text: &'a str,
}

impl Uncaught<'_> {
    /// Returns where the error happened, for instance `green thread 'worker', spawned at src/main.rs:7:5`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Builder, hub::set_uncaught_hook, yield_now};
    /// use std::sync::{Arc, Mutex};
    ///
    /// let seen = Arc::new(Mutex::new(String::new()));
    /// let log = seen.clone();
    /// set_uncaught_hook(Some(Arc::new(move |uncaught| *log.lock().unwrap() = uncaught.place().to_owned())));
    /// drop(Builder::new().name("worker").spawn(|| panic!("detached"))?);
    /// yield_now();
    /// assert!(seen.lock().unwrap().starts_with("green thread 'worker', spawned at "));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn place(&self) -> &str {
        self.place
    }

    /// Returns the payload, if the error is a panic.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{hub::set_uncaught_hook, spawn, yield_now};
    /// use std::sync::{Arc, Mutex};
    ///
    /// let seen = Arc::new(Mutex::new(None));
    /// let log = seen.clone();
    /// set_uncaught_hook(Some(Arc::new(move |uncaught| {
    ///     *log.lock().unwrap() = uncaught.payload().and_then(|payload| payload.downcast_ref::<u32>().copied());
    /// })));
    /// drop(spawn(|| std::panic::resume_unwind(Box::new(7_u32))));
    /// yield_now();
    /// assert_eq!(*seen.lock().unwrap(), Some(7));
    /// ```
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

/// The type of a hook that [`set_uncaught_hook`] installs.
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

/// Sets the hook for errors that cannot reach any caller.
///
/// Such errors are:
///
/// - a panic that ended a green thread whose handle is gone;
/// - a destructor, a hook or a callback that fails;
/// - a detached green thread for which there was no stack;
/// - with the feature `monkey`, a green thread whose calls of C have failed for a second because of a kill or a time limit, and that goes
///   on calling.
///
/// `None` brings back the default hook, which prints one line to standard error. A panic of a green thread that is joined does
/// not come here, and neither does a kill.
///
/// The hook is one for the whole process. It runs where the error happened, as a [hub callback](crate::hub#callbacks): a wait in
/// it panics. A panic of the hook itself is ignored.
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
#[doc(alias(
    "handle_error",
    "handle_system_error",
    "print_exception",
    "NOT_ERROR",
    "SYSTEM_ERROR",
    "excepthook"
))]
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
    guarded(CALLBACK, || {
        let told = panic::catch_unwind(AssertUnwindSafe(|| match hook {
            Some(hook) => hook(uncaught),
            None => eprintln!("{uncaught}"),
        }));
        // A hook that fails has nobody left to tell, nor has what its payloads raise in turn.
        let mut outcome = told;
        for _ in 0..DISCARDED_IN_A_ROW {
            let Err(payload) = outcome else { return };
            outcome = panic::catch_unwind(AssertUnwindSafe(|| drop(payload)));
        }
        mem::forget(outcome);
    });
}

/// Runs code of others in an ordinary place, and reports what it raises.
pub(crate) fn catch(place: &str, run: impl FnOnce()) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(run)) {
        report(place, &*payload);
        discard(payload);
    }
}

/// Drops a payload that nobody takes. What its destructor raises is reported, and dropped in the same way.
#[cold]
pub(crate) fn discard(payload: Box<dyn Any + Send>) {
    let mut payload = payload;
    for _ in 0..DISCARDED_IN_A_ROW {
        let dropped = guarded(CALLBACK, || panic::catch_unwind(AssertUnwindSafe(|| drop(payload))));
        let Err(raised) = dropped else { return };
        report("the destructor of a payload", &*raised);
        payload = raised;
    }
    mem::forget(payload);
    report_text("a payload whose destructor panics with another, and so on, without end: it leaks");
}

/// Runs a callback, in which nothing may wait nor switch, and reports what it raises.
pub(crate) fn callback(place: &str, run: impl FnOnce()) {
    guarded(CALLBACK, || catch(place, run));
}
