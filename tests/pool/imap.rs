use std::cell::{Cell, RefCell};
use std::rc::Rc;

use greenloop::pool::{Group, Pool};
use greenloop::{idle, sleep, spawn, with_timeout, yield_now};

use crate::support::{in_a_world, in_any_order};
use crate::{LIMIT, LONG, SHORT};

/// How many run now, and how many have at most.
#[derive(Default)]
struct Load {
    now: Cell<usize>,
    most: Cell<usize>,
}

impl Load {
    fn through(&self, turns: u32) {
        self.now.set(self.now.get() + 1);
        self.most.set(self.most.get().max(self.now.get()));
        sleep(SHORT * turns);
        self.now.set(self.now.get() - 1);
    }
}

#[test]
fn no_more_run_than_there_are_slots_and_no_slot_stands_idle() {
    in_a_world(LIMIT, |_| {
        for (size, maxsize, most) in [(1, 100, 1), (4, 100, 4), (7, 3, 3), (100, usize::MAX, 50)] {
            let load = Rc::new(Load::default());
            let pool = Pool::new(size);
            let inner = load.clone();
            let numbers = pool.imap(0..50, move |number| {
                inner.through(number % 7 + 1);
                number
            });
            let numbers: Vec<_> = numbers.maxsize(maxsize).flatten().collect();
            assert_eq!(numbers, (0..50).collect::<Vec<_>>());
            assert_eq!(load.most.get(), most, "{size} slots, {maxsize} ahead");
        }
    });
}

#[test]
fn slots_that_others_hold_are_left_to_them() {
    in_any_order(LIMIT, || {
        let pool = Rc::new(Pool::new(3));
        let others = [(); 2].map(|()| pool.spawn(|| sleep(LONG)));
        let values: Vec<_> = pool.imap(0..20, |number| number).flatten().collect();
        assert_eq!(values.len(), 20);
        let third = pool.spawn(|| sleep(LONG));
        let inner = pool.clone();
        let mapping = spawn(move || inner.map(0..20, |number| number).len());
        idle();
        assert!(!mapping.is_finished(), "it waits for a slot");
        third.kill();
        assert_eq!(mapping.join().unwrap(), 20);
        assert!(others.iter().all(|other| !other.is_finished()));
        pool.kill();
    });
}

#[test]
fn a_time_limit_loses_no_result() {
    in_a_world(LIMIT, |world| {
        let pool = Pool::new(2);
        let patience = |turns: u64| {
            // None ends together with a limit.
            sleep(SHORT * turns as u32 + SHORT / 2);
            turns
        };
        let mut results = pool.imap([8, 1, 2], patience);
        let mut late = 0;
        let mut values = Vec::new();
        while values.len() < 3 {
            match with_timeout(SHORT, || results.next()) {
                Ok(result) => values.push(result.unwrap().unwrap()),
                Err(_) => late += 1,
            }
        }
        assert_eq!(values, [8, 1, 2]);
        assert!(results.next().is_none());
        assert_eq!((late, world.elapsed()), (8, 8 * SHORT + SHORT / 2));
    });
}

#[test]
fn killed_elements_say_so() {
    in_any_order(LIMIT, || {
        let group = Rc::new(Group::new());
        let killer = spawn({
            let group = group.clone();
            move || {
                yield_now();
                group.kill();
            }
        });
        let results = group.map(0..4, |_| sleep(LONG));
        assert!(results.iter().all(|result| result.as_ref().unwrap_err().is_killed()));
        killer.join().unwrap();
        // Before they begin as well.
        let mut results = Pool::new(2).imap_unordered(0..2, |number| number);
        results.next().unwrap().unwrap();
        let results = group.imap_unordered(0..2, |number| number);
        let first = spawn(move || results.map(|result| result.is_ok()).collect::<Vec<_>>());
        group.kill();
        assert_eq!(first.join().unwrap().len(), 2);
    });
}

#[test]
fn a_dropped_iterator_lets_go_what_has_begun_and_begins_no_more() {
    in_any_order(LIMIT, || {
        let log = Rc::new(RefCell::new(Vec::new()));
        let pool = Pool::new(2);
        let inner = log.clone();
        let mut results = pool.imap_unordered(0..10, move |number| {
            yield_now();
            inner.borrow_mut().push(number);
        });
        drop(results.next());
        drop(results);
        pool.join();
        let done = log.borrow().len();
        assert!((1..10).contains(&done));
        assert_eq!(pool.free_count(), 2);
    });
}

#[test]
fn nothing_is_taken_from_the_items_before_it_is_asked_for() {
    in_any_order(LIMIT, || {
        let taken = Rc::new(Cell::new(0));
        let counted = taken.clone();
        let items = (0..).inspect(move |_| counted.set(counted.get() + 1));
        let mut results = Pool::new(2).imap(items, |number| number);
        assert_eq!(taken.get(), 0);
        assert_eq!(results.next().unwrap().unwrap(), 0);
        // The look-ahead, and one that was looked at.
        assert!(taken.get() <= 2 * 2 + 1);
    });
}
