//! Signals on their way to the hubs that listen to them.

#![expect(unsafe_code, reason = "a handler's duties are a contract")]

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use super::door::Door;
use super::state::HubState;
use crate::fiber::Pending;
use crate::sys::signal::listening;

/// The doors of all hubs that have ever listened: a chain that only grows, so that a handler may walk it at any time.
static FIRST: OnceLock<&'static Door> = OnceLock::new();

/// The set of this one signal, or none for what is not the number of one.
pub(crate) fn set_of(signal: i32) -> u64 {
    if (1..=64).contains(&signal) { 1 << (signal - 1) } else { 0 }
}

impl HubState {
    /// Listens to `signals` from now on, and to no others, and has `hear` called in the hub with those that have come.
    pub(crate) fn listen_to(&self, signals: u64, hear: fn(u64)) {
        self.hear.set(Some(hear));
        self.door().ear.wanted.store(signals, Ordering::SeqCst);
        let mut place = &FIRST;
        loop {
            let door = place.get_or_init(|| self.door());
            if door.is(self.door()) {
                return;
            }
            place = &door.next_listening;
        }
    }

    /// Raises `payload` in the main greenlet, where it waits, or at its next wait.
    pub(crate) fn raise_in_main(&self, payload: Box<dyn std::any::Any + Send>) {
        self.interrupt(self.main(), Pending::new(payload, 0));
    }
}

/// Installs the handler for `signal`. What it is to do is asked whenever it comes.
///
/// # Errors
///
/// `InvalidInput` if it cannot be listened to.
pub(crate) fn install_handler(signal: i32) -> io::Result<()> {
    // SAFETY: `tell` loads and stores atomic words, and wakes a futex or writes to an eventfd; it is the same each time.
    unsafe { listening::listen(signal, tell) }
}

/// Tells every hub that listens to `signal`, and says whether there is one. Async-signal-safe.
fn tell(signal: i32) -> bool {
    let mut heard = false;
    let mut place = &FIRST;
    while let Some(door) = place.get() {
        if door.ear.wanted.load(Ordering::SeqCst) & set_of(signal) != 0 {
            door.ear.heard.fetch_or(set_of(signal), Ordering::SeqCst);
            door.ring();
            heard = true;
        }
        place = &door.next_listening;
    }
    heard
}
