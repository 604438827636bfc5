//! The hub: one run loop per OS thread, made on first use.
//!
//! A hub runs the green threads of its OS thread one after another, each until it waits. If none is ready, the hub blocks in the
//! kernel until a timer is due, a descriptor is ready, or another OS thread wakes it. There is no object to pass around:
//! [`spawn`](crate::spawn), [`sleep`](crate::sleep) and all the rest use the calling thread's hub.
//!
//! # Callbacks
//!
//! Some of your code runs outside of your green threads: in the hub, between two greenlets, or in the middle of a call that does
//! not yield. Such code is a *hub callback*:
//!
//! - functions given to `rawlink`, the hook of [`settrace`](crate::greenlet::settrace), and that of [`set_uncaught_hook`];
//! - the wakers of futures other than greenloop's;
//! - comparisons of a [`PriorityQueue`](crate::queue::PriorityQueue)'s items, and the `clone` of an item for `peek`;
//! - destructors of closures that never run, because they were killed first or there was no stack, and of values and payloads
//!   that nobody takes.
//!
//! One rule holds for all of them: **a callback may neither wait nor switch**. A sleep, a yield, a lock or a channel that would
//! have to wait, [`Greenlet::switch`](crate::greenlet::Greenlet::switch) and `throw`, and a pull from a
//! [`Generator`](crate::greenlet::Generator) panic there. A callback may spawn, wake, kill without waiting, and do all that need
//! not wait. If the last handle of a suspended greenlet goes in a callback, the greenlet is ended soon after, in a green thread.
//!
//! If a callback panics, the panic goes to the hook of [`set_uncaught_hook`], and so does a panic in the destructor of its
//! payload. Comparisons and clones panic in the call that made them.
//!
//! # The panic hook
//!
//! std's panic hook ([`std::panic::set_hook`]) runs in the green thread that panics. It may not wait either, because std aborts
//! the process if another green thread panics meanwhile. In the hook sleeps and yields return at once, and IO that would have to
//! wait fails. A lock, a channel or a join that would have to wait leaves the hook, and raises an error that says so in place of
//! the panic. Use `try_lock` in the hook, or a queue without a limit.

mod configuration;
mod current;
mod deadlock;
pub(crate) mod door;
mod doorbell;
pub(crate) mod fork;
mod handle;
pub(crate) mod handover;
#[cfg(feature = "monkey")]
pub(crate) mod no_unwind;
mod panic_hook;
pub(crate) mod reactor;
mod ready;
mod run;
pub(crate) mod signals;
pub(crate) mod timers;
pub(crate) mod waiter;
pub(crate) mod waitlist;
pub(crate) mod waitset;

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use configuration::{AlreadyRunning, Config, Driver, configure};
#[cfg(feature = "monkey")]
pub(crate) use current::lend_hub;
pub(crate) use current::{HubRef, hub, local_hub};
use door::Door;
pub use handle::Hub;
pub use panic_hook::install_panic_hook;
use reactor::Reactor;
use ready::Ready;
use timers::{TimerKey, Timers};
use waiter::{Wait, Waiter, WaitingOn, Wake, Wakeup};

use crate::fiber::{self, FiberRef, Local, Pending, SizeClass, State, Thread, assert_may_wait, in_callback};
pub use crate::fiber::{Uncaught, UncaughtHook, set_uncaught_hook};
use crate::sys::clock::Time;
use crate::sys::shared::Shared;

/// Operations that a green thread may do at a stretch without waiting, see [`spend_budget`].
const BUDGET: u32 = 64;
/// Killed ones that may stand among the fresh ones in any case.
const DEAD_FRESH: usize = 1024;
/// Green threads are numbered from blocks, so that a spawn needs no atomic operation for it.
const NUMBERS_AT_A_TIME: u64 = 1 << 20;
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// A green thread that has not begun.
pub(crate) trait Job {
    /// Runs it to its end on `fiber`, and keeps what it raises.
    fn run(&self, fiber: FiberRef);
    /// The stack that it asked for.
    fn stack(&self) -> SizeClass;
    /// Whether it was killed, and will not begin.
    fn has_ended(&self) -> bool;
    /// There is no stack for it.
    fn fail(&self, error: crate::error::StackError);
    /// Its hub ends before it could begin.
    fn abandon(&self);
}

/// What a timer does.
pub(crate) enum Alarm {
    /// Ends a wait.
    Wake { fiber: FiberRef, generation: u64 },
    /// Raises in what runs on the fiber, if it still does.
    Timeout { fiber: FiberRef, run: u64, id: u64, limit: Duration },
    /// Begins a green thread.
    Start(Shared<dyn Job>),
}

