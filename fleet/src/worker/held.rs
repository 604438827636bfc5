//! What a worker holds: jobs that run, and jobs whose end is to be settled.

use crate::{Job, Lease};
use greenloop::JoinHandle;
use greenloop::event::Event;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Why a job is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sentence {
    /// It ran for as long as the hard limit allows.
    HardLimit,
    /// Somebody else has it by now.
    LostLease,
    /// The worker is to end.
    Stop,
}

/// A job that runs.
struct Running {
    task: JoinHandle<()>,
    sentence: Rc<Cell<Option<Sentence>>>,
}

/// By lease: `None` once it has ended, and until it is settled.
#[derive(Default)]
pub(super) struct Held {
    jobs: RefCell<HashMap<Lease, Option<Running>>>,
    running: Cell<usize>,
    /// Whose hard limit comes when: the same limit for all, so they come in order.
    limits: RefCell<VecDeque<(Instant, Lease)>>,
    /// Set when there is more room, or a limit to wait for.
    pub(super) changed: Event,
    /// Set when a job with a limit begins.
    pub(super) limited: Event,
}

impl Held {
    /// Has `spawn` begin a job, which is told by which word it will know why it is killed.
    pub(super) fn begin(
        &self,
        job: &Job,
        limit: Option<Duration>,
        spawn: impl FnOnce(Rc<Cell<Option<Sentence>>>) -> JoinHandle<()>,
    ) {
        let sentence = Rc::default();
        let task = spawn(Rc::clone(&sentence));
        self.jobs.borrow_mut().insert(job.lease(), Some(Running { task, sentence }));
        self.running.set(self.running.get() + 1);
        if let Some(limit) = limit {
            self.limits.borrow_mut().push_back((Instant::now() + limit, job.lease()));
            self.limited.set();
        }
    }

    /// Holds a job that is not even begun.
    pub(super) fn hold(&self, lease: Lease) {
        self.jobs.borrow_mut().insert(lease, None);
    }

    /// It has ended, and is to be settled.
    pub(super) fn end(&self, lease: Lease) {
        if let Some(place) = self.jobs.borrow_mut().get_mut(&lease)
            && place.take().is_some()
        {
            self.running.set(self.running.get() - 1);
        }
        self.changed.set();
    }

    /// It is settled.
    pub(super) fn release(&self, lease: Lease) {
        self.jobs.borrow_mut().remove(&lease);
        self.changed.set();
    }

    /// How many run.
    pub(super) fn running(&self) -> usize {
        self.running.get()
    }

    /// How many run or are to be settled.
    pub(super) fn len(&self) -> usize {
        self.jobs.borrow().len()
    }

    pub(super) fn leases(&self) -> Vec<Lease> {
        self.jobs.borrow().keys().copied().collect()
    }

    /// Kills a job, if it still runs. Does not wait for its end.
    pub(super) fn kill(&self, lease: Lease, why: Sentence) {
        if let Some(Some(running)) = self.jobs.borrow().get(&lease) {
            if running.sentence.get().is_none() {
                running.sentence.set(Some(why));
            }
            running.task.try_kill();
        }
    }

    /// The jobs whose hard limit has come, and when the next one comes.
    pub(super) fn overdue(&self, now: Instant) -> (Vec<Lease>, Option<Instant>) {
        let mut limits = self.limits.borrow_mut();
        let mut overdue = Vec::new();
        while let Some(&(limit, lease)) = limits.front() {
            // It may have ended long ago.
            let runs = matches!(self.jobs.borrow().get(&lease), Some(Some(_)));
            match runs {
                true if limit > now => return (overdue, Some(limit)),
                true => overdue.push(lease),
                false => {}
            }
            limits.pop_front();
        }
        (overdue, None)
    }
}
