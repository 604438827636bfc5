//! One thread's run loop and everything that it looks after.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::door::Door;
use super::driver::Driver;
use super::notes::History;
use super::reactor::Reactor;
use super::ready::Ready;
use super::timers::{Slack, TimerKey, Timers};
use super::wait::Wait;
use super::wake::Wake;
use super::witness::Witness;
use super::world::World;
use crate::error::StackError;
use crate::fiber::{self, Describe, FiberRef, Local, Pending, SizeClass, State, Thread};
use crate::sys::clock::Time;
use crate::sys::shared::{Counted, Shared};
use crate::sys::socket::Datagram;

/// Operations that a green thread may do at a stretch without waiting, see [`spend_budget`](super::spend_budget).
pub(super) const BUDGET: u32 = 64;
/// Switches after which the loop looks at timers, letters and descriptors, though somebody is ready.
pub(super) const SWITCHES_PER_LOOK: usize = 128;
/// So many more are counted while the hub is [watched](super::watch): a look is always due.
pub(super) const WATCHED: usize = 1 << 30;
/// And so many more while it [notes](super::history) the time of each look.
pub(super) const NOTING: usize = 1 << 29;
/// What is no count of switches.
pub(super) const MARKS: usize = WATCHED | NOTING;
/// Killed ones that may stand among the fresh ones in any case.
const DEAD_FRESH: usize = 1024;
/// Green threads are numbered from blocks, so that a spawn needs no atomic operation for it.
pub(super) const NUMBERS_AT_A_TIME: u64 = 1 << 20;
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// A green thread that has not begun.
pub(crate) trait Job: Counted {
    /// Runs it to its end on `fiber`, and keeps what it raises. Returns the end, which is to be published and told; `None` if it had
    /// ended before, or nobody asks.
    fn run(&self, fiber: FiberRef) -> Option<Ended>;
    /// Publishes and tells an end where others than the hub have asked for that.
    fn end_followed(&self, ended: Ended);
    /// The stack that it asked for.
    fn stack(&self) -> SizeClass;
    /// Its number, which no other has.
    fn number(&self) -> u64 {
        0
    }
    /// Whether it was killed, and will not begin.
    fn has_ended(&self) -> bool;
    /// Who it is, for reports; `None` if it is nobody of the user's.
    fn description(&self) -> Option<&dyn Describe> {
        None
    }
    /// There is no stack for it.
    fn fail(&self, error: StackError);
    /// Its hub ends before it could begin.
    fn abandon(&self);
    /// Of one that may begin on any hub: it is to begin here. `false` if it was ended before, or has a hub.
    fn settle(&self, _hub: &HubState) -> bool {
        false
    }
    /// Of one that may begin on any hub: it never will, unless it has a hub by now.
    fn withdraw(&self) {}
}

/// What a hub asks for green threads that it may begin, when none of its own is ready. On the hub's own OS thread, where nothing may wait.
pub(crate) trait Feed {
    /// One that has settled at `hub`, if there is any.
    fn take(&self, hub: &HubState) -> Option<Shared<dyn Job>>;

    /// Whether it is worth while to look for some time: others are at work, and not many look already.
    fn begin_search(&self) -> bool;

    /// It has other things to do than to look.
    fn end_search(&self);

    /// The hub is about to sleep. `false` if there is something to take, so that it must not.
    fn begin_sleep(&self) -> bool;

    /// It has slept, or could not.
    fn end_sleep(&self);
}

/// Who is ready: by the stack, or not begun.
pub(super) type Queues = Ready<FiberRef, Shared<dyn Job>>;

/// How a green thread has ended, for its hub.
///
/// Two words, so that it moves in registers: a larger one is written to memory in parts and read back as a whole, which stalls.
pub(crate) struct Ended {
    /// Who waits for it at home, first of all.
    pub(super) follower: Option<FiberRef>,
    /// From the top: the mark, whether the hub counts it, whether it returned, and a one.
    rest: NonZero<u16>,
}

impl Ended {
    /// One whose count is [marked](Shared::mark_and_end) with `mark`. `is_home`: whether the calling thread's hub counts it.
    #[inline]
    pub(crate) fn new(follower: Option<FiberRef>, mark: u8, is_home: bool, returned: bool) -> Ended {
        let rest = NonZero::<u16>::MIN
            | (u16::from(returned) << 1)
            | (u16::from(is_home) << 2)
            | (u16::from(mark) << 8);
        Ended { follower, rest }
    }

    #[inline]
    pub(crate) fn mark(&self) -> u8 {
        (self.rest.get() >> 8) as u8
    }