/// Tells a hub from every other that there was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HubId {
    door: *const Door,
    epoch: u32,
}

/// One thread's run loop and everything that it looks after.
pub(crate) struct HubState {
    pub(crate) thread: Local<Thread>,
    /// Another one in the child of a fork.
    door: Cell<&'static Door>,
    epoch: Cell<u32>,
    /// In the child of a fork, the green thread that forked, which stands for the main greenlet.
    heir: Cell<Option<FiberRef>>,
    ready: RefCell<Ready<FiberRef, Shared<dyn Job>>>,
    /// Fresh ones killed since those were last taken out.
    dead_fresh: Cell<usize>,
    /// What a fiber finds to begin with.
    starting: Cell<Option<Shared<dyn Job>>>,
    timers: RefCell<Timers<Alarm>>,
    reactor: OnceCell<Reactor>,
    /// The next generation of a wait: never the same number twice.
    generation: Cell<u64>,
    /// Switches since the loop last looked at timers, letters and descriptors.
    unlooked: Cell<usize>,
    budget: Cell<u32>,
    next_number: Cell<u64>,
    /// Green threads spawned here that have not ended.
    alive: Cell<usize>,
    /// The main greenlet, waiting for `alive` to reach zero.
    joiner: Cell<Option<Wake>>,
    /// What to do with signals that have come.
    hear: Cell<Option<fn(u64)>>,
    /// Who waits for the hub to have nothing ready.
    idlers: RefCell<Vec<Wake>>,
    /// Sleeps in a row from which only another OS thread could have woken the hub, and none did.
    lonely_sleeps: Cell<u32>,
    /// How long to spin before the next block, and how many blocks to skip that.
    spin: Cell<Duration>,
    spins_to_skip: Cell<u32>,
    spins_in_vain: Cell<u32>,
}

/// A kill that comes after so many that it changes nothing.
fn discard_superfluous(kill: Option<Pending>) {
    if let Some(kill) = kill {
        fiber::discard(kill.payload);
    }
}

impl HubState {
    fn new(thread: Local<Thread>) -> HubState {
        let (door, generation) = Door::open();
        HubState {
            thread,
            door: Cell::new(door),
            epoch: Cell::new(door.epoch()),
            heir: Cell::new(None),
            ready: RefCell::new(Ready::new()),
            dead_fresh: Cell::new(0),
            starting: Cell::new(None),
            timers: RefCell::new(Timers::new()),
            reactor: OnceCell::new(),
            generation: Cell::new(generation),
            unlooked: Cell::new(0),
            budget: Cell::new(BUDGET),
            next_number: Cell::new(0),
            alive: Cell::new(0),
            joiner: Cell::new(None),
            hear: Cell::new(None),
            idlers: RefCell::new(Vec::new()),
            lonely_sleeps: Cell::new(0),
            spin: Cell::new(configuration::settings().spin),
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
        }
    }

    /// Raises at the fiber's park, now or when it next comes to one.
    pub(crate) fn interrupt(&self, fiber: FiberRef, interrupt: Pending) {
        discard_superfluous(fiber.push_interrupt(interrupt));
        let state = fiber.state.get();
        if state == State::Parked || (state == State::Running && fiber.is_switched_out()) {
            fiber.state.set(State::Ready);
            self.ready.borrow_mut().push_woken(fiber);
        }
    }

    /// The current fiber, which has interrupts left, is about to be switched out: they are raised when its turn comes.
    #[cold]
    pub(crate) fn recall(&self, fiber: FiberRef) {
        if fiber.with_interrupts(|interrupts| interrupts.is_empty()) || waiter::is_unwinding() {
            return;
        }
        fiber.state.set(State::Ready);
        self.ready.borrow_mut().push_woken(fiber);
    }

    /// Leaves the stack of the current fiber until it is made ready.
    #[inline(always)]
    fn park(&self, fiber: FiberRef) {
        fiber.state.set(State::Parked);
        self.leave(fiber);
    }

    #[inline(always)]
    fn leave(&self, fiber: FiberRef) {
        self.thread.leave(None, || self.run());
        if fiber.state.get() != State::Running {
            self.came_by_hand(fiber);
        }
    }

    /// Somebody switched by hand into a fiber that the hub was to resume.
    #[cold]
    pub(crate) fn came_by_hand(&self, fiber: FiberRef) {
        if fiber.state.get() == State::Ready {
            self.ready.borrow_mut().withdraw(&fiber);
        }
        fiber.state.set(State::Running);
    }

    #[inline]
    fn next_generation(&self) -> u64 {
        let generation = self.generation.get();
        self.generation.set(generation + 1);
        generation
    }

