//! Those who wait for words of one hash, in their order.
//!
//! The line is one of places that are linked to each other, each made before the line is locked and freed when it is not: under the
//! lock nothing is allocated, since an allocator that gives its own lock back may look here.

use std::ptr::NonNull;

use crate::hub::waiter::Wake;

/// One who waits: where, for which wakes, and whom to wake.
pub(super) struct Place {
    word: usize,
    bits: u32,
    wake: Wake,
    stands: bool,
    before: Option<NonNull<Place>>,
    behind: Option<NonNull<Place>>,
}

/// A place that is owned by who waits, and lent to a line. It is freed by [`leave`](Standing::leave); if that is never called, as by a
/// stack to which nobody goes back, it stays for ever.
pub(super) struct Standing(NonNull<Place>);

impl Standing {
    /// A place for who is to stand in a line.
    pub(super) fn new(word: usize, bits: u32, wake: Wake) -> Standing {
        let place = Place { word, bits, wake, stands: false, before: None, behind: None };
        Standing(NonNull::from(Box::leak(Box::new(place))))
    }

    /// Frees the place, which stands in no line any more.
    pub(super) fn leave(self) {
        // SAFETY: made from a box in `new`, and nothing but the line had it, which has given it back.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// A line of them.
///
/// # Invariant
///
/// Each place in it is valid, and reached by nobody else than who has the line. `first` and `last` are its ends, both or neither.
pub(super) struct Line {
    first: Option<NonNull<Place>>,
    last: Option<NonNull<Place>>,
}

// SAFETY: the places are reached by who has the line alone; what is in one can be used by any thread.
unsafe impl Send for Line {}

impl Line {
    pub(super) const fn new() -> Line {
        Line { first: None, last: None }
    }

    /// Puts one at the end, who is to be [taken out](Line::take) before it is freed.
    pub(super) fn push(&mut self, standing: &Standing) {
        // SAFETY: valid as long as `standing` is, and no line had it.
        let place = unsafe { &mut *standing.0.as_ptr() };
        place.stands = true;
        place.before = self.last;
        match self.last.replace(standing.0) {
            // SAFETY: the invariant.
            Some(last) => unsafe { (*last.as_ptr()).behind = Some(standing.0) },
            None => self.first = Some(standing.0),
        }
    }

    /// Takes one out who was put in here; whether it still stood.
    pub(super) fn take(&mut self, standing: &Standing) -> bool {
        // SAFETY: valid as long as `standing` is.
        let stood = unsafe { (*standing.0.as_ptr()).stands };
        if stood {
            self.unlink(standing.0);
        }
        stood
    }

    /// Takes the first one out who waits for `word` and one of `bits`. Returns whom to wake.
    pub(super) fn take_first(&mut self, word: usize, bits: u32) -> Option<Wake> {
        let mut next = self.first;
        while let Some(place) = next {
            // SAFETY: the invariant.
            let found = unsafe { &*place.as_ptr() };
            if found.word == word && found.bits & bits != 0 {
                let wake = found.wake;
                self.unlink(place);
                return Some(wake);
            }
            next = found.behind;
        }
        None
    }

    fn unlink(&mut self, place: NonNull<Place>) {
        // SAFETY: the invariant; it stands here.
        let place = unsafe { &mut *place.as_ptr() };
        place.stands = false;
        let (before, behind) = (place.before.take(), place.behind.take());
        match before {
            // SAFETY: the invariant.
            Some(before) => unsafe { (*before.as_ptr()).behind = behind },
            None => self.first = behind,
        }
        match behind {
            // SAFETY: the invariant.
            Some(behind) => unsafe { (*behind.as_ptr()).before = before },
            None => self.last = before,
        }
    }

    /// Forgets all: in the child of a fork nobody of the parent's waits.
    pub(super) fn forget(&mut self) {
        *self = Line::new();
    }
}
