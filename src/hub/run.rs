//! The run loop.

use std::io;
use std::time::Duration;

use super::deadlock::parked_elsewhere;
use super::door::Letter;
use super::reactor::{Heard, Reactor};
use super::state::{Alarm, BUDGET, HubState, Job, NOTING, Queues, SWITCHES_PER_LOOK};
use super::witness::WITNESS_ONLY;
use super::world::World;
use crate::error::Elapsed;
use crate::fiber::{self, CALLBACK, FiberRef, Pending, State, at_work, callback, report_text};
use crate::sys::blocks;
use crate::sys::clock::Time;
use crate::sys::descriptor;
use crate::sys::readiness::LONGEST_WAIT;
use crate::sys::shared::Shared;

/// What one that begins counts as beside a switch, on a stack that may have to be faulted in: that takes some microseconds, and timers
/// must not be late for a burst of spawns.
const SWITCHES_PER_STACK: usize = 8;
/// With more ready than the caches hold, each switch would wait for memory: the stack of the one that is so many places
/// behind is brought near beforehand, and its record twice as early.
const AHEAD: usize = 4;
/// How long the hub first sleeps when nothing is left that could wake it but other OS threads, before it looks whether
/// there are any; doubled each time.
const LONELY_SLEEP: Duration = Duration::from_millis(20);

impl HubState {
    /// Runs green threads until the main greenlet is to go on: it was woken, or somebody switched to it. Runs on the
    /// thread's own stack.
    #[inline(never)]
    pub(super) fn run(&self) {
        debug_assert!(!fiber::is_ending(), "from then on nothing waits");
        loop {
            // First, not last: a main greenlet that only yields returns from every pass.
            let is_due = self.unlooked.get() >= SWITCHES_PER_LOOK;
            let (fresh, woken) = if is_due { (0, 0) } else { self.ready.borrow_mut().begin_pass() };
            if fresh + woken == 0 {
                self.thread.back_in_hub();
                let is_marked = self.unlooked.get() >= NOTING;
                if if is_marked { self.run_marked() } else { at_work(|| self.look()) && self.run_chosen() } {
                    return;
                }
                continue;
            }
            if (fresh > 0 && self.begin_fresh()) || self.run_woken(woken) {
                return;
            }
        }
    }

    /// Whether main is to go on.
    #[inline(always)]
    pub(super) fn run_woken(&self, count: usize) -> bool {
        self.unlooked.set(self.unlooked.get() + count);
        let mut left = count;
        while left > 0 {
            left -= 1;
            let Some(fiber) = self.take_woken(&mut self.ready.borrow_mut()) else { break };
            #[cfg(feature = "monkey")]
            if fiber.is_isolated() {
                if self.run_isolated(fiber, &mut left) {
                    return true;
                }
                continue;
            }
            if fiber == self.thread.main() || self.thread.run_for_hub(fiber) {
                return true;
            }
        }
        false
    }

    /// The next woken one, which runs from now on.
    #[inline(always)]
    pub(super) fn take_woken(&self, ready: &mut Queues) -> Option<FiberRef> {
        let fiber = ready.pop_woken()?;
        if let (Some(far), Some(near)) = (ready.woken_behind(2 * AHEAD), ready.woken_behind(AHEAD)) {
            far.prefetch_record();
            near.prefetch_stack();
        }
        fiber.state.set(State::Running);
        self.budget.set(BUDGET);
        Some(fiber)
    }

    /// Whether main is to go on.
    #[inline(always)]
    pub(super) fn begin_fresh(&self) -> bool {
        loop {
            let Some(job) = self.ready.borrow_mut().pop_fresh() else { return false };
            self.budget.set(BUDGET);
            if self.begin(job) {
                return true;
            }
        }
    }

