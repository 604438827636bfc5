//! The queue of a pool's jobs, and what its keepers have in common.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::worker::{Argument, Order};
use crate::error::WorkError;
use crate::event::Event;
use crate::fiber;
use crate::sync::Semaphore;

/// What a job is told at its end: something for each argument.
pub(super) type Told<T> = Box<dyn FnOnce(Vec<Result<T, WorkError>>)>;

/// What is to be done, and who is told.
pub(super) struct Task<A, T> {
    pub(super) order: Order<A>,
    /// How often it was begun.
    pub(super) attempts: u32,
    /// How often it was given to a worker that died before it began.
    pub(super) given: u32,
    pub(super) told: Told<T>,
}

impl<A, T> Task<A, T> {
    pub(super) fn end(self, results: Vec<Result<T, WorkError>>) {
        let Task { order, told, .. } = self;
        // Before anybody goes on who may look whether it is gone.
        drop_arguments(order.arguments);
        // Nobody waits for the values maybe, and they are dropped there.
        fiber::catch("the destructor of a job's value", || told(results));
    }

    /// Ends all that it has in this way.
    pub(super) fn fail(self, error: &WorkError) {
        let results = self.order.arguments.iter().map(|_| Err(error.clone())).collect();
        self.end(results);
    }
}

/// What destructors of others raise is not to keep anybody from being told.
fn drop_arguments<A>(arguments: Vec<Argument<A>>) {
    arguments.into_iter().for_each(|argument| {
        fiber::catch("the destructor of a job's argument", || drop(argument));
    });
}

/// One pool's.
pub(super) struct Crew<A, T> {
    queue: RefCell<VecDeque<Task<A, T>>>,
    /// A permit for each job in the queue, or more: who gets one looks.
    queued: Semaphore,
    next_number: Cell<u64>,
    phase: RefCell<Phase>,
    /// How many keepers it has in all.
    keepers: usize,
    /// The jobs that workers have, and how each is stopped.
    begun: RefCell<HashMap<u64, Rc<dyn Fn()>>>,
    /// How many workers in a row, of all keepers, did not begin.
    failures: Cell<usize>,
    /// How many keepers and workers there are.
    members: Cell<u32>,
    /// Set when there is none any more.
    ended: Event,
    /// Set when nothing is left to do, ever.
    over: Event,
}

/// Whether jobs are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// No more jobs are taken, and those that are there are done.
    Closed,
    /// Nothing is done any more.
    Ended(WorkError),
}

