//! A worker, as its supervisor sees it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use super::board::Board;
use crate::sys::clock::Time;
use crate::sys::process;

pub(super) const SIGABRT: i32 = 6;
pub(super) const SIGKILL: i32 = 9;
pub(super) const SIGTERM: i32 = 15;

/// How long one that was sent SIGABRT may take to leave a dump.
const DUMP: Duration = Duration::from_secs(2);

/// A child that has not been waited for, so that its number is its own.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) pid: u32,
    /// Readable when it has ended. `None` where that cannot be had.
    pidfd: Option<OwnedFd>,
}

impl Child {
    pub(super) fn new(pid: u32) -> Child {
        Child { pid, pidfd: process::open_pidfd(pid).ok() }
    }

    pub(super) fn end(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn signal(&self, signal: i32) {
        // One that has ended hears nothing.
        let _ = match &self.pidfd {
            Some(pidfd) => process::send_signal_to(pidfd.as_fd(), signal),
            None => process::send_signal(self.pid, signal),
        };
    }

    /// Its status, if it has ended. It is not to be signalled after that.
    pub(super) fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        Ok(process::try_wait(self.pid)?.map(ExitStatus::from_raw))
    }

    /// Kills it and waits for its end, which blocks the OS thread for a moment.
    pub(super) fn kill_and_wait(&self) {
        self.signal(SIGKILL);
        let _ = process::block_until_ended(self.pid);
        let _ = self.try_wait();
    }
}

/// Where a worker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is to be ready by then.
    Starting(Time),
    Ready,
    /// It was told to end, and is killed then.
    Leaving(Time),
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) child: Child,
    pub(super) place: usize,
    pub(super) generation: u64,
    pub(super) born: Time,
    pub(super) stage: Stage,
    /// Whether another is to take its place.
    pub(super) is_outdated: bool,
    /// Whether it has failed to be ready in time.
    pub(super) is_late: bool,
    beats: u64,
    /// When it was seen to have beaten.
    pub(super) last_beat: Time,
}

impl Member {
    pub(super) fn new(child: Child, place: usize, generation: u64, ready_by: Time) -> Member {
        let born = Time::now();
        let stage = Stage::Starting(ready_by);
        Member {
            child,
            place,
            generation,
            born,
            stage,
            is_outdated: false,
            is_late: false,
            beats: 0,
            last_beat: born,
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.stage, Stage::Leaving(_))
    }

    pub(super) fn is_starting(&self) -> bool {
        matches!(self.stage, Stage::Starting(_))
    }

    /// Whether it is one of those that are wanted.
    pub(super) fn is_current(&self) -> bool {
        !self.is_leaving() && !self.is_outdated
    }

    /// Tells it to end within `grace`. Again: no later than that.
    pub(super) fn dismiss(&mut self, board: &Board, grace: Duration) {
        let end = Time::after(grace);
        match self.stage {
            Stage::Leaving(before) => self.stage = Stage::Leaving(before.min(end)),
            _ => {
                board.dismiss(self.place);
                self.child.signal(SIGTERM);
                self.stage = Stage::Leaving(end);
            }
        }
    }

    /// Has it leave a dump and end.
    pub(super) fn abort(&mut self) {
        self.child.signal(SIGABRT);
        self.stage = Stage::Leaving(Time::after(DUMP));
    }

    /// The supervisor has looked so much too late, and so this may be late without any fault of its own.
    pub(super) fn postpone(&mut self, late: Duration, now: Time) {
        self.last_beat = self.last_beat.plus(late).min(now);
        self.stage = match self.stage {
            Stage::Starting(end) => Stage::Starting(end.plus(late)),
            Stage::Ready => Stage::Ready,
            Stage::Leaving(end) => Stage::Leaving(end.plus(late)),
        };
    }

    /// Notes how often it has beaten.
    pub(super) fn hear(&mut self, beats: u64, now: Time) {
        if beats != self.beats {
            self.beats = beats;
            self.last_beat = now;
        }
    }
}
