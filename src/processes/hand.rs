//! The life of a worker: one green thread listens, and another does the jobs, so that one that waits can be stopped.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::worker::{Argument, Order, Said, caught};
use crate::process::{Pipe, Wire, last_place};
use crate::queue::Queue;
use crate::task::{Builder, JoinHandle, with_timeout};

/// A job has as much stack as on the main thread of a program. It takes room as it is used.
const STACK: usize = 8 << 20;

/// What runs in each worker.
pub(super) struct Work<F> {
    pub(super) initializer: Option<Box<dyn Fn()>>,
    pub(super) function: F,
}

/// The one that does the jobs, and what it shares with the one that listens.
struct Hand<A, T, F> {
    work: Rc<Work<F>>,
    pipe: Pipe<Said<T>, Order<A>>,
    orders: Queue<Order<A>>,
    /// The number of the job that it has: there is one at a time.
    current: Cell<Option<u64>>,
    has_begun: Cell<bool>,
    /// Whether that one is to stop.
    is_stopped: Cell<bool>,
    /// Whether whoever did the jobs takes no more, though it may still run destructors.
    is_gone: Cell<bool>,
}

/// When this is dropped, another one is to do the jobs.
struct Leaving<'a>(&'a Cell<bool>);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

/// Runs a worker until nobody has jobs for it any more.
pub(super) fn run<A, T, F>(work: Rc<Work<F>>, pipe: Pipe<Said<T>, Order<A>>)
where
    A: Wire + 'static,
    T: Wire + 'static,
    F: Fn(A) -> T + 'static,
{
    let orders = Queue::unbounded();
    let hand = Rc::new(Hand {
        work,
        pipe,
        orders,
        current: Cell::new(None),
        has_begun: Cell::new(false),
        is_stopped: Cell::new(false),
        is_gone: Cell::new(false),
    });
    let Ok(mut at_work) = hand.start(true) else { return };
    loop {
        let order = match hand.pipe.recv() {
            Ok(order) => order,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                hand.tell(&Said::Undecodable(error.to_string()));
                continue;
            }
            Err(_) => return,
        };
        if order.argument.is_none() {
            hand.stop(order.number, &at_work);
            continue;
        }
        // One that was stopped, or was told so as its job had just ended.
        if hand.is_gone.get() {
            match hand.start(false) {
                Ok(another) => at_work = another,
                Err(_) => return,
            }
        }
        hand.current.set(Some(order.number));
        let _ = hand.orders.put(order);
    }
}

impl<A, T, F> Hand<A, T, F>
where
    A: Wire + 'static,
    T: Wire + 'static,
    F: Fn(A) -> T + 'static,
{
    fn start(self: &Rc<Self>, is_first: bool) -> io::Result<JoinHandle<()>> {
        let hand = self.clone();
        hand.is_gone.set(false);
        let builder = Builder::new().stack_size(STACK);
        // What the initializer has put into thread-local variables is there for all jobs.
        #[cfg(feature = "monkey")]
        let builder = builder.isolated(false);
        builder.spawn(move || hand.live(is_first))
    }

    /// Stops the job of that number, unless it has ended.
    fn stop(&self, number: u64, at_work: &JoinHandle<()>) {
        if self.current.get() == Some(number) && !self.is_stopped.replace(true) && self.has_begun.get() {
            at_work.try_kill();
        }
    }

    fn live(&self, is_first: bool) {
        let _leaving = Leaving(&self.is_gone);
        if is_first {
            if let Some(initializer) = &self.work.initializer
                && let Err(text) = caught(initializer)
            {
                return self.tell(&Said::Failed(text));
            }
            self.tell(&Said::Ready);
        }
        while let Ok(Order { limit, argument: Some(argument), .. }) = self.orders.get() {
            let said = if self.is_stopped.get() {
                let _ = caught(|| drop(argument));
                Said::Killed
            } else {
                self.one(argument, limit)
            };
            self.current.set(None);
            let has_begun = self.has_begun.replace(false);
            let is_stopped = self.is_stopped.replace(false);
            self.tell(&said);
            // Values of others: what their destructors raise is no job's.
            let _ = caught(|| drop(said));
            if has_begun && is_stopped && self.orders.is_empty() {
                // Whatever it has made of that, another begins anew. From here on it does not wait.
                return;
            }
        }
    }

    fn one(&self, Argument(argument): Argument<A>, limit: Option<Duration>) -> Said<T> {
        // Outside of the closure, since it is moved into there.
        let argument = match argument {
            Ok(argument) => RefCell::new(Some(argument)),
            Err(why) => return Said::Undecodable(why),
        };
        self.has_begun.set(true);
        let call = || argument.take().map(&self.work.function);
        let called = caught(|| match limit {
            Some(limit) => with_timeout(limit, call).ok(),
            None => Some(call()),
        });
        match called {
            Ok(Some(Some(value))) => Said::Done(value),
            Ok(_) => Said::TimedOut,
            Err(_) if self.is_stopped.get() => Said::Killed,
            Err(text) => Said::Panicked(text, last_place()),
        }
    }

    /// If nobody is there, the one that listens sees it.
    fn tell(&self, said: &Said<T>) {
        match self.pipe.send(said) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                let _ = self.pipe.send(&Said::Undecodable(error.to_string()));
            }
            _ => {}
        }
    }
}
