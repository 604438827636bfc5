//! A door's letters and its bell: as in `src/hub/door.rs`, but for what rings.

use loom::sync::{Condvar, Mutex};

use super::doorbell::Doorbell;
use crate::sys::lock::Lock;

pub(crate) struct Door {
    letters: Lock<Vec<u32>>,
    doorbell: Doorbell,
    rung: Mutex<bool>,
    ringing: Condvar,
}

impl Door {
    pub(crate) fn new() -> Door {
        let (rung, ringing) = (Mutex::new(false), Condvar::new());
        Door { letters: Lock::new(Vec::new()), doorbell: Doorbell::new(), rung, ringing }
    }

    pub(crate) fn send(&self, letter: u32) {
        self.letters.lock().push(letter);
        if self.doorbell.announce() {
            *self.rung.lock().unwrap() = true;
            self.ringing.notify_one();
        }
    }

    /// One turn of a hub that has nothing to do: sleeps until it rings, and takes the letters.
    pub(crate) fn receive(&self) -> Vec<u32> {
        if self.doorbell.prepare_to_sleep() {
            let mut rung = self.rung.lock().unwrap();
            while !*rung {
                rung = self.ringing.wait(rung).unwrap();
            }
            *rung = false;
            drop(rung);
            self.doorbell.end_sleep();
        }
        if !self.doorbell.is_announced() {
            return Vec::new();
        }
        self.doorbell.answer();
        std::mem::take(&mut *self.letters.lock())
    }
}
