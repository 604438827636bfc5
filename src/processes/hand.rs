//! The life of a worker: one green thread listens, and others do the jobs, so that one that waits can be stopped.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::worker::{Argument, Order, Outcome, Said, caught};
use crate::error::WorkError;
use crate::process::{Pipe, Wire, last_place};
use crate::queue::Queue;
use crate::signal::{self, SIGHUP, SIGINT};
use crate::task::{Builder, JoinHandle, with_timeout};

/// A job has as much stack as on the main thread of a program. It takes room as it is used.
const STACK: usize = 8 << 20;

/// What runs in each worker.
pub(super) struct Work<F> {
    pub(super) initializer: Option<Box<dyn Fn()>>,
    pub(super) function: F,
}

/// What the ones that do the jobs have in common with the one that listens.
struct Bench<A, T, F> {
    work: Rc<Work<F>>,
    pipe: Pipe<Said<T>, Order<A>>,
    orders: Queue<Order<A>>,
    /// The numbers of those, and whether each is to stop before it begins.
    waiting: RefCell<HashMap<u64, bool>>,
}

/// One that does jobs, one after the other.
#[derive(Default)]
struct Hand {
    /// The number of the job that it has.
    current: Cell<Option<u64>>,
    /// Whether the function has been called for that one.
    has_begun: Cell<bool>,
    /// Whether that one is to stop.
    is_stopped: Cell<bool>,
    /// What does the jobs, unless it takes no more: it may still run destructors.
    thread: RefCell<Option<JoinHandle<()>>>,
}

/// When this is dropped, another one is to do the jobs.
struct Leaving<'a>(&'a Hand);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.current.set(None);
        self.0.thread.take();
    }
}

/// Runs a worker until nobody has jobs for it any more. So many of them are done at a time.
pub(super) fn run<A, T, F>(work: Rc<Work<F>>, pipe: Pipe<Said<T>, Order<A>>, threads: usize)
where
    A: Wire + 'static,
    T: Wire + 'static,
    F: Fn(A) -> T + 'static,
{
    // A terminal sends these to all; what they mean is for the pool's own process to say, with which the worker ends.
    for signal in [SIGHUP, SIGINT] {
        if let Ok(handler) = signal::on(signal, || {}) {
            handler.detach();
        }
    }
    let bench = Rc::new(Bench { work, pipe, orders: Queue::unbounded(), waiting: RefCell::default() });
    let hands: Vec<Rc<Hand>> = (0..threads).map(|_| Rc::default()).collect();
    if bench.start(&hands[0], true).is_err() {
        return;
    }
    loop {
        let order = match bench.pipe.recv() {
            Ok(order) => order,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                bench.tell(&Said::Unheard(error.to_string()));
                continue;
            }
            Err(_) => return,
        };
        if order.arguments.is_empty() {
            bench.stop(order.number, &hands);
            continue;
        }
        let is_idle = |hand: &&Rc<Hand>| hand.thread.borrow().is_some() && hand.current.get().is_none();
        // One of those has each job that waits.
        let has_room = hands.iter().filter(is_idle).count() > bench.waiting.borrow().len();
        // Not yet begun, or stopped, or told so as its job had just ended.
        let absent = hands.iter().find(|hand| hand.thread.borrow().is_none());
        if let Some(hand) = absent.filter(|_| !has_room)
            && bench.start(hand, false).is_err()
        {
            return;
        }
        bench.waiting.borrow_mut().insert(order.number, false);
        let _ = bench.orders.put(order);
    }
}

impl<A, T, F> Bench<A, T, F>
where
    A: Wire + 'static,
    T: Wire + 'static,
    F: Fn(A) -> T + 'static,
{
    fn start(self: &Rc<Self>, hand: &Rc<Hand>, is_first: bool) -> io::Result<()> {
        let builder = Builder::new().stack_size(STACK);
        // What the initializer has put into thread-local variables is there for all jobs.
        #[cfg(feature = "monkey")]
        let builder = builder.isolated(false);
        let (bench, own) = (self.clone(), hand.clone());
        let thread = builder.spawn(move || bench.live(&own, is_first))?;
        *hand.thread.borrow_mut() = Some(thread);
        Ok(())
    }

    /// Stops the job of that number, unless it has ended.
    fn stop(&self, number: u64, hands: &[Rc<Hand>]) {
        if let Some(is_stopped) = self.waiting.borrow_mut().get_mut(&number) {
            *is_stopped = true;
        }
        let Some(hand) = hands.iter().find(|hand| hand.current.get() == Some(number)) else { return };
        if !hand.is_stopped.replace(true)
            && hand.has_begun.get()
            && let Some(thread) = &*hand.thread.borrow()
        {
            thread.try_kill();
        }
    }

    fn live(self: &Rc<Self>, hand: &Rc<Hand>, is_first: bool) {
        let leaving = Leaving(hand);
        if is_first {
            if let Some(initializer) = &self.work.initializer
                && let Err(text) = caught(initializer)
            {
                return self.tell(&Said::Failed(text));
            }
            self.tell(&Said::Ready);
        }
        while let Ok(Order { number, limit, arguments }) = self.orders.get() {
            hand.is_stopped.set(self.waiting.borrow_mut().remove(&number) == Some(true));
            hand.current.set(Some(number));
            let outcomes = arguments.into_iter().map(|argument| Outcome(self.one(hand, argument, limit)));
            let said = Said::Ended(number, outcomes.collect());
            hand.current.set(None);
            let has_begun = hand.has_begun.replace(false);
            let is_stopped = hand.is_stopped.replace(false);
            self.tell(&said);
            // Values of others: what their destructors raise is no job's.
            let _ = caught(|| drop(said));
            if has_begun && is_stopped {
                // Whatever it has made of that, another begins anew. From here on it does not wait.
                drop(leaving);
                // If there is no room for that now, there may be with the next job.
                let _ = self.start(hand, false);
                return;
            }
        }
    }

    fn one(
        &self,
        hand: &Hand,
        Argument(argument): Argument<A>,
        limit: Option<Duration>,
    ) -> Result<T, WorkError> {
        if hand.is_stopped.get() {
            let _ = caught(|| drop(argument));
            return Err(WorkError::Killed);
        }
        // Outside of the closure, since it is moved into there.
        let argument = RefCell::new(Some(argument.map_err(WorkError::Undecodable)?));
        hand.has_begun.set(true);
        let call = || argument.take().map(&self.work.function);
        let called = caught(|| match limit {
            Some(limit) => with_timeout(limit, call).ok(),
            None => Some(call()),
        });
        match called {
            Ok(Some(Some(value))) => Ok(value),
            Ok(_) => Err(WorkError::TimedOut),
            Err(_) if hand.is_stopped.get() => Err(WorkError::Killed),
            Err(message) => Err(WorkError::Panicked { message, backtrace: last_place() }),
        }
    }

    /// If nobody is there, the one that listens sees it.
    fn tell(&self, said: &Said<T>) {
        let Err(error) = self.pipe.send(said) else { return };
        if error.kind() == io::ErrorKind::BrokenPipe {
            return;
        }
        let why = WorkError::Undecodable(error.to_string());
        let instead = match said {
            Said::Ended(number, outcomes) => {
                Said::Ended(*number, outcomes.iter().map(|_| Outcome(Err(why.clone()))).collect())
            }
            _ => Said::Unheard(why.to_string()),
        };
        let _ = self.pipe.send(&instead);
    }
}
