use std::thread;
use std::time::Duration;

use greenloop::channel::{
    RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError, bounded, unbounded,
};
use greenloop::{idle, spawn, yield_now};

use super::support::{LeftOut, in_a_world, in_any_order, once, ready_at_once};
use super::{LIMIT, Log, receiving, sending};

#[test]
fn values_come_in_the_order_in_which_they_were_sent() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = unbounded();
        (0..1000).for_each(|number| sender.send(number).unwrap());
        assert_eq!((receiver.len(), sender.len()), (1000, 1000));
        (0..1000).for_each(|number| assert_eq!(receiver.recv(), Ok(number)));
        assert!(receiver.is_empty());
    });
}

#[test]
fn with_room_or_a_value_nobody_yields() {
    in_any_order(LIMIT, || {
        let log = Log::default();
        let _other = spawn({
            let log = log.clone();
            move || log.add("other")
        });
        let (sender, receiver) = bounded(2);
        sender.send(1).unwrap();
        sender.send_timeout(2, LIMIT).unwrap();
        assert_eq!((receiver.recv(), receiver.recv_timeout(LIMIT)), (Ok(1), Ok(2)));
        assert_eq!(log.take(), [""; 0]);
    });
}

#[test]
fn a_full_channel_makes_its_senders_wait_in_line() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(2);
        let log = Log::default();
        sender.send(0).unwrap();
        sender.send(1).unwrap();
        assert!(sender.is_full() && receiver.is_full());
        let tasks = [2, 3, 4].map(|number| sending(&sender, &log, number));
        assert_eq!(sender.try_send(9), Err(TrySendError::Full(9)));
        assert_eq!(receiver.len(), 2, "those that wait are not in it");
        assert_eq!(receiver.recv(), Ok(0));
        idle();
        assert_eq!(log.take(), ["sent 2"]);
        assert_eq!(sender.try_send(9), Err(TrySendError::Full(9)), "the room was for the one in line");
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
        tasks.into_iter().for_each(|task| task.join().unwrap());
        assert_eq!(ready_at_once(log.take()), ["sent 3", "sent 4"]);
    });
}

#[test]
fn waiting_receivers_are_served_in_order_of_arrival() {
    once(LeftOut::HubOrder, LIMIT, || {
        let (sender, receiver) = bounded(1);
        let log = Log::default();
        let tasks = ["a", "b", "c"].map(|name| receiving(&receiver, &log, name));
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty), "both are promised");
        assert!(receiver.is_empty() && !receiver.is_full());
        sender.send(3).unwrap();
        sender.try_send(4).expect("three are promised, so there is room for one");
        assert_eq!(sender.try_send(5), Err(TrySendError::Full(5)));
        tasks.into_iter().for_each(|task| task.join().unwrap());
        assert_eq!(log.take(), ["a 1", "b 2", "c 3"]);
        assert_eq!(receiver.recv(), Ok(4));
    });
}

#[test]
fn a_value_beyond_those_promised_goes_to_who_asks_first() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = unbounded();
        let log = Log::default();
        let task = receiving(&receiver, &log, "a");
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        assert_eq!(receiver.try_recv(), Ok(1), "one is enough for a");
        task.join().unwrap();
        assert_eq!(log.take(), ["a 2"]);
    });
}

#[test]
fn waits_end_at_their_time() {
    in_a_world(LIMIT, |world| {
        let (sender, receiver) = bounded(1);
        let start = world.now();
        let pause = Duration::from_millis(5);
        assert_eq!(receiver.recv_timeout(pause), Err(RecvTimeoutError::Timeout));
        assert_eq!(receiver.recv_deadline(start), Err(RecvTimeoutError::Timeout));
        assert_eq!(world.elapsed(), pause);
        sender.send(1).unwrap();
        assert_eq!(sender.send_timeout(2, pause), Err(SendTimeoutError::Timeout(2)));
        assert_eq!(sender.send_deadline(3, start), Err(SendTimeoutError::Timeout(3)));
        assert_eq!(world.elapsed(), 2 * pause);
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1]);
        assert_eq!(sender.send_timeout(4, pause), Ok(()));
        assert_eq!(world.elapsed(), 2 * pause);
    });
}

#[test]
fn a_pipeline_of_green_threads() {
    in_any_order(LIMIT, || {
        let (first, mut last) = bounded(1);
        for _ in 0..10 {
            let (sender, receiver) = bounded(1);
            let before = std::mem::replace(&mut last, receiver);
            spawn(move || before.iter().for_each(|number: u32| sender.send(number + 1).unwrap()));
        }
        let source = spawn(move || (0..100).for_each(|number| first.send(number).unwrap()));
        assert_eq!(last.iter().collect::<Vec<_>>(), (10..110).collect::<Vec<_>>());
        source.join().unwrap();
    });
}

#[test]
fn each_value_goes_to_one_receiver() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(3);
        let receivers: Vec<_> = (0..4)
            .map(|_| {
                let receiver = receiver.clone();
                spawn(move || {
                    let mut got = Vec::new();
                    for number in &receiver {
                        got.push(number);
                        yield_now();
                    }
                    got
                })
            })
            .collect();
        let senders: Vec<_> = (0..4)
            .map(|number| {
                let sender = sender.clone();
                spawn(move || (0..25).for_each(|step| sender.send(number * 25 + step).unwrap()))
            })
            .collect();
        drop(sender);
        senders.into_iter().for_each(|task| task.join().unwrap());
        let mut got: Vec<u32> = receivers.into_iter().flat_map(|task| task.join().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn hubs_and_plain_threads_talk() {
    in_any_order(LIMIT, || {
        for capacity in [0, 1, 3, usize::MAX] {
            let (ping, pinged) = bounded(capacity);
            let (pong, ponged) = bounded(capacity);
            let plain =
                thread::spawn(move || pinged.iter().for_each(|number: u32| pong.send(number).unwrap()));
            for number in 0..300 {
                ping.send(number).unwrap();
                assert_eq!(ponged.recv(), Ok(number));
            }
            drop(ping);
            plain.join().unwrap();
        }
    });
}

#[test]
fn sizes_and_names_are_told() {
    let (sender, receiver) = bounded::<u32>(3);
    assert_eq!((sender.capacity(), receiver.capacity()), (Some(3), Some(3)));
    assert_eq!(unbounded::<u32>().1.capacity(), None);
    assert!(sender.same_channel(&sender.clone()) && receiver.same_channel(&receiver.clone()));
    assert!(!sender.same_channel(&bounded(3).0) && !receiver.same_channel(&bounded(3).1));
}