    /// Whether main is to go on.
    #[inline(always)]
    pub(super) fn begin(&self, job: Shared<dyn Job>) -> bool {
        self.unlooked.set(self.unlooked.get() + SWITCHES_PER_STACK);
        match self.thread.take_fiber(job.stack(), self.entry.get()) {
            Ok(fiber) => {
                self.starting.set(Some(job));
                self.thread.run_for_hub(fiber)
            }
            Err(error) => {
                self.thread.back_in_hub();
                self.thread.guarded(CALLBACK, move || job.fail(error));
                false
            }
        }
    }

    /// Looks at letters, timers and descriptors; blocks if nobody is ready. Whether a schedule is to choose who runs next.
    pub(super) fn look(&self) -> bool {
        self.unlooked.set(0);
        let somebody_is_gone = self.read_letters();
        self.ring_alarms();
        if somebody_is_gone {
            match self.world() {
                // Last, so that it changes nobody's place among those who were woken for a reason.
                None => self.have_all_look_again(),
                // Of a hub that has no part in it, nothing may be seen there.
                Some(world) => world.is_somebody_gone.set(world.clock.was_held()),
            }
        }
        if (!self.ready.borrow().is_empty() || self.has_idlers())
            && self.reactor.get().is_some_and(|reactor| reactor.waiting() > 0)
        {
            self.poll(Some(Duration::ZERO));
        }
        let world = self.world();
        if !self.is_fed() && self.ready.borrow().is_empty() {
            match world {
                Some(world) => self.let_time_pass(world),
                None if self.wake_idlers() => {}
                None => self.block(),
            }
        }
        world.is_some_and(World::chooses)
    }

    /// Nobody is ready: waits for a timer, a descriptor or a letter.
    #[inline(never)]
    fn block(&self) {
        let mut cooling = fiber::cool();
        if blocks::are_many() {
            cooling = cooling.into_iter().chain(blocks::cool()).min();
        }
        if cooling.is_some_and(|left| left.is_zero()) {
            // Whoever has become ready meanwhile goes first.
            self.poll(Some(Duration::ZERO));
            return;
        }
        let next = self.timers.borrow().next_deadline();
        let descriptors = self.reactor.get().is_some_and(|reactor| reactor.waiting() > 0);
        let mut longest = next.map(|deadline| Time::now().until(deadline));
        // Who is fed is woken by others for work, so that it need not ask whether there are any.
        let fed = self.feed().is_some();
        let alone = next.is_none() && !descriptors && !self.door().ear.listens();
        let lonely = alone && !fed;
        if lonely {
            let sleeps = self.lonely_sleeps.get();
            if sleeps > 0 && self.nobody_else() {
                self.lonely_sleeps.set(0);
                return self.raise_loop_exit(parked_elsewhere);
            }
            longest = Some(LONELY_SLEEP.saturating_mul(1 << sleeps.min(20)));
            self.lonely_sleeps.set(sleeps + 1);
        }
        if let Some(left) = cooling {
            // Late does no harm here; a lonely sleep cut short might.
            let left = left.max(LONELY_SLEEP);
            longest = Some(longest.map_or(left, |longest| longest.min(left)));
        }
        // Who waits for no descriptor sleeps on a word, as std's locks do: that takes a call less than a set of descriptors with a bell.
        let deaf = !descriptors || self.is_deaf();
        if self.spin_for_events(longest) || self.finds_food(longest) {
            self.lonely_sleeps.set(0);
            return;
        }
        if fed {
            self.sleep_hungry(alone, deaf, longest);
        } else {
            self.sleep_unless_rung(deaf, longest);
        }
        if !lonely || self.door().has_letters() {
            self.lonely_sleeps.set(0);
        }
    }

    /// Makes the reactor with its bell, before anybody is told to ring that. Whether there is none.
    #[inline]
    pub(super) fn is_deaf(&self) -> bool {
        self.try_reactor().is_err_and(|error| without_descriptors(&error))
    }

