//! The program that was started anew, as the old one sees it.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::birth;
use super::handover::FAILED;
use super::member::Child;
use super::settings::Settings;
use crate::error::SupervisorError;
use crate::sys::poll::check;
use crate::sys::readiness::Interest;

/// What a child ends with that could not become it.
const NOT_EXECUTED: i32 = 127;

pub(super) struct Successor {
    child: Child,
    /// Into the other end it says that it is ready, or why it could not become that program.
    ready: OwnedFd,
    /// What it has said of that.
    failure: RefCell<String>,
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
            settings.program.become_it(&sockets, tell.as_fd(), generation);
            NOT_EXECUTED
        })?;
        let (is_closed, failure) = (Cell::new(false), RefCell::default());
        Ok(Successor { child: Child::new(pid), ready: ready.into(), failure, is_closed })
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
        // Asked first: what it has said before its end is there.
        let ended = self.child.try_wait();
        let is_ready = self.hear();
        match ended {
            Ok(None) if is_ready => Progress::Ready,
            Ok(None) => Progress::Starting,
            Ok(Some(status)) if self.failure.borrow().is_empty() => Progress::Ended(status.to_string()),
            Ok(Some(_)) => Progress::Ended(self.failure.take()),
            Err(error) => Progress::Ended(error.to_string()),
        }
    }

    /// Reads what there is. Whether that says that it is ready.
    fn hear(&self) -> bool {
        let has_news = check(self.ready.as_fd(), Interest::READABLE).is_ok_and(|ready| !ready.is_none());
        if !has_news || self.is_closed.get() {
            return false;
        }
        let mut said = [0; 512];
        let length = self.ready.try_clone().and_then(|pipe| File::from(pipe).read(&mut said)).unwrap_or(0);
        let said = String::from_utf8_lossy(&said[..length]);
        self.is_closed.set(said.is_empty());
        match said.strip_prefix(FAILED) {
            Some(failure) => self.failure.replace(failure.to_owned()),
            None => return !said.is_empty(),
        };
        false
    }
}
