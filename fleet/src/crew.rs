//! The processes of a crawl.

use crate::crawl::arguments;
use crate::options::{BROKER, Pace, Place};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};

/// How often a process may end by itself before its time.
const FAILURES: u32 = 20;

/// Processes that work on one queue. One that is killed is replaced; one that has nothing left to do is not. All of them are killed when
/// this is dropped.
pub struct Crew {
    arguments: Vec<OsString>,
    address: String,
    members: Vec<Option<Child>>,
    failures: u32,
    is_stopped: bool,
    pub killed: u32,
}

impl Crew {
    pub fn start(
        processes: u16,
        place: &Place,
        pace: &Pace,
        max_pages: u64,
        servers: &HashSet<String>,
    ) -> io::Result<Crew> {
        let arguments = arguments(place, pace, max_pages, servers);
        let (address, members) = (place.address(), Vec::new());
        let mut crew = Crew { arguments, address, members, failures: 0, is_stopped: false, killed: 0 };
        for _ in 0..processes {
            let child = crew.spawn()?;
            crew.members.push(Some(child));
        }
        Ok(crew)
    }

    fn spawn(&self) -> io::Result<Child> {
        let mut program = Command::new(std::env::current_exe()?);
        program
            .args(&self.arguments)
            .env(BROKER, &self.address)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
    }

    /// Replaces who has ended before its time, and returns whether somebody is left.
    pub fn tend(&mut self) -> io::Result<bool> {
        for place in 0..self.members.len() {
            let Some(child) = &mut self.members[place] else { continue };
            let Some(status) = child.try_wait()? else { continue };
            let is_done = status.success() || self.is_stopped;
            if !is_done {
                self.note(status)?;
            }
            self.members[place] = if is_done { None } else { Some(self.spawn()?) };
        }
        Ok(self.members.iter().any(Option::is_some))
    }

    fn note(&mut self, status: ExitStatus) -> io::Result<()> {
        if status.signal() != Some(Signal::KILL.as_raw()) {
            self.failures += 1;
        }
        if self.failures < FAILURES {
            return Ok(());
        }
        Err(io::Error::other(format!("the workers end again and again, the last one with {status}")))
    }

    /// Kills one of them, with SIGKILL, if it is there.
    pub fn kill(&mut self, which: u32) -> io::Result<()> {
        let place = which as usize % self.members.len();
        if let Some(child) = &mut self.members[place]
            && child.try_wait()?.is_none()
        {
            child.kill()?;
            child.wait()?;
            self.killed += 1;
            self.members[place] = Some(self.spawn()?);
        }
        Ok(())
    }

    /// Has all of them finish what they have. Returns `true`.
    pub fn stop(&mut self) -> bool {
        self.is_stopped = true;
        for child in self.members.iter().flatten() {
            // Not waited for yet, so the number is still its own.
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
        }
        true
    }

    /// Waits for the end of all.
    pub fn wait(&mut self) -> io::Result<()> {
        for child in self.members.iter_mut().filter_map(Option::take) {
            let mut child = child;
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for mut child in self.members.iter_mut().filter_map(Option::take) {
            let _ = (child.kill(), child.wait());
        }
    }
}
