//! Queues: gevent's `test__queue.py` and `test__monkey_queue.py`. Numbers: see `README.md`.

use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use greenloop::queue::{GetError, JoinableQueue, LifoQueue, Ordered, PriorityQueue, PutError, Queue};
use greenloop::{idle, sleep, yield_now};

use crate::hub::run_in_a_callback;
use crate::support::{run_child, spawn_parked, within};
use crate::{LIMIT, LONG, Log, collect_uncaught, raise, raised};

const SHORT: Duration = Duration::from_millis(2);

#[test]
fn case_115_full_and_empty_at_once_and_in_time() {
    within(LIMIT, || {
        let queue = Queue::bounded(1);
        assert_eq!((queue.try_get(), queue.get_timeout(SHORT)), (Err(GetError::Empty), Err(GetError::Empty)));
        assert_eq!(
            (queue.try_peek(), queue.peek_timeout(SHORT)),
            (Err(GetError::Empty), Err(GetError::Empty))
        );
        assert_eq!((queue.put(1), queue.try_put(2)), (Ok(()), Err(PutError::Full(2))));
        assert_eq!(queue.put_timeout(3, SHORT), Err(PutError::Full(3)));
        assert!(queue.is_full() && queue.len() == 1);
        assert_eq!((queue.peek(), queue.get()), (Ok(1), Ok(1)));
        assert!(queue.is_empty());
    });
}

#[test]
fn case_115_each_order_with_a_look_before() {
    fn all<O: greenloop::queue::Order<u32>>(queue: Ordered<u32, O>) -> Vec<u32> {
        for item in [2, 9, 1, 2] {
            queue.put(item).unwrap();
        }
        let mut got = Vec::new();
        while let Ok(next) = queue.try_peek() {
            assert_eq!(queue.get(), Ok(next));
            got.push(next);
        }
        got
    }
    assert_eq!(all(Queue::unbounded()), [2, 9, 1, 2]);
    assert_eq!(all(LifoQueue::unbounded()), [2, 1, 9, 2]);
    assert_eq!(all(PriorityQueue::unbounded()), [1, 2, 2, 9]);
}

#[test]
fn case_116_parked_putters_and_getters_are_served_in_order() {
    within(LIMIT, || {
        let (queue, log) = (Arc::new(Queue::bounded(1)), Log::new());
        let getters = [0, 1, 2].map(|number| {
            let (queue, log) = (queue.clone(), log.clone());
            spawn_parked(move || log.push((number, queue.get().unwrap())))
        });
        (10..13).for_each(|item| queue.try_put(item).unwrap());
        assert_eq!(queue.try_get(), Err(GetError::Empty), "all are promised");
        getters.into_iter().for_each(|getter| getter.join().unwrap());
        assert_eq!(log.take(), [(0, 10), (1, 11), (2, 12)]);

        queue.put(20).unwrap();
        let putters = [21, 22, 23].map(|item| {
            let queue = queue.clone();
            spawn_parked(move || queue.put(item).unwrap())
        });
        assert_eq!([(); 4].map(|()| queue.get().unwrap()), [20, 21, 22, 23]);
        putters.into_iter().for_each(|putter| putter.join().unwrap());
        assert!(queue.is_empty());
    });
}

/// Panics when it is compared with its like.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Odd(u32);

