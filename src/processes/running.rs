//! A worker that runs, and the jobs that it has: one green thread hears what has come of them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::crew::{Crew, Phase, Task};
use super::link::Link;
use super::maker::{Rules, Worker};
use super::stopping::{Reason, Stopping};
use super::worker::{Outcome, Said};
use crate::error::WorkError;
use crate::process::Wire;
use crate::sync::Semaphore;
use crate::task;

/// A job that was given to so many workers that died before they began it fails.
const MOST_GIVEN: u32 = 16;
/// How long to wait for the end of one that has closed its pipe.
const DYING: Duration = Duration::from_secs(5);

/// A worker, and what it has to do.
pub(super) struct Running<A, T> {
    pub(super) link: Rc<Link<A, T>>,
    crew: Rc<Crew<A, T>>,
    retries: u32,
    threads: usize,
    /// As many permits as it can have jobs more.
    room: Semaphore,
    /// In the order in which it was given them.
    jobs: RefCell<VecDeque<Given<A, T>>>,
    has_begun: Cell<bool>,
}

/// A job that it has. When this is dropped it can be stopped no more.
struct Given<A, T> {
    task: Option<Task<A, T>>,
    number: u64,
    stopping: Rc<Stopping<A, T>>,
    crew: Rc<Crew<A, T>>,
}

impl<A, T> Given<A, T> {
    /// Ends it, when nobody can stop it in this worker any more.
    fn end(mut self, how: impl FnOnce(Task<A, T>)) {
        let task = self.task.take();
        drop(self);
        if let Some(task) = task {
            how(task);
        }
    }
}

impl<A, T> Drop for Given<A, T> {
    fn drop(&mut self) {
        self.crew.finish(self.number);
        self.stopping.note_over();
    }
}

impl<A: Wire + 'static, T: Wire + 'static> Running<A, T> {
    pub(super) fn new(worker: Worker<A, T>, crew: Rc<Crew<A, T>>, rules: &Rules) -> Running<A, T> {
        Running {
            link: Link::new(worker, crew.clone(), rules.grace),
            crew,
            retries: rules.retries,
            threads: rules.threads,
            room: Semaphore::new(rules.threads),
            jobs: RefCell::default(),
            has_begun: Cell::new(false),
        }
    }

