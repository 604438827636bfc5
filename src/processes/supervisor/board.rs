//! What workers tell their supervisor: a place each in memory that all have, and a bell.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::processes::shared::Memory;
use crate::sys::bell::Bell;

/// Words of a worker's place, and where things are in it.
const PLACE: usize = 64;
const STATE: usize = 0;
const BEATS: usize = 1;
const REQUESTS: usize = 2;
const LENGTH: usize = 3;
const DISMISSED: usize = 4;
const TEXT: usize = 5;
const TEXT_BYTES: usize = (PLACE - TEXT) * size_of::<u64>();
/// Workers at a time, those that are about to end included.
const PLACES: usize = 1024;

/// What a worker has told of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Starting,
    Ready,
    /// It has served as many requests as it should, and wants to be replaced.
    Spent,
}

/// The memory and the bell.
#[derive(Debug, Clone)]
pub(super) struct Board {
    memory: Memory,
    bell: Arc<Bell>,
}

impl Board {
    pub(super) fn new() -> io::Result<Board> {
        let memory = Memory::new(PLACES * PLACE * size_of::<u64>())?;
        Ok(Board { memory, bell: Arc::new(Bell::new()?) })
    }

    /// The first place that is not among `taken`, empty.
    pub(super) fn free_place(&self, taken: impl Fn(usize) -> bool) -> Option<usize> {
        let place = (0..PLACES).find(|place| !taken(*place))?;
        for word in [STATE, BEATS, REQUESTS, LENGTH, DISMISSED] {
            self.word(place, word).store(0, Ordering::SeqCst);
        }
        Some(place)
    }

    fn word(&self, place: usize, word: usize) -> &AtomicU64 {
        &self.memory.words()[place * PLACE + word]
    }

    pub(super) fn tell(&self, place: usize, told: Told) {
        self.word(place, STATE).store(told as u64, Ordering::SeqCst);
        self.bell.notify();
    }

    pub(super) fn told(&self, place: usize) -> Told {
        match self.word(place, STATE).load(Ordering::SeqCst) {
            state if state == Told::Ready as u64 => Told::Ready,
            state if state == Told::Spent as u64 => Told::Spent,
            _ => Told::Starting,
        }
    }

    /// Says to a worker that it is to stop. A signal says so too, but may come before the worker listens.
    pub(super) fn dismiss(&self, place: usize) {
        self.word(place, DISMISSED).store(1, Ordering::SeqCst);
    }

    pub(super) fn is_dismissed(&self, place: usize) -> bool {
        self.word(place, DISMISSED).load(Ordering::SeqCst) != 0
    }

    pub(super) fn beat(&self, place: usize) {
        // Relaxed: a sign of life, which orders nothing.
        self.word(place, BEATS).fetch_add(1, Ordering::Relaxed);
    }

    /// How often it has beaten.
    pub(super) fn beats(&self, place: usize) -> u64 {
        // Relaxed: as above.
        self.word(place, BEATS).load(Ordering::Relaxed)
    }

    /// Counts a request; how many there were.
    pub(super) fn count_request(&self, place: usize) -> u64 {
        // Relaxed: a count, which orders nothing.
        self.word(place, REQUESTS).fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn requests(&self, place: usize) -> u64 {
        // Relaxed: as above.
        self.word(place, REQUESTS).load(Ordering::Relaxed)
    }

    /// Says why it fails, as far as there is room.
    pub(super) fn complain(&self, place: usize, text: &str) {
        let bytes = &text.as_bytes()[..text.len().min(TEXT_BYTES)];
        self.memory.write_at((place * PLACE + TEXT) * size_of::<u64>(), bytes).expect("room for a text");
        self.word(place, LENGTH).store(bytes.len() as u64, Ordering::SeqCst);
    }

    pub(super) fn complaint(&self, place: usize) -> Option<String> {
        let length = self.word(place, LENGTH).load(Ordering::SeqCst);
        let length = usize::try_from(length).ok().filter(|length| (1..=TEXT_BYTES).contains(length))?;
        let mut bytes = vec![0; length];
        self.memory.read_at((place * PLACE + TEXT) * size_of::<u64>(), &mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Rings without telling anything.
    pub(super) fn ring(&self) {
        self.bell.notify();
    }

    pub(super) fn silence(&self) {
        self.bell.clear();
    }

    /// Readable while it rings.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
