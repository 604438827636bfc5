use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use greenloop::channel::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError, bounded, unbounded,
};
use greenloop::spawn;

use super::support::{LeftOut, in_any_order, once, ready_at_once};
use super::{Counted, LIMIT, Log, receiving, sending};

#[test]
fn without_senders_what_is_left_is_received() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(2);
        let other = sender.clone();
        other.send(1).unwrap();
        drop(other);
        sender.send(2).unwrap();
        drop(sender);
        assert_eq!((receiver.recv(), receiver.try_recv()), (Ok(1), Ok(2)));
        assert_eq!(receiver.recv(), Err(RecvError));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
        assert_eq!(receiver.recv_timeout(LIMIT), Err(RecvTimeoutError::Disconnected));
        assert_eq!(receiver.iter().next(), None);
    });
}

#[test]
fn without_receivers_values_come_back() {
    in_any_order(LIMIT, || {
        for capacity in [0, 1, usize::MAX] {
            let (sender, receiver) = bounded(capacity);
            let other = receiver.clone();
            drop(receiver);
            drop(other);
            assert_eq!(sender.send(1), Err(SendError(1)));
            assert_eq!(sender.try_send(2), Err(TrySendError::Disconnected(2)));
            assert_eq!(sender.send_timeout(3, LIMIT), Err(SendTimeoutError::Disconnected(3)));
        }
    });
}

#[test]
fn waiting_receivers_are_told() {
    once(LeftOut::HubOrder, LIMIT, || {
        for capacity in [0, 1] {
            let (sender, receiver) = bounded::<u32>(capacity);
            let log = Log::default();
            let tasks = ["a", "b", "c"].map(|name| receiving(&receiver, &log, name));
            sender.try_send(1).unwrap();
            drop(sender);
            tasks.into_iter().for_each(|task| task.join().unwrap());
            let none = "receiving on an empty and disconnected channel";
            assert_eq!(log.take(), ["a 1".to_owned(), format!("b: {none}"), format!("c: {none}")]);
        }
    });
}

#[test]
fn waiting_senders_are_told_and_keep_their_values() {
    in_any_order(LIMIT, || {
        for capacity in [0, 1] {
            let (sender, receiver) = bounded(capacity);
            let log = Log::default();
            (0..capacity).for_each(|_| sender.send(0).unwrap());
            let tasks = [1, 2, 3].map(|number| sending(&sender, &log, number));
            drop(receiver);
            tasks.into_iter().for_each(|task| task.join().unwrap());
            assert_eq!(ready_at_once(log.take()), ["kept 1", "kept 2", "kept 3"]);
        }
    });
}

#[test]
fn a_thousand_on_each_side_are_told() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(0);
        let senders: Vec<_> = (0..1000)
            .map(|number| {
                let sender = sender.clone();
                spawn(move || sender.send(number) == Err(SendError(number)))
            })
            .collect();
        greenloop::idle();
        drop(receiver);
        assert!(senders.into_iter().all(|task| task.join().unwrap()));
        let (sender, receiver) = bounded::<u32>(0);
        let receivers: Vec<_> = (0..1000)
            .map(|_| {
                let receiver = receiver.clone();
                spawn(move || receiver.recv() == Err(RecvError))
            })
            .collect();
        greenloop::idle();
        drop(sender);
        assert!(receivers.into_iter().all(|task| task.join().unwrap()));
    });
}

#[test]
fn what_nobody_will_receive_is_dropped() {
    in_any_order(LIMIT, || {
        let count = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = unbounded();
        (0..10).for_each(|_| sender.send(Counted::new(&count)).unwrap());
        drop(receiver.recv());
        assert_eq!(count.load(SeqCst), 9);
        drop(receiver);
        assert_eq!(count.load(SeqCst), 0, "with the last receiver");
        drop(sender.send(Counted::new(&count)));
        assert_eq!(count.load(SeqCst), 0);
    });
}

/// The values are dropped outside the channel's lock: their destructors may use it.
#[test]
fn a_destructor_of_a_value_may_use_the_channel() {
    struct Uses(greenloop::channel::Sender<Uses>, Log);
    impl Drop for Uses {
        fn drop(&mut self) {
            self.1.add(self.0.len());
            assert!(self.0.is_empty());
        }
    }
    in_any_order(LIMIT, || {
        let (sender, receiver) = unbounded();
        let log = Log::default();
        (0..2).for_each(|_| drop(sender.send(Uses(sender.clone(), log.clone()))));
        drop(receiver);
        assert_eq!(log.take(), ["0", "0"]);
    });
}

/// A value sent without waiting to a receiver that is then killed, with no receiver left: it is dropped.
#[test]
fn a_promised_value_whose_receivers_are_gone_is_dropped() {
    in_any_order(LIMIT, || {
        for capacity in [0, 1] {
            let count = Arc::new(AtomicUsize::new(0));
            let (sender, receiver) = bounded(capacity);
            let task = super::spawn_parked(move || receiver.recv().is_ok());
            sender.try_send(Counted::new(&count)).unwrap();
            task.kill();
            assert_eq!(count.load(SeqCst), 0);
            assert!(sender.try_send(Counted::new(&count)).unwrap_err().is_disconnected());
        }
    });
}

/// A green thread whose OS thread has ended never runs again. It still counts as a receiver, since nothing of it is dropped,
/// but no value is promised to it.
#[test]
fn no_value_is_promised_to_who_never_runs_again() {
    once(LeftOut::OsThreads, LIMIT, || {
        for capacity in [0, 1, usize::MAX] {
            let (sender, receiver) = bounded(capacity);
            let other = receiver.clone();
            let ending = std::thread::spawn(move || {
                let parked = spawn(move || other.recv().is_ok());
                greenloop::idle();
                assert!(!parked.is_finished());
            });
            ending.join().unwrap();
            let log = Log::default();
            let task = receiving(&receiver, &log, "living");
            sender.try_send(1).unwrap();
            task.join().unwrap();
            assert_eq!(log.take(), ["living 1"]);
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        }
    });
}
