//! The life of a child.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::panic::{self, AssertUnwindSafe, catch_unwind};

use super::family::Identity;
use super::line::{Kind, Limit, Line};
use super::report::{RETURNED, Report};
use super::wire::{Outgoing, Wire};
use crate::error::payload_text;
use crate::fiber;
use crate::sys::lock::Lock;
use crate::sys::process;

/// What a process ends with whose main thread has panicked.
const PANICKED: i32 = 101;
/// What one ends with that has lost its parent before it began.
const FORSAKEN: i32 = 1;

/// Where the last panic of this process was, as its hook has seen it.
static PLACE: Lock<Option<String>> = Lock::new(None);

/// In the child, first of all: the names of what it keeps.
pub(super) fn inherit(line: &Line) -> Vec<u64> {
    let told = line.receive(Limit::Until(None));
    let Ok(Some(Report::Handed(mut names))) = told.map(|packet| packet.and_then(Report::read)) else {
        process::end_now(FORSAKEN)
    };
    names.push(line.name());
    names
}

/// Where the last panic of this process was. Once only.
pub(crate) fn last_place() -> String {
    PLACE.lock().take().unwrap_or_default()
}

/// Runs `run`, and tells what came of it on `line`. Returns the exit status.
pub(super) fn live<T: Wire>(
    line: &Line,
    identity: Identity,
    is_own: bool,
    lifeline: Option<OwnedFd>,
    run: impl FnOnce() -> T,
) -> i32 {
    identity.assume(is_own, lifeline);
    note_places();
    // The frames of who started it are not here to see what it leaves half done.
    let told = catch_unwind(AssertUnwindSafe(|| tell_value(line, run())));
    let status = match told {
        Ok(()) => 0,
        Err(payload) => {
            Report::Panicked(payload_text(&*payload), last_place()).tell(line);
            fiber::discard(payload);
            PANICKED
        }
    };
    // Whoever has closed it wants nothing of it.
    let _ = io::stdout().flush();
    status
}

fn tell_value<T: Wire>(line: &Line, value: T) {
    let mut message = Outgoing::borrowing();
    message.put_bytes(&[RETURNED]);
    value.put(&mut message);
    match message.check().and_then(|()| line.send(Kind::One, &message, Limit::Now)) {
        Ok(()) => {}
        // Nobody asks any more.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => Report::Unsendable(error.to_string()).tell(line),
    }
    drop(message);
    // The process ends, and what the value has is told or sent.
    std::mem::forget(value);
}

/// Has the hook note where a panic was, and do what it did before.
fn note_places() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |information| {
        let mut place = information.location().map(|location| format!("at {location}")).unwrap_or_default();
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            place.push_str(&format!("\n{backtrace}"));
        }
        *PLACE.lock() = Some(place);
        before(information);
    }));
}