impl Ord for Odd {
    fn cmp(&self, other: &Odd) -> Ordering {
        if self.0 == 13 || other.0 == 13 {
            raise("unlucky");
        }
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Odd {
    fn partial_cmp(&self, other: &Odd) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[test]
fn case_117_an_item_that_cannot_be_compared_changes_nothing() {
    within(LIMIT, || {
        let queue = Arc::new(PriorityQueue::bounded(2));
        queue.put(Odd(2)).unwrap();
        assert_eq!(raised(|| queue.put(Odd(13))), "unlucky");
        assert_eq!((queue.len(), queue.unfinished(), queue.is_full()), (1, 1, false));
        queue.put(Odd(1)).unwrap();
        // Nor does one that had to wait for room, and the next gets that.
        let [unlucky, next] = [13, 3].map(|number| {
            let queue = queue.clone();
            spawn_parked(move || queue.put(Odd(number)).unwrap())
        });
        assert_eq!(queue.get(), Ok(Odd(1)));
        assert!(unlucky.join().unwrap_err().is_panic());
        next.join().unwrap();
        assert_eq!((queue.len(), queue.unfinished()), (2, 3));
        assert_eq!([queue.get(), queue.get()], [Ok(Odd(2)), Ok(Odd(3))]);
    });
}

/// Waits when it is cloned or compared.
struct Slow;

impl Clone for Slow {
    fn clone(&self) -> Slow {
        sleep(LONG);
        Slow
    }
}

#[test]
fn case_117_code_under_the_lock_may_not_wait() {
    within(LIMIT, || {
        let queue = Arc::new(Queue::unbounded());
        let getters = [0, 1].map(|number| {
            let queue = queue.clone();
            spawn_parked(move || if number == 0 { queue.peek() } else { queue.get() }.is_ok())
        });
        queue.put(Slow).unwrap();
        let [looks, takes] = getters;
        let payload = looks.join().unwrap_err().into_payload();
        assert!(
            payload
                .downcast_ref::<&str>()
                .unwrap()
                .starts_with("nothing may wait in a comparison or a clone")
        );
        assert!(takes.join().unwrap(), "the item that could not be cloned is the next one's");
        // Elsewhere it may wait as before.
        sleep(SHORT);
        yield_now();
    });
}

#[test]
fn case_118_attempts_in_a_callback_hand_over_to_who_is_parked() {
    let Some(child) = run_child(LIMIT, || {
        let told = collect_uncaught();
        let queue = Arc::new(Queue::bounded(1));
        let getter = spawn_parked({
            let queue = queue.clone();
            move || queue.get()
        });
        run_in_a_callback({
            let queue = queue.clone();
            move || {
                queue.try_put("from the hub").unwrap();
                assert!(catch_unwind(AssertUnwindSafe(|| queue.put_timeout("more", LONG))).is_ok());
                assert!(catch_unwind(AssertUnwindSafe(|| queue.put("too much"))).is_err(), "it would wait");
            }
        });
        assert_eq!(getter.join().unwrap(), Ok("from the hub"));
        let putter = spawn_parked({
            let queue = queue.clone();
            move || queue.put("at last")
        });
        run_in_a_callback({
            let queue = queue.clone();
            move || assert_eq!(queue.try_get(), Ok("more"))
        });
        putter.join().unwrap().unwrap();
        assert_eq!(queue.try_get(), Ok("at last"));
        assert!(told.lock().unwrap().is_empty(), "{told:?}");
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

#[test]
fn case_119_join_waits_for_what_is_not_done() {
    within(LIMIT, || {
        let queue = Arc::new(JoinableQueue::unbounded());
        queue.join();
        assert!(queue.join_timeout(Duration::ZERO), "nothing was ever put");
        queue.put(1).unwrap();
        queue.put(2).unwrap();
        let joiners = [(); 2].map(|()| {
            let queue = queue.clone();
            spawn_parked(move || queue.join())
        });
        assert!(!queue.join_timeout(SHORT));
        for _ in 0..2 {
            assert!(queue.get().is_ok() && queue.unfinished() > 0 && !joiners[0].is_finished());
            queue.task_done();
        }
        // Told, though there is something new before they run.
        queue.put(3).unwrap();
        joiners.into_iter().for_each(|joiner| joiner.join().unwrap());
        queue.task_done();
        assert_eq!(raised(|| queue.task_done()), "more tasks done than items put");
        queue.join();

        let filled: JoinableQueue<u32> = (0..3).collect();
        assert_eq!(filled.unfinished(), 3);
        (0..3).for_each(|_| filled.task_done());
        filled.join();
    });
}

#[test]
fn case_120_a_shutdown_drains() {
    within(LIMIT, || {
        let queue = Arc::new(Queue::bounded(2));
        queue.put(1).unwrap();
        queue.put(2).unwrap();
        let putters = [3, 4].map(|item| {
            let queue = queue.clone();
            spawn_parked(move || queue.put(item))
        });
        queue.shutdown();
        queue.shutdown();
        let refused = putters.map(|putter| putter.join().unwrap());
        assert_eq!(refused, [Err(PutError::ShutDown(3)), Err(PutError::ShutDown(4))]);
        assert!(queue.is_shut_down() && queue.try_put(5) == Err(PutError::ShutDown(5)));
        assert_eq!((queue.peek(), queue.get(), queue.get()), (Ok(1), Ok(1), Ok(2)));
        assert_eq!((queue.get(), queue.try_get(), queue.peek()), {
            let error = GetError::ShutDown;
            (Err(error), Err(error), Err(error))
        });

        let queue = Arc::new(Queue::<u32>::unbounded());
        let getters = [(); 3].map(|()| {
            let queue = queue.clone();
            spawn_parked(move || queue.get())
        });
        queue.shutdown();
        assert_eq!(getters.map(|getter| getter.join().unwrap()), [Err(GetError::ShutDown); 3]);
    });
}

#[test]
fn case_120_an_immediate_shutdown_empties_and_frees_who_joins() {
    within(LIMIT, || {
        let queue: Arc<Queue<u32>> = Arc::new((0..3).collect());
        let joiner = spawn_parked({
            let queue = queue.clone();
            move || queue.join()
        });
        assert_eq!(queue.get(), Ok(0));
        queue.shutdown_now();
        assert_eq!((queue.get(), queue.len(), queue.unfinished()), (Err(GetError::ShutDown), 0, 1));
        idle();
        assert!(!joiner.is_finished(), "one was got and is not done");
        queue.task_done();
        joiner.join().unwrap();
    });
}

#[test]
fn case_121_an_iteration_ends() {
    within(LIMIT, || {
        let queue = Arc::new(Queue::unbounded());
        let sum = spawn_parked({
            let queue = queue.clone();
            move || queue.iter().sum::<u32>()
        });
        (1..=4).for_each(|item| queue.put(item).unwrap());
        idle();
        assert!(!sum.is_finished());
        queue.shutdown();
        assert_eq!(sum.join().unwrap(), 10);

        // By an item of a kind of its own, as in Python.
        let queue: Queue<Option<u32>> = [Some(1), Some(2), None, Some(3)].into_iter().collect();
        assert_eq!(queue.iter().map_while(|item| item).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(queue.len(), 1);
    });
}
