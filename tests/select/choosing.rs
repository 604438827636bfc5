use std::thread;
use std::time::Instant;

use greenloop::channel::{RecvError, SendError, after, at, bounded, never, tick, unbounded};
use greenloop::select::Select;
use greenloop::{select, select_biased, spawn, yield_now};

use super::support::{LeftOut, in_a_world, in_any_order, once};
use super::{LIMIT, LONG, SHORT};

#[test]
fn the_one_that_can_be_done_is_done() {
    in_any_order(LIMIT, || {
        let (full, _receiver) = bounded(1);
        full.send(0).unwrap();
        let (_sender, empty) = bounded::<u32>(1);
        let (open, filled) = unbounded();
        for round in 0..20 {
            let chosen = select! {
                send(full, 1) -> _ => unreachable!("there is no room"),
                recv(empty) -> _ => unreachable!("there is no value"),
                recv(filled) -> value => value.unwrap(),
                default => u32::MAX,
            };
            assert_eq!(chosen, if round == 0 { u32::MAX } else { round });
            open.send(round + 1).unwrap();
        }
    });
}

#[test]
fn each_that_is_ready_is_as_likely() {
    in_any_order(LIMIT, || {
        let channels = [(); 3].map(|()| unbounded());
        let silent = never::<u32>();
        let mut counts = [0; 4];
        const ROUNDS: u32 = 8_000;
        for _ in 0..ROUNDS {
            channels.iter().for_each(|(sender, receiver)| {
                if receiver.is_empty() {
                    sender.send(1).unwrap();
                }
            });
            // Two that are never ready stand beside the first one: it gets no more for that.
            select! {
                recv(silent) -> _ => unreachable!(),
                recv(silent) -> _ => unreachable!(),
                recv(channels[0].1) -> _ => counts[0] += 1,
                recv(channels[1].1) -> _ => counts[1] += 1,
                recv(channels[2].1) -> _ => counts[2] += 1,
                send(channels[0].0, 1) -> _ => counts[3] += 1,
            }
        }
        // A quarter each: 2000, with a standard deviation of 39.
        assert!(counts.iter().all(|count| (1_700..2_300).contains(count)), "{counts:?}");
    });
}

#[test]
fn who_waits_is_called_by_whichever_comes_first() {
    in_any_order(LIMIT, || {
        for which in 0..3 {
            let channels = [(); 3].map(|()| unbounded());
            let sender = channels[which].0.clone();
            let sending = spawn(move || sender.send(which));
            let (first, second, third) = (&channels[0].1, &channels[1].1, &channels[2].1);
            let got = select! {
                recv(first) -> value => (0, value),
                recv(second) -> value => (1, value),
                recv(third) -> value => (2, value),
            };
            assert_eq!(got, (which, Ok(which)));
            sending.join().unwrap().unwrap();
        }
    });
}

#[test]
fn room_calls_who_waits_to_send() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(1);
        let silent = never::<u32>();
        sender.send(1).unwrap();
        let choosing = spawn(move || {
            select! {
                send(sender, 2) -> result => result,
                recv(silent) -> _ => unreachable!(),
            }
        });
        yield_now();
        assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Ok(2)));
        assert_eq!(choosing.join().unwrap(), Ok(()));
    });
}

#[test]
fn those_who_choose_wait_in_line_with_those_who_do_not() {
    once(LeftOut::HubOrder, LIMIT, || {
        let (sender, receiver) = unbounded();
        let takers: Vec<_> = (0..6)
            .map(|number| {
                let (receiver, silent) = (receiver.clone(), never::<u32>());
                spawn(move || match number % 2 {
                    0 => receiver.recv(),
                    _ => select! { recv(receiver) -> value => value, recv(silent) -> value => value },
                })
            })
            .collect();
        yield_now();
        (0..6).for_each(|number| sender.send(number).unwrap());
        let taken: Vec<_> = takers.into_iter().map(|taker| taker.join().unwrap().unwrap()).collect();
        assert_eq!(taken, [0, 1, 2, 3, 4, 5]);

        let (sender, receiver) = bounded(1);
        sender.send(0).unwrap();
        let givers: Vec<_> = (1..7)
            .map(|number| {
                let (sender, silent) = (sender.clone(), never::<u32>());
                spawn(move || match number % 2 {
                    0 => sender.send(number).unwrap(),
                    _ => select! { send(sender, number) -> sent => sent.unwrap(), recv(silent) -> _ => unreachable!() },
                })
            })
            .collect();
        yield_now();
        // Who chose makes its value when it runs.
        let values: Vec<_> = receiver.iter().take(7).inspect(|_| yield_now()).collect();
        assert_eq!(values, [0, 1, 2, 3, 4, 5, 6]);
        givers.into_iter().for_each(|giver| giver.join().unwrap());
    });
}

