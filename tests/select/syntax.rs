use std::cell::Cell;

use greenloop::channel::{Receiver, Sender, bounded, never, unbounded};
use greenloop::select;

use super::support::in_any_order;
use super::{LIMIT, SHORT};

fn first(receiver: &Receiver<u32>) -> Option<u32> {
    let silent = &never::<(u8, u8)>();
    let received = select! {
        recv(silent) -> pair => {
            let (one, _) = pair.ok()?;
            Some(u32::from(one))
        }
        recv(receiver,) -> value => value.ok(),
        default() => return None
    };
    received.filter(|_| silent.is_empty())
}

#[test]
fn bodies_are_what_they_are_in_a_match() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = unbounded();
        assert_eq!(first(&receiver), None);
        sender.send(5).unwrap();
        assert_eq!(first(&receiver), Some(5));
        let mut left = 3;
        loop {
            if left == 0 {
                break;
            }
            select! {
                send(sender, left) -> sent => {
                    sent.unwrap();
                    left -= 1;
                    continue;
                },
                recv(never::<u32>()) -> _ => break,
            }
        }
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [3, 2, 1]);
    });
}

#[test]
fn ends_are_expressions_and_are_evaluated_once() {
    in_any_order(LIMIT, || {
        let ends = Box::new(bounded::<String>(1));
        let evaluated = Cell::new(0);
        let sender = || -> &Sender<String> {
            evaluated.set(evaluated.get() + 1);
            &ends.0
        };
        let text = "moved".to_owned();
        select! {
            send(sender(), text) -> sent => sent.unwrap(),
        }
        assert_eq!(evaluated.get(), 1);
        let limit = || SHORT;
        let never_made = || -> String { panic!("it is made only when it is chosen") };
        let full = select! {
            send(ends.0, never_made()) -> _ => false,
            default(limit()) => true,
        };
        assert!(full);
        assert_eq!(select! { recv((*ends).1) -> text => text }, Ok("moved".to_owned()));
    });
}

#[test]
fn a_body_may_take_the_ends_away() {
    in_any_order(LIMIT, || {
        let (sender, receiver) = bounded(1);
        let (other_sender, other) = bounded::<u32>(1);
        sender.send(1).unwrap();
        select! {
            recv(receiver) -> value => {
                drop((receiver, other));
                assert_eq!(value, Ok(1));
            }
            recv(other) -> _ => drop(other),
        }
        assert!(sender.send(2).is_err() && other_sender.send(2).is_err());
    });
}
