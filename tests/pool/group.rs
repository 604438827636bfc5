use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::thread;

use greenloop::pool::{Group, Pool};
use greenloop::{sleep, spawn, with_timeout, yield_now};

use crate::support::{in_any_order, spawn_parked};
use crate::{LIMIT, LONG, SHORT};

#[test]
fn members_come_and_go() {
    in_any_order(LIMIT, || {
        let group = Group::default();
        let inside = group.spawn(yield_now);
        let outside = spawn(|| sleep(LONG));
        assert!(group.contains(&inside) && !group.contains(&outside));
        group.add(&outside);
        assert_eq!(group.len(), 2);
        assert!(!group.join_timeout(SHORT));
        assert!(inside.is_finished() && group.len() == 1);
        assert!(group.discard(&outside));
        group.join();
        assert!(!outside.is_finished());
        outside.kill();
    });
}

#[test]
fn one_that_has_ended_may_be_added() {
    in_any_order(LIMIT, || {
        let pool = Pool::new(1);
        let task = spawn(|| 1);
        task.wait();
        pool.add(&task);
        pool.join();
        assert_eq!((task.join().unwrap(), pool.free_count()), (1, 1));
    });
}

#[test]
fn one_of_another_hub_may_be_a_member() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = channel();
        let (end, ended) = channel::<()>();
        let elsewhere = thread::spawn(move || {
            let task = spawn(|| sleep(LONG));
            sender.send(task).unwrap();
            while ended.try_recv().is_err() {
                sleep(SHORT);
            }
        });
        let task = receiver.recv().unwrap();
        let group = Group::new();
        group.add(&task);
        group.kill();
        assert!(task.join().unwrap_err().is_killed());
        end.send(()).unwrap();
        elsewhere.join().unwrap();
    });
}

#[test]
fn a_discarded_member_frees_its_slot_once() {
    in_any_order(LIMIT, || {
        let pool = Pool::new(1);
        let task = pool.spawn(|| sleep(LONG));
        yield_now();
        assert!(pool.discard(&task) && !pool.discard(&task));
        assert_eq!(pool.free_count(), 1);
        let next = pool.spawn(|| sleep(LONG));
        task.kill();
        assert_eq!(pool.free_count(), 0, "the end of one that is no member frees no slot");
        next.kill();
        assert_eq!(pool.free_count(), 1);
    });
}

#[test]
fn a_member_may_kill_its_group() {
    in_any_order(LIMIT, || {
        let group = Rc::new(Group::new());
        let forever = group.spawn(|| sleep(LONG));
        let inner = group.clone();
        let killer = group.spawn(move || inner.kill());
        group.join();
        assert!(forever.join().unwrap_err().is_killed());
        assert!(killer.join().unwrap_err().is_killed());
    });
}

#[test]
fn a_kill_reaches_those_that_come_meanwhile() {
    in_any_order(LIMIT, || {
        struct Spawning(Rc<Group>);
        impl Drop for Spawning {
            fn drop(&mut self) {
                self.0.spawn(|| sleep(LONG));
            }
        }
        let group = Rc::new(Group::new());
        let spawning = Spawning(group.clone());
        group.spawn(move || {
            let _spawning = spawning;
            sleep(LONG);
        });
        yield_now();
        group.kill();
        assert!(group.is_empty());
    });
}

#[test]
fn killone_leaves_the_others_and_strangers_alone() {
    in_any_order(LIMIT, || {
        let group = Group::new();
        let [first, second] = [(); 2].map(|()| group.spawn(|| sleep(LONG)));
        let stranger = spawn(|| 3);
        group.killone(&first);
        group.killone(&stranger);
        assert!(first.is_finished() && !second.is_finished());
        assert_eq!(stranger.join().unwrap(), 3);
        group.kill();
    });
}

#[test]
fn members_outlive_a_dropped_pool() {
    in_any_order(LIMIT, || {
        let pool = Pool::new(1);
        let member = pool.spawn(yield_now);
        let waiting = pool.apply_async(|| 5, |_| ());
        drop(pool);
        member.join().unwrap();
        assert_eq!(waiting.join().unwrap(), 5);
    });
}

#[test]
fn slots_are_given_in_order_and_a_killed_waiter_loses_none() {
    in_any_order(LIMIT, || {
        let pool = Rc::new(Pool::new(1));
        let busy = pool.spawn(|| sleep(LONG));
        let order = Rc::new(Cell::new(0));
        let waiting: Vec<_> = (1..=3)
            .map(|number| {
                let (pool, order) = (pool.clone(), order.clone());
                spawn_parked(move || {
                    let note = move || order.set(order.get() * 10 + number);
                    pool.spawn(note).join().unwrap();
                })
            })
            .collect();
        waiting[1].kill();
        busy.kill();
        greenloop::joinall(&waiting);
        assert_eq!((order.get(), pool.free_count()), (13, 1));
    });
}

#[test]
fn a_time_limit_ends_a_join_and_leaves_the_members() {
    in_any_order(LIMIT, || {
        let group = Group::new();
        let member = group.spawn(|| sleep(LONG));
        assert!(with_timeout(SHORT, || group.join()).is_err());
        assert!(with_timeout(SHORT, || group.apply(|| sleep(LONG))).is_err());
        assert_eq!(group.len(), 2);
        group.kill();
        assert!(member.is_finished());
    });
}

#[test]
fn spawned_members_know_their_place() {
    in_any_order(LIMIT, || {
        let pool = Pool::new(2);
        let here = pool.spawn(|| ()).spawned_at().line();
        assert_eq!(here, line!() - 1);
        assert_eq!(pool.try_spawn(|| ()).unwrap().spawned_at().file(), file!());
    });
}
