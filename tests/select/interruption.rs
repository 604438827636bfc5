use std::rc::Rc;
use std::time::Instant;

use greenloop::channel::{bounded, never, unbounded};
use greenloop::{idle, select, spawn, with_timeout};

use super::support::{LeftOut, block_past, in_any_order, once, ready_at_once, spawn_parked, two_deadlines};
use super::{LIMIT, LONG, SHORT};

#[test]
fn a_receiver_killed_between_the_call_and_its_turn_passes_it_on() {
    in_any_order(LIMIT, || {
        for capacity in [0, 1, usize::MAX] {
            let (sender, receiver) = bounded(capacity);
            let take = || {
                let (receiver, silent) = (receiver.clone(), never::<u32>());
                spawn_parked(
                    move || select! { recv(receiver) -> value => value, recv(silent) -> value => value },
                )
            };
            let (first, second) = (take(), take());
            // Called, and killed before it runs.
            sender.try_send(7).unwrap();
            assert!(!first.try_kill());
            assert!(first.join().unwrap_err().is_killed());
            assert_eq!(second.join().unwrap(), Ok(7));
        }
    });
}

#[test]
fn a_sender_killed_between_the_call_and_its_turn_passes_the_room_on() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(1);
        sender.send(0).unwrap();
        let give = |number: u32| {
            let (sender, silent) = (sender.clone(), never::<u32>());
            spawn_parked(
                move || select! { send(sender, number) -> sent => sent.unwrap(), recv(silent) -> _ => () },
            )
        };
        let (first, second) = (give(1), give(2));
        let third = spawn_parked({
            let sender = sender.clone();
            move || sender.send(3).unwrap()
        });
        assert_eq!(receiver.try_recv(), Ok(0));
        assert!(!first.try_kill());
        assert!(first.join().unwrap_err().is_killed());
        // Who chose makes its value when it runs, and the room that it has does not keep the next in line from who receives.
        assert_eq!(ready_at_once(vec![receiver.recv().unwrap(), receiver.recv().unwrap()]), [2, 3]);
        second.join().unwrap();
        third.join().unwrap();
        assert!(receiver.is_empty());
    });
}

#[test]
fn one_that_is_called_in_time_and_runs_late_has_it() {
    once(LeftOut::BlockedThread, LIMIT, || {
        let (_, deadline) = two_deadlines();
        let limit = deadline.duration_since(Instant::now());
        let (sender, receiver) = unbounded();
        let taking = spawn({
            let receiver = receiver.clone();
            move || select! { recv(receiver) -> value => value.ok(), default(limit) => None }
        });
        idle();
        sender.send(1).unwrap();
        block_past(deadline);
        assert_eq!(taking.join().unwrap(), Some(1));
    });
}

#[test]
fn an_enclosing_limit_ends_the_wait_and_leaves_all_lines() {
    in_any_order(LIMIT, || {
        let value = Rc::new(());
        let (sender, receiver) = bounded(0);
        let silent = never::<Rc<()>>();
        let ended = with_timeout(SHORT, || {
            select! {
                send(sender, value.clone()) -> _ => unreachable!(),
                recv(silent) -> _ => unreachable!(),
                recv(receiver) -> _ => unreachable!(),
            }
        });
        assert!(ended.is_err());
        assert!(sender.try_send(value.clone()).is_err(), "nobody is left in line");
        assert!(receiver.try_recv().is_err());
        assert_eq!(Rc::strong_count(&value), 1);
    });
}

#[test]
fn a_kill_while_the_value_is_made_leaves_the_receiver_waiting() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(0);
        let taking = spawn({
            let receiver = receiver.clone();
            move || receiver.recv()
        });
        let giving = spawn({
            let sender = sender.clone();
            move || {
                select! {
                    send(sender, { greenloop::sleep(LONG); 1 }) -> _ => unreachable!(),
                }
            }
        });
        idle();
        giving.kill();
        assert!(!taking.is_finished());
        sender.send(2).unwrap();
        assert_eq!(taking.join().unwrap(), Ok(2));
    });
}

#[test]
fn a_receiver_killed_while_the_value_is_made_waits_for_it_and_leaves_it() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(0);
        let taking = spawn_parked({
            let receiver = receiver.clone();
            move || select! { recv(receiver) -> value => value, default(LONG) => Ok(0) }
        });
        let giving = spawn_parked(move || {
            select! {
                send(sender, { greenloop::sleep(SHORT); 1 }) -> sent => sent,
            }
        });
        taking.kill();
        assert_eq!(giving.join().unwrap(), Ok(()));
        assert_eq!(receiver.recv(), Ok(1), "sent, and not lost");
    });
}
