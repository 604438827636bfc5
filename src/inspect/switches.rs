//! Whether a function switches.

use std::cell::Cell;
use std::rc::Rc;

use crate::fiber::{FiberRef, Observer, Thread, thread};

/// Counts switches, and tells whoever observed them before.
struct Counter {
    count: Cell<u64>,
    former: Option<Rc<dyn Observer>>,
}

impl Observer for Counter {
    fn passes(&self, thread: &Thread, origin: FiberRef, target: FiberRef) {
        self.count.set(self.count.get() + 1);
        if let Some(former) = &self.former {
            former.passes(thread, origin, target);
        }
    }
}

/// Takes the counter back, unless somebody observes in its place by now.
struct Counting(Rc<Counter>);

impl Drop for Counting {
    fn drop(&mut self) {
        let counter: Rc<dyn Observer> = self.0.clone();
        if thread().observer().is_some_and(|observer| Rc::ptr_eq(&observer, &counter)) {
            drop(thread().observe(self.0.former.clone()));
        }
    }
}

/// Runs `function`, which is to let others run: that it never switches to another greenlet is a panic. For tests.
///
/// It may stand within itself. A hook of [`settrace`](crate::greenlet::settrace) that was set before is told of the switches too; one that
/// `function` sets takes its place, so set it before. Nothing is asserted if `function` panics.
///
/// # Panics
///
/// If nothing has switched when `function` returns.
///
/// # Examples
///
/// ```
/// use greenloop::{inspect::assert_switches, spawn};
///
/// let task = spawn(|| 7);
/// assert_eq!(assert_switches(|| task.join().unwrap()), 7);
/// assert!(std::panic::catch_unwind(|| assert_switches(|| 2 + 2)).is_err());
/// ```
#[track_caller]
pub fn assert_switches<R>(function: impl FnOnce() -> R) -> R {
    let counter = Rc::new(Counter { count: Cell::new(0), former: thread().observer() });
    drop(thread().observe(Some(counter.clone())));
    let counting = Counting(counter.clone());
    let result = function();
    drop(counting);
    assert!(counter.count.get() > 0, "nothing has switched to another greenlet");
    result
}
