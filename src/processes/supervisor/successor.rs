//! The program that was started anew, as the old one sees it.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::birth;
use super::member::Child;
use super::settings::Settings;
use crate::error::SupervisorError;
use crate::sys::poll::check;
use crate::sys::readiness::Interest;

/// What a child ends with that could not become it.
const NOT_EXECUTED: i32 = 127;

pub(super) struct Successor {
    child: Child,
    /// Into the other end it says that it is ready.
    ready: OwnedFd,
    /// Whether nobody has that end any more.
    is_closed: Cell<bool>,
}

/// How far it is.
pub(super) enum Progress {
    Starting,
    Ready,
    /// What became of it.
    Ended(String),
}

impl Successor {
    pub(super) fn start(settings: &Settings, generation: u64) -> Result<Successor, SupervisorError> {
        let (ready, tell) = io::pipe()?;
        let pid = birth::fork(|| {
            // It has become the other program if this returns nothing.
            let handed_on = settings.listeners.iter().filter(|listener| listener.is_handed_on);
            let sockets: Vec<_> = handed_on.map(|listener| listener.socket.as_fd()).collect();
            let _error = settings.program.become_it(&sockets, tell.as_fd(), generation);
            NOT_EXECUTED
        })?;
        Ok(Successor { child: Child::new(pid), ready: ready.into(), is_closed: Cell::new(false) })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.pid
    }

    /// What is readable when there is news.
    pub(super) fn news(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let ready = (!self.is_closed.get()).then(|| self.ready.as_fd());
        self.child.end().into_iter().chain(ready)
    }

    pub(super) fn look(&self) -> Progress {
        match self.child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => return Progress::Ended(status.to_string()),
            Err(error) => return Progress::Ended(error.to_string()),
        }
        let has_news = check(self.ready.as_fd(), Interest::READABLE).is_ok_and(|ready| !ready.is_none());
        if !has_news || self.is_closed.get() {
            return Progress::Starting;
        }
        match self.ready.try_clone().and_then(|pipe| File::from(pipe).read(&mut [0])) {
            Ok(0) | Err(_) => {
                self.is_closed.set(true);
                Progress::Starting
            }
            Ok(_) => Progress::Ready,
        }
    }
}
