//! What a supervisor does: one green thread that looks at all that has come, does what is due, and waits for the next.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::Duration;

use super::board::{Board, Told};
use super::handover;
use super::happening::SupervisorEvent as Event;
use super::member::{Member, Stage};
use super::settings::{Reload, Settings, beat};
use super::successor::{Progress, Successor};
use super::worker::Worker;
use crate::error::SupervisorError;
use crate::io::park_until_readable;
use crate::signal::{self, Handler, SIGHUP, SIGINT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR2};
use crate::sys::clock::Time;
use crate::sys::process;

/// How many workers may fail in a row before any was ready.
const MOST_BOOT_FAILURES: u32 = 5;
const FIRST_BACK_OFF: Duration = Duration::from_millis(10);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);
/// The same where the kernel has no descriptors of processes.
const LOOK_WITHOUT_PIDFDS: Duration = Duration::from_millis(10);
/// What a worker does.
pub(super) type Serve = dyn Fn(Worker) -> io::Result<()>;

pub(super) struct Crew<'a> {
    pub(super) settings: Settings,
    pub(super) serve: &'a Serve,
    pub(super) board: Board,
    pub(super) members: Vec<Member>,
    pub(super) signals: Rc<RefCell<VecDeque<i32>>>,
    pub(super) handlers: Vec<Handler>,
    pub(super) generation: u64,
    /// When it last looked at its workers,
    last_look: Time,
    /// and how long after that it was to do so again, at the latest.
    pause: Duration,
    /// Whether any worker was ever ready.
    pub(super) has_been_ready: bool,
    /// How many have failed in a row before they were ready.
    pub(super) failures: u32,
    /// No worker is started before that.
    pub(super) next_start: Time,
    pub(super) is_stopping: bool,
    pub(super) successor: Option<Successor>,
    /// Into which this program is to say that it is ready.
    pub(super) predecessor: Option<OwnedFd>,
}

