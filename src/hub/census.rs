//! Who is here: every greenlet of a hub, as reports tell of it.

#![expect(unsafe_code, reason = "what a parked greenlet waits on is known by its address")]

use std::num::NonZero;
use std::panic::Location;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::state::{Alarm, HubState};
use super::waiter::WaitingOn;
use crate::fiber::{self, Describe, FiberRef, State, Visit};

/// So many timers are looked at for who is to begin.
const TIMERS_LOOKED_AT: usize = 100_000;

/// Where a greenlet stands, for reports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum Standing {
    /// It runs.
    Running,
    /// It is to run next, in its turn.
    Ready,
    /// It waits for a wake.
    Parked,
    /// It has left its stack by a switch by hand.
    SwitchedOut,
    /// It has not begun.
    Unstarted,
}

/// A greenlet of a hub. Its `Send` part: another OS thread may write the report.
#[derive(Clone, Debug)]
pub(crate) struct Resident {
    pub(crate) id: Option<NonZero<u64>>,
    pub(crate) name: Option<Arc<str>>,
    /// `None` for the main greenlet.
    pub(crate) spawned_at: Option<&'static Location<'static>>,
    pub(crate) is_main: bool,
    pub(crate) standing: Standing,
    /// The words for what it waits on, and the number that belongs to them.
    pub(crate) waits_on: Option<(&'static str, u64)>,
    /// A number that no other living greenlet of the process has; 0 for who has not begun.
    pub(crate) greenlet: usize,
    /// The size of its stack, and how many bytes of it are in use; `None` for the main greenlet, and for who has not begun.
    stack: Option<(NonZero<u32>, u32)>,
    pub(crate) is_isolated: bool,
    /// One more than for how many milliseconds it has waited, at least.
    waited: Option<NonZero<u32>>,
    /// The number of who has spawned it.
    pub(crate) spawned_by: Option<NonZero<u64>>,
}

/// What a hub has to do.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Load {
    pub(crate) alive: usize,
    pub(crate) ready: usize,
    pub(crate) unstarted: usize,
    pub(crate) timers: usize,
    pub(crate) descriptors: usize,
}

impl HubState {
    /// How much it has to do.
    pub(crate) fn load(&self) -> Load {
        let ready = self.ready.borrow();
        Load {
            alive: self.alive.get(),
            ready: ready.woken(),
            unstarted: ready.fresh(),
            timers: self.timers.borrow().len(),
            descriptors: self.made_reactor().map_or(0, |reactor| reactor.waiting()),
        }
    }

    /// Who is on the fiber with this number, if anybody; `None` behind the last one.
    pub(crate) fn resident_at(&self, index: u32) -> Option<Option<Resident>> {
        self.thread.fiber(index).map(|fiber| self.resident(fiber))
    }

    /// How many have run on the fiber with this number, in a count of its own.
    pub(crate) fn run_at(&self, index: u32) -> Option<u64> {
        self.thread.fiber(index).map(|fiber| fiber.runs.get())
    }

    /// Has who waits on the fiber with this number show its stack. For a letter: the hub runs on the thread's own stack then.
    pub(crate) fn visit(&self, index: u32, visit: Box<Visit>) -> Box<Visit> {
        match self.thread.fiber(index) {
            Some(fiber) => self.thread.visit(fiber, visit),
            None => visit,
        }
    }

    /// Who of those that have not begun is at this place of their line.
    pub(crate) fn unstarted_at(&self, place: usize) -> Option<Resident> {
        let ready = self.ready.borrow();
        let job = ready.fresh_at(place)?;
        let description = job.description().filter(|_| !job.has_ended())?;
        let resident = Resident::described(Some(description), Standing::Unstarted);
        Some(resident)
    }

    /// Those that are to begin at some time, `most` of them, among as many timers as can be looked at in half a millisecond.
    pub(crate) fn delayed(&self, most: usize) -> Vec<Resident> {
        let timers = self.timers.borrow();
        let looked_at = if most == usize::MAX { most } else { TIMERS_LOOKED_AT };
        let jobs = timers.actions().take(looked_at).filter_map(|alarm| match alarm {
            Alarm::Start(job) => job.description(),
            _ => None,
        });
        let resident = |description| {
            let resident = Resident::described(Some(description), Standing::Unstarted);
            Resident { waits_on: Some(("its time to begin", 0)), ..resident }
        };
        jobs.take(most).map(resident).collect()
    }

