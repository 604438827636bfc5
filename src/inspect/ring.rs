//! The last things that a hub did, which it writes and anybody may read.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::hub::fork;
use crate::sys::lock::Lock;

/// Green threads whose names are kept: those that were seen last.
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
    /// One that waited is ready: by who runs, or the hub. The code is of its wait.
    Wake,
    /// Nobody is ready: the hub waits.
    Sleep,
    /// One of another hub is to be woken, by who runs. The number is that hub's, the code that of the wait.
    Call,
}

impl Kind {
    const ALL: [Kind; 6] = [Kind::Run, Kind::Park, Kind::End, Kind::Wake, Kind::Sleep, Kind::Call];
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

/// Who writes to a ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Scribe {
    /// A number that no other hub has at that time.
    pub(super) hub: u64,
    pub(super) thread: Arc<str>,
    pub(super) thread_id: u32,
}

/// What a ring has had since it was looked at.
#[derive(Debug)]
pub(super) struct Chapter {
    pub(super) scribe: Scribe,
    /// The number of the first event, in this ring.
    pub(super) first: u64,
    pub(super) events: Vec<Event>,
}

/// Names, by the numbers of who has them.
#[derive(Default, Debug)]
struct Noted {
    names: HashMap<u64, Arc<str>>,
    /// The numbers, the oldest first.
    order: VecDeque<u64>,
    /// How many there ever were.
    count: u64,
}

/// Two words an event: the time and the kind, the number and the code.
#[derive(Debug)]
pub(super) struct Ring {
    words: Box<[[AtomicU64; 2]]>,
    /// Events so far. The one that is being written, if any, has this number.
    written: AtomicU64,
    /// The recording that it belongs to, and the process.
    recording: AtomicU64,
    generation: AtomicU32,
    /// Whether a hub writes to it.
    is_taken: AtomicBool,
    /// Whose the events are that may still be there, each with the number of its first: a ring goes from hub to hub.
    scribes: Lock<Vec<(u64, Scribe)>>,
    names: Lock<Noted>,
    next: OnceLock<&'static Ring>,
}

impl Ring {
    fn new(events: usize) -> Ring {
        Ring {
            words: (0..events).map(|_| [const { AtomicU64::new(0) }; 2]).collect(),
            written: AtomicU64::new(0),
            recording: AtomicU64::new(0),
            generation: AtomicU32::new(0),
            is_taken: AtomicBool::new(true),
            scribes: Lock::new(Vec::new()),
            names: Lock::new(Noted::default()),
            next: OnceLock::new(),
        }
    }

    /// One for the calling thread's hub to write to: with room for so many events, a power of two. What another hub has written for the
    /// same recording, and has ended, stays until it is overwritten.
    pub(super) fn take(recording: u64, events: usize, scribe: Scribe) -> &'static Ring {
        // In the child of a fork none of the parent's: one of its OS threads may have held a lock of that.
        let is_free = |ring: &&Ring| {
            ring.capacity() == events
                && ring.generation.load(Ordering::SeqCst) == fork::generation()
                && ring.is_taken.compare_exchange(false, true, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        };
        let ring = all().find(is_free).unwrap_or_else(|| enter(Box::leak(Box::new(Ring::new(events)))));
        let written = ring.written.load(Ordering::SeqCst);
        let mut scribes = ring.scribes.lock();
        if ring.belongs_to(recording) {
            let oldest = written.saturating_sub(events as u64);
            while scribes.get(1).is_some_and(|&(first, _)| first <= oldest) {
                scribes.remove(0);
            }
        } else {
            scribes.clear();
            *ring.names.lock() = Noted::default();
        }
        scribes.push((written, scribe));
        drop(scribes);
        ring.generation.store(fork::generation(), Ordering::SeqCst);
        ring.recording.store(recording, Ordering::SeqCst);
        ring
    }

    /// Nothing more is written to it.
    pub(super) fn give_back(&self) {
        self.is_taken.store(false, Ordering::SeqCst);
    }

    pub(super) fn capacity(&self) -> usize {
        self.words.len()
    }

    pub(super) fn belongs_to(&self, recording: u64) -> bool {
        self.recording.load(Ordering::SeqCst) == recording
            && self.generation.load(Ordering::SeqCst) == fork::generation()
    }

    fn words_of(&self, number: u64) -> &[AtomicU64; 2] {
        &self.words[number as usize & (self.words.len() - 1)]
    }

    /// Writes one more, over the oldest. By the hub that has taken it.
    #[inline]
    pub(super) fn write(&self, kind: Kind, time: u64, id: u64, code: u16) {
        // Relaxed: nobody else writes it.
        let number = self.written.load(Ordering::Relaxed);
        let [first, second] = self.words_of(number);
        // Release: who reads one of these words sees how many were written before, and so that an older event is gone from here.
        first.store(time << 8 | kind as u64, Ordering::Release);
        second.store(id << 16 | u64::from(code), Ordering::Release);
        // Release: who sees the number sees the event.
        self.written.store(number + 1, Ordering::Release);
    }

    /// The events that are there from this number on, the oldest first, by who has written them; what may be being overwritten is left out.
    /// On any OS thread, while the hub writes.
    pub(super) fn read(&self, from: u64) -> Vec<Chapter> {
        let capacity = self.capacity() as u64;
        // Acquire: see `write`, also for the words.
        let end = self.written.load(Ordering::Acquire);
        let start = from.max(end.saturating_sub(capacity)).min(end);
        let words = |number: u64| self.words_of(number).each_ref().map(|word| word.load(Ordering::Acquire));
        let read: Vec<_> = (start..end).map(words).collect();
        // Where the next one may be being written, and those before, older ones were.
        let gone = (self.written.load(Ordering::Acquire) + 1).saturating_sub(capacity).clamp(start, end);
        let scribes = self.scribes.lock().clone();
        // One that has come meanwhile has none of these.
        let ends = scribes.iter().skip(1).map(|&(first, _)| first.min(end)).chain([end]);
        let chapter = |((first, scribe), end): (&(u64, Scribe), u64)| {
            let first = (*first).max(gone);
            let events = (first..end).map(|number| decode(read[(number - start) as usize]));
            (first < end).then(|| Chapter { scribe: scribe.clone(), first, events: events.collect() })
        };
        scribes.iter().zip(ends).filter_map(chapter).collect()
    }

