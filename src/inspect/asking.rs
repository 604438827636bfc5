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
    /// How many have not answered in time, and have not ended.
    pub(super) silent: usize,
}

/// A hub that is asked, and not one that comes to stand behind its door later.
#[derive(Clone, Copy)]
pub(super) struct Addressee {
    door: &'static Door,
    epoch: u32,
}

impl Addressee {
    pub(super) fn new(door: &'static Door) -> Addressee {
        Addressee { door, epoch: door.epoch() }
    }

    /// Has it run there, unless the hub is gone.
    pub(super) fn send(self, run: impl FnOnce() + Send + 'static) {
        self.door.send(self.epoch, Letter::Run(Box::new(run)));
    }

    pub(super) fn is(self, door: &Door) -> bool {
        self.door.is(door)
    }

    fn has_ended(self) -> bool {
        self.door.epoch() != self.epoch
    }
}

/// How many of them have not answered, without those that have ended meanwhile: nobody keeps these.
pub(super) fn count_silent<T>(asked: &[Addressee], answers: &[(usize, T)]) -> usize {
    let mut has_answered = vec![false; asked.len()];
    answers.iter().for_each(|&(place, _)| has_answered[place] = true);
    asked.iter().zip(has_answered).filter(|&(hub, answered)| !answered && !hub.has_ended()).count()
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
    let others: Vec<_> = others.into_iter().map(Addressee::new).collect();
    let mut answers = if own.is_some() {
        park_for_answers(&others, patience, question)
    } else {
        block_for_answers(&others, patience, question)
    };
    answers.sort_by_key(|&(place, _)| place);
    let silent = count_silent(&others, &answers);
    of_hubs.extend(answers.into_iter().map(|(_, answer)| answer));
    Answers { of_hubs, silent }
}

fn park_for_answers<T: Send + 'static>(
    others: &[Addressee],
    patience: Duration,
    question: fn() -> T,
) -> Vec<(usize, T)> {
    // In the time that the receiver knows. Too far to be said is no end.
    let deadline = instant_now().checked_add(patience);
    let (sender, receiver) = channel::unbounded();
    for (place, &other) in others.iter().enumerate() {
        let sender = sender.clone();
        send(other, deadline, move || drop(sender.send((place, question()))));
    }
    drop(sender);
    let next = || match deadline {
        Some(deadline) => receiver.recv_deadline(deadline).ok(),
        None => receiver.recv().ok(),
    };
    std::iter::from_fn(next).collect()
}

fn block_for_answers<T: Send + 'static>(
    others: &[Addressee],
    patience: Duration,
    question: fn() -> T,
) -> Vec<(usize, T)> {
    let deadline = Instant::now().checked_add(patience);
    let (sender, receiver) = mpsc::channel();
    for (place, &other) in others.iter().enumerate() {
        let sender = sender.clone();
        send(other, deadline, move || drop(sender.send((place, question()))));
    }
    drop(sender);
    let next = || match deadline {
        Some(deadline) => receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok(),
        None => receiver.recv().ok(),
    };
    std::iter::from_fn(next).collect()
}

/// Has it run by then, or not at all: a hub that is kept for long has nothing to do for who has gone.
fn send(to: Addressee, deadline: Option<Instant>, run: impl FnOnce() + Send + 'static) {
    let run = move || {
        if deadline.is_none_or(|deadline| Instant::now() < deadline) {
            run();
        }
    };
    to.send(run);
}