    pub(crate) fn arm(&self, deadline: Time, alarm: Alarm) -> TimerKey {
        self.timers.borrow_mut().arm(deadline, alarm)
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
        self.alive.set(self.alive.get() + 1);
        let mut number = self.next_number.get();
        if number.is_multiple_of(NUMBERS_AT_A_TIME) {
            // Relaxed: only uniqueness counts.
            number = NUMBERS.fetch_add(NUMBERS_AT_A_TIME, Ordering::Relaxed) + 1;
        }
        self.next_number.set(number + 1);
        number
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

    /// The OS thread ends: gives up all that is here, and what the destructors of that spawn.
    fn abandon_all(&self) {
        // First, since what it tells others of may spawn.
        self.thread.all().iter().filter_map(|fiber| fiber.description()).for_each(|leaked| leaked.leak());
        loop {
            let fresh = self.ready.borrow_mut().take_fresh();
            let timed = self.timers.borrow_mut().pop_due(Time::NEVER);
            let letters = self.door().take_letters();
            if fresh.is_empty() && timed.is_none() && letters.is_empty() {
                return;
            }
            fresh.into_iter().for_each(|job| job.abandon());
            if let Some(Alarm::Start(job)) = timed {
                job.abandon();
            }
            for (_, letter) in letters {
                fiber::catch("the destructor of a callback", || drop(letter));
            }
        }
    }

    /// The hub is gone, as far as other threads can see.
    fn shut_door(&self) {
        self.door().ear.close();
        let leaves_some_in_line = self.is_anybody_in_line();
        self.door().close(self.generation.get());
        if leaves_some_in_line {
            door::tell_departure();
        }
    }
}

/// Leaves the current stack for `target`, or for whatever the hub runs next; for who switches by hand, and has asked whether it may.
/// Returns when control comes back.
#[inline(always)]
pub(crate) fn leave(thread: Local<Thread>, target: Option<FiberRef>) {
    if std::thread::panicking() {
        leave_amid_unwinding(thread, target);
    } else {
        thread.leave(target, run_for_main);
    }
}

/// The main greenlet has left the choice of who goes on to the hub.
#[inline(never)]
fn run_for_main() {
    hub().run();
}

/// The same while somebody on this OS thread unwinds: the current one, or one that is away meanwhile.
#[cold]
fn leave_amid_unwinding(thread: Local<Thread>, target: Option<FiberRef>) {
    let current = thread.current();
    let leave = || thread.leave(target, run_for_main);
    if thread.is_unwinding(current) { thread.away_while_unwinding(current, leave) } else { leave() }
}

/// Lets everybody who is ready run before the current greenlet goes on.
///
/// While a green thread unwinds, nothing happens: it must not yield then.
#[inline(always)]
pub(crate) fn yield_now() {
    if waiter::is_unwinding() {
        return;
    }
    let hub = hub();
    let fiber = hub.thread.current();
    if !fiber.disturbed.get() {
        fiber.state.set(State::Ready);
        hub.ready.borrow_mut().push_yielded(fiber);
        hub.leave(fiber);
    }
    if fiber.disturbed.get() {
        raise_interrupt(hub);
    }
}

#[cold]
fn raise_interrupt(hub: HubRef) {
    // A callback holds the fiber, which looks as if something had come for it.
    assert_may_wait();
    if let Wakeup::Interrupted(interrupt) = waiter::interrupted(hub.thread.current()) {
        interrupt.raise();
    }
}

/// Counts an operation that did not have to wait; when the green thread has done many at a stretch, it yields, so that
/// always-ready descriptors and queues starve nobody.
#[inline]
pub(crate) fn spend_budget() {
    if let Some(hub) = local_hub() {
        let left = hub.budget.get();
        if left > 1 {
            hub.budget.set(left - 1);
        } else if in_callback() {
            // What may not wait may not yield either, however much it does.
            hub.budget.set(BUDGET);
        } else {
            // Nobody knows how long so many took: timers and descriptors get a look before the next so many.
            hub.unlooked.set(run::SWITCHES_PER_LOOK);
            yield_now();
        }
    }
}

/// Waits until the hub has nothing ready.
pub(crate) fn idle() {
    let waiter = Waiter::new(WaitingOn::Other("idle"));
    let (hub, own) = (hub(), waiter.wake());
    hub.idlers.borrow_mut().push(own);
    while hub.idlers.borrow().iter().any(|idler| idler.is(own)) {
        if let Wakeup::Interrupted(interrupt) = waiter.park(None) {
            hub.idlers.borrow_mut().retain(|idler| !idler.is(own));
            interrupt.raise();
        }
    }
}

impl fmt::Debug for HubState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HubState")
    }
}
