//! The last things that a hub did, which it writes and anybody may read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::hub::fork;
use crate::sys::lock::Lock;

/// Green threads whose names are kept.
const MOST_NAMES: usize = 4096;

/// The first of all that were ever made. They are kept for the next hub, and the next recording.
static FIRST: OnceLock<&'static Ring> = OnceLock::new();

/// What has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A greenlet goes on. The code is of its place of spawn.
    Run,
    /// The one that ran waits. The code is of the words for what on.
    Park,
    /// The one that ran has ended.
    End,
    /// One that waited is ready: by who runs, or the hub.
    Wake,
    /// Nobody is ready: the hub waits.
    Sleep,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Run, Kind::Park, Kind::End, Kind::Wake, Kind::Sleep];
}

/// Something that has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Event {
    /// In nanoseconds of the hub's clock.
    pub(super) time: u64,
    pub(super) kind: Kind,
    /// The number of the green thread; 0 for a greenlet that has none.
    pub(super) id: u64,
    pub(super) code: u16,
}

/// Two words an event: the time and the kind, the number and the code.
#[derive(Debug)]
pub(super) struct Ring {
    words: Box<[AtomicU64]>,
    /// Events so far. The one that is being written, if any, has this number.
    written: AtomicU64,
    /// The number of the first that belongs to this recording.
    first: AtomicU64,
    /// The recording that it belongs to, and the process.
    recording: AtomicU64,
    generation: AtomicU32,
    /// Whether a hub writes to it.
    is_taken: AtomicBool,
    pub(super) thread_id: AtomicU32,
    thread: Lock<String>,
    names: Lock<HashMap<u64, Arc<str>>>,
    next: OnceLock<&'static Ring>,
}

impl Ring {
    fn new(events: usize) -> Ring {
        Ring {
            words: (0..2 * events).map(|_| AtomicU64::new(0)).collect(),
            written: AtomicU64::new(0),
            first: AtomicU64::new(0),
            recording: AtomicU64::new(0),
            generation: AtomicU32::new(0),
            is_taken: AtomicBool::new(true),
            thread_id: AtomicU32::new(0),
            thread: Lock::new(String::new()),
            names: Lock::new(HashMap::new()),
            next: OnceLock::new(),
        }
    }

    /// One for the calling thread's hub to write to: with room for so many events, a power of two.
    pub(super) fn take(recording: u64, events: usize, thread: &str, thread_id: u32) -> &'static Ring {
        // In the child of a fork none of the parent's: one of its OS threads may have held a lock of that.
        let is_free = |ring: &&Ring| {
            ring.capacity() == events
                && ring.generation.load(Ordering::SeqCst) == fork::generation()
                && ring.is_taken.compare_exchange(false, true, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        };
        let ring = all().find(is_free).unwrap_or_else(|| enter(Box::leak(Box::new(Ring::new(events)))));
        ring.first.store(ring.written.load(Ordering::SeqCst), Ordering::SeqCst);
        ring.thread_id.store(thread_id, Ordering::SeqCst);
        thread.clone_into(&mut ring.thread.lock());
        ring.names.lock().clear();
        ring.generation.store(fork::generation(), Ordering::SeqCst);
        ring.recording.store(recording, Ordering::SeqCst);
        ring
    }

    /// Nothing more is written to it.
    pub(super) fn give_back(&self) {
        self.is_taken.store(false, Ordering::SeqCst);
    }

    pub(super) fn capacity(&self) -> usize {
        self.words.len() / 2
    }

    pub(super) fn belongs_to(&self, recording: u64) -> bool {
        self.recording.load(Ordering::SeqCst) == recording
            && self.generation.load(Ordering::SeqCst) == fork::generation()
    }

    /// Writes one more, over the oldest. By the hub that has taken it.
    #[inline]
    pub(super) fn write(&self, kind: Kind, time: u64, id: u64, code: u16) {
        // Relaxed: nobody else writes it.
        let number = self.written.load(Ordering::Relaxed);
        let place = 2 * (number as usize & (self.capacity() - 1));
        // Release: who reads one of these words sees how many were written before, and so that an older event is gone from here.
        self.words[place].store(time << 8 | kind as u64, Ordering::Release);
        self.words[place + 1].store(id << 16 | u64::from(code), Ordering::Release);
        // Release: who sees the number sees the event.
        self.written.store(number + 1, Ordering::Release);
    }

