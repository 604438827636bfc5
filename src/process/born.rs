//! A child, as who started it knows it.

use std::io;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use super::line::{Limit, Line};
use super::report::{Report, Value};
use crate::error::{ProcessError, Unwinding};
use crate::hub::waiter::is_unwinding;
use crate::io::{Interest, Pauses, wait_fd};
use crate::sys::clock::Time;
use crate::sys::heirloom::Heirloom;
use crate::sys::lock::Lock;
use crate::sys::{descriptor, poll, process};

/// The children that this process has started and that have not been seen to have ended.
static ALL: Lock<Vec<Arc<Born>>> = Lock::new(Vec::new());

/// How long it may take to be told the status of one that has ended, before it is asked whether who would tell is there.
const TELLING: Duration = Duration::from_millis(50);

/// Why nobody can tell how a child has ended.
const TAKEN: &str = "other code has waited for it, or SIGCHLD is ignored";

/// One child.
#[derive(Debug)]
pub(super) struct Born {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) is_daemon: bool,
    /// Whether it is the library's own, and no child of the program's.
    pub(super) is_hidden: bool,
    /// Who started it.
    creator: u32,
    /// Readable once it has ended. `None` where the kernel has no such descriptors.
    pidfd: Option<Heirloom>,
    line: Line,
    /// The child is killed when nobody has this any more. Closed with the rest of what is known of it.
    _lifeline: Option<Heirloom>,
    /// Readable once who waits for it has ended, if that is another process.
    mother: Option<Arc<Heirloom>>,
    state: Lock<State>,
}

#[derive(Debug, Default)]
struct State {
    end: Option<End>,
    outcome: Option<Outcome>,
}

/// How it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With this raw status.
    Status(i32),
    Unknown(&'static str),
}

impl End {
    /// In Python's form; `None` if nobody can tell.
    pub(super) fn code(self) -> Option<i32> {
        let End::Status(status) = self else { return None };
        let status = ExitStatus::from_raw(status);
        status.code().or_else(|| status.signal().map(|signal| -signal))
    }

    /// What it was that left no value.
    pub(super) fn without_a_value(self) -> ProcessError {
        let status = match self {
            End::Status(status) => ExitStatus::from_raw(status),
            End::Unknown(why) => return ProcessError::Unknown(why),
        };
        match status.signal() {
            Some(signal) => ProcessError::Killed { signal, core_dumped: status.core_dumped() },
            None => ProcessError::Exited(status.code().unwrap_or_default()),
        }
    }
}

/// What it has told of its value.
#[derive(Debug)]
pub(super) enum Outcome {
    Returned(Value),
    Panicked(String, String),
    Unsendable(String),
}

impl Born {
    /// A child of this process.
    pub(super) fn of_own(
        id: u32,
        line: Line,
        name: String,
        is_daemon: bool,
        is_hidden: bool,
        lifeline: Option<Heirloom>,
    ) -> Arc<Born> {
        let born = Born::new(id, process::open_pidfd(id).ok(), line, name, is_daemon, None, lifeline);
        Arc::new(Born { is_hidden, ..born })
    }

    /// A child of `mother`, a process that ends when this is readable.
    pub(super) fn of_another(
        id: u32,
        pidfd: Option<OwnedFd>,
        line: Line,
        name: String,
        is_daemon: bool,
        mother: Arc<Heirloom>,
        lifeline: Option<Heirloom>,
    ) -> Arc<Born> {
        Arc::new(Born::new(id, pidfd, line, name, is_daemon, Some(mother), lifeline))
    }

    fn new(
        id: u32,
        pidfd: Option<OwnedFd>,
        line: Line,
        name: String,
        is_daemon: bool,
        mother: Option<Arc<Heirloom>>,
        lifeline: Option<Heirloom>,
    ) -> Born {
        let creator = std::process::id();
        let pidfd = pidfd.map(Heirloom::new);
        let state = Lock::new(State::default());
        Born {
            id,
            name,
            is_daemon,
            is_hidden: false,
            creator,
            pidfd,
            line,
            _lifeline: lifeline,
            mother,
            state,
        }
    }

    pub(super) fn is_ours(&self) -> bool {
        self.creator == std::process::id()
    }

    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    pub(super) fn pidfd(&self) -> Option<&Heirloom> {
        self.pidfd.as_ref()
    }

    /// How it has ended, if it has. Does not yield.
    pub(super) fn end(&self) -> Option<End> {
        let known = self.known_end();
        if known.is_some() {
            return known;
        }
        match &self.mother {
            None => self.ask(),
            Some(mother) => {
                let is_gone = is_readable(mother);
                // Looked at after that: what was told before its end is there.
                let is_silent = self.hear();
                let mut state = self.state.lock();
                if state.end.is_none()
                    && (is_gone || is_silent)
                    && self.pidfd.as_ref().is_none_or(is_readable)
                {
                    state.end = Some(End::Unknown("its zygote has ended before it"));
                }
            }
        }
        let known = self.known_end();
        if known.is_some() {
            self.strike_off();
        }
        known
    }