#[test]
fn the_end_of_the_other_side_can_be_chosen() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = unbounded::<u32>();
        drop(sender);
        let silent = never::<u32>();
        assert_eq!(
            select! { recv(receiver) -> value => value, recv(silent) -> value => value },
            Err(RecvError)
        );
        let (sender, receiver) = bounded(1);
        drop(receiver);
        assert_eq!(
            select! { send(sender, 1) -> sent => sent, recv(silent) -> _ => Ok(()) },
            Err(SendError(1))
        );

        // Those who wait are told.
        let (sender, receiver) = bounded::<u32>(0);
        let (full, drain) = bounded(1);
        full.send(1).unwrap();
        let receiving = spawn(move || select! { recv(receiver) -> value => value, default(LONG) => Ok(0) });
        let sending = spawn(move || select! { send(full, 2) -> sent => sent, default(LONG) => Ok(()) });
        yield_now();
        drop((sender, drain));
        assert_eq!(receiving.join().unwrap(), Err(RecvError));
        assert_eq!(sending.join().unwrap(), Err(SendError(2)));
    });
}

#[test]
fn times_are_arms() {
    in_a_world(LIMIT, |world| {
        let start = world.now();
        let (late, soon) = (after(LONG), after(2 * SHORT));
        let ticks = tick(SHORT);
        let mut ticked = 0;
        loop {
            select! {
                recv(late) -> _ => unreachable!(),
                recv(ticks) -> _ => ticked += 1,
                recv(soon) -> _ => break,
            }
        }
        assert_eq!(world.elapsed(), 2 * SHORT);
        assert!(ticked == 1 || ticked == 2, "{ticked}: the second tick comes together with the end");
        let past = at(start);
        assert_eq!(select! { recv(past) -> when => when, default => Ok(world.now()) }, Ok(start));
        let timed_out = select! { recv(late) -> _ => false, default(SHORT) => true };
        assert!(timed_out);
        assert_eq!(world.elapsed(), 3 * SHORT);
    });
}

#[test]
fn a_list_is_used_again_and_changed() {
    in_a_world(LIMIT, |world| {
        let channels = [(); 4].map(|()| unbounded());
        let mut select = Select::new();
        let indices: Vec<_> = channels.iter().map(|(_, receiver)| select.recv(receiver)).collect();
        assert_eq!(indices, [0, 1, 2, 3]);
        for (index, (sender, _)) in channels.iter().enumerate() {
            sender.send(index).unwrap();
        }
        let mut left = 4;
        while let Ok(operation) = select.try_select() {
            let index = operation.index();
            assert_eq!(operation.recv(&channels[index].1), Ok(index));
            select.remove(index);
            left -= 1;
        }
        assert_eq!(left, 0);
        assert_eq!(select.recv(&channels[0].1), 4, "an index is not given again");
        assert_eq!(select.try_select().unwrap_err().to_string(), "all operations in select would block");
        assert_eq!(select.select_timeout(SHORT).unwrap_err().to_string(), "timed out waiting on select");
        assert!(select.select_deadline(world.now() + SHORT).is_err());
        assert_eq!(select.try_ready().unwrap_err().to_string(), "all operations in ready would block");
        assert_eq!(select.ready_timeout(SHORT).unwrap_err().to_string(), "timed out waiting on ready");
        assert!(select.ready_deadline(world.now() + SHORT).is_err());
        assert_eq!(world.elapsed(), 4 * SHORT);
        channels[0].0.send(7).unwrap();
        assert_eq!((select.try_ready(), select.ready()), (Ok(4), 4));
        assert_eq!(select.select_timeout(LONG).unwrap().recv(&channels[0].1), Ok(7));
        assert_eq!(world.elapsed(), 4 * SHORT);
    });
}

#[test]
fn what_is_only_ready_stays() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(1);
        let waiting = spawn({
            let receiver = receiver.clone();
            move || {
                let mut select = Select::new();
                select.recv(&receiver);
                select.ready()
            }
        });
        yield_now();
        sender.send(1).unwrap();
        assert_eq!(waiting.join().unwrap(), 0);
        assert_eq!(receiver.try_recv(), Ok(1));
    });
}