    #[inline]
    pub(super) fn is_home(&self) -> bool {
        self.rest.get() & (1 << 2) != 0
    }

    #[inline]
    pub(super) fn returned(&self) -> bool {
        self.rest.get() & (1 << 1) != 0
    }
}

/// What a timer does.
pub(crate) enum Alarm {
    /// Ends a wait.
    Wake { fiber: FiberRef, generation: u64 },
    /// Raises in what runs on the fiber, if it still does.
    Timeout { fiber: FiberRef, run: u64, id: u64, limit: Duration },
    /// Begins a green thread.
    Start(Shared<dyn Job>),
    /// Has a datagram arrive, in the world of a test.
    Deliver(Box<Datagram>),
}

/// Tells a hub from every other that there was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HubId {
    door: *const Door,
    epoch: u32,
}

/// One thread's run loop and everything that it looks after.
pub(crate) struct HubState {
    // ---- where it is ----
    /// The OS thread's fibers.
    pub(crate) thread: Local<Thread>,
    /// Through which other threads reach it. Another one in the child of a fork.
    pub(super) door: Cell<&'static Door>,
    /// Tells it from other hubs behind its door.
    pub(super) epoch: Cell<u32>,
    /// In the child of a fork, the green thread that forked, which stands for the main greenlet.
    pub(super) heir: Cell<Option<FiberRef>>,
    /// In the child of a fork, the numbers of the fibers of those that are in the parent alone, in order.
    pub(super) left_in_parent: RefCell<Vec<u32>>,

    // ---- what it looks after ----
    /// Who is to run.
    pub(super) ready: RefCell<Queues>,
    /// Fresh ones killed since those were last taken out.
    pub(super) dead_fresh: Cell<usize>,
    /// What a fiber finds to begin with.
    pub(super) starting: Cell<Option<Shared<dyn Job>>>,
    /// Who is to be woken, interrupted or begun at some time.
    pub(super) timers: RefCell<Timers<Alarm>>,
    /// How late those may be that say nothing of it.
    timer_slack: Slack,
    /// What the reactor is to be made on. Asked for when the hub was made: std's lock around the environment may be waited for by who is
    /// to run here.
    pub(super) driver: Option<Driver>,
    /// Who waits for descriptors. Made when somebody first does.
    pub(super) reactor: OnceCell<Reactor>,
    /// Who waits for the hub to have nothing ready.
    pub(super) idlers: RefCell<Vec<Wake>>,
    /// The main greenlet, waiting for `alive` to reach zero.
    pub(super) joiner: Cell<Option<Wake>>,
    /// What to do with signals that have come.
    pub(super) hear: Cell<Option<fn(u64)>>,
    /// Where it gets green threads that may begin on any hub.
    pub(super) feed: OnceCell<Box<dyn Feed>>,
    /// Whether it does get some: not in the child of a fork.
    pub(super) is_feeding: Cell<bool>,
    /// What decides here which time it is, and who runs next, in place of the clock and the order of arrival.
    pub(super) world: OnceCell<World>,
    /// While it begins one of those after another, since when others are ready.
    pub(super) ready_since: Cell<Option<Time>>,
    /// How many it has begun since then.
    pub(super) meals: Cell<u32>,

    /// Since when waits go on, if anybody has asked.
    pub(super) history: OnceCell<Box<History>>,

    // ---- its witness ----
    /// Who hears what it does, or did.
    pub(super) witness: OnceCell<Box<dyn Witness>>,
    /// Whether he is to hear.
    pub(super) is_witnessed: Cell<bool>,
    /// What a stack does on which green threads begin.
    pub(super) entry: Cell<fn(FiberRef) -> Option<FiberRef>>,

    // ---- what it counts ----
    /// The next generation of a wait: never the same number twice.
    pub(super) generation: Cell<u64>,
    /// The number of the next green thread that is spawned here.
    pub(super) next_number: Cell<u64>,
    /// How many blocks of numbers were begun.
    pub(super) number_blocks: Cell<u64>,
    /// Green threads that came to belong here, or to another hub, without a number of this one, or with one; those of before a fork.
    pub(super) strangers: Cell<i64>,
    /// The generation of the first wait.
    pub(super) first_generation: Cell<u64>,
    /// Green threads spawned here that have not ended.
    pub(super) alive: Cell<usize>,
    /// Switches since the loop last looked at timers, letters and descriptors.
    pub(super) unlooked: Cell<usize>,
    /// Operations that who runs may still do without waiting.
    pub(super) budget: Cell<u32>,
    /// Sleeps in a row from which only another OS thread could have woken the hub, and none did.
    pub(super) lonely_sleeps: Cell<u32>,