    /// Until a timer, a descriptor or a letter; not at all if there is a letter already.
    #[inline]
    pub(super) fn sleep_unless_rung(&self, deaf: bool, longest: Option<Duration>) {
        if deaf {
            // Nobody waits for a descriptor: where there are none for a bell, that is an error.
            self.door().sleep(longest);
        } else if self.door().prepare_to_sleep() {
            self.sleep(longest);
            self.door().end_sleep();
        }
    }

    /// Looks for events for a while without blocking; whether there were any.
    #[inline(always)]
    fn spin_for_events(&self, longest: Option<Duration>) -> bool {
        let spin = self.spin.get();
        if spin.is_zero() || longest.is_some_and(|longest| longest.is_zero()) {
            return false;
        }
        self.spin_or_tell(spin, longest)
    }

    /// The same for who spins, or has a witness.
    #[inline(never)]
    fn spin_or_tell(&self, spin: Duration, longest: Option<Duration>) -> bool {
        if let Some(witness) = self.witness() {
            witness.sleeps();
        }
        if spin == WITNESS_ONLY {
            return false;
        }
        if self.spins_to_skip.get() > 0 {
            self.spins_to_skip.set(self.spins_to_skip.get() - 1);
            return false;
        }
        let end = Time::after(longest.map_or(spin, |longest| longest.min(spin)));
        while Time::now() < end {
            self.beat();
            self.poll(Some(Duration::ZERO));
            if self.door().has_letters() || !self.ready.borrow().is_empty() {
                self.spins_in_vain.set(0);
                return true;
            }
        }
        // In vain: skip twice as many before the next try.
        let in_vain = (self.spins_in_vain.get() + 1).min(10);
        self.spins_in_vain.set(in_vain);
        self.spins_to_skip.set(1 << in_vain);
        false
    }

    pub(super) fn poll(&self, timeout: Option<Duration>) -> Heard {
        let Some(reactor) = self.made_reactor() else { return Heard::Nothing };
        match reactor.poll(timeout) {
            Ok(Heard::Bell) if !self.door().silence() => self.mend(reactor, None),
            Ok(heard) => return heard,
            Err(error) => self.mend(reactor, Some(error)),
        }
        Heard::Something
    }

    /// Waits for a descriptor, a letter, or the end of the time.
    #[inline]
    fn sleep(&self, longest: Option<Duration>) {
        if self.poll(longest) == Heard::Nothing {
            self.sleep_on(longest);
        }
    }

    /// Nothing was heard in the time of a wait, which may be less than what was asked for.
    #[cold]
    fn sleep_on(&self, longest: Option<Duration>) {
        let mut left = longest;
        loop {
            let was_cut = left.is_none_or(|left| left > LONGEST_WAIT);
            let has_letters = self.door().has_letters();
            if was_cut || has_letters {
                self.look_after_bell();
            }
            if !was_cut || has_letters || !self.ready.borrow().is_empty() {
                return;
            }
            left = left.map(|left| left - LONGEST_WAIT);
            if self.poll(left) != Heard::Nothing {
                return;
            }
        }
    }

    /// Somebody else may have closed the bell, and nothing tells that: the kernel goes on with a sleep, and who rings has nothing to
    /// ring.
    fn look_after_bell(&self) {
        if let (Some(reactor), Some(bell)) = (self.made_reactor(), self.door().made_bell())
            && reactor.listen_again(bell).is_err()
        {
            self.mend(reactor, None);
        }
    }

    /// Somebody else has closed the hub's own descriptors: it gets others, with which all go on who wait.
    ///
    /// # Panics
    ///
    /// If that is not what is wrong, or there is no other one: then no wait of this hub can end well.
    #[cold]
    fn mend(&self, reactor: &Reactor, error: Option<io::Error>) {
        let mended = self.door().mend_bell().and_then(|(former, bell)| reactor.renew(error, former, bell));
        match mended {
            Ok(()) => {
                report_text(
                    "somebody has closed a descriptor that a hub of greenloop waits with: it has another one now",
                );
            }
            Err(error) => panic!("the kernel refuses to wait for descriptors: {error}"),
        }
    }