#[test]
fn an_operation_that_is_dropped_passes_on_what_it_had() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(2);
        sender.send(1).unwrap();
        let mut select = Select::new();
        select.recv(&receiver);
        let operation = select.select();
        assert!(receiver.is_empty(), "it is set aside");
        sender.send(2).unwrap();
        let next = spawn({
            let receiver = receiver.clone();
            move || (receiver.recv(), receiver.recv())
        });
        yield_now();
        drop(operation);
        // The next in line was promised the second value by then: it gets both, each once.
        let (one, other) = next.join().unwrap();
        assert_eq!(one.unwrap() + other.unwrap(), 3);

        let mut select = Select::new();
        select.send(&sender);
        let (first, second) = (select.select(), select.select());
        assert!(select.try_select().is_err(), "room is kept");
        assert!(sender.try_send(3).is_err());
        drop(first);
        sender.try_send(3).unwrap();
        second.send(&sender, 4).unwrap();
        assert!(sender.is_full());
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [3, 4]);
    });
}

#[test]
fn room_that_is_given_back_goes_to_who_waits() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(1);
        let mut select = Select::new();
        select.send(&sender);
        let operation = select.select();
        let waiting = spawn({
            let sender = sender.clone();
            move || sender.send(1)
        });
        yield_now();
        assert!(!waiting.is_finished() && receiver.is_empty());
        drop(operation);
        assert_eq!(waiting.join().unwrap(), Ok(()));
        assert_eq!(receiver.try_recv(), Ok(1));
    });
}

#[test]
#[should_panic(expected = "passed a receiver that wasn't selected")]
fn another_receiver_is_refused() {
    let (_sender, receiver) = unbounded::<u32>();
    let past = at(Instant::now());
    let mut select = Select::new();
    select.recv(&past);
    let _ = select.select().recv(&receiver);
}

#[test]
#[should_panic(expected = "no operations have been added to `Select`")]
fn a_list_of_nothing_is_refused() {
    drop(Select::new().select());
}

#[test]
fn nothing_is_waited_for_in_time() {
    assert!(Select::new().select_timeout(SHORT).is_err());
    assert!(Select::new().try_ready().is_err());
}

#[test]
fn plain_threads_choose_too() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(1);
        let (quit, quitting) = bounded::<()>(0);
        let summing = thread::spawn(move || {
            let mut sum = 0;
            loop {
                select! {
                    recv(receiver) -> value => sum += value.unwrap_or(0),
                    recv(quitting) -> _ => return sum,
                }
            }
        });
        (1..=100).for_each(|number| sender.send(number).unwrap());
        // Room for another one: the last has been received.
        sender.send(0).unwrap();
        sender.send(0).unwrap();
        drop(quit);
        assert_eq!(summing.join().unwrap(), 5050);
    });
}

#[test]
fn a_biased_choice_takes_the_first_that_can_be_done() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = unbounded();
        let (room, _kept) = bounded(100);
        for number in 0..100 {
            sender.send(number).unwrap();
        }
        for number in 0..100 {
            let got = select_biased! {
                recv(never::<u32>()) -> _ => unreachable!("nothing comes"),
                recv(receiver) -> value => value.ok(),
                send(room, 1) -> _ => None,
                default => None,
            };
            assert_eq!(got, Some(number));
        }
        assert!(room.is_empty());
        // Who waits gets what comes first.
        let waits = spawn({
            let (receiver, silent) = (receiver.clone(), never::<u32>());
            move || select_biased! { recv(silent) -> _ => None, recv(receiver) -> value => value.ok() }
        });
        yield_now();
        sender.send(7).unwrap();
        assert_eq!(waits.join().unwrap(), Some(7));
        // One after another is taken out of the list, and the order stays.
        let receivers: Vec<_> = (0..5)
            .map(|number| {
                let (sender, receiver) = unbounded();
                sender.send(number).unwrap();
                receiver
            })
            .collect();
        let mut select = Select::new_biased();
        let added: Vec<_> = receivers.iter().map(|receiver| select.recv(receiver)).collect();
        for index in added {
            assert_eq!(select.try_ready(), Ok(index));
            select.remove(index);
        }
    });
}

#[test]
fn a_list_of_operations_may_go_to_another_os_thread() {
    fn is_send<T: Send>(_: &T) {}
    in_any_order(LIMIT, || {
        let (sender, receiver) = unbounded();
        let (silent, full) = (never::<u32>(), bounded(0).0);
        thread::scope(|scope| {
            let mut select = Select::new();
            select.recv(&silent);
            let index = select.recv(&receiver);
            select.send::<u32>(&full);
            is_send(&select);
            let chooses = scope.spawn(move || {
                let operation = loop {
                    let operation = select.select();
                    if operation.index() == index {
                        break operation;
                    }
                };
                operation.index()
            });
            sender.send(1).unwrap();
            assert_eq!(chooses.join().unwrap(), index);
        });
        assert_eq!(receiver.try_recv(), Ok(1), "the choice was given back");
    });
}
