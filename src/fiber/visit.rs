//! A look at the stack of a fiber that waits: it is resumed, looks at its own frames, and suspends again without having gone on.
//!
//! Nothing else can see those frames, for the place to resume is corosensei's own. Who waits finds that it is not [`State::Running`](super::fiber::State::Running), as
//! it would be if it went on, asks whether it was visited, and comes here: so a switch costs no more for that.

use super::fiber::FiberRef;
use super::thread::{Thread, Visit};
use crate::sys::errno;
use crate::sys::section::Section;

/// With what the names of the functions begin that a stack has for its switches: corosensei's, and its first.
pub(crate) const SWITCH_NAMES: &[&str] = &["corosensei::", "corosensei[", "stack_init_trampoline"];
/// Parts of the paths of their sources.
pub(crate) const SWITCH_SOURCES: &[&str] = &["/corosensei-"];

/// What must be free of a stack, for the unwinder's own frames.
const ROOM: usize = 12 * 1024;

impl Thread {
    /// Has `fiber`, which waits, answer `visit`, if it can be asked. Called by the hub on the thread's own stack.
    pub(crate) fn visit(&self, fiber: FiberRef, mut visit: Box<Visit>) -> Box<Visit> {
        visit.walked = None;
        let waits = fiber.state.get().is_parked() && !fiber.is_switched_out() && fiber != self.main();
        let has_room = fiber.stack_use().is_some_and(|(size, used)| used + ROOM <= size);
        if !waits || !has_room || self.current() != self.main() {
            return visit;
        }
        self.visit.set(Some(visit));
        self.current.set(fiber);
        self.resume(fiber);
        self.back_in_hub();
        self.visited.take().expect("it answers before it suspends again")
    }

    /// Answers the visits to `fiber`, the caller, which goes on after that.
    pub(crate) fn answer_visits(&self, fiber: FiberRef) {
        while let Some(mut visit) = self.visit.take() {
            let _errno = errno::Kept::now();
            let section = Section::open();
            if let Some(extent) = fiber.extent.get() {
                visit.walked = Some(visit.walker.walk(extent.bounds()));
            }
            drop(section);
            self.visited.set(Some(visit));
            self.suspend_again(fiber);
        }
    }
}