    /// Who is on `fiber`, if anybody.
    pub(super) fn resident(&self, fiber: FiberRef) -> Option<Resident> {
        let standing = match fiber.state.get() {
            State::Idle => return None,
            _ if self.is_left_in_parent(fiber) => return None,
            _ if fiber.is_switched_out() => Standing::SwitchedOut,
            State::Running => Standing::Running,
            State::Ready => Standing::Ready,
            State::Parked | State::Witnessed => Standing::Parked,
        };
        let waits_on = (standing == Standing::Parked).then(|| fiber.waits_on.get());
        let is_main = fiber == self.thread.main();
        let greenlet = fiber.as_ptr().addr();
        let waits_on = waits_on.map(with_more);
        let stack =
            fiber.stack_use().and_then(|(size, used)| Some((NonZero::new(size as u32)?, used as u32)));
        let resident = Resident::described(fiber.description(), standing);
        #[cfg(feature = "monkey")]
        let is_isolated = fiber.is_isolated();
        #[cfg(not(feature = "monkey"))]
        let is_isolated = false;
        let waited = waits_on.and_then(|_| self.wait_age(fiber.generation.get()));
        let waited = waited.and_then(|waited| {
            NonZero::new(u32::try_from(waited.as_millis()).unwrap_or(u32::MAX).saturating_add(1))
        });
        Some(Resident { is_main, greenlet, waits_on, stack, is_isolated, waited, ..resident })
    }
}

/// What a parked one of this thread waits on, with the number that tells more in place of where it is to be found.
fn with_more(waits_on: (&'static str, u64)) -> (&'static str, u64) {
    if !WaitingOn::has_more(waits_on) {
        return waits_on;
    }
    if fiber::is_ending() {
        return (waits_on.0, 0);
    }
    let place = ptr::with_exposed_provenance::<AtomicUsize>(waits_on.1 as usize);
    // SAFETY: who waits with that borrows it until it goes on, or until another wait in its middle has taken its place; and it is parked
    // now, on this OS thread.
    let more = unsafe { &*place };
    // Relaxed: it is a report.
    (waits_on.0, more.load(Ordering::Relaxed) as u64)
}

impl Resident {
    fn described(description: Option<&dyn Describe>, standing: Standing) -> Resident {
        Resident {
            id: description.and_then(Describe::id).and_then(NonZero::new),
            name: description.and_then(|description| description.name().cloned()),
            spawned_at: description.map(Describe::spawned_at),
            is_main: false,
            standing,
            greenlet: 0,
            waits_on: None,
            stack: None,
            is_isolated: false,
            waited: None,
            spawned_by: description.and_then(Describe::spawned_by).and_then(NonZero::new),
        }
    }

    /// Its name: `main` for the main greenlet, `<unnamed>` if it has none.
    pub(crate) fn name(&self) -> &str {
        if self.is_main { "main" } else { self.name.as_deref().unwrap_or("<unnamed>") }
    }

    /// The number of who holds what it waits for, if that is known.
    pub(crate) fn held_by(&self) -> Option<usize> {
        let known = self.waits_on.filter(|&on| WaitingOn::has_more(on) && WaitingOn::counted(on.0).is_none());
        known.map(|(_, holder)| holder as usize)
    }

    /// How many there are of the other ends of the channel that it waits for, and what these are.
    pub(crate) fn others(&self) -> Option<(usize, &'static str)> {
        let (words, count) = self.waits_on?;
        Some((count as usize, WaitingOn::counted(words)?))
    }

    /// The size of its stack, and how many bytes of it are in use; `None` for the main greenlet, and for who has not begun.
    pub(crate) fn stack(&self) -> Option<(usize, usize)> {
        self.stack.map(|(size, used)| (size.get() as usize, used as usize))
    }

    /// For how long it has waited, at least; `None` where nobody asks.
    pub(crate) fn waited(&self) -> Option<Duration> {
        self.waited.map(|more| Duration::from_millis(u64::from(more.get() - 1)))
    }

    /// The green thread whose end it waits for, if it waits for one.
    pub(crate) fn waits_for(&self) -> Option<u64> {
        self.waits_on.filter(|&on| WaitingOn::is_join(on)).map(|(_, number)| number)
    }

    /// What it waits on, in words; `None` if it does not wait.
    pub(crate) fn waits_on(&self) -> Option<String> {
        match self.standing {
            Standing::SwitchedOut => Some("a switch by hand".to_owned()),
            _ => self.waits_on.map(|(words, number)| words.replace("{}", &number.to_string())),
        }
    }
}
