use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use greenloop::channel::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError, bounded};
use greenloop::{idle, spawn};

use super::support::{LeftOut, in_a_world, in_any_order, once};
use super::{LIMIT, Log, receiving, sending};

/// Conformance 122.
#[test]
fn a_sender_goes_on_when_its_value_has_been_taken() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(0);
        let log = Log::default();
        let other = spawn({
            let log = log.clone();
            move || {
                log.add(receiver.recv().unwrap());
                log.add(receiver.recv().unwrap());
            }
        });
        log.add("sending");
        sender.send("hello").unwrap();
        log.add("sent hello");
        sender.send("world").unwrap();
        log.add("sent world");
        assert_eq!(log.take(), ["sending", "hello", "sent hello", "world", "sent world"]);
        other.join().unwrap();
    });
}

/// Conformance 122.
#[test]
fn without_waiting_it_sends_only_to_one_who_waits() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(0);
        let log = Log::default();
        assert_eq!(sender.try_send(0), Err(TrySendError::Full(0)));
        let task = receiving(&receiver, &log, "a");
        assert_eq!(sender.try_send(1), Ok(()));
        assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)), "one receiver, one value");
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty), "it is promised");
        task.join().unwrap();
        assert_eq!(log.take(), ["a 1"]);
    });
}

#[test]
fn without_waiting_it_receives_only_from_one_who_waits() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(0);
        let log = Log::default();
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        let task = sending(&sender, &log, 1);
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        task.join().unwrap();
        assert_eq!(log.take(), ["sent 1"]);
    });
}

#[test]
fn it_holds_nothing() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(0);
        let log = Log::default();
        let task = sending(&sender, &log, 1);
        assert_eq!((sender.len(), sender.capacity()), (0, Some(0)));
        assert!(sender.is_empty() && sender.is_full() && receiver.is_empty() && receiver.is_full());
        assert_eq!(receiver.recv(), Ok(1));
        task.join().unwrap();
    });
}

#[test]
fn both_sides_are_served_in_order_of_arrival() {
    once(LeftOut::HubOrder, LIMIT, || {
        let (sender, receiver) = bounded(0);
        let log = Log::default();
        let senders = [1, 2, 3].map(|number| sending(&sender, &log, number));
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1, 2, 3]);
        senders.into_iter().for_each(|task| task.join().unwrap());
        assert_eq!(log.take(), ["sent 1", "sent 2", "sent 3"]);
        let receivers = ["a", "b", "c"].map(|name| receiving(&receiver, &log, name));
        (1..=3).for_each(|number| sender.try_send(number).unwrap());
        receivers.into_iter().for_each(|task| task.join().unwrap());
        assert_eq!(log.take(), ["a 1", "b 2", "c 3"]);
    });
}

#[test]
fn values_sent_in_both_ways_keep_their_order() {
    once(LeftOut::HubOrder, LIMIT, || {
        let (sender, receiver) = bounded(0);
        let log = Log::default();
        let receivers = ["a", "b"].map(|name| receiving(&receiver, &log, name));
        let first = spawn({
            let sender = sender.clone();
            move || {
                sender.send(1).unwrap();
            }
        });
        let second = spawn(move || sender.try_send(2).unwrap());
        for task in receivers {
            task.join().unwrap();
        }
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(log.take(), ["a 1", "b 2"]);
    });
}

#[test]
fn waits_end_at_their_time_and_the_value_comes_back() {
    in_a_world(LIMIT, |world| {
        let (sender, receiver) = bounded(0);
        let (start, pause) = (world.now(), Duration::from_millis(5));
        assert_eq!(receiver.recv_timeout(pause), Err(RecvTimeoutError::Timeout));
        assert_eq!(world.elapsed(), pause);
        assert_eq!(sender.send_timeout(1, pause), Err(SendTimeoutError::Timeout(1)));
        assert_eq!(sender.send_deadline(2, start), Err(SendTimeoutError::Timeout(2)));
        assert_eq!(world.elapsed(), 2 * pause);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty), "they took their values along");
    });
}

/// The sender gives up after the receiver was called and before it ran: the receiver keeps its place.
#[test]
fn a_receiver_called_for_a_withdrawn_value_stays_first_in_line() {
    once(LeftOut::OsThreads, LIMIT, || {
        let (sender, receiver) = bounded(0);
        let (busy, is_busy) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let other_hub = thread::spawn(move || {
            let log = Log::default();
            let tasks = ["a", "b"].map(|name| receiving(&receiver, &log, name));
            busy.send(()).unwrap();
            // Nothing runs here while this OS thread blocks, though `a` is called.
            may_go_on.recv().unwrap();
            idle();
            assert_eq!(log.take(), [""; 0], "the value was withdrawn");
            busy.send(()).unwrap();
            tasks.into_iter().for_each(|task| task.join().unwrap());
            log.take()
        });
        is_busy.recv().unwrap();
        let late = sender.send_timeout(0, Duration::from_millis(5));
        assert_eq!(late, Err(SendTimeoutError::Timeout(0)));
        go_on.send(()).unwrap();
        is_busy.recv().unwrap();
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        assert_eq!(other_hub.join().unwrap(), ["a 1", "b 2"]);
    });
}