    /// The reactor of who waits for a descriptor already.
    pub(crate) fn reactor(&self) -> &Reactor {
        self.made_reactor().expect("made by who began to wait")
    }

    /// The reactor, made when a descriptor is first waited for.
    ///
    /// # Errors
    ///
    /// For instance that the process has no descriptor left. The hub goes on without, until there are some.
    #[inline]
    pub(crate) fn try_reactor(&self) -> io::Result<&Reactor> {
        match self.reactor.get() {
            Some(reactor) if reactor.hears() => Ok(reactor),
            made => self.make_reactor(made),
        }
    }

    #[cold]
    fn make_reactor<'a>(&'a self, made: Option<&'a Reactor>) -> io::Result<&'a Reactor> {
        let bell = self.door().bell()?;
        if let Some(deaf) = made {
            return deaf.hear(bell).map(|()| deaf);
        }
        let reactor = Reactor::new(self.driver, bell)?;
        Ok(self.reactor.get_or_init(|| reactor))
    }

    /// The reactor, if it has been made.
    #[inline]
    pub(crate) fn made_reactor(&self) -> Option<&Reactor> {
        self.reactor.get()
    }

    /// Whether its driver does operations as a whole.
    pub(crate) fn performs(&self) -> bool {
        self.try_reactor().is_ok_and(Reactor::performs)
    }

    /// Whether others are ready to run.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.borrow().is_empty()
    }

    /// Returns whether all who stand in a line are to look again.
    fn read_letters(&self) -> bool {
        let mut somebody_is_gone = false;
        if !self.door().has_letters() {
            return somebody_is_gone;
        }
        if let Some(witness) = self.witness() {
            witness.pauses();
        }
        for (epoch, letter) in self.door().take_letters() {
            match letter {
                Letter::Wake(wait) => self.wake(wait),
                Letter::LookAgain => somebody_is_gone = true,
                Letter::Run(run) => callback("a callback", move || {
                    if epoch == self.epoch() {
                        run();
                    }
                }),
            }
        }
        let heard = self.door().ear.take_heard();
        if heard != 0
            && let Some(hear) = self.hear.get()
        {
            callback("a callback", || hear(heard));
        }
        somebody_is_gone
    }

    fn ring_alarms(&self) {
        if self.timers.borrow().is_empty() {
            return;
        }
        let now = Time::now();
        let take = || {
            self.timers.borrow_mut().pop_due(now).inspect(|alarm| {
                if let Alarm::Wake { fiber, .. } = alarm {
                    fiber.prefetch_record();
                }
            })
        };
        let mut next = take();
        while let Some(alarm) = next {
            // Whom it wakes comes near while the next one is looked for.
            next = take();
            self.ring(alarm);
        }
    }

    #[inline]
    fn ring(&self, alarm: Alarm) {
        match alarm {
            Alarm::Wake { fiber, generation } if fiber.generation.get() == generation => {
                fiber.prefetch_stack();
                self.make_ready(fiber);
            }
            Alarm::Wake { .. } => {}
            Alarm::Timeout { fiber, run, id, limit } if fiber.runs.get() == run => {
                self.interrupt(fiber, Pending::new(Box::new(Elapsed { limit, id }), id));
                if let Some(witness) = self.witness() {
                    witness.times_out();
                }
            }
            Alarm::Timeout { .. } => {}
            Alarm::Start(job) => self.ready.borrow_mut().push_fresh(job),
            Alarm::Deliver(datagram) => datagram.send(),
        }
    }
}

/// Whether a hub can go on without a reactor until it gets one.
///
/// # Panics
///
/// If it never will, because the driver that was asked for is missing.
fn without_descriptors(error: &io::Error) -> bool {
    assert!(descriptor::is_shortage(error), "the hub has nothing to wait with: {error}");
    true
}