    /// The events that are there, the oldest first. On any OS thread, while the hub writes.
    pub(super) fn read(&self) -> Vec<Event> {
        let capacity = self.capacity() as u64;
        // Acquire: see `write`, also for the words.
        let end = self.written.load(Ordering::Acquire);
        let start = self.first.load(Ordering::SeqCst).max(end.saturating_sub(capacity));
        let read = |number: u64| {
            let place = 2 * (number as usize & (self.capacity() - 1));
            let [first, second] = [place, place + 1].map(|place| self.words[place].load(Ordering::Acquire));
            (number, first, second)
        };
        let read: Vec<_> = (start..end).map(read).collect();
        // Where this one may be being written, and those before, older ones were.
        let newest = self.written.load(Ordering::Acquire);
        let is_whole = |&(number, ..): &(u64, u64, u64)| number + capacity > newest;
        read.into_iter().filter(is_whole).filter_map(|(_, first, second)| decode(first, second)).collect()
    }

    pub(super) fn note_name(&self, id: u64, name: &Arc<str>) {
        let mut names = self.names.lock();
        if names.len() < MOST_NAMES {
            names.insert(id, name.clone());
        }
    }

    pub(super) fn names(&self) -> HashMap<u64, Arc<str>> {
        self.names.lock().clone()
    }

    pub(super) fn thread(&self) -> String {
        self.thread.lock().clone()
    }
}

fn decode(first: u64, second: u64) -> Option<Event> {
    let kind = *Kind::ALL.get((first & 0xff) as usize)?;
    Some(Event { time: first >> 8, kind, id: second >> 16, code: second as u16 })
}

/// All that were ever made.
pub(super) fn all() -> impl Iterator<Item = &'static Ring> {
    std::iter::successors(FIRST.get().copied(), |ring| ring.next.get().copied())
}

fn enter(ring: &'static Ring) -> &'static Ring {
    let mut place = &FIRST;
    while place.set(ring).is_err() {
        place = &place.get().expect("it is set").next;
    }
    ring
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn the_oldest_are_overwritten() {
        let ring = Ring::new(8);
        for number in 0..20 {
            ring.write(Kind::Wake, number, number + 100, number as u16);
        }
        let read = ring.read();
        // The one whose place is the next to be written may be gone.
        assert_eq!(read.iter().map(|event| event.time).collect::<Vec<_>>(), (13..20).collect::<Vec<_>>());
        assert_eq!(read[0], Event { time: 13, kind: Kind::Wake, id: 113, code: 13 });
    }

    #[test]
    fn what_is_read_while_it_is_written_is_whole_and_in_order() {
        let ring = Ring::new(64);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let rounds = if cfg!(miri) { 500 } else { 300_000 };
                for number in 1..rounds {
                    ring.write(Kind::Park, number, number, number as u16);
                }
                is_over.store(true, Ordering::SeqCst);
            });
            while !is_over.load(Ordering::SeqCst) {
                let read = ring.read();
                assert!(read.iter().all(|event| event.id == event.time && event.code == event.time as u16));
                assert!(read.windows(2).all(|pair| pair[0].time + 1 == pair[1].time));
            }
        });
        assert_eq!(ring.read().len(), 63);
    }

    #[test]
    fn one_that_was_given_back_is_taken_again_and_is_empty() {
        let ring = Ring::take(7001, 32, "one", 1);
        ring.write(Kind::Run, 1, 2, 3);
        ring.note_name(2, &Arc::from("two"));
        ring.give_back();
        let again = Ring::take(7002, 32, "other", 2);
        assert!(std::ptr::eq(ring, again) && again.belongs_to(7002) && !again.belongs_to(7001));
        assert_eq!((again.read(), again.names().len(), again.thread()), (Vec::new(), 0, "other".to_owned()));
        again.give_back();
    }
}
