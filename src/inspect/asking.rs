//! Asking all hubs the same.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::channel;
use crate::fiber;
use crate::hub::door::{Door, Letter, shown_doors};
use crate::hub::local_hub;
use crate::hub::waiter::may_wait;
use crate::sys::clock::instant_now;

/// What the hubs say.
#[derive(Debug)]
pub(super) struct Answers<T> {
    /// In the order in which the hubs were made, but the asking one is first.
    pub(super) of_hubs: Vec<T>,
    /// How many have not answered in time.
    pub(super) silent: usize,
}

/// Asks every hub of the process that is not the library's own, each in its own OS thread, where nothing may wait. Yields until all have
/// answered, or for `patience`; on an OS thread without a hub it blocks. Where nothing may wait, and in a world, the calling thread's alone
/// answers.
pub(super) fn ask_hubs<T: Send + 'static>(patience: Duration, question: fn() -> T) -> Answers<T> {
    let own = local_hub().map(|hub| hub.door());
    let mut of_hubs: Vec<T> = own.filter(|own| !own.is_hidden()).map(|_| question()).into_iter().collect();
    // In a world no time passes while others answer, and so they would be late.
    let is_in_world = local_hub().is_some_and(|hub| hub.is_in_world());
    if is_in_world || own.is_some() && !(may_wait() && fiber::may_wait()) {
        return Answers { of_hubs, silent: 0 };
    }
    let mut others = shown_doors();
    others.retain(|door| own.is_none_or(|own| !door.is(own)));
    let asked = others.len();
    let mut answers = if own.is_some() {
        park_for_answers(others, patience, question)
    } else {
        block_for_answers(others, patience, question)
    };
    answers.sort_by_key(|&(place, _)| place);
    let silent = asked - answers.len();
    of_hubs.extend(answers.into_iter().map(|(_, answer)| answer));
    Answers { of_hubs, silent }
}

fn park_for_answers<T: Send + 'static>(
    doors: Vec<&'static Door>,
    patience: Duration,
    question: fn() -> T,
) -> Vec<(usize, T)> {
    // In the time that the receiver knows. Too far to be said is no end.
    let deadline = instant_now().checked_add(patience);
    let (sender, receiver) = channel::unbounded();
    for (place, door) in doors.into_iter().enumerate() {
        let sender = sender.clone();
        send(door, deadline, move || drop(sender.send((place, question()))));
    }
    drop(sender);
    let next = || match deadline {
        Some(deadline) => receiver.recv_deadline(deadline).ok(),
        None => receiver.recv().ok(),
    };
    std::iter::from_fn(next).collect()
}

fn block_for_answers<T: Send + 'static>(
    doors: Vec<&'static Door>,
    patience: Duration,
    question: fn() -> T,
) -> Vec<(usize, T)> {
    let deadline = Instant::now().checked_add(patience);
    let (sender, receiver) = mpsc::channel();
    for (place, door) in doors.into_iter().enumerate() {
        let sender = sender.clone();
        send(door, deadline, move || drop(sender.send((place, question()))));
    }
    drop(sender);
    let next = || match deadline {
        Some(deadline) => receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok(),
        None => receiver.recv().ok(),
    };
    std::iter::from_fn(next).collect()
}

/// Has it run by then, or not at all: a hub that is kept for long has nothing to do for who has gone.
fn send(door: &'static Door, deadline: Option<Instant>, run: impl FnOnce() + Send + 'static) {
    let run = move || {
        if deadline.is_none_or(|deadline| Instant::now() < deadline) {
            run();
        }
    };
    door.send(door.epoch(), Letter::Run(Box::new(run)));
}
