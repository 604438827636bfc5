//! Groups and pools of green threads: gevent's `test__pool.py`. Numbers: see `README.md`.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use greenloop::pool::{Group, Pool};
use greenloop::{GreenletExit, idle, sleep, spawn, with_timeout, yield_now};

use crate::support::{in_a_world, within};
use crate::{LIMIT, LONG, Log, raise, raised, text};

const SHORT: Duration = Duration::from_millis(2);

#[test]
fn case_73_a_kill_is_raised_once_per_member() {
    in_a_world(LIMIT, |world| {
        let group = Group::new();
        let raised = Rc::new(Cell::new(0));
        let stubborn = [(); 3].map(|()| {
            let raised = raised.clone();
            group.spawn(move || {
                let exit = catch_unwind(AssertUnwindSafe(|| sleep(LONG))).unwrap_err();
                assert!(exit.is::<GreenletExit>());
                raised.set(raised.get() + 1);
                sleep(3 * SHORT);
            })
        });
        yield_now();
        assert!(!group.try_kill());
        group.try_kill();
        assert!(!group.kill_timeout(SHORT), "they catch it and go on");
        assert_eq!(world.elapsed(), SHORT);
        group.killone(&stubborn[0]);
        group.kill();
        assert_eq!(world.elapsed(), 3 * SHORT);
        assert_eq!(raised.get(), 3);
        assert!(stubborn.into_iter().all(|task| task.join().is_ok()));
    });
}

#[test]
fn case_123_spawn_waits_at_the_size() {
    within(LIMIT, || {
        let pool = Pool::new(2);
        let log = Log::new();
        let spawner = spawn({
            let log = log.clone();
            move || {
                for number in 0..5 {
                    let begun = log.clone();
                    pool.spawn(move || {
                        begun.push(number);
                        (0..3).for_each(|_| yield_now());
                    });
                    assert!(pool.len() <= 2);
                }
                pool.join();
            }
        });
        yield_now();
        yield_now();
        assert!(!spawner.is_finished());
        spawner.join().unwrap();
        assert_eq!(log.take(), [0, 1, 2, 3, 4]);
    });
}

#[test]
fn case_123_a_failure_frees_the_slot() {
    within(LIMIT, || {
        let pool = Pool::new(1);
        let failing = pool.spawn(|| raise("broken"));
        assert!(pool.is_full());
        assert_eq!(pool.spawn(|| 2).join().unwrap(), 2);
        assert_eq!(
            raised(|| std::panic::resume_unwind(failing.join().unwrap_err().into_payload())),
            "broken"
        );
        // And so does a kill, before it has begun and after.
        pool.spawn(|| ()).try_kill();
        let forever = pool.try_spawn(|| sleep(LONG)).unwrap();
        yield_now();
        forever.kill();
        assert_eq!(pool.free_count(), 1);
    });
}

#[test]
fn case_124_apply_within_ones_own_worker() {
    within(LIMIT, || {
        let pool = Rc::new(Pool::new(1));
        let inner = pool.clone();
        let nested = pool.apply(move || inner.apply(inner_value).unwrap() + 1);
        assert_eq!(nested.unwrap(), 42);
        assert_eq!(pool.free_count(), 1);
        assert!(pool.apply(|| raise("broken")).unwrap_err().is_panic());
    });
}

fn inner_value() -> u32 {
    yield_now();
    41
}

#[test]
fn case_125_a_failed_element_is_an_error_in_its_place() {
    within(LIMIT, || {
        for size in [1, 2, 10] {
            let pool = Pool::new(size);
            let divide = |divisor: i32| if divisor == 0 { raise("zero") } else { 12 / divisor };
            let results: Vec<_> = pool.imap([3, 0, 6, 0, 2], divide).collect();
            let values: Vec<_> = results.iter().map(|result| result.as_ref().ok().copied()).collect();
            assert_eq!(values, [Some(4), None, Some(2), None, Some(6)]);
            let failure = results.into_iter().find_map(Result::err).unwrap();
            assert_eq!(text(&*failure.into_payload()), "zero");
            assert_eq!(pool.map([3, 0], divide).iter().filter(|result| result.is_err()).count(), 1);
        }
    });
}