impl<A, T> Crew<A, T> {
    pub(super) fn new(keepers: usize) -> Crew<A, T> {
        Crew {
            queue: RefCell::default(),
            queued: Semaphore::new(0),
            next_number: Cell::new(0),
            phase: RefCell::new(Phase::Open),
            keepers,
            begun: RefCell::default(),
            failures: Cell::new(0),
            members: Cell::new(0),
            ended: Event::new(),
            over: Event::new(),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    /// Queues a job, and returns its number. Of a pool that takes none, it is told at once.
    pub(super) fn submit(&self, arguments: Vec<A>, limit: Option<Duration>, told: Told<T>) -> u64 {
        let arguments = arguments.into_iter().map(Argument::new).collect();
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        let task = Task { order: Order { number, limit, arguments }, attempts: 0, given: 0, told };
        let refusal = match &*self.phase.borrow() {
            Phase::Open => None,
            Phase::Closed => Some(WorkError::Closed),
            Phase::Ended(error) => Some(error.clone()),
        };
        match refusal {
            None => {
                self.queue.borrow_mut().push_back(task);
                self.queued.release(1);
            }
            Some(error) => task.fail(&error),
        }
        number
    }

    /// Puts one back that is to be begun before all others.
    pub(super) fn put_back(&self, task: Task<A, T>) {
        match self.phase() {
            Phase::Ended(error) => task.fail(&error),
            Phase::Open | Phase::Closed => {
                self.queue.borrow_mut().push_front(task);
                self.queued.release(1);
            }
        }
    }

    /// Takes one out of the queue.
    pub(super) fn take_back(&self, number: u64) -> Option<Task<A, T>> {
        let mut queue = self.queue.borrow_mut();
        let place = queue.iter().position(|task| task.order.number == number)?;
        let task = queue.remove(place);
        drop(queue);
        self.see_whether_over();
        task
    }

    /// A worker has begun.
    pub(super) fn note_ready(&self) {
        self.failures.set(0);
    }

    /// A worker did not begin. Whether there were so many for each keeper; those who come later have their tries again.
    pub(super) fn note_failure(&self, tries: usize) -> bool {
        let failures = self.failures.get() + 1;
        let is_enough = failures >= tries * self.keepers;
        self.failures.set(if is_enough { 0 } else { failures });
        is_enough
    }

    /// A worker has this job; `stop` stops it there.
    pub(super) fn begin(&self, number: u64, stop: Rc<dyn Fn()>) {
        self.begun.borrow_mut().insert(number, stop);
    }

    /// No worker has it any more.
    pub(super) fn finish(&self, number: u64) {
        self.begun.borrow_mut().remove(&number);
    }

    /// Stops it in the worker that has it. Whether one does.
    pub(super) fn stop(&self, number: u64) -> bool {
        let stop = self.begun.borrow().get(&number).cloned();
        stop.map(|stop| stop()).is_some()
    }

    /// The next job. Waits for one, or for something else to happen: `None` then.
    pub(super) fn next(&self) -> Option<Task<A, T>> {
        let waits = self.queue.borrow().is_empty() && *self.phase.borrow() == Phase::Open;
        if waits {
            self.queued.acquire().forget();
        }
        let task = self.queue.borrow_mut().pop_front();
        // One that was not waited for has a permit too.
        if task.is_some()
            && !waits
            && let Some(permit) = self.queued.try_acquire()
        {
            permit.forget();
        }
        self.see_whether_over();
        task
    }

    fn see_whether_over(&self) {
        let is_over = match *self.phase.borrow() {
            Phase::Open => false,
            Phase::Closed => self.is_empty(),
            Phase::Ended(_) => true,
        };
        if is_over {
            self.over.set();
        }
    }

    /// Waits for so long, or until there is nothing left to do.
    pub(super) fn rest(&self, pause: Duration) {
        self.over.wait_timeout(pause);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Has all keepers look around.
    pub(super) fn stir(&self) {
        self.queued.release(self.keepers);
    }

    /// A keeper or a worker begins.
    pub(super) fn join(crew: &Rc<Crew<A, T>>) -> Member<A, T> {
        crew.members.set(crew.members.get() + 1);
        Member(crew.clone())
    }

    /// Set when all keepers and workers have ended.
    pub(super) fn ended(&self) -> &Event {
        &self.ended
    }

    pub(super) fn close(&self) {
        {
            let mut phase = self.phase.borrow_mut();
            if *phase != Phase::Open {
                return;
            }
            *phase = Phase::Closed;
        }
        self.see_whether_over();
        self.stir();
    }

    /// No job is done any more, for this reason.
    pub(super) fn end(&self, error: WorkError) {
        {
            let mut phase = self.phase.borrow_mut();
            if matches!(*phase, Phase::Ended(_)) {
                return;
            }
            *phase = Phase::Ended(error.clone());
        }
        self.fail_queued(&error);
        self.stir();
    }

    /// Tells this to all that are queued.
    pub(super) fn fail_queued(&self, error: &WorkError) {
        let queued = self.queue.take();
        queued.into_iter().for_each(|task| task.fail(error));
        self.see_whether_over();
    }
}

/// A keeper or a worker that has not ended.
pub(super) struct Member<A, T>(Rc<Crew<A, T>>);

impl<A, T> Drop for Member<A, T> {
    fn drop(&mut self) {
        let Member(crew) = self;
        crew.members.set(crew.members.get() - 1);
        if crew.members.get() == 0 {
            // If a keeper was ended from outside, there is nobody for what is left.
            crew.end(WorkError::Closed);
            crew.ended.set();
        }
    }
}