impl<'a> Crew<'a> {
    pub(super) fn new(settings: Settings, serve: &'a Serve) -> Result<Crew<'a>, SupervisorError> {
        let board = Board::new()?;
        let signals = Rc::new(RefCell::new(VecDeque::new()));
        let mut handlers = Vec::new();
        for number in [SIGHUP, SIGINT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR2] {
            let (signals, board) = (Rc::clone(&signals), board.clone());
            handlers.push(signal::on(number, move || {
                signals.borrow_mut().push_back(number);
                board.ring();
            })?);
        }
        Ok(Crew {
            settings,
            serve,
            board,
            members: Vec::new(),
            signals,
            handlers,
            generation: handover::generation() + 1,
            last_look: Time::now(),
            pause: Duration::ZERO,
            has_been_ready: false,
            failures: 0,
            next_start: Time::now(),
            is_stopping: false,
            successor: None,
            predecessor: handover::ready_pipe(),
        })
    }

    pub(super) fn run(mut self) -> Result<(), SupervisorError> {
        loop {
            self.board.silence();
            while let Some(signal) = self.next_signal() {
                self.obey(signal);
            }
            self.look_at_members()?;
            self.look_at_successor();
            if self.is_stopping && self.members.is_empty() {
                return Ok(());
            }
            if !self.is_stopping {
                self.fill_up()?;
            }
            self.wait();
        }
    }

    fn next_signal(&self) -> Option<i32> {
        self.signals.borrow_mut().pop_front()
    }

    pub(super) fn tell(&self, event: Event) {
        if let Some(hook) = &self.settings.hook {
            hook(&event);
        }
    }

    fn obey(&mut self, signal: i32) {
        match signal {
            SIGHUP if self.settings.reload == Reload::Fork => self.reload(),
            SIGHUP | SIGUSR2 => self.execute(),
            SIGTTIN => self.resize(self.settings.workers + 1),
            SIGTTOU => self.resize((self.settings.workers - 1).max(1)),
            // A second time: at once.
            _ if self.is_stopping => self.stop(Duration::ZERO),
            _ => self.stop(self.settings.grace),
        }
    }

    fn stop(&mut self, grace: Duration) {
        if !self.is_stopping {
            self.is_stopping = true;
            self.tell(Event::Stopping);
        }
        self.members.iter_mut().for_each(|member| member.dismiss(&self.board, grace));
    }

    fn resize(&mut self, workers: usize) {
        self.settings.workers = workers;
        self.tell(Event::Resized { workers });
    }

    fn reload(&mut self) {
        if self.is_stopping {
            return;
        }
        self.generation += 1;
        (self.failures, self.next_start) = (0, Time::now());
        self.members.iter_mut().for_each(|member| member.is_outdated = true);
        self.tell(Event::Reloading { generation: self.generation });
    }

    /// Starts the program anew, unless that is being done.
    fn execute(&mut self) {
        if self.is_stopping || self.successor.is_some() {
            return;
        }
        match Successor::start(&self.settings, self.generation) {
            Ok(successor) => {
                self.tell(Event::Executed { pid: successor.pid() });
                self.successor = Some(successor);
            }
            Err(error) => self.tell(Event::ExecutionFailed { error: error.to_string() }),
        }
    }

    fn look_at_successor(&mut self) {
        match self.successor.as_ref().map(Successor::look) {
            None | Some(Progress::Starting) => {}
            Some(Progress::Ready) => {
                self.successor = None;
                self.stop(self.settings.grace);
            }
            Some(Progress::Ended(error)) => {
                self.successor = None;
                self.tell(Event::ExecutionFailed { error });
            }
        }
    }

    fn look_at_members(&mut self) -> Result<(), SupervisorError> {
        let now = Time::now();
        // While it does not run, as when all of them are stopped from a terminal, nobody else may run either.
        let late = self.last_look.until(now).saturating_sub(self.pause);
        self.members.iter_mut().for_each(|member| member.postpone(late, now));
        self.last_look = now;
        let mut place = 0;
        while place < self.members.len() {
            // Ready before its end: it may have told both.
            self.look_at(place, now);
            match self.members[place].child.try_wait() {
                Ok(None) => place += 1,
                Ok(Some(status)) => self.bury(place, Some(status))?,
                // Somebody else has waited for it.
                Err(_) => self.bury(place, None)?,
            }
        }
        self.dismiss_surplus();
        Ok(())
    }

    fn look_at(&mut self, place: usize, now: Time) {
        let (board, settings) = (self.board.clone(), &self.settings);
        let member = &mut self.members[place];
        let (pid, generation) = (member.child.pid, member.generation);
        member.hear(board.beats(member.place), now);
        let told = board.told(member.place);
        match member.stage {
            Stage::Starting(_) if told != Told::Starting => {
                member.stage = Stage::Ready;
                // The time before had a limit of its own.
                member.last_beat = now;
                self.has_been_ready = true;
                self.failures = 0;
                self.tell(Event::Ready { pid, generation });
            }
            Stage::Starting(ready_by) if now >= ready_by => {
                member.is_late = true;
                member.abort();
                self.tell(Event::NotReady { pid });
            }
            Stage::Leaving(end) if now >= end => member.child.signal(super::member::SIGKILL),
            Stage::Starting(_) | Stage::Leaving(_) => {}
            Stage::Ready if member.last_beat.until(now) > settings.stuck_after => {
                member.is_outdated = true;
                member.abort();
                self.tell(Event::Stuck { pid });
            }
            Stage::Ready if !member.is_outdated => {
                let is_large = || {
                    settings.max_memory < u64::MAX
                        && process::resident_bytes(pid).is_some_and(|bytes| bytes > settings.max_memory)
                };
                if told == Told::Spent || is_large() {
                    member.is_outdated = true;
                    self.tell(Event::Spent { pid });
                }
            }
            Stage::Ready => {}
        }
    }

    /// It has ended.
    fn bury(&mut self, place: usize, status: Option<ExitStatus>) -> Result<(), SupervisorError> {
        let member = self.members.remove(place);
        let now = Time::now();
        let error = self.board.complaint(member.place);
        let has_failed = member.is_starting() || member.is_late;
        let text = match (&error, status) {
            _ if member.is_late => "it was not ready in time".to_owned(),
            (Some(error), _) => error.clone(),
            (None, Some(status)) => status.to_string(),
            (None, None) => "somebody else has waited for it".to_owned(),
        };
        self.tell(Event::Ended {
            pid: member.child.pid,
            status: status.unwrap_or_default(),
            uptime: member.born.until(now),
            last_beat: member.last_beat.until(now),
            requests: self.board.requests(member.place),
            error,
        });
        if !has_failed || self.is_stopping {
            return Ok(());
        }
        self.failures += 1;
        let doublings = (self.failures - 1).min(16);
        self.next_start = now.plus((FIRST_BACK_OFF * (1 << doublings)).min(LONGEST_BACK_OFF));
        if self.failures >= MOST_BOOT_FAILURES {
            if !self.has_been_ready {
                return Err(SupervisorError::Boot { failures: self.failures, last: text });
            }
            self.give_up_reload(text);
        }
        Ok(())
    }

    /// Those of before stay, if they are there.
    fn give_up_reload(&mut self, error: String) {
        let generation = self.generation;
        let is_former = |member: &&mut Member| member.generation < generation && !member.is_leaving();
        let mut formers = 0;
        for member in self.members.iter_mut().filter(is_former) {
            (member.generation, member.is_outdated) = (generation, false);
            formers += 1;
        }
        if formers > 0 {
            self.tell(Event::ReloadFailed { error });
        }
    }

    /// As many of those whose places are taken go, and of those that are wanted no more.
    fn dismiss_surplus(&mut self) {
        let (want, grace) = (self.settings.workers, self.settings.grace);
        // Those that serve stay until there are others that do.
        let overtaken = |member: &&mut Member| member.is_outdated && member.is_starting();
        self.members.iter_mut().filter(overtaken).for_each(|member| member.dismiss(&self.board, grace));
        let ready = self.members.iter().filter(|member| member.is_current() && !member.is_starting()).count();
        let outdated =
            self.members.iter().filter(|member| member.is_outdated && !member.is_leaving()).count();
        let surplus = (ready + outdated).saturating_sub(want).min(outdated);
        let leaving = self.members.iter_mut().filter(|member| member.is_outdated && !member.is_leaving());
        leaving.take(surplus).for_each(|member| member.dismiss(&self.board, grace));
        let current = self.members.iter().filter(|member| member.is_current()).count();
        let wanted_no_more = self.members.iter_mut().rev().filter(|member| member.is_current());
        wanted_no_more
            .take(current.saturating_sub(want))
            .for_each(|member| member.dismiss(&self.board, grace));
        if ready >= want
            && let Some(ready) = self.predecessor.take()
        {
            // Where nobody hears it, nobody waits for it.
            let _ = io::Write::write_all(&mut std::fs::File::from(ready), b"r");
        }
    }

    /// Waits until something is told, or something is due.
    fn wait(&mut self) {
        let mut due = Time::NEVER;
        let mut at = |time: Time| due = due.min(time);
        let now = Time::now();
        for member in &self.members {
            match member.stage {
                Stage::Starting(end) => at(end),
                // It was killed then.
                Stage::Leaving(end) => at(end.max(now.plus(LOOK_WITHOUT_PIDFDS))),
                Stage::Ready
                    if self.settings.stuck_after < Duration::MAX || self.settings.max_memory < u64::MAX =>
                {
                    at(now.plus(beat(self.settings.stuck_after)));
                }
                Stage::Ready => {}
            }
            if member.child.end().is_none() {
                at(now.plus(LOOK_WITHOUT_PIDFDS));
            }
        }
        let current = self.members.iter().filter(|member| member.is_current()).count();
        if !self.is_stopping && current < self.settings.workers && self.next_start > now {
            at(self.next_start);
        }
        self.pause = self.last_look.until(due);
        let ends = self.members.iter().filter_map(|member| member.child.end());
        let successors = self.successor.iter().flat_map(Successor::news);
        let fds: Vec<_> = [self.board.bell()].into_iter().chain(ends).chain(successors).collect();
        park_until_readable(&fds, "its workers", due);
    }
}

/// Whoever leaves, by an error, a kill or a time limit, leaves nobody behind.
impl Drop for Crew<'_> {
    fn drop(&mut self) {
        self.members.iter().for_each(|member| member.child.kill_and_wait());
    }
}
