//! What users of the room see of it.

use super::raw_mutex::RawMutex;
use crate::sys::clock::Time;

pub(crate) struct Mutex(RawMutex);

impl Mutex {
    pub(crate) fn new() -> Mutex {
        Mutex(RawMutex::new())
    }

    pub(crate) fn lock(&self, deadline: Option<Time>) -> bool {
        self.0.lock_at_once() || self.0.lock_contended("", deadline)
    }

    pub(crate) fn unlock(&self) {
        self.0.unlock();
    }
}
