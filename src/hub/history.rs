//! Since when waits go on: told by a hub that notes the time whenever it looks about.
//!
//! Waits are numbered. So a note of how many there were at which time says of each of them before which time it began. Nobody notes unless
//! somebody asks for that: then a look is always due, as for who [watches](super::watch), and in its place comes another loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::notes::History;
use super::state::{HubState, MARKS, NOTING, SWITCHES_PER_LOOK, WATCHED};
use super::watch::wake_watcher;
use super::witnessed::on_all_hubs;
use crate::fiber::at_work;
use crate::sys::clock::Time;

/// Whether hubs note.
static NOTES: AtomicBool = AtomicBool::new(false);

/// Has all hubs of the process note from now on, or not.
pub(crate) fn note_on_all_hubs(notes: bool) {
    NOTES.store(notes, Ordering::SeqCst);
    on_all_hubs(HubState::follow_notes);
}

impl HubState {
    /// Notes from now on, or no more, as all are to. One in a world does not: its time is another.
    pub(super) fn follow_notes(&self) {
        let notes = NOTES.load(Ordering::SeqCst) && self.world().is_none();
        if notes {
            let history = self.history.get_or_init(Box::default);
            if !history.goes_on.replace(true) {
                history.begin(self.generation.get(), Time::now().nanoseconds());
            }
            self.unlooked.set(self.unlooked.get() | NOTING);
        } else {
            self.stop_notes();
        }
    }

    pub(super) fn stop_notes(&self) {
        if let Some(history) = self.history.get() {
            history.goes_on.set(false);
        }
        self.unlooked.set(self.unlooked.get() & !NOTING);
    }

    /// For how long the wait with this number goes on, at least; `None` where nobody asks.
    pub(super) fn wait_age(&self, wait: u64) -> Option<Duration> {
        self.noting().map(|history| history.age(wait))
    }

    fn noting(&self) -> Option<&History> {
        self.history.get().map(|history| &**history).filter(|history| history.goes_on.get())
    }

    /// One turn of the loop of a hub that notes, or is watched. Whether main is to go on.
    #[cold]
    #[inline(never)]
    pub(super) fn run_marked(&self) -> bool {
        if self.unlooked.get() & WATCHED != 0 {
            return self.run_watched();
        }
        let is_due = self.unlooked.get() & !MARKS >= SWITCHES_PER_LOOK;
        let (fresh, woken) = if is_due { (0, 0) } else { self.ready.borrow_mut().begin_pass() };
        if fresh + woken == 0 {
            return self.look_marked() && self.run_chosen();
        }
        (fresh > 0 && self.begin_fresh()) || self.run_woken(woken)
    }

    /// A look of such a hub. Whether a schedule is to choose who runs next.
    pub(super) fn look_marked(&self) -> bool {
        if let Some(history) = self.noting() {
            history.note(self.generation.get(), Time::now().nanoseconds());
        }
        // Which forgets the marks with the number of switches.
        let is_chosen = at_work(|| self.look());
        let is_watched = self.door().watch.is_on();
        if is_watched {
            // It may have slept.
            wake_watcher();
        }
        let marks = if is_watched { WATCHED } else { 0 } | if self.noting().is_some() { NOTING } else { 0 };
        self.unlooked.set(self.unlooked.get() | marks);
        is_chosen
    }
}