    pub(super) fn note_name(&self, id: u64, name: &Arc<str>) {
        let mut noted = self.names.lock();
        noted.count += 1;
        if noted.names.insert(id, name.clone()).is_none() {
            noted.order.push_back(id);
        }
        if noted.order.len() > MOST_NAMES
            && let Some(oldest) = noted.order.pop_front()
        {
            noted.names.remove(&oldest);
        }
    }

    /// The names, if there are others than when so many had been noted, and how many have been by now.
    pub(super) fn names_after(&self, count: u64) -> Option<(HashMap<u64, Arc<str>>, u64)> {
        let noted = self.names.lock();
        (noted.count != count).then(|| (noted.names.clone(), noted.count))
    }

    pub(super) fn names(&self) -> HashMap<u64, Arc<str>> {
        self.names.lock().names.clone()
    }
}

/// Of an event that is whole.
fn decode([first, second]: [u64; 2]) -> Event {
    let kind = Kind::ALL[(first & 0xff) as usize];
    Event { time: first >> 8, kind, id: second >> 16, code: second as u16 }
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

    fn scribe(thread: &str) -> Scribe {
        Scribe { hub: 1, thread: Arc::from(thread), thread_id: 1 }
    }

    fn taken(events: usize) -> Ring {
        let ring = Ring::new(events);
        ring.scribes.lock().push((0, scribe("only")));
        ring
    }

    fn times(ring: &Ring, from: u64) -> Vec<u64> {
        ring.read(from).iter().flat_map(|chapter| &chapter.events).map(|event| event.time).collect()
    }

    #[test]
    fn the_oldest_are_overwritten() {
        let ring = taken(8);
        for number in 0..20 {
            ring.write(Kind::Wake, number, number + 100, number as u16);
        }
        // The one whose place is the next to be written may be gone.
        assert_eq!(times(&ring, 0), (13..20).collect::<Vec<_>>());
        let [chapter] = &ring.read(0)[..] else { panic!("one hub has written") };
        assert_eq!(chapter.first, 13);
        assert_eq!(chapter.events[0], Event { time: 13, kind: Kind::Wake, id: 113, code: 13 });
        assert_eq!((times(&ring, 18), times(&ring, 20)), (vec![18, 19], vec![]));
    }

    #[test]
    fn what_is_read_while_it_is_written_is_whole_and_in_order() {
        let ring = taken(64);
        let is_over = AtomicBool::new(false);
        let events = || ring.read(0).into_iter().flat_map(|chapter| chapter.events).collect::<Vec<_>>();
        thread::scope(|scope| {
            scope.spawn(|| {
                let rounds = if cfg!(miri) { 500 } else { 300_000 };
                for number in 1..rounds {
                    ring.write(Kind::Park, number, number, number as u16);
                }
                is_over.store(true, Ordering::SeqCst);
            });
            while !is_over.load(Ordering::SeqCst) {
                let read = events();
                assert!(read.iter().all(|event| event.id == event.time && event.code == event.time as u16));
                assert!(read.windows(2).all(|pair| pair[0].time + 1 == pair[1].time));
            }
        });
        assert_eq!(events().len(), 63);
    }

    #[test]
    fn one_that_was_given_back_is_taken_again_and_is_empty_for_another_recording() {
        let ring = Ring::take(7001, 32, scribe("one"));
        ring.write(Kind::Run, 1, 2, 3);
        ring.note_name(2, &Arc::from("two"));
        ring.give_back();
        let again = Ring::take(7002, 32, scribe("other"));
        assert!(std::ptr::eq(ring, again) && again.belongs_to(7002) && !again.belongs_to(7001));
        assert!(again.read(0).is_empty() && again.names().is_empty());
        again.give_back();
    }

    #[test]
    fn what_an_ended_hub_has_written_stays_beside_what_the_next_one_writes_until_it_is_overwritten() {
        let ring = Ring::take(7003, 64, scribe("first"));
        (0..10).for_each(|time| ring.write(Kind::Run, time, 1, 0));
        ring.give_back();
        assert!(std::ptr::eq(ring, Ring::take(7003, 64, scribe("second"))));
        (10..30).for_each(|time| ring.write(Kind::Run, time, 2, 0));
        let told = |ring: &Ring| -> Vec<(Arc<str>, u64, usize)> {
            let tell = |chapter: Chapter| (chapter.scribe.thread, chapter.first, chapter.events.len());
            ring.read(0).into_iter().map(tell).collect()
        };
        let first = ring.scribes.lock()[0].0;
        assert_eq!(told(ring), [(Arc::from("first"), first, 10), (Arc::from("second"), first + 10, 20)]);
        assert_eq!(times(ring, first + 5)[..6], [5, 6, 7, 8, 9, 10]);
        (30..90).for_each(|time| ring.write(Kind::Run, time, 2, 0));
        ring.give_back();
        assert!(std::ptr::eq(ring, Ring::take(7003, 64, scribe("third"))));
        assert_eq!(ring.scribes.lock().len(), 2);
        assert_eq!(told(ring), [(Arc::from("second"), first + 27, 63)]);
        ring.give_back();
    }
}
