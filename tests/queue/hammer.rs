use std::cmp::Ordering;
use std::time::Duration;

use greenloop::queue::{Fifo, LifoQueue, Order, Ordered, PriorityQueue, PutError, Queue};

use super::LIMIT;
use super::support::conveyor::{Conveyor, Value, hammer_conveyor};
use super::support::in_any_order;

/// A value by its key, for a queue that compares.
struct Item(Value);

impl Ord for Item {
    fn cmp(&self, other: &Item) -> Ordering {
        self.0.key().cmp(&other.0.key())
    }
}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Item) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Item) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Item {}

/// Every item that is got is done at once, so that in the end nothing is unfinished.
struct Hammered<O: Order<Item>, const KEEPS_ORDER: bool>(Ordered<Item, O>);

impl<O: Order<Item, Items: Send> + 'static, const KEEPS_ORDER: bool> Conveyor for Hammered<O, KEEPS_ORDER> {
    const KEEPS_ORDER: bool = KEEPS_ORDER;

    fn try_put(&self, value: Value) -> Result<(), Value> {
        self.0.try_put(Item(value)).map_err(refused)
    }

    fn put_timeout(&self, value: Value, timeout: Duration) -> Result<(), Value> {
        self.0.put_timeout(Item(value), timeout).map_err(refused)
    }

    fn put(&self, value: Value) -> Result<(), Value> {
        self.0.put(Item(value)).map_err(refused)
    }

    fn try_get(&self) -> Option<Value> {
        self.done(self.0.try_get().ok()?)
    }

    fn get_timeout(&self, timeout: Duration) -> Option<Value> {
        self.0.join_timeout(timeout / 4);
        self.done(self.0.get_timeout(timeout).ok()?)
    }

    fn get(&self) -> Option<Value> {
        self.done(self.0.get().ok()?)
    }
}

impl<O: Order<Item>, const KEEPS_ORDER: bool> Hammered<O, KEEPS_ORDER> {
    fn done(&self, item: Item) -> Option<Value> {
        self.0.task_done();
        Some(item.0)
    }
}

fn refused(error: PutError<Item>) -> Value {
    error.into_inner().0
}

fn hammer<O: Order<Item, Items: Send> + 'static, const KEEPS_ORDER: bool>(
    queue: impl Fn() -> Ordered<Item, O> + Send + Sync + 'static,
) {
    in_any_order(LIMIT, move || {
        let Hammered(queue) = hammer_conveyor(Hammered::<O, KEEPS_ORDER>(queue()));
        assert_eq!((queue.len(), queue.unfinished()), (0, 0));
        queue.join();
    });
}

#[test]
fn a_queue_of_one_loses_nothing() {
    hammer::<_, true>(|| Queue::bounded(1));
}

#[test]
fn an_unbounded_queue_loses_nothing() {
    hammer::<Fifo, true>(Queue::unbounded);
}

#[test]
fn a_stack_loses_nothing() {
    hammer::<_, false>(|| LifoQueue::bounded(5));
}

#[test]
fn a_priority_queue_loses_nothing() {
    hammer::<_, true>(|| PriorityQueue::bounded(5));
}