    // ---- how it spins ----
    /// How long to spin before the next block.
    pub(super) spin: Cell<Duration>,
    /// How many blocks to skip that.
    pub(super) spins_to_skip: Cell<u32>,
    /// Spins in a row in which nothing came.
    pub(super) spins_in_vain: Cell<u32>,
}

/// A kill that comes after so many that it changes nothing.
pub(super) fn discard_superfluous(kill: Option<Pending>) {
    if let Some(kill) = kill {
        fiber::discard(kill.payload);
    }
}

impl HubState {
    #[cold]
    pub(super) fn new(
        thread: Local<Thread>,
        driver: Option<Driver>,
        spin: Duration,
        timer_slack: Slack,
        entry: fn(FiberRef) -> Option<FiberRef>,
    ) -> HubState {
        let (door, generation) = Door::open();
        HubState {
            thread,
            door: Cell::new(door),
            epoch: Cell::new(door.epoch()),
            heir: Cell::new(None),
            left_in_parent: RefCell::default(),
            ready: RefCell::new(Ready::new()),
            dead_fresh: Cell::new(0),
            starting: Cell::new(None),
            timers: RefCell::new(Timers::new()),
            timer_slack,
            driver,
            reactor: OnceCell::new(),
            history: OnceCell::new(),
            witness: OnceCell::new(),
            is_witnessed: Cell::new(false),
            entry: Cell::new(entry),
            generation: Cell::new(generation),
            unlooked: Cell::new(0),
            budget: Cell::new(BUDGET),
            next_number: Cell::new(0),
            number_blocks: Cell::new(0),
            strangers: Cell::new(0),
            first_generation: Cell::new(generation),
            alive: Cell::new(0),
            joiner: Cell::new(None),
            hear: Cell::new(None),
            feed: OnceCell::new(),
            is_feeding: Cell::new(false),
            world: OnceCell::new(),
            ready_since: Cell::new(None),
            meals: Cell::new(0),
            idlers: RefCell::new(Vec::new()),
            lonely_sleeps: Cell::new(0),
            spin: Cell::new(spin),
            spins_to_skip: Cell::new(0),
            spins_in_vain: Cell::new(0),
        }
    }

