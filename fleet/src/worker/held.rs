//! What a worker holds: jobs that run, and jobs whose end is to be settled.

use super::watch::Watched;
use crate::job::Term;
use crate::{Job, Lease};
use greenloop::JoinHandle;
use greenloop::event::Event;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a job is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sentence {
    /// It ran for as long as the hard limit allows.
    HardLimit,
    /// Somebody else has it by now, or may have it.
    LostLease,
    /// The worker is to end.
    Stop,
}

/// A job that runs.
struct Running {
    task: JoinHandle<()>,
    sentence: Rc<Cell<Option<Sentence>>>,
}

struct Place {
    /// `None` once it has ended, and until it is settled.
    running: Option<Rc<Running>>,
    term: Term,
    /// Of its payload, and of what has come of it.
    bytes: usize,
}

#[derive(Default)]
pub(super) struct Held {
    jobs: RefCell<HashMap<Lease, Place>>,
    running: Cell<usize>,
    /// Of all.
    bytes: Cell<usize>,
    /// Whose hard limit comes when: the same limit for all, so they come in order.
    limits: RefCell<VecDeque<(Instant, Lease)>>,
    pub(super) watched: Arc<Watched>,
    /// Set when there is more room, or a limit to wait for.
    pub(super) changed: Event,
    /// Set when a job with a limit begins.
    pub(super) limited: Event,
    /// Set when a job begins, whose lease is to be looked at.
    pub(super) begun: Event,
    pub(super) news: News,
}

/// That there may be jobs again.
pub(super) struct News {
    /// Set when somebody is to wait for them.
    pub(super) wanted: Event,
    /// Set when they have come.
    pub(super) come: Event,
    /// Whether the broker tells.
    pub(super) are_told: Cell<bool>,
}

impl Default for News {
    fn default() -> News {
        News { wanted: Event::new(), come: Event::new(), are_told: Cell::new(true) }
    }
}

impl Held {
    /// Has `spawn` begin a job, which is told by which word it will know why it is killed.
    pub(super) fn begin(&self, job: &Job, spawn: impl FnOnce(Rc<Cell<Option<Sentence>>>) -> JoinHandle<()>) {
        let sentence = Rc::default();
        let task = spawn(Rc::clone(&sentence));
        self.insert(job, Some(Rc::new(Running { task, sentence })));
        self.running.set(self.running.get() + 1);
        self.begun.set();
    }

    /// Has a job that begins to run killed after `limit`.
    pub(super) fn limit(&self, lease: Lease, limit: Duration) {
        // That there is no such time is never.
        if let Some(end) = Instant::now().checked_add(limit) {
            self.watched.begin(lease, end);
            self.limits.borrow_mut().push_back((end, lease));
            self.limited.set();
        }
    }

    /// Holds a job that is not even begun.
    pub(super) fn hold(&self, job: &Job) {
        self.insert(job, None);
    }

    fn insert(&self, job: &Job, running: Option<Rc<Running>>) {
        let (bytes, term) = (job.payload.len(), job.term.clone());
        let before = self.jobs.borrow_mut().insert(job.lease(), Place { running, term, bytes });
        self.bytes.set(self.bytes.get() + bytes - before.map_or(0, |place| place.bytes));
    }

    /// It has ended, with what has so many bytes, and is to be settled.
    pub(super) fn end(&self, lease: Lease, bytes: usize) {
        self.watched.end(lease);
        if let Some(place) = self.jobs.borrow_mut().get_mut(&lease)
            && place.running.take().is_some()
        {
            self.running.set(self.running.get() - 1);
            place.bytes += bytes;
            self.bytes.set(self.bytes.get() + bytes);
        }
        self.changed.set();
    }

    /// It is settled.
    pub(super) fn release(&self, lease: Lease) {
        let bytes = self.jobs.borrow_mut().remove(&lease).map_or(0, |place| place.bytes);
        self.bytes.set(self.bytes.get() - bytes);
        self.changed.set();
    }

    /// How many bytes what it holds has.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
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

    /// These leases are held for so long from then on.
    pub(super) fn renew<'a>(&self, leases: impl Iterator<Item = &'a Lease>, start: Instant, lease: Duration) {
        let jobs = self.jobs.borrow();
        leases.filter_map(|lease| jobs.get(lease)).for_each(|place| place.term.renew(start, lease));
    }

    /// When leases of jobs that run, and are to run on, end.
    fn ends(&self) -> Vec<(Instant, Lease)> {
        let jobs = self.jobs.borrow();
        let end = |(lease, place): (&Lease, &Place)| {
            place.running.as_ref().filter(|running| running.sentence.get().is_none())?;
            Some((place.term.end()?, *lease))
        };
        jobs.iter().filter_map(end).collect()
    }

    /// When the first of them ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.ends().into_iter().map(|(end, _)| end).min()
    }

    /// Those that have ended.
    pub(super) fn ended(&self, now: Instant) -> Vec<Lease> {
        self.ends().into_iter().filter(|(end, _)| *end <= now).map(|(_, lease)| lease).collect()
    }

    /// Kills a job, if it still runs. Does not wait for its end.
    pub(super) fn kill(&self, lease: Lease, why: Sentence) {
        let running = self.jobs.borrow().get(&lease).and_then(|place| place.running.clone());
        let Some(running) = running else { return };
        if running.sentence.get().is_none() {
            running.sentence.set(Some(why));
        }
        // One that has not begun tells its end within this call.
        running.task.try_kill();
    }

    /// The jobs whose hard limit has come, and when the next one comes.
    pub(super) fn overdue(&self, now: Instant) -> (Vec<Lease>, Option<Instant>) {
        let mut limits = self.limits.borrow_mut();
        let mut overdue = Vec::new();
        while let Some(&(limit, lease)) = limits.front() {
            // It may have ended long ago.
            let runs = matches!(self.jobs.borrow().get(&lease), Some(Place { running: Some(_), .. }));
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

#[cfg(test)]
mod tests {
    use super::{Held, Sentence};
    use crate::{Broker, NewJob, Sqlite};
    use std::rc::Rc;
    use std::time::Duration;

    struct Ends(Rc<Held>, crate::Lease);

    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.end(self.1, 7);
        }
    }

    #[test]
    fn a_job_that_has_not_begun_is_killed_too() {
        let broker = Sqlite::in_memory().unwrap();
        broker.push(&[NewJob::new("payload")]).unwrap();
        let job = broker.take(1, Duration::from_secs(100)).unwrap().remove(0);
        let held = Rc::new(Held::default());
        let ends = Ends(held.clone(), job.lease());
        held.begin(&job, |_| {
            greenloop::spawn(move || {
                let _ends = ends;
                unreachable!("it is killed before");
            })
        });
        assert_eq!((held.running(), held.len()), (1, 1));
        held.kill(job.lease(), Sentence::Stop);
        greenloop::yield_now();
        assert_eq!((held.running(), held.len(), held.bytes()), (0, 1, 7 + "payload".len()));
        held.release(job.lease());
        assert_eq!((held.len(), held.bytes()), (0, 0));
    }
}