#[test]
fn case_125_unordered_is_in_order_of_completion() {
    within(LIMIT, || {
        let turns = |turns: usize| {
            (0..turns).for_each(|_| yield_now());
            turns
        };
        let group = Group::new();
        let order: Vec<_> = group.imap_unordered([9, 3, 12, 0, 6], turns).flatten().collect();
        assert_eq!(order, [0, 3, 6, 9, 12]);
        let order: Vec<_> = group.imap([9, 3, 12, 0, 6], turns).flatten().collect();
        assert_eq!(order, [9, 3, 12, 0, 6]);
        // With two slots: 3 is through before 9 and lets 12 in, 9 lets 0 in, which is through at once.
        let order: Vec<_> = Pool::new(2).imap_unordered([9, 3, 12, 0], turns).flatten().collect();
        assert_eq!(order, [3, 9, 0, 12]);
    });
}

#[test]
fn case_125_no_more_are_begun_than_wanted() {
    within(LIMIT, || {
        let begun = Rc::new(Cell::new(0));
        let pool = Pool::new(10);
        let count = begun.clone();
        let mut endless = pool.imap_unordered(0_u64.., move |number| {
            count.set(count.get() + 1);
            number
        });
        endless = endless.maxsize(3);
        assert_eq!(begun.get(), 0);
        for taken in 0..5 {
            assert_eq!(endless.next().unwrap().unwrap(), taken);
            idle();
            assert!(begun.get() <= taken + 3);
        }
    });
}

#[test]
fn case_126_apply_async_never_waits_and_calls_back_on_success() {
    within(LIMIT, || {
        let pool = Pool::new(1);
        let values = Rc::new(RefCell::new(Vec::new()));
        let note = || {
            let values = values.clone();
            move |value: &u32| values.borrow_mut().push(*value)
        };
        let busy = pool.spawn(|| sleep(LONG));
        assert!(pool.is_full());
        let first = pool.apply_async(|| 1, note());
        let failing = pool.apply_async(|| raise("broken"), note());
        let killed = pool.apply_async(|| 3, note());
        let last = pool.apply_async(|| 4, note());
        idle();
        assert!(values.borrow().is_empty(), "they wait for the slot");
        killed.kill();
        busy.kill();
        pool.join();
        assert_eq!(*values.borrow(), [1, 4]);
        assert_eq!((first.join().unwrap(), last.join().unwrap()), (1, 4));
        assert!(failing.join().unwrap_err().is_panic());
        assert_eq!(pool.free_count(), 1);
    });
}

#[test]
fn case_127_a_pool_of_none_is_always_full() {
    within(LIMIT, || {
        let pool = Pool::new(0);
        assert!(pool.is_full() && pool.is_empty());
        assert!(pool.try_spawn(|| ()).is_err());
        assert!(pool.spawn_timeout(SHORT, || ()).is_err());
        assert!(!pool.wait_available_timeout(SHORT));
        assert!(with_timeout(SHORT, || pool.spawn(|| ())).is_err());
        assert!(with_timeout(SHORT, || pool.map([1], |number| number)).is_err());
        assert!(pool.map([], |()| ()).is_empty(), "nothing needs no slot");
    });
}

#[test]
fn case_127_add_without_waiting_and_with_a_limit() {
    within(LIMIT, || {
        let pool = Pool::new(1);
        let [first, second] = [(); 2].map(|()| spawn(|| sleep(LONG)));
        pool.add(&first);
        pool.add(&first); // It is a member already.
        assert_eq!((pool.len(), pool.free_count()), (1, 0));
        assert_eq!(pool.try_add(&second).unwrap_err().to_string(), "the pool is full");
        assert!(pool.add_timeout(SHORT, &second).is_err());
        first.kill();
        assert!(pool.add_timeout(LONG, &second).is_ok());
        pool.kill();
        assert!(second.is_finished() && !pool.is_full());
    });
}