    /// The door through which other threads reach it.
    #[inline]
    pub(crate) fn door(&self) -> &'static Door {
        self.door.get()
    }

    /// Tells it from other hubs behind its door.
    #[inline]
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.get()
    }

    /// Tells it from every other, those of before a fork included.
    pub(crate) fn id(&self) -> HubId {
        HubId { door: self.door(), epoch: self.epoch() }
    }

    /// Ends a wait; nothing if that is over.
    #[inline]
    pub(crate) fn wake(&self, wait: Wait) {
        if let Some(fiber) = self.thread.fiber(wait.fiber())
            && wait.is_of_generation(fiber.generation.get())
        {
            self.make_ready(fiber);
        }
    }

    /// Wakes `fiber`, whichever wait it is in.
    #[inline]
    pub(crate) fn make_ready(&self, fiber: FiberRef) {
        match fiber.state.get() {
            State::Parked => {
                fiber.state.set(State::Ready);
                self.ready.borrow_mut().push_woken(fiber);
            }
            // One that is ready has been woken before, or has yielded in the middle of its wait: its next park returns at once.
            State::Running | State::Ready => fiber.disturbed.set_woken(),
            State::Idle => {}
            State::Witnessed => self.make_witnessed_ready(fiber),
        }
    }

    /// The same of one whose wake is to be told.
    #[cold]
    #[inline(never)]
    fn make_witnessed_ready(&self, fiber: FiberRef) {
        fiber.state.set(State::Ready);
        self.ready.borrow_mut().push_woken(fiber);
        if let Some(witness) = self.witness() {
            witness.woken(fiber);
        }
    }

    /// Who hears what it does, or has heard it.
    pub(crate) fn last_witness(&self) -> Option<&dyn Witness> {
        self.witness.get().map(|witness| &**witness)
    }

    /// The same, if it is asked for.
    #[inline(always)]
    pub(super) fn witness_if(&self, asked: bool) -> Option<&dyn Witness> {
        if asked { self.witness() } else { None }
    }

    /// Who hears what it does, if anybody.
    pub(crate) fn witness(&self) -> Option<&dyn Witness> {
        self.witness.get().filter(|_| self.is_witnessed.get()).map(|witness| &**witness)
    }

    /// Raises at the fiber's park, now or when it next comes to one.
    pub(crate) fn interrupt(&self, fiber: FiberRef, interrupt: Pending) {
        discard_superfluous(fiber.push_interrupt(interrupt));
        let state = fiber.state.get();
        if state == State::Witnessed {
            return self.make_witnessed_ready(fiber);
        }
        if state == State::Parked || (state == State::Running && fiber.is_switched_out()) {
            fiber.state.set(State::Ready);
            self.ready.borrow_mut().push_woken(fiber);
        }
    }

    /// Leaves the stack of the current fiber until it is made ready.
    #[inline(always)]
    pub(super) fn park(&self, fiber: FiberRef) {
        fiber.state.set(State::Parked);
        self.leave(fiber);
    }

    #[inline(always)]
    pub(super) fn leave(&self, fiber: FiberRef) {
        self.thread.wait(|| self.run());
        if fiber.state.get() != State::Running {
            self.came_by_hand(fiber);
        }
    }

    /// Somebody switched by hand into a fiber that the hub was to resume, or only visited it before that.
    #[cold]
    pub(crate) fn came_by_hand(&self, fiber: FiberRef) {
        self.thread.answer_visits(fiber);
        if fiber.state.get() == State::Ready {
            self.ready.borrow_mut().withdraw(&fiber);
        }
        fiber.state.set(State::Running);
    }

    /// Has the loop look about before the next switch.
    #[inline]
    pub(super) fn demand_look(&self) {
        // More than it has counted, and no less: it may be watched.
        self.unlooked.set(self.unlooked.get() | SWITCHES_PER_LOOK);
    }

    #[inline]
    pub(super) fn next_generation(&self) -> u64 {
        let generation = self.generation.get();
        self.generation.set(generation + 1);
        generation
    }

    /// Has `alarm` ring at the deadline, or later by the hub's slack.
    pub(crate) fn arm(&self, deadline: Time, alarm: Alarm) -> TimerKey {
        self.arm_with_slack(deadline, self.timer_slack, alarm)
    }

    #[inline]
    pub(super) fn arm_with_slack(&self, deadline: Time, slack: Slack, alarm: Alarm) -> TimerKey {
        self.timers.borrow_mut().arm(deadline, slack, alarm)
    }

    /// Takes a timer back; `false` if it has rung.
    pub(crate) fn disarm(&self, key: TimerKey) -> bool {
        let alarm = self.timers.borrow_mut().cancel(key);
        alarm.is_some()
    }

    #[inline]
    pub(crate) fn push_fresh(&self, job: Shared<dyn Job>) {
        self.ready.borrow_mut().push_fresh(job);
    }

    /// One that is fresh was killed. When they may be half of all, they are taken out: who spawns and kills need never yield.
    pub(crate) fn count_dead_fresh(&self) {
        let dead = self.dead_fresh.get() + 1;
        self.dead_fresh.set(dead);
        let mut ready = self.ready.borrow_mut();
        if dead >= DEAD_FRESH && dead >= ready.fresh() / 2 {
            self.dead_fresh.set(0);
            let taken = ready.take_fresh_if(|job| job.has_ended());
            drop(ready);
            drop(taken);
        }
    }

    /// A green thread is spawned here: counts it, and gives it a number that no other one of the process has.
    #[inline]
    pub(crate) fn count_spawned(&self) -> u64 {
        self.count_settled();
        self.take_number()
    }

    /// A green thread belongs here from now on.
    #[inline]
    fn count_settled(&self) {
        self.alive.set(self.alive.get() + 1);
    }

    /// A number that no other green thread of the process has.
    #[inline]
    fn take_number(&self) -> u64 {
        let mut number = self.next_number.get();
        if number.is_multiple_of(NUMBERS_AT_A_TIME) {
            // Relaxed: only uniqueness counts.
            number = NUMBERS.fetch_add(NUMBERS_AT_A_TIME, Ordering::Relaxed) + 1;
            self.number_blocks.set(self.number_blocks.get() + 1);
        }
        self.next_number.set(number + 1);
        number
    }

    /// The same of one that has its number from elsewhere.
    #[inline]
    pub(crate) fn count_stranger(&self) {
        self.strangers.set(self.strangers.get() + 1);
        self.count_settled();
    }

    /// The number of a green thread that belongs to no hub yet.
    #[inline]
    pub(crate) fn take_number_of_stranger(&self) -> u64 {
        self.strangers.set(self.strangers.get() - 1);
        self.take_number()
    }

    /// A green thread has ended here.
    #[inline]
    pub(crate) fn count_ended(&self) {
        let alive = self.alive.get() - 1;
        self.alive.set(alive);
        if alive == 0
            && let Some(joiner) = self.joiner.take()
        {
            joiner.wake();
        }
    }
}

impl fmt::Debug for HubState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HubState")
    }
}
