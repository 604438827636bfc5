//! Children of tests.

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use greenloop::io::{PipeReader, PipeWriter};
use greenloop::process::{Fork, fork, wait_pid};
use rustix::process::{Pid, Signal, kill_process};

/// A child that is killed, if it still runs, and waited for when this is dropped.
pub(crate) struct Forked {
    pub(crate) id: u32,
    is_waited_for: bool,
}

/// Forks a child that runs `run` and ends: with status 0, or 1 if it panicked.
pub(crate) fn forked(run: impl FnOnce()) -> Forked {
    // SAFETY: this process has one OS thread.
    match unsafe { fork() }.expect("a child") {
        Fork::Parent { child } => Forked { id: child, is_waited_for: false },
        Fork::Child => {
            let failed = catch_unwind(AssertUnwindSafe(run)).is_err();
            // SAFETY: takes no pointers, and runs nothing of the parent's.
            unsafe { libc::_exit(i32::from(failed)) }
        }
    }
}

impl Forked {
    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.id as i32).expect("the number of a process");
        kill_process(id, signal).expect("a child");
    }

    /// Sends SIGKILL and waits for the end.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        self.is_waited_for = true;
        wait_pid(self.id).expect("a child");
    }

    /// Waits for the end, which has to be a good one.
    pub(crate) fn succeeds(mut self) {
        self.is_waited_for = true;
        let status = wait_pid(self.id).expect("a child");
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        if !self.is_waited_for {
            self.signal(Signal::KILL);
            let _ = wait_pid(self.id);
        }
    }
}

/// A pipe by which one process tells another something.
pub(crate) struct Word(PipeReader, PipeWriter);

impl Word {
    pub(crate) fn new() -> Word {
        let (reader, writer) = greenloop::io::pipe().expect("a pipe");
        Word(reader, writer)
    }

    pub(crate) fn say(&self) {
        (&self.1).write_all(b"x").expect("room in the pipe");
    }

    pub(crate) fn reader(&self) -> &PipeReader {
        &self.0
    }

    pub(crate) fn hear(&self) {
        (&self.0).read_exact(&mut [0]).expect("a word");
    }
}

/// Waits until it is killed.
pub(crate) fn for_ever() -> ! {
    loop {
        greenloop::sleep(std::time::Duration::from_secs(3600));
    }
}