    fn known_end(&self) -> Option<End> {
        self.state.lock().end
    }

    /// Asks the kernel.
    fn ask(&self) {
        // Under the lock: of two who ask, one would find no child.
        let mut state = self.state.lock();
        if state.end.is_none() {
            state.end = match process::try_wait(self.id) {
                Ok(status) => status.map(End::Status),
                Err(error) if process::is_no_child(&error) => Some(End::Unknown(TAKEN)),
                Err(_) => None,
            };
        }
    }

    fn strike_off(&self) {
        let this = {
            let mut all = ALL.lock();
            let place = all.iter().position(|born| ptr::eq(&**born, self));
            place.map(|place| all.swap_remove(place))
        };
        drop(this);
    }

    /// What it has told. Once only.
    pub(super) fn take_outcome(&self) -> Option<Outcome> {
        self.hear();
        self.state.lock().outcome.take()
    }

    /// Reads what has been told. Returns whether nobody can tell any more.
    fn hear(&self) -> bool {
        loop {
            let packet = match self.line.receive(Limit::Now) {
                Ok(Some(packet)) => packet,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    // Its value, most likely, for which there was no descriptor here.
                    let lost = Outcome::Unsendable(error.to_string());
                    self.state.lock().outcome.get_or_insert(lost);
                    continue;
                }
                Ok(None) => return true,
                Err(_) => return false,
            };
            let report = Report::read(packet);
            let mut state = self.state.lock();
            let outcome = match report {
                Some(Report::Returned(value)) => Outcome::Returned(value),
                Some(Report::Panicked(text, place)) => Outcome::Panicked(text, place),
                Some(Report::Unsendable(why)) => Outcome::Unsendable(why),
                Some(Report::Ended(status)) => {
                    state.end = Some(End::Status(status));
                    continue;
                }
                Some(Report::Untold) => {
                    state.end = Some(End::Unknown(TAKEN));
                    continue;
                }
                _ => continue,
            };
            let before = state.outcome.replace(outcome);
            drop(state);
            drop(before);
        }
    }

    /// Waits until it has ended; `None` if it has not by `deadline`.
    pub(super) fn wait_until(&self, deadline: Option<Time>) -> io::Result<Option<End>> {
        let mut pauses = Pauses::until(deadline.unwrap_or(Time::NEVER));
        loop {
            if let Some(end) = self.end() {
                return Ok(Some(end));
            }
            let left = deadline.map(|deadline| Time::now().until(deadline));
            let waited = match &self.pidfd {
                Some(pidfd) if !is_readable(pidfd) => wait_fd(pidfd, Interest::READABLE, left),
                // It has ended, and its zygote tells of it soon.
                Some(_) if self.mother.is_some() => {
                    let limit = left.map_or(TELLING, |left| left.min(TELLING));
                    match wait_fd(&self.line, Interest::READABLE, Some(limit)) {
                        Err(error)
                            if error.kind() == io::ErrorKind::TimedOut
                                && left.is_none_or(|left| left > limit) =>
                        {
                            continue;
                        }
                        waited => waited,
                    }
                }
                _ => Err(io::Error::from(io::ErrorKind::OutOfMemory)),
            };
            match waited {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(self.end()),
                Err(error)
                    if descriptor::is_shortage(&error) || error.kind() == io::ErrorKind::OutOfMemory =>
                {
                    match pauses.pause() {
                        true => {}
                        false if is_unwinding() => return Err(Unwinding.into()),
                        false => return Ok(self.end()),
                    }
                }
                ready => drop(ready?),
            }
        }
    }

    /// Sends a signal, unless it has ended.
    pub(super) fn signal(&self, signal: i32) -> io::Result<()> {
        if let Some(pidfd) = &self.pidfd {
            return match process::send_signal_to(pidfd.as_fd(), signal) {
                Err(error) if process::is_no_process(&error) => Ok(()),
                sent => sent,
            };
        }
        let state = self.state.lock();
        // Nobody else has waited for it, so the number is its own.
        match state.end {
            None if self.mother.is_none() => process::send_signal(self.id, signal),
            _ => Ok(()),
        }
    }
}

fn is_readable(fd: &Heirloom) -> bool {
    poll::check(fd.as_fd(), Interest::READABLE).map_or(true, |ready| !ready.is_none())
}

/// Keeps a child until it has ended.
pub(super) fn enlist(born: &Arc<Born>) {
    ALL.lock().push(born.clone());
}

/// The children that run. Those that have ended are waited for, so that the kernel forgets them.
pub(super) fn running() -> Vec<Arc<Born>> {
    let all = ALL.lock().clone();
    let (own, foreign): (Vec<_>, Vec<_>) = all.into_iter().partition(|born| born.is_ours());
    // Of the parent, in the child of a fork: not this process's to end.
    foreign.iter().for_each(|born| born.strike_off());
    mem::forget(foreign);
    own.into_iter().filter(|born| born.end().is_none()).collect()
}