    /// Whether it has begun a job.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.get()
    }

    pub(super) fn wait_for_room(&self) {
        drop(self.room.acquire());
    }

    pub(super) fn has_jobs(&self) -> bool {
        !self.jobs.borrow().is_empty()
    }

    /// Waits until it has no job.
    pub(super) fn wait_until_idle(&self) {
        (0..self.threads).for_each(|_| self.room.acquire().forget());
    }

    /// Gives it a job. Returns whether it is there to have another.
    pub(super) fn give(&self, task: Task<A, T>) -> bool {
        let number = task.order.number;
        let stopping = Stopping::new(number, &self.link);
        let stops = stopping.clone();
        self.crew.begin(number, Rc::new(move || Stopping::stop(&stops)));
        let mut given = Given { task: None, number, stopping, crew: self.crew.clone() };
        if let Some(limit) = task.order.limit {
            let count = u32::try_from(task.order.arguments.len()).unwrap_or(u32::MAX);
            Stopping::limit(&given.stopping, limit.saturating_mul(count));
        }
        let sent = self.link.send(&task.order);
        given.task = Some(task);
        match sent {
            Ok(()) => {
                self.room.acquire().forget();
                self.jobs.borrow_mut().push_back(given);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.lose(given, true);
                false
            }
            Err(error) => {
                given.end(|task| task.fail(&WorkError::Undecodable(error.to_string())));
                true
            }
        }
    }

    /// Hears what comes of its jobs, until it is gone.
    pub(super) fn listen(this: &Rc<Self>) {
        let listening = Listening(this.clone());
        let member = Crew::join(&this.crew);
        drop(task::spawn(move || {
            while listening.0.hear() {}
            drop((listening, member));
        }));
    }

    /// Whether there may be more to hear.
    fn hear(&self) -> bool {
        match self.link.pipe.recv() {
            Ok(Said::Ended(number, outcomes)) => {
                self.finish(number, outcomes);
                // It gets its next job before it is asked whether it has said more.
                task::yield_now();
            }
            Ok(Said::Unheard(why)) => return self.finish_only(why),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return self.finish_only(error.to_string());
            }
            Ok(Said::Ready | Said::Failed(_)) | Err(_) => return false,
        }
        true
    }

    /// What has come of a job.
    fn finish(&self, number: u64, outcomes: Vec<Outcome<T>>) {
        let mut results: Vec<_> = outcomes.into_iter().map(|Outcome(result)| result).collect();
        self.end(number, |task| {
            // As many as there are arguments, whatever it has said.
            let untold = || Err(WorkError::Undecodable("the worker has told of fewer values".to_owned()));
            results.resize_with(task.order.arguments.len(), untold);
            task.end(results);
        });
    }

    /// Something did not come over of a job: that is the one that it has. If it has several, nobody knows which, and it goes with them all.
    fn finish_only(&self, why: String) -> bool {
        let only = match &*self.jobs.borrow() {
            jobs if jobs.len() == 1 => Some(jobs[0].number),
            _ => None,
        };
        if let Some(number) = only {
            self.end(number, |task| task.fail(&WorkError::Undecodable(why)));
        }
        only.is_some()
    }

    fn end(&self, number: u64, how: impl FnOnce(Task<A, T>)) {
        let given = {
            let mut jobs = self.jobs.borrow_mut();
            let place = jobs.iter().position(|given| given.number == number);
            place.and_then(|place| jobs.remove(place))
        };
        let Some(given) = given else { return };
        self.has_begun.set(true);
        given.end(how);
        self.room.release(1);
    }

    /// It is gone, with all that it has.
    fn lose_all(&self) {
        self.link.close();
        // If it lives, it has said what cannot be understood.
        self.link.pipe.hang_up();
        let jobs = self.jobs.take();
        let count = jobs.len();
        // The first of them is to be the first again.
        for given in jobs.into_iter().rev() {
            let is_unread = self.link.left_unread(given.number);
            self.lose(given, is_unread);
        }
        self.room.release(count);
    }

    /// A job whose worker is gone: it may have never been read there, or have been begun.
    fn lose(&self, given: Given<A, T>, is_unread: bool) {
        let reason = given.stopping.reason();
        given.end(|mut task| match reason {
            Some(Reason::Killed) => task.fail(&WorkError::Killed),
            Some(Reason::TimedOut) => task.fail(&WorkError::TimedOut),
            None if is_unread => {
                task.given += 1;
                if task.given < MOST_GIVEN {
                    self.crew.put_back(task);
                } else {
                    let why = "worker after worker died before it began the job it was given";
                    task.fail(&WorkError::NoWorker(why.to_owned()));
                }
            }
            None => {
                self.has_begun.set(true);
                task.attempts += 1;
                match task.attempts <= self.retries {
                    true => self.crew.put_back(task),
                    false => self.fail_with(task),
                }
            }
        });
    }

    fn fail_with(&self, task: Task<A, T>) {
        // It has closed its end, so it is dead or dies. How, its nursery knows.
        let _ = self.link.process.wait_timeout(DYING);
        let signal = self.link.process.exit_code().and_then(|code| (code < 0).then_some(-code));
        let error = match self.crew.phase() {
            Phase::Ended(error) => error,
            _ => WorkError::WorkerDied { id: self.link.process.id(), signal, attempts: task.attempts },
        };
        task.fail(&error);
    }
}

/// When this is dropped nobody hears of its jobs any more.
struct Listening<A: Wire + 'static, T: Wire + 'static>(Rc<Running<A, T>>);

impl<A: Wire + 'static, T: Wire + 'static> Drop for Listening<A, T> {
    fn drop(&mut self) {
        self.0.lose_all();
    }
}
