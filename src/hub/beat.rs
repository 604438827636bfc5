//! What a hub leaves for who watches it from another OS thread: a beat before each switch, and who it is.

#![expect(unsafe_code, reason = "a place in the source is kept as a pointer, which is changed at once")]

use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use crate::fiber::Describe;
use crate::sys::lock::Lock;

/// The lowest bits of a beat: what the hub does.
const KIND: u64 = 0b11;
/// Not watched.
const UNWATCHED: u64 = 0;
/// Its own work, and callbacks.
pub(super) const LOOKS: u64 = 1;
/// A green thread, or main.
pub(super) const RUNS: u64 = 2;

/// What a hub leaves for who watches it.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Changed with everything that the hub begins: a number, and the kind.
    beat: AtomicU64,
    /// In which beat it may be kept as long as it takes.
    allowed: AtomicU64,
    /// How many were ready when the pass began.
    ready: AtomicUsize,
    /// Who runs, if that is left: the number,
    number: AtomicU64,
    /// and the place of its spawn.
    /// # Invariant
    /// Null, or a place, which is there for ever.
    place: AtomicPtr<Location<'static>>,
    /// The OS thread: its number and its name.
    thread: Lock<(u32, String)>,
}

/// What a hub does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Doing {
    /// It runs a green thread, or main.
    Running,
    /// Its own work, or a callback.
    Looking,
}

impl Watch {
    pub(super) fn new() -> Watch {
        Watch {
            beat: AtomicU64::new(UNWATCHED),
            allowed: AtomicU64::new(0),
            ready: AtomicUsize::new(0),
            number: AtomicU64::new(0),
            place: AtomicPtr::new(ptr::null_mut()),
            thread: Lock::new((0, String::new())),
        }
    }

    /// Of the hub's own thread: it begins something else.
    #[inline]
    pub(super) fn begin(&self, kind: u64) {
        // Relaxed, both: only this thread writes, and who reads compares.
        let next = (self.beat.load(Ordering::Relaxed) & !KIND) + (KIND + 1);
        self.beat.store(next | kind, Ordering::Relaxed);
    }

    /// Not watched any more.
    pub(super) fn end(&self) {
        self.begin(UNWATCHED);
    }

    /// Whether it is watched.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        // Relaxed: who begins that tells who watches.
        self.beat.load(Ordering::Relaxed) & KIND != UNWATCHED
    }

    #[cold]
    pub(super) fn tell(&self, who: Option<&dyn Describe>) {
        // Relaxed, both: a report may mix two, if the hub goes on while it is made.
        self.number.store(who.and_then(Describe::id).unwrap_or(0), Ordering::Relaxed);
        let place = who.map_or(ptr::null(), |who| ptr::from_ref(who.spawned_at()));
        self.place.store(place.cast_mut(), Ordering::Relaxed);
    }

    /// What it is at now, if that may not take long: a number that changes as soon as it begins something else. `None` if it sleeps, or
    /// may take long.
    pub(crate) fn current(&self) -> Option<(u64, Doing)> {
        // Relaxed: who reads compares.
        let beat = self.beat.load(Ordering::Relaxed);
        let is_allowed = self.allowed.load(Ordering::Relaxed) == beat;
        match beat & KIND {
            RUNS if !is_allowed => Some((beat, Doing::Running)),
            LOOKS => Some((beat, Doing::Looking)),
            _ => None,
        }
    }

    /// How many were ready when the pass began.
    pub(crate) fn ready(&self) -> usize {
        // Relaxed: it is a hint.
        self.ready.load(Ordering::Relaxed)
    }

    /// The number of who runs and the place of its spawn, if each beat says that, and it is no main greenlet.
    pub(crate) fn who(&self) -> Option<(u64, &'static Location<'static>)> {
        // Relaxed, both: as they were written.
        let place = self.place.load(Ordering::Relaxed);
        // SAFETY: by the invariant.
        let place = unsafe { place.as_ref() }?;
        Some((self.number.load(Ordering::Relaxed), place))
    }

    /// The OS thread: its number and its name.
    pub(crate) fn thread(&self) -> (u32, String) {
        self.thread.lock().clone()
    }
}

/// While it is there, the beat in which it was made may take long.
pub(super) struct Allowance<'a> {
    watch: &'a Watch,
    former: u64,
}

impl Watch {
    pub(super) fn allow(&self) -> Allowance<'_> {
        // Relaxed, here and below: as for the beat.
        let former = self.allowed.swap(self.beat.load(Ordering::Relaxed), Ordering::Relaxed);
        Allowance { watch: self, former }
    }

    pub(super) fn set_thread(&self, number: u32, name: String) {
        *self.thread.lock() = (number, name);
    }

    pub(super) fn set_ready(&self, ready: usize) {
        // Relaxed: it is a hint.
        self.ready.store(ready, Ordering::Relaxed);
    }
}

impl Drop for Allowance<'_> {
    fn drop(&mut self) {
        let beat = self.watch.beat.load(Ordering::Relaxed);
        // One around this goes on. Else what comes is new, and has its own time.
        if self.former != beat && beat & KIND != UNWATCHED {
            self.watch.allowed.store(0, Ordering::Relaxed);
            self.watch.begin(beat & KIND);
        }
    }
}
