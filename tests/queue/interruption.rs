use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use greenloop::event::Event;
use greenloop::queue::{GetError, PriorityQueue, PutError, Queue};
use greenloop::{JoinHandle, killall, spawn, with_timeout};

use super::LIMIT;
use super::support::{
    LeftOut, block_past, end_with_one_parked, in_any_order, once, ready_at_once, spawn_parked, two_deadlines,
};

fn getter(queue: &Arc<Queue<u32>>) -> JoinHandle<Result<u32, GetError>> {
    let queue = queue.clone();
    spawn_parked(move || queue.get())
}

fn putter(queue: &Arc<Queue<u32>>, item: u32) -> JoinHandle<Result<(), PutError<u32>>> {
    let queue = queue.clone();
    spawn_parked(move || queue.put(item))
}

fn full() -> Arc<Queue<u32>> {
    let queue = Arc::new(Queue::bounded(1));
    queue.put(0).unwrap();
    queue
}

/// Conformance 109, for queues.
#[test]
fn a_getter_killed_between_the_put_and_its_run_leaves_the_item_to_the_next() {
    in_any_order(LIMIT, || {
        let queue = Arc::new(Queue::unbounded());
        let [first, second, third] = [(); 3].map(|()| getter(&queue));
        queue.put(1).unwrap();
        assert!(!first.try_kill(), "it has been called and has not run");
        assert!(first.join().unwrap_err().is_killed());
        assert_eq!(second.join().unwrap(), Ok(1));
        queue.put(2).unwrap();
        third.kill();
        assert_eq!((queue.len(), queue.get()), (1, Ok(2)), "nobody waits: it is anybody's");
    });
}

#[test]
fn a_putter_killed_between_the_get_and_its_run_leaves_the_room_to_the_next() {
    in_any_order(LIMIT, || {
        let queue = full();
        let [first, second, third] = [1, 2, 3].map(|item| putter(&queue, item));
        assert_eq!(queue.get(), Ok(0));
        assert_eq!(queue.try_put(9), Err(PutError::Full(9)), "the room is promised");
        assert!(!first.try_kill());
        assert!(first.join().unwrap_err().is_killed());
        second.join().unwrap().unwrap();
        assert_eq!(queue.get(), Ok(2));
        third.kill();
        assert!(queue.is_empty() && !queue.is_full());
        assert_eq!(queue.unfinished(), 2, "what was not put is not to be done");
    });
}

#[test]
fn who_is_killed_in_line_leaves_it() {
    in_any_order(LIMIT, || {
        let queue = Arc::new(Queue::unbounded());
        let getters = [(); 3].map(|()| getter(&queue));
        getters[1].kill();
        queue.put(1).unwrap();
        queue.put(2).unwrap();
        let [first, killed, last] = getters.map(JoinHandle::join);
        assert!(killed.unwrap_err().is_killed());
        assert_eq!(ready_at_once(vec![first.unwrap().unwrap(), last.unwrap().unwrap()]), [1, 2]);
        let joiners = [(); 2].map(|()| {
            let queue = queue.clone();
            spawn_parked(move || queue.join())
        });
        joiners[0].kill();
        queue.task_done();
        queue.task_done();
        let [_, joiner] = joiners;
        joiner.join().unwrap();
    });
}

/// The deadline passes, but before the waiter runs it is promised an item: it takes it.
#[test]
fn a_deadline_between_the_put_and_the_run_loses_nothing() {
    once(LeftOut::BlockedThread, LIMIT, || {
        let (first, second) = two_deadlines();
        let queue = Arc::new(Queue::unbounded());
        let waits = spawn_parked({
            let queue = queue.clone();
            move || queue.get_deadline(second)
        });
        let limited = spawn_parked({
            let queue = queue.clone();
            move || with_timeout(second.duration_since(Instant::now()), || queue.get()).is_err()
        });
        let next = getter(&queue);
        let putter = spawn_parked({
            let queue = queue.clone();
            move || {
                Event::new().wait_deadline(first);
                queue.put(1).unwrap();
                queue.put(2).unwrap();
            }
        });
        block_past(second);
        assert_eq!(waits.join().unwrap(), Ok(1));
        assert!(limited.join().unwrap(), "the limit wins");
        assert_eq!(next.join().unwrap(), Ok(2));
        putter.join().unwrap();
    });
}

#[test]
fn an_item_that_waited_in_vain_is_dropped_once() {
    in_any_order(LIMIT, || {
        let item = Arc::new(());
        let queue = Arc::new(Queue::bounded(1));
        queue.put(item.clone()).unwrap();
        let waits = spawn_parked({
            let (queue, item) = (queue.clone(), item.clone());
            move || queue.put(item)
        });
        assert_eq!(Arc::strong_count(&item), 3);
        waits.kill();
        assert_eq!(Arc::strong_count(&item), 2);
        assert!(with_timeout(Duration::from_millis(1), || queue.put(item.clone())).is_err());
        drop(queue.put_timeout(item.clone(), Duration::from_millis(1)));
        assert_eq!(Arc::strong_count(&item), 2);
        queue.shutdown_now();
        assert_eq!(Arc::strong_count(&item), 1);
    });
}

#[test]
fn nobody_killed_leaves_a_queue_that_works() {
    in_any_order(LIMIT, || {
        let queue = full();
        killall(&[1, 2, 3].map(|item| putter(&queue, item)));
        assert_eq!(queue.get(), Ok(0));
        killall(&[(); 3].map(|()| getter(&queue)));
        queue.put(7).unwrap();
        assert_eq!(queue.get(), Ok(7));
    });
}

#[test]
fn without_need_nothing_yields() {
    in_any_order(LIMIT, || {
        let ran = Arc::new(Event::new());
        let other = spawn({
            let ran = ran.clone();
            move || ran.set()
        });
        let queue = Queue::bounded(2);
        queue.put(1).unwrap();
        queue.put_timeout(2, LIMIT).unwrap();
        assert_eq!((queue.peek(), queue.get(), queue.get_timeout(LIMIT)), (Ok(1), Ok(1), Ok(2)));
        assert!(!ran.is_set());
        other.join().unwrap();
    });
}

/// Who waits on an OS thread that has ended never runs again.
#[test]
fn nothing_is_promised_to_who_never_runs_again() {
    once(LeftOut::OsThreads, LIMIT, || {
        let queue = Arc::new(Queue::unbounded());
        let elsewhere = queue.clone();
        end_with_one_parked(move || _ = elsewhere.get());
        let next = getter(&queue);
        queue.put(1).unwrap();
        assert_eq!(next.join().unwrap(), Ok(1));
    });
}

#[test]
fn hubs_and_plain_threads_share_a_queue() {
    in_any_order(LIMIT, || {
        let jobs = Arc::new(PriorityQueue::bounded(3));
        let workers: Vec<_> = (0..4)
            .map(|number| {
                let jobs = jobs.clone();
                thread::spawn(move || {
                    if number % 2 == 0 {
                        return jobs.iter().sum::<u64>();
                    }
                    let workers = [(); 5].map(|()| {
                        let jobs = jobs.clone();
                        spawn(move || jobs.iter().sum::<u64>())
                    });
                    workers.into_iter().map(|worker| worker.join().unwrap()).sum()
                })
            })
            .collect();
        (1..=2000).for_each(|job| jobs.put(job).unwrap());
        jobs.shutdown();
        let total: u64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        assert_eq!(total, 2000 * 2001 / 2);
    });
}
