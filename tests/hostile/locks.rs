//! The library's own locks are free wherever code of the user's runs.

use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use greenloop::channel::{Sender, bounded};
use greenloop::event::Event;
use greenloop::queue::{PriorityQueue, Queue};
use greenloop::yield_now;

use super::LIMIT;
use super::support::within;

/// Its destructor calls a function.
struct Calls(Option<Box<dyn FnOnce() + Send>>);

impl Calls {
    fn new(function: impl FnOnce() + Send + 'static) -> Calls {
        Calls(Some(Box::new(function)))
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        if let Some(function) = self.0.take() {
            function();
        }
    }
}

/// Runs `function` in the hub's place, where nothing may wait.
fn in_a_callback(function: impl FnOnce() + Send + 'static) {
    let (event, done) = (Event::new(), Arc::new(AtomicBool::new(false)));
    let end = Calls::new({
        let done = done.clone();
        move || done.store(true, SeqCst)
    });
    event.rawlink(move || {
        let _end = end;
        function();
    });
    event.set();
    while !done.load(SeqCst) {
        yield_now();
    }
}

#[test]
fn a_value_whose_send_is_refused_may_use_the_channel() {
    within(LIMIT, || {
        let (sender, receiver) = bounded::<Calls>(1);
        sender.send(Calls(None)).unwrap();
        let lengths = Arc::new(AtomicUsize::new(0));
        let seen = lengths.clone();
        in_a_callback(move || {
            let again: Sender<_> = sender.clone();
            // It would have to wait, and panics: nobody has the value, and it goes.
            let _ = sender.send(Calls::new(move || _ = seen.fetch_add(again.len(), SeqCst)));
        });
        assert_eq!(lengths.load(SeqCst), 1);
        assert!(receiver.recv().is_ok());
        assert!(receiver.recv().is_err(), "nothing else was sent");
    });
}

#[test]
fn an_item_whose_put_is_refused_may_use_the_queue() {
    within(LIMIT, || {
        let queue = Arc::new(Queue::<Calls>::bounded(1));
        queue.put(Calls(None)).unwrap();
        let lengths = Arc::new(AtomicUsize::new(0));
        let (full, seen) = (queue.clone(), lengths.clone());
        in_a_callback(move || {
            let again = full.clone();
            let _ = full.put(Calls::new(move || _ = seen.fetch_add(again.len(), SeqCst)));
        });
        assert_eq!(lengths.load(SeqCst), 1);
        assert_eq!(queue.len(), 1);
    });
}

/// Compared, it uses a queue.
struct Uses(u32, Option<Arc<PriorityQueue<Uses>>>);

impl Ord for Uses {
    fn cmp(&self, other: &Uses) -> Ordering {
        for queue in [&self.1, &other.1].into_iter().flatten() {
            let _ = queue.try_get();
        }
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Uses {
    fn partial_cmp(&self, other: &Uses) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Uses {
    fn eq(&self, other: &Uses) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Uses {}

#[test]
fn a_comparison_that_uses_its_own_queue_panics() {
    within(LIMIT, || {
        let queue = Arc::new(PriorityQueue::unbounded());
        queue.put(Uses(1, None)).unwrap();
        let put = catch_unwind(AssertUnwindSafe(|| queue.put(Uses(2, Some(queue.clone())))));
        let payload = put.unwrap_err();
        let rule = payload.downcast_ref::<&str>().expect("the rule");
        assert!(rule.contains("a comparison or a clone"), "{rule}");
        assert_eq!(queue.len(), 1);
        queue.put(Uses(3, None)).unwrap();
        assert_eq!(queue.get().unwrap().0, 1);
    });
}

#[test]
fn a_comparison_may_use_another_queue() {
    within(LIMIT, || {
        let (queue, other) = (PriorityQueue::unbounded(), Arc::new(PriorityQueue::unbounded()));
        other.put(Uses(7, None)).unwrap();
        queue.put(Uses(1, None)).unwrap();
        queue.put(Uses(2, Some(other.clone()))).unwrap();
        assert!(other.is_empty());
        assert_eq!(queue.len(), 2);
    });
}
