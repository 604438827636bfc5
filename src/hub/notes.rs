//! Notes of the time by which waits had begun: of each that follows it is told since when it goes on.

use std::cell::{Cell, RefCell};
use std::time::Duration;

/// How many notes a hub keeps, about: 4 KiB.
const MOST: usize = 256;
/// How near notes stand to each other at least.
const FINEST: u64 = 1_000_000;
/// Of older ones only so many are kept that what is told is this part of it too little.
const PART: u64 = 8;

/// At a time, in nanoseconds, all waits with smaller numbers had begun.
#[derive(Clone, Copy, Debug)]
struct Note {
    wait: u64,
    time: u64,
}

/// What a hub has noted.
#[derive(Default, Debug)]
pub(super) struct History {
    pub(super) goes_on: Cell<bool>,
    looked_at: Cell<u64>,
    /// By growing numbers and times.
    notes: RefCell<Vec<Note>>,
}

impl History {
    /// Begins anew.
    pub(super) fn begin(&self, wait: u64, time: u64) {
        self.notes.borrow_mut().clear();
        self.note(wait, time);
    }

    /// Before `wait` all have begun.
    pub(super) fn note(&self, wait: u64, time: u64) {
        self.looked_at.set(time);
        let mut notes = self.notes.borrow_mut();
        if notes.last().is_some_and(|last| last.wait == wait) {
            return;
        }
        let before_last = notes.len().checked_sub(2).map(|place| notes[place].time);
        if before_last.is_some_and(|former| time - former < FINEST) {
            notes.pop();
        } else if notes.len() >= MOST {
            *notes = thinned(&notes, time);
        }
        notes.push(Note { wait, time });
    }

    /// For how long the wait with this number goes on, at least.
    pub(super) fn age(&self, wait: u64) -> Duration {
        let notes = self.notes.borrow();
        let began_before = notes.get(notes.partition_point(|note| note.wait <= wait));
        began_before.map_or(Duration::ZERO, |note| {
            Duration::from_nanos(self.looked_at.get().saturating_sub(note.time))
        })
    }
}

/// The same without those for which the next one can stand: by so little before the last that was kept all that begins between them.
fn thinned(notes: &[Note], now: u64) -> Vec<Note> {
    let mut kept: Vec<Note> = Vec::with_capacity(MOST);
    for (place, note) in notes.iter().enumerate() {
        let stands_for = |next: &Note, last: &Note| next.time - last.time <= (now - next.time) / PART;
        let (next, last) = (notes.get(place + 1), kept.last());
        if !next.zip(last).is_some_and(|(next, last)| stands_for(next, last)) {
            kept.push(*note);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_wait_began_before_the_next_note() {
        let history = History::default();
        history.note(10, SECOND);
        history.note(10, 2 * SECOND);
        history.note(20, 3 * SECOND);
        history.note(20, 9 * SECOND);
        let age = |wait| history.age(wait).as_secs();
        assert_eq!([9, 10, 19, 20].map(age), [8, 6, 6, 0]);
    }

    #[test]
    fn notes_are_few_and_tell_nearly_all() {
        let history = History::default();
        // A wait a millisecond, for an hour; and bursts, for which there is one note.
        let steps = 3600 * 1000;
        for step in (1..steps).step_by(7).chain([steps]) {
            history.note(step, step * FINEST);
            history.note(step + 1, step * FINEST + 1);
            assert!(history.notes.borrow().len() <= MOST);
        }
        for wait in (2..steps).step_by(9973) {
            let (told, began) = (history.age(wait).as_nanos() as u64, (wait - 1) * FINEST);
            let true_age = history.looked_at.get() - began;
            assert!(told <= true_age, "{wait}: {told} for {true_age}");
            assert!(true_age - told <= true_age / PART + 16 * FINEST, "{wait}: {told} for {true_age}");
        }
    }
}
