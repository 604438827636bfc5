use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

use greenloop::channel::{TryRecvError, bounded, unbounded};
use greenloop::event::Event;
use greenloop::{idle, killall, with_timeout};

use super::support::{LeftOut, block_past, in_any_order, once, spawn_parked, two_deadlines};
use super::{Counted, LIMIT, Log, receiving, sending};

#[test]
fn a_receiver_killed_in_line_gets_nothing() {
    in_any_order(LIMIT, || {
        for capacity in [0, 1, usize::MAX] {
            let (sender, receiver) = bounded(capacity);
            let log = Log::default();
            let [a, b] = ["a", "b"].map(|name| receiving(&receiver, &log, name));
            a.kill();
            sender.try_send(1).unwrap();
            b.join().unwrap();
            assert_eq!(log.take(), ["b 1"]);
        }
    });
}

#[test]
fn a_value_promised_to_a_killed_receiver_goes_to_the_next() {
    in_any_order(LIMIT, || {
        for capacity in [0, 1, usize::MAX] {
            let (sender, receiver) = bounded(capacity);
            let log = Log::default();
            let [a, b] = ["a", "b"].map(|name| receiving(&receiver, &log, name));
            sender.try_send(1).unwrap();
            assert!(!a.try_kill(), "called, and has not run");
            b.join().unwrap();
            assert!(a.join().unwrap_err().is_killed());
            assert_eq!(log.take(), ["b 1"]);
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        }
    });
}

#[test]
fn values_promised_to_killed_receivers_keep_their_order() {
    in_any_order(LIMIT, || {
        for capacity in [0, 1, usize::MAX] {
            let (sender, receiver) = bounded(capacity);
            let log = Log::default();
            let tasks = ["a", "b", "c"].map(|name| receiving(&receiver, &log, name));
            (1..=3).for_each(|number| sender.try_send(number).unwrap());
            killall(&tasks);
            assert_eq!(log.take(), [""; 0]);
            assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1, 2, 3]);
        }
    });
}

/// A rendezvous sender that waits is not told that its value was taken when the receiver was only called.
#[test]
fn a_rendezvous_sender_waits_on_when_the_called_receiver_is_killed() {
    once(LeftOut::HubOrder, LIMIT, || {
        let (sender, receiver) = bounded(0);
        let log = Log::default();
        let a = receiving(&receiver, &log, "a");
        let sending = greenloop::spawn({
            let (sender, log, a) = (sender.clone(), log.clone(), Arc::new(a));
            let killed = a.clone();
            greenloop::spawn(move || assert!(!killed.try_kill()));
            move || {
                sender.send(1).unwrap();
                log.add("sent");
            }
        });
        idle();
        assert!(!sending.is_finished());
        assert_eq!(receiver.recv(), Ok(1));
        sending.join().unwrap();
        assert_eq!(log.take(), ["sent"]);
    });
}

#[test]
fn a_sender_killed_in_line_takes_its_value_along() {
    in_any_order(LIMIT, || {
        for capacity in [0, 1] {
            let count = Arc::new(AtomicUsize::new(0));
            let (sender, receiver) = bounded(capacity);
            (0..capacity).for_each(|_| sender.send(Counted::new(&count)).unwrap());
            let task = spawn_parked({
                let (sender, count) = (sender.clone(), count.clone());
                move || sender.send(Counted::new(&count)).is_ok()
            });
            task.kill();
            assert_eq!(count.load(SeqCst), capacity, "dropped with the sender");
            assert_eq!(receiver.try_iter().count(), capacity);
        }
    });
}

#[test]
fn the_value_of_a_sender_killed_after_it_was_taken_stays() {
    in_any_order(LIMIT, || {
        for capacity in [0, 1] {
            let (sender, receiver) = bounded(capacity);
            let log = Log::default();
            (0..capacity).for_each(|number| sender.send(number).unwrap());
            let task = sending(&sender, &log, 7);
            let first = receiver.recv().unwrap();
            assert!(!task.try_kill(), "told, and has not run");
            let rest: Vec<_> = receiver.try_iter().collect();
            assert!(task.join().unwrap_err().is_killed());
            assert_eq!([vec![first], rest].concat(), (0..capacity).chain([7]).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_deadline_after_the_call_receives_all_the_same() {
    once(LeftOut::BlockedThread, LIMIT, || {
        for capacity in [0, 1, usize::MAX] {
            let (first, second) = two_deadlines();
            let (sender, receiver) = bounded(capacity);
            let _sender = spawn_parked(move || {
                Event::new().wait_deadline(first);
                sender.try_send(1).unwrap();
                Event::new().wait();
            });
            let receiving = spawn_parked(move || receiver.recv_deadline(second));
            block_past(second);
            assert_eq!(receiving.join().unwrap(), Ok(1));
        }
    });
}

#[test]
fn a_deadline_after_the_value_was_taken_is_no_timeout() {
    once(LeftOut::BlockedThread, LIMIT, || {
        for capacity in [0, 1] {
            let (first, second) = two_deadlines();
            let (sender, receiver) = bounded(capacity);
            (0..capacity).for_each(|number| sender.send(number).unwrap());
            let taking = spawn_parked(move || {
                Event::new().wait_deadline(first);
                receiver.recv().unwrap();
                receiver.try_iter().count()
            });
            let sending = spawn_parked(move || sender.send_deadline(7, second));
            block_past(second);
            assert_eq!(sending.join().unwrap(), Ok(()), "taken means sent");
            assert_eq!(taking.join().unwrap(), capacity);
        }
    });
}

#[test]
fn a_time_limit_after_the_call_leaves_the_value_to_the_next() {
    once(LeftOut::BlockedThread, LIMIT, || {
        let (first, second) = two_deadlines();
        let (sender, receiver) = unbounded();
        let log = Log::default();
        let _sender = spawn_parked(move || {
            Event::new().wait_deadline(first);
            sender.send(1).unwrap();
            Event::new().wait();
        });
        let limited = spawn_parked({
            let receiver = receiver.clone();
            move || with_timeout(second.duration_since(Instant::now()), || receiver.recv().is_ok()).is_err()
        });
        let next = receiving(&receiver, &log, "next");
        block_past(second);
        assert!(limited.join().unwrap());
        next.join().unwrap();
        assert_eq!(log.take(), ["next 1"]);
    });
}

#[test]
fn the_last_value_goes_to_one_who_asks_though_it_is_promised_to_another_hub() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = unbounded();
        let log = Log::default();
        let a = receiving(&receiver, &log, "a");
        sender.send(1).unwrap();
        drop(sender);
        assert_eq!(receiver.recv(), Ok(1), "the channel is at its end: promises do not count");
        a.join().unwrap();
        assert_eq!(log.take(), ["a: receiving on an empty and disconnected channel"]);
    });
}
