//! Choices among several, and who polls.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use greenloop::channel::{
    Receiver, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, bounded, never,
};
use greenloop::select::Select;
use greenloop::{JoinHandle, select, spawn, wait_any, with_timeout, yield_now};

use super::LIMIT;
use super::support::{spawn_parked, within};

const SHORT: Duration = Duration::from_millis(5);

/// A sender of a rendezvous that waits in a choice, and a receiver.
fn choosing_sender() -> (JoinHandle<bool>, Receiver<u32>) {
    let (sender, receiver) = bounded(0);
    let choosing = spawn_parked(move || {
        select! {
            send(sender, 7) -> sent => sent.is_ok(),
            recv(never::<()>()) -> _ => false,
        }
    });
    (choosing, receiver)
}

/// Gets the value if there is one, without waiting for one.
type Poll = fn(&Receiver<u32>) -> Option<u32>;

const POLLS: [Poll; 6] = [
    |receiver| receiver.try_recv().ok(),
    |receiver| receiver.try_iter().next(),
    |receiver| receiver.recv_timeout(Duration::ZERO).ok(),
    |receiver| select! { recv(receiver) -> value => value.ok(), default => None },
    |receiver| {
        let silent = never::<u32>();
        select! { recv(silent) -> _ => None, recv(receiver) -> value => value.ok(), default => None }
    },
    |receiver| {
        let mut select = Select::new();
        select.recv(receiver);
        select.try_ready().ok()?;
        receiver.try_recv().ok()
    },
];

#[test]
fn a_receiver_that_polls_meets_a_sender_that_chooses() {
    within(LIMIT, || {
        for poll in POLLS {
            let (choosing, receiver) = choosing_sender();
            assert_eq!(poll(&receiver), Some(7));
            assert!(choosing.join().unwrap());
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
        }
    });
}

#[test]
fn they_meet_between_os_threads() {
    within(LIMIT, || {
        for poll in POLLS {
            let (sender, receiver) = bounded(0);
            let choosing = thread::spawn(move || {
                for value in 0..50 {
                    select! {
                        send(sender, value) -> sent => sent.unwrap(),
                        recv(never::<()>()) -> _ => {},
                    }
                }
            });
            let mut expected = 0;
            while expected < 50 {
                match poll(&receiver) {
                    Some(value) => {
                        assert_eq!(value, expected);
                        expected += 1;
                    }
                    None => yield_now(),
                }
            }
            choosing.join().unwrap();
        }
    });
}

#[test]
fn who_watches_hears_of_a_sender_that_chooses() {
    within(LIMIT, || {
        let (sender, receiver) = bounded(0);
        let watched = receiver.clone();
        let watching = spawn_parked(move || {
            assert!(wait_any([&watched]).is_some());
            watched.try_recv()
        });
        let choosing = spawn(move || select! { send(sender, 3) -> sent => sent.is_ok() });
        assert_eq!(watching.join().unwrap(), Ok(3));
        assert!(choosing.join().unwrap());
        drop(receiver);
    });
}

/// One that only asked what is ready, and does not send then.
#[test]
fn a_sender_may_change_its_mind() {
    within(LIMIT, || {
        let (sender, receiver) = bounded::<u32>(0);
        let asking = spawn_parked({
            let sender = sender.clone();
            move || {
                let mut select = Select::new();
                select.send(&sender);
                select.ready()
            }
        });
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(asking.join().unwrap(), 0);
        let dropping = spawn_parked({
            let sender = sender.clone();
            move || {
                let mut select = Select::new();
                select.send(&sender);
                drop(select.select());
            }
        });
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        dropping.join().unwrap();
        let killed = spawn_parked(move || select! { send(sender, 1) -> _ => {} });
        assert!(!killed.try_kill());
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert!(killed.join().unwrap_err().is_killed());
    });
}

/// Its limit is over while it waits for the value, which it gets all the same.
#[test]
fn a_limit_does_not_part_two_who_have_met() {
    within(LIMIT, || {
        let (sender, receiver) = bounded(0);
        let choosing = spawn_parked(move || {
            let mut select = Select::new();
            select.send(&sender);
            let chosen = select.select();
            greenloop::sleep(4 * SHORT);
            chosen.send(&sender, 7).unwrap();
        });
        let limited = with_timeout(SHORT, || {
            let got = receiver.try_recv();
            assert_eq!(got, Ok(7));
            yield_now();
        });
        assert!(limited.is_err());
        choosing.join().unwrap();
    });
}

/// A value moves around, and is in one of the channels at every moment.
#[test]
fn what_is_always_somewhere_is_always_found() {
    const LOOKS: usize = 30_000;
    within(LIMIT, || {
        let channels: Vec<(Sender<()>, Receiver<()>)> = (0..3).map(|_| bounded(2)).collect();
        channels[0].0.send(()).unwrap();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut place = 0;
                while !over.load(SeqCst) {
                    let next = (place + 1) % channels.len();
                    channels[next].0.send(()).unwrap();
                    channels[place].1.recv().unwrap();
                    place = next;
                }
            });
            let mut select = Select::new();
            channels.iter().for_each(|(_, receiver)| _ = select.recv(receiver));
            let misses = (0..LOOKS).filter(|look| match look % 3 {
                0 => select.try_ready().is_err(),
                1 => select.try_select().is_err(),
                _ => select.select_timeout(Duration::ZERO).is_err(),
            });
            let misses = misses.count();
            over.store(true, SeqCst);
            assert_eq!(misses, 0, "of {LOOKS}");
        });
    });
}

/// The receiver was called for a value that is not there any more, and has not run since.
#[test]
fn a_choice_is_not_deceived_by_an_offer_that_was_withdrawn() {
    within(LIMIT, || {
        let (sender, receiver) = bounded(0);
        let (parked, is_parked) = mpsc::channel();
        let (go, goes) = mpsc::channel::<()>();
        let other = thread::spawn(move || {
            let receiving = spawn_parked(move || receiver.recv());
            parked.send(()).unwrap();
            goes.recv().unwrap();
            receiving.join().unwrap()
        });
        is_parked.recv().unwrap();
        assert_eq!(sender.send_timeout(1, SHORT), Err(SendTimeoutError::Timeout(1)));
        let mut select = Select::new();
        select.send(&sender);
        // The receiver waits again, and is chosen.
        let chosen = select.select_timeout(LIMIT).unwrap();
        go.send(()).unwrap();
        chosen.send(&sender, 2).unwrap();
        assert_eq!(other.join().unwrap(), Ok(2));
    });
}

#[test]
fn nobody_meets_himself() {
    within(LIMIT, || {
        let (sender, receiver) = bounded(0);
        for _ in 0..3 {
            let (send, receive) = (&sender, &receiver);
            let met = select! {
                send(send, 1) -> _ => true,
                recv(receive) -> _ => true,
                default => false,
            };
            assert!(!met);
            let met = select! {
                send(send, 1) -> _ => true,
                recv(receive) -> _ => true,
                default(SHORT) => false,
            };
            assert!(!met);
        }
        assert_eq!(receiver.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    });
}
