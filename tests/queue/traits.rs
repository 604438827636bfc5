use std::cell::Cell;
use std::panic::{RefUnwindSafe, UnwindSafe};

use greenloop::queue::{GetError, Iter, LifoQueue, PriorityQueue, PutError, Queue, TryIter};

fn shared<T: Send + Sync>() {}
fn unwound<T: UnwindSafe + RefUnwindSafe>() {}
fn error<T: std::error::Error + 'static>() {}

/// Conformance 167: a queue may go to, and be shared with, other threads if its items may go there.
#[test]
fn queues_are_shared_between_threads() {
    shared::<Queue<Cell<u32>>>();
    shared::<LifoQueue<Cell<u32>>>();
    shared::<PriorityQueue<Cell<u32>>>();
    shared::<Iter<'_, Cell<u32>, greenloop::queue::Fifo>>();
    shared::<TryIter<'_, Cell<u32>, greenloop::queue::Fifo>>();
    unwound::<Queue<Cell<u32>>>();
    unwound::<PriorityQueue<Cell<u32>>>();
}

#[test]
fn errors_are_small_and_give_the_item_back() {
    error::<PutError<Cell<u32>>>();
    error::<GetError>();
    assert_eq!([PutError::Full(1).into_inner(), PutError::ShutDown(2).into_inner()], [1, 2]);
    assert_eq!(format!("{:?}: {0}", PutError::Full(1)), "Full(..): putting into a full queue");
    assert_eq!(
        format!("{:?}: {0}", PutError::ShutDown(1)),
        "ShutDown(..): putting into a queue that was shut down"
    );
    assert_eq!(GetError::Empty.to_string(), "getting from an empty queue");
    assert_eq!(GetError::ShutDown.to_string(), "getting from an empty queue that was shut down");
}

#[test]
fn queues_are_shown_without_their_items() {
    let queue: Queue<Cell<u32>> = [Cell::new(1)].into_iter().collect();
    assert_eq!(format!("{queue:?}"), "Queue { len: 1, unfinished: 1, shut_down: false }");
    assert_eq!(format!("{:?} {:?}", queue.iter(), queue.try_iter()), "Iter { .. } TryIter { .. }");
    assert!(Queue::<u32>::default().capacity().is_none());
    assert_eq!((&queue).into_iter().next(), Some(Cell::new(1)));
}

#[test]
#[should_panic(expected = "the capacity of a queue must not be 0")]
fn a_queue_has_room() {
    drop(Queue::<u32>::bounded(0));
}
