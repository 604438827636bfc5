use std::sync::Arc;

use greenloop::channel::{after, bounded, tick, unbounded};
use greenloop::event::Event;
use greenloop::{Waitable, idle, iwait, spawn, wait, wait_any, wait_timeout};

use super::support::{in_a_world, in_any_order};
use super::{LIMIT, LONG, SHORT};

#[test]
fn a_receiver_is_ready_when_it_has_a_value_that_stays_there() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = unbounded();
        assert!(wait_timeout([&receiver], SHORT).is_empty());
        let sending = spawn(move || sender.send(1));
        for _ in 0..3 {
            assert_eq!(wait([&receiver]).len(), 1);
        }
        sending.join().unwrap().unwrap();
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(wait([&receiver]).len(), 1, "the end counts");
    });
}

#[test]
fn several_wait_for_one_receiver_and_a_receiver_goes_before_them() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(0);
        let watch = || {
            let receiver = receiver.clone();
            spawn(move || wait_timeout([&receiver], LONG).len())
        };
        let watching = [watch(), watch()];
        idle();
        let taking = spawn({
            let receiver = receiver.clone();
            move || receiver.recv()
        });
        idle();
        // This one is promised to the receiver, and nobody else hears of it.
        sender.send(1).unwrap();
        assert_eq!(taking.join().unwrap(), Ok(1));
        assert!(watching.iter().all(|task| !task.is_finished()));
        drop(sender);
        assert_eq!(watching.map(|task| task.join().unwrap()), [1, 1]);
    });
}

/// Conformance 69.
#[test]
fn receivers_times_events_and_green_threads_at_once() {
    in_a_world(LIMIT, |world| {
        let (sender, receiver) = unbounded();
        let event = Arc::new(Event::new());
        let (alarm, ticks, late) = (after(2 * SHORT), tick(SHORT), after(LONG));
        let task = spawn({
            let event = event.clone();
            move || {
                sender.send(1).unwrap();
                event.set();
            }
        });
        let objects: [&dyn Waitable; 6] = [&late, &alarm, &receiver, &*event, &task, &ticks];
        let ready: Vec<_> = iwait(objects).take(5).collect();
        assert!(std::ptr::addr_eq(ready[3], &ticks) && std::ptr::addr_eq(ready[4], &alarm), "the last two");
        assert_eq!(world.elapsed(), 2 * SHORT);
        assert!(wait_timeout([&late], SHORT).is_empty());
        assert_eq!(world.elapsed(), 3 * SHORT);
        assert!(wait_any([&late, &alarm]).is_some_and(|ready| ready.same_channel(&alarm)));
        assert_eq!((receiver.len(), alarm.len()), (1, 1), "nothing is taken");
    });
}
