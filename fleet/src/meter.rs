//! How much of its processor's time a process spends in a broker's calls.

use crate::Shared;
use fleet::{Broker, BrokerError, DeadJob, Job, Lease, NewJob, Record, Settlement, Status};
use greenloop::greenlet::{AnyGreenlet, current, settrace};
use rustix::time::{ClockId, clock_gettime};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

thread_local! {
    static METER: Rc<Meter> = Rc::default();
}

/// Of one OS thread. Who is in a call waits for the server, and what others do meanwhile does not count.
#[derive(Default)]
struct Meter {
    callers: RefCell<Vec<AnyGreenlet>>,
    /// Whether one of them runs, and since when.
    since: Cell<Option<Duration>>,
    spent: Cell<Duration>,
}

impl Meter {
    fn passes_to(&self, greenlet: &AnyGreenlet) {
        if let Some(since) = self.since.take() {
            self.spent.set(self.spent.get() + time_of(ClockId::ThreadCPUTime) - since);
        }
        if self.callers.borrow().contains(greenlet) {
            self.since.set(Some(time_of(ClockId::ThreadCPUTime)));
        }
    }

    fn within<T>(&self, call: impl FnOnce() -> T) -> T {
        let caller = current();
        self.callers.borrow_mut().push(caller.clone());
        self.passes_to(&caller);
        let answer = call();
        self.callers.borrow_mut().retain(|other| *other != caller);
        self.passes_to(&caller);
        answer
    }
}

/// What a process's or a thread's clock of its processor's time says.
pub fn time_of(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Does something with what `metered` returns of a broker, and returns how much of the processor's time went into its calls.
pub fn metered<T>(broker: Shared, work: impl FnOnce(Shared) -> T) -> (T, Duration) {
    let meter = METER.with(Rc::clone);
    let seen = Rc::clone(&meter);
    settrace(Some(Rc::new(move |trace| seen.passes_to(&trace.target))));
    let worked = work(std::sync::Arc::new(Metered(broker)));
    settrace(None);
    (worked, meter.spent.take())
}

/// A broker whose calls are counted.
struct Metered(Shared);

impl Metered {
    fn call<T>(&self, call: impl FnOnce(&dyn Broker) -> T) -> T {
        METER.with(Rc::clone).within(|| call(&*self.0))
    }
}

impl Broker for Metered {
    fn queue(&self) -> &str {
        self.0.queue()
    }

    fn push(&self, jobs: &[NewJob]) -> Result<usize, BrokerError> {
        self.call(|broker| broker.push(jobs))
    }

    fn submit(&self, job: &NewJob) -> Result<Option<u64>, BrokerError> {
        self.call(|broker| broker.submit(job))
    }

    fn wait(&self, most: Duration) -> Result<bool, BrokerError> {
        self.call(|broker| broker.wait(most))
    }

    fn take(&self, most: usize, lease: Duration) -> Result<Vec<Job>, BrokerError> {
        self.call(|broker| broker.take(most, lease))
    }

    fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<Lease>, BrokerError> {
        self.call(|broker| broker.renew(leases, lease))
    }

    fn settle(&self, settlements: &[Settlement]) -> Result<Vec<bool>, BrokerError> {
        self.call(|broker| broker.settle(settlements))
    }

    fn result(&self, job: u64) -> Result<Option<String>, BrokerError> {
        self.call(|broker| broker.result(job))
    }

    fn keep(&self, name: &str, text: &str, kept: Duration) -> Result<(), BrokerError> {
        self.call(|broker| broker.keep(name, text, kept))
    }

    fn kept(&self, name: &str) -> Result<Option<String>, BrokerError> {
        self.call(|broker| broker.kept(name))
    }

    fn records(&self, after: u64, most: usize) -> Result<Vec<Record>, BrokerError> {
        self.call(|broker| broker.records(after, most))
    }

    fn dead_jobs(&self, most: usize) -> Result<Vec<DeadJob>, BrokerError> {
        self.call(|broker| broker.dead_jobs(most))
    }

    fn requeue_dead(&self) -> Result<u64, BrokerError> {
        self.call(|broker| broker.requeue_dead())
    }

    fn purge(&self) -> Result<(), BrokerError> {
        self.call(|broker| broker.purge())
    }

    fn status(&self) -> Result<Status, BrokerError> {
        self.call(|broker| broker.status())
    }
}
