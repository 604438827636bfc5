//! A hub whose time is virtual, and whose order of running may be chosen: for tests.

use std::fmt;
use std::time::Duration;

use super::current::{HubRef, local_hub};
use super::state::{Alarm, BUDGET, HubState, SWITCHES_PER_LOOK};
use super::steps::Who;
use super::world::World;
use crate::error::Parked;
use crate::fiber::{Describe, FiberRef, State, report_text};
use crate::sys::clock::{Time, pass_until};

/// How long a hub at most sleeps in real time before it looks whether its clock still stands.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);
/// How often it looks so before bytes on their way count as stuck.
const LOOKS_AT_BYTES: u32 = 300;
/// How often it looks so before it tells why.
const LOOKS_AT_HOLD: u32 = 10_000;
/// How long nothing must come from outside before what waits for descriptors counts as dead. Between the two ends of one socket nothing
/// takes so long.
const DOUBT: Duration = Duration::from_millis(200);
/// The same for what waits for a lock of std's or C's. All OS threads share some of std's own, which a panic holds while it tells its calls.
const DOUBT_OF_LOCKS: Duration = Duration::from_secs(2);

/// Whether the kernel may be about to deliver what TCP connections have sent, of which so many bytes are on their way: on a busy machine it
/// does that later, on a thread of its own. If they stay as many, the other end does not read.
fn waits_for_the_kernel(world: &World, bytes: usize) -> bool {
    let (former, looks) = world.on_their_way.get();
    let looks = if bytes == former { looks } else { 0 };
    world.on_their_way.set((bytes, looks.saturating_add(1)));
    bytes > 0 && looks < LOOKS_AT_BYTES
}

/// Its clock is held: after some seconds somebody is told, who may wonder why nothing happens.
fn tell_of_hold(world: &World) {
    let looks = world.held.get().saturating_add(1);
    world.held.set(looks);
    if looks == LOOKS_AT_HOLD {
        report_text(&format!(
            "the time of a world has stood for {LOOKS_AT_HOLD} ms: {}",
            world.clock.holders()
        ));
    }
}

/// One of `count` ways to go on, if the calling thread's hub is in a world, which decides that.
pub(crate) fn pick(count: usize) -> Option<usize> {
    local_hub()?.world().map(|world| world.pick(count))
}

/// While it lives, the calling greenlet pauses between looks at what only looking shows. In a world whose clock stands, a pause ends after
/// a moment of real time.
pub(crate) struct Looking(Option<(HubRef, FiberRef)>);

/// From now on it does.
pub(crate) fn looking() -> Looking {
    let hub = local_hub().filter(|hub| hub.world().is_some());
    Looking(hub.map(|hub| {
        let fiber = hub.thread.current();
        hub.world().into_iter().for_each(|world| world.looking.borrow_mut().push(fiber));
        (hub, fiber)
    }))
}

impl Drop for Looking {
    fn drop(&mut self) {
        let Some((hub, fiber)) = self.0 else { return };
        if let Some(world) = hub.world.get() {
            let mut looking = world.looking.borrow_mut();
            let place = looking.iter().rposition(|&other| other == fiber);
            if let Some(place) = place {
                looking.remove(place);
            }
        }
    }
}

impl fmt::Debug for Looking {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Looking")
    }
}

impl HubState {
    /// Makes `world` decide from now on.
    pub(crate) fn set_world(&self, world: World) {
        self.end_watch();
        self.stop_notes();
        // From the first pass on.
        self.unlooked.set(SWITCHES_PER_LOOK);
        let had_none = self.world.set(world).is_ok();
        debug_assert!(had_none, "a hub is in one world");
    }

    /// What decides here, but in the child of a fork.
    pub(super) fn world(&self) -> Option<&World> {
        self.world.get().filter(|world| !world.clock.is_over())
    }

    /// Whether something else than the clock decides here which time it is.
    pub(crate) fn is_in_world(&self) -> bool {
        self.world().is_some()
    }

    /// Runs `function` in the hub's time, with the thread-local variables that are in use now.
    #[cfg(feature = "monkey")]
    pub(crate) fn in_its_time<R>(&self, function: impl FnOnce() -> R) -> R {
        match self.world() {
            Some(world) => world.clock.lend(function),
            None => function(),
        }
    }

    /// Every green thread that is parked, and every greenlet that is switched out, but main.
    pub(crate) fn left_over(&self) -> Vec<Parked> {
        self.parked_but_main()
    }

    /// How many green threads have not ended.
    pub(crate) fn count_alive(&self) -> usize {
        self.alive.get()
    }

