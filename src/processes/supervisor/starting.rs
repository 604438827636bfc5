//! How workers begin.

use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::birth;
use super::crew::Crew;
use super::happening::SupervisorEvent as Event;
use super::member::{Child, Member};
use super::settings::{LOOK, beat};
use super::worker::{Equipment, Worker};
use crate::error::{SupervisorError, payload_text};
use crate::sys::clock::Time;
use crate::sys::process;

/// The exit status of one that panicked, as of a process whose main thread has.
const PANICKED: i32 = 101;

impl Crew<'_> {
    /// Starts as many as there should be: one after the other where others still serve in their places.
    pub(super) fn fill_up(&mut self) -> Result<(), SupervisorError> {
        loop {
            let current = self.members.iter().filter(|member| member.is_current()).count();
            let starting =
                self.members.iter().filter(|member| member.is_current() && member.is_starting()).count();
            let serving =
                self.members.iter().filter(|member| !member.is_leaving() && !member.is_starting()).count();
            let waits_for_one = starting > 0 && serving >= self.settings.workers;
            if current >= self.settings.workers || waits_for_one || Time::now() < self.next_start {
                return Ok(());
            }
            match self.start() {
                Ok(()) => {}
                // No memory, no room among the processes, another OS thread: another time.
                Err(error) if self.has_been_ready => {
                    self.next_start = Time::after(LOOK);
                    self.tell(Event::StartFailed { error: io::Error::from(error).to_string() });
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn start(&mut self) -> Result<(), SupervisorError> {
        let is_taken = |place| self.members.iter().any(|member| member.place == place);
        let place =
            self.board.free_place(is_taken).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let (generation, supervisor) = (self.generation, std::process::id());
        let ready_by = Time::after(self.settings.ready_within);
        let pid = birth::fork(|| {
            let board = self.board.clone();
            let lived = catch_unwind(AssertUnwindSafe(|| self.live(place, supervisor)));
            match lived {
                Ok(Ok(())) => 0,
                Ok(Err(error)) => {
                    board.complain(place, &error.to_string());
                    1
                }
                Err(payload) => {
                    board.complain(place, &payload_text(&*payload));
                    PANICKED
                }
            }
        })?;
        self.members.push(Member::new(Child::new(pid), place, generation, ready_by));
        self.tell(Event::Started { pid, generation });
        Ok(())
    }

    /// In the worker.
    fn live(&mut self, place: usize, supervisor: u32) -> io::Result<()> {
        // What is of the parent's alone.
        mem::take(&mut self.members);
        self.successor = None;
        self.predecessor = None;
        mem::forget(mem::take(&mut self.handlers));
        let parent = process::open_pidfd(supervisor).ok();
        if std::os::unix::process::parent_id() != supervisor {
            return Err(io::Error::other("the supervisor has ended"));
        }
        let settings = &self.settings;
        // A tenth more or less, so that not all go at once.
        let jitter = settings.max_requests / 10;
        let most_requests = match jitter {
            0 => settings.max_requests,
            jitter => settings.max_requests - jitter + u64::from(std::process::id()) * 31 % (2 * jitter),
        };
        let copies = settings.listeners.iter().map(|listener| listener.socket.try_clone());
        let worker = Worker::begin(Equipment {
            board: self.board.clone(),
            place,
            generation: self.generation,
            listeners: copies.collect::<io::Result<_>>()?,
            grace: settings.grace,
            most_requests,
            beat: beat(settings.stuck_after),
            supervisor,
            parent,
        })?;
        (self.serve)(worker)
    }
}
