use std::thread;

use greenloop::channel::{bounded, never};
use greenloop::select::Select;
use greenloop::{idle, select, spawn};

use super::support::{in_a_world, in_any_order};
use super::{LIMIT, LONG, SHORT};

#[test]
fn those_who_choose_meet_those_who_do_not() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(0);
        let silent = never::<u32>();
        for chooser_first in [true, false] {
            let (giver, taker, quiet) = (sender.clone(), receiver.clone(), silent.clone());
            let give = move || select! { send(giver, 1) -> sent => sent.is_ok(), recv(quiet) -> _ => false };
            let take = move || taker.recv() == Ok(1);
            let (one, other) = match chooser_first {
                true => (spawn(give), spawn(take)),
                false => (spawn(take), spawn(give)),
            };
            assert!(one.join().unwrap() && other.join().unwrap());

            let (giver, taker, quiet) = (sender.clone(), receiver.clone(), silent.clone());
            let give = move || giver.send(1).is_ok();
            let take = move || select! { recv(taker) -> value => value == Ok(1), recv(quiet) -> _ => false };
            let (one, other) = match chooser_first {
                true => (spawn(take), spawn(give)),
                false => (spawn(give), spawn(take)),
            };
            assert!(one.join().unwrap() && other.join().unwrap());
        }
    });
}

#[test]
fn those_who_choose_meet_each_other() {
    in_any_order(LIMIT, || {
        for giver_first in [true, false] {
            let (sender, receiver) = bounded(0);
            let (quiet, silent) = (never::<u32>(), never::<u32>());
            let give = move || select! { recv(quiet) -> _ => false, send(sender, 1) -> sent => sent.is_ok() };
            let take =
                move || select! { recv(silent) -> _ => false, recv(receiver) -> value => value == Ok(1) };
            let (one, other) = match giver_first {
                true => (spawn(give), spawn(take)),
                false => (spawn(take), spawn(give)),
            };
            assert!(one.join().unwrap() && other.join().unwrap());
        }
    });
}

#[test]
fn both_ends_of_one_channel_and_nobody_meets_himself() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(0);
        let alone = select! {
            send(sender, 0) -> _ => unreachable!("nobody receives"),
            recv(receiver) -> _ => unreachable!("nobody sends"),
            default(SHORT) => true,
        };
        assert!(alone);
        let both = |number: u32| {
            let (sender, receiver) = (sender.clone(), receiver.clone());
            move || {
                select! {
                    send(sender, number) -> sent => { sent.unwrap(); None }
                    recv(receiver) -> value => value.ok(),
                }
            }
        };
        for _ in 0..100 {
            let pair = [spawn(both(1)), spawn(both(2))].map(|task| task.join().unwrap());
            assert!(matches!(pair, [None, Some(1)] | [Some(2), None]), "{pair:?}");
        }
        // Each on a thread of its own, too, and an odd one who waits in vain.
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let both = both(1);
                thread::spawn(move || (0..500).filter_map(|_| both.clone()()).count())
            })
            .collect();
        let received: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(received, 500);
    });
}

#[test]
fn two_that_choose_crosswise() {
    in_any_order(LIMIT, || {
        let (one, two) = (bounded::<u32>(0), bounded::<u32>(0));
        let rounds = 300;
        let here = thread::spawn({
            let (sender, receiver) = (one.0.clone(), two.1.clone());
            move || {
                (0..rounds)
                    .filter(
                        |_| select! { send(sender, 1) -> sent => sent.is_ok(), recv(receiver) -> _ => false },
                    )
                    .count()
            }
        });
        let there = thread::spawn({
            let (sender, receiver) = (two.0.clone(), one.1.clone());
            move || {
                (0..rounds)
                    .filter(
                        |_| select! { send(sender, 1) -> sent => sent.is_ok(), recv(receiver) -> _ => false },
                    )
                    .count()
            }
        });
        assert_eq!(here.join().unwrap() + there.join().unwrap(), rounds);
    });
}

#[test]
fn an_attempt_meets_a_receiver_that_chooses() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(0);
        assert!(sender.try_send(1).is_err());
        let taking = spawn({
            let (receiver, silent) = (receiver.clone(), never::<u32>());
            move || select! { recv(receiver) -> value => value, recv(silent) -> value => value }
        });
        idle();
        sender.try_send(2).unwrap();
        assert!(sender.try_send(3).is_err(), "there was one");
        assert_eq!(taking.join().unwrap(), Ok(2));
        let sent = select! { send(sender, 1) -> _ => true, default => false };
        assert!(!sent);
    });
}

#[test]
fn a_receiver_waits_for_the_value_that_was_chosen_for_it() {
    in_a_world(LIMIT, |world| {
        let (sender, receiver) = bounded(0);
        for chooses in [false, true] {
            let taking = spawn({
                let receiver = receiver.clone();
                move || match chooses {
                    false => receiver.recv_timeout(SHORT).ok(),
                    true => select! { recv(receiver) -> value => value.ok(), default(SHORT) => None },
                }
            });
            idle();
            let mut select = Select::new();
            select.send(&sender);
            let operation = select.select();
            // Its own time is over, and the value is on its way.
            greenloop::sleep(3 * SHORT);
            assert!(!taking.is_finished());
            operation.send(&sender, 1).unwrap();
            assert_eq!(taking.join().unwrap(), Some(1));
        }
        assert_eq!(world.elapsed(), 6 * SHORT);
    });
}

#[test]
fn a_receiver_that_was_chosen_in_vain_goes_on_waiting() {
    in_a_world(LIMIT, |world| {
        let (sender, receiver) = bounded(0);
        for chooses in [false, true] {
            let taking = spawn({
                let receiver = receiver.clone();
                move || match chooses {
                    false => receiver.recv().ok(),
                    true => select! { recv(receiver) -> value => value.ok(), default(LONG) => None },
                }
            });
            idle();
            let mut select = Select::new();
            select.send(&sender);
            let operation = select.select();
            assert!(select.try_select().is_err(), "it is taken");
            drop(operation);
            idle();
            assert!(!taking.is_finished());
            sender.send(1).unwrap();
            assert_eq!(taking.join().unwrap(), Some(1));

            let impatient = spawn({
                let receiver = receiver.clone();
                move || match chooses {
                    false => receiver.recv_timeout(SHORT).is_err(),
                    true => select! { recv(receiver) -> _ => false, default(SHORT) => true },
                }
            });
            idle();
            let operation = select.select();
            greenloop::sleep(2 * SHORT);
            drop(operation);
            assert!(impatient.join().unwrap());
        }
        assert_eq!(world.elapsed(), 4 * SHORT);
    });
}