    /// Nobody is ready. If nothing can come without it, time passes until the next timer is due.
    pub(super) fn let_time_pass(&self, world: &World) {
        if let Some(witness) = self.witness() {
            witness.sleeps();
        }
        // First: what was done before the last hold ended is seen below.
        let is_held = world.clock.is_held();
        let mut on_their_way = 0;
        let awaited = self.reactor.get().is_some_and(|reactor| reactor.waiting() > 0);
        if let Some(reactor) = self.made_reactor().filter(|_| awaited) {
            // Before time passes: what the kernel would do in some of its own.
            on_their_way = reactor.acknowledge();
            self.poll(Some(Duration::ZERO));
        }
        if self.has_ready() || self.door().has_letters() {
            return;
        }
        if is_held {
            tell_of_hold(world);
        } else {
            world.held.set(0);
        }
        if is_held || waits_for_the_kernel(world, on_their_way) {
            self.sleep_unless_rung(self.is_deaf(), Some(BETWEEN_LOOKS));
            return self.end_pauses(world);
        }
        if world.is_somebody_gone.take() {
            // Now that nobody runs: it comes at any time.
            self.have_all_look_again();
            if self.has_ready() {
                return;
            }
        }
        if self.wake_idlers() {
            return;
        }
        if let Some(next) = self.timers.borrow().next_deadline().filter(|&next| next < Time::NEVER) {
            return pass_until(&world.clock, next);
        }
        let others_have_lock = self.awaits_lock_of_others();
        if awaited || self.door().ear.listens() || others_have_lock {
            let doubt = if others_have_lock { DOUBT_OF_LOCKS } else { DOUBT };
            self.sleep_unless_rung(self.is_deaf(), Some(doubt));
        }
        if !self.has_ready() && !self.door().has_letters() {
            self.raise_loop_exit(Vec::new);
        }
    }

    /// The one at this place of those who are ready runs next.
    fn note_step(&self, place: usize) {
        let Some(world) = self.world() else { return };
        let ready = self.ready.borrow();
        let woken = ready.woken_behind(place).copied();
        let who = match woken {
            Some(fiber) => Who::of(fiber.description(), fiber == self.thread.main()),
            None => {
                let fresh = place.checked_sub(ready.woken()).and_then(|place| ready.fresh_at(place));
                Who::of(fresh.and_then(|job| job.description()), false)
            }
        };
        world.steps.note(who, world.clock.elapsed());
    }

    /// What a test that has failed is told with: the time, who ran last if a schedule chose, and who is there.
    #[cold]
    pub(crate) fn story(&self) -> String {
        let Some(world) = self.world() else { return String::new() };
        let mut story = format!("{:?} of the world's time had passed.", world.clock.elapsed());
        world.steps.tell(&mut story);
        let there = self.parked_but_main();
        if !there.is_empty() {
            story.push_str("\nWho was there:");
            there.iter().for_each(|parked| story.push_str(&format!("\n  {parked}")));
        }
        story
    }

    /// By which choices it can be run again, where a schedule has made some.
    pub(crate) fn script(&self) -> Option<String> {
        Some(self.schedule()?.script())
    }

    /// Nobody is ready, and the clock stands: who only pauses goes on.
    fn end_pauses(&self, world: &World) {
        let looking = world.looking.borrow();
        if looking.is_empty() || self.has_ready() {
            return;
        }
        let goes = |alarm: &Alarm| match alarm {
            Alarm::Wake { fiber, generation } => {
                fiber.generation.get() == *generation && looking.contains(fiber)
            }
            _ => false,
        };
        let rung = self.timers.borrow_mut().take_if(goes);
        for alarm in rung {
            if let Alarm::Wake { fiber, .. } = alarm {
                self.make_ready(fiber);
            }
        }
    }

    /// Runs the one whom the schedule chooses. Whether main is to go on.
    #[cold]
    pub(super) fn run_chosen(&self) -> bool {
        let Some(schedule) = self.schedule() else { return false };
        if let Some(faults) = self.faults() {
            self.before_choice(faults);
        }
        let count = self.ready.borrow().len();
        if count == 0 {
            return false;
        }
        let number = |place: usize| {
            let number_of = |fiber: &FiberRef| fiber.description().and_then(Describe::id).unwrap_or(0);
            self.ready.borrow().number_at(place, number_of, |job| job.number())
        };
        let place = schedule.choose(count, &number);
        self.note_step(place);
        // Nobody runs unchosen.
        self.unlooked.set(SWITCHES_PER_LOOK);
        self.budget.set(self.whole_budget());
        if let Some(faults) = self.faults() {
            faults.budget.set(BUDGET);
            faults.hosts.set_running(number(place));
        }
        let woken = self.ready.borrow_mut().take_woken_at(place);
        if let Some(fiber) = woken {
            fiber.state.set(State::Running);
            #[cfg(feature = "monkey")]
            if fiber.is_isolated() {
                return self.run_isolated(fiber, &mut 0);
            }
            return fiber == self.thread.main() || self.thread.run_for_hub(fiber);
        }
        let fresh = self.ready.borrow_mut().take_fresh_at(place);
        fresh.is_some_and(|job| self.begin(job))
    }
}
