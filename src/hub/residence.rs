//! The hub that something belongs to, which may be found later.

#![expect(unsafe_code, reason = "a door is kept as a pointer, which is changed at once")]

use std::ptr::{self, NonNull};

use super::door::Door;
use crate::sys::atomic::{AtomicPtr, Ordering};

/// Where something is at home.
#[derive(Debug)]
pub(crate) enum Residence {
    /// Nowhere yet: the first hub that takes it has it.
    Open,
    /// At the hub behind this door.
    At(&'static Door),
    /// Nowhere, for good.
    Closed,
}

/// A place for a [`Residence`] that is open at most once, and then decided once, by one of those who want to.
#[derive(Debug)]
pub(crate) struct DoorCell {
    /// # Invariant
    /// Null while it is open, [`closed`] or a door that is never freed.
    door: AtomicPtr<Door>,
}

/// No door is there.
fn closed() -> *mut Door {
    NonNull::dangling().as_ptr()
}

impl DoorCell {
    /// One that is decided.
    #[inline]
    pub(crate) fn at(door: &'static Door) -> DoorCell {
        DoorCell { door: AtomicPtr::new(ptr::from_ref(door).cast_mut()) }
    }

    /// One that is open.
    pub(crate) fn open() -> DoorCell {
        DoorCell { door: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Whether it is at this door, which is the calling thread's: only that thread decides so.
    #[inline]
    pub(crate) fn is(&self, door: &Door) -> bool {
        // Relaxed: what is written with it was written by the calling thread, if it is so.
        ptr::eq(self.door.load(Ordering::Relaxed), door)
    }

    pub(crate) fn get(&self) -> Residence {
        // Acquire: what who decided has written before is seen.
        let door = self.door.load(Ordering::Acquire);
        match NonNull::new(door) {
            None => Residence::Open,
            Some(_) if door == closed() => Residence::Closed,
            // SAFETY: by the invariant it is a door, which is never freed, and never borrowed as mutable.
            Some(door) => Residence::At(unsafe { door.as_ref() }),
        }
    }

    /// Decides for a door; `false` if it was decided before.
    pub(crate) fn settle(&self, door: &'static Door) -> bool {
        self.decide(ptr::from_ref(door).cast_mut())
    }

    /// Decides for nowhere; `false` if it was decided before.
    pub(crate) fn close(&self) -> bool {
        self.decide(closed())
    }

    fn decide(&self, door: *mut Door) -> bool {
        // AcqRel: what was written before is there for who sees it, and what the maker has written is seen.
        self.door.compare_exchange(ptr::null_mut(), door, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}
