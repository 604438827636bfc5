//! Clearing a fiber of what ran there, and of what came for it. Code of others runs here: destructors, and the hook for what they
//! raise.

use std::any::Any;
use std::mem;

use super::fiber::Fiber;
use super::guard::{CALLBACK, guarded};
#[cfg(feature = "monkey")]
use super::identity;
use super::thread::existing_thread;
use super::uncaught::{callback, catch, discard, report_text};
#[cfg(feature = "monkey")]
use crate::sys::float_control::FloatControl;

/// How often destructors are run that make anew what they belong to: as often as std does for thread-locals.
const ROUNDS_OF_DESTRUCTORS: usize = 5;

impl Fiber {
    /// Has `payload` raised when the fiber goes on, in place of what was to be raised so far.
    #[cold]
    pub(crate) fn throw(&self, payload: Box<dyn Any + Send>) {
        if let Some(former) = self.replace_thrown(payload) {
            discard(former);
        }
    }

    /// Ends what ran here: frees its locals, forgets its interrupts.
    #[inline(always)]
    pub(crate) fn end_run(&self) {
        self.end_description();
        self.runs.set(self.runs.get() + 1);
        #[cfg(not(feature = "monkey"))]
        self.unwinding.set(false);
        #[cfg(feature = "monkey")]
        if self.unwinding.replace(false) {
            self.forget_refusals_amid_unwinding();
        }
        if self.has_left() {
            self.discard_left();
        }
        #[cfg(feature = "monkey")]
        if self.has_identity.get() {
            identity::end();
        }
        #[cfg(feature = "monkey")]
        self.end_float_control();
    }

    /// What runs here next computes as who has resumed this.
    #[cfg(feature = "monkey")]
    #[inline]
    fn end_float_control(&self) {
        if let Some(first) = self.first_float_control.get()
            && first != FloatControl::now()
        {
            first.restore();
        }
    }

    /// Whether there is something that what runs here next must not find.
    #[inline]
    fn has_left(&self) -> bool {
        self.disturbed.is_brought() || self.has_occupant() || self.has_locals()
    }

    /// Code of others runs here, destructors and hooks, which may use a local or ask who runs: until nothing is left of that either.
    #[cold]
    fn discard_left(&self) {
        for _ in 0..ROUNDS_OF_DESTRUCTORS {
            if self.has_locals() {
                // The result is on its way: the destructors may not wait.
                guarded(CALLBACK, || self.drop_locals());
            }
            if self.disturbed.is_brought() {
                self.discard_disturbance();
            }
            self.end_occupant();
            if !self.has_left() {
                return;
            }
        }
        if let Some(occupant) = self.take_occupant() {
            occupant.set_dead();
            mem::forget(occupant);
        }
        mem::forget(self.with_locals(Option::take));
        report_text("greenlet-locals whose destructors make them anew, without end: they leak");
    }

    /// From now on nothing is raised here, nor is what has come already.
    #[cfg(feature = "monkey")]
    pub(super) fn deafen(&self) {
        self.deaf.set(true);
        if self.disturbed.is_brought() {
            self.discard_disturbance();
        }
    }

    #[cold]
    fn discard_disturbance(&self) {
        if let Some(payload) = self.take_thrown() {
            discard(payload);
        }
        let interrupts = self.with_interrupts(mem::take);
        self.disturbed.set(false);
        interrupts.into_iter().for_each(|interrupt| discard(interrupt.payload));
    }

    #[cold]
    fn end_occupant(&self) {
        let Some(occupant) = self.take_occupant() else { return };
        occupant.set_dead();
        self.disturbed.set_orphaned(false);
        // It may own the last handles to others, and bodies that never run.
        callback("a greenlet's end", || match existing_thread() {
            Some(thread) => thread.note_departed(occupant),
            None => drop(occupant),
        });
    }

    /// Frees what runs here keeps for itself, in an ordinary place. What the destructors raise is reported.
    #[inline]
    pub(crate) fn free_locals(&self) {
        if self.extras.borrow().is_some() {
            self.drop_locals();
        }
    }

    #[cold]
    fn drop_locals(&self) {
        // A destructor may use a local again, which makes a fresh one.
        for _ in 0..ROUNDS_OF_DESTRUCTORS {
            let Some(locals) = self.with_locals(Option::take) else { return };
            catch("a greenlet-local's destructor", || drop(locals));
        }
    }
}
