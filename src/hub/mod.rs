//! The hub: one run loop per OS thread, made on first use.
//!
//! A hub runs the green threads of its thread one after another, each until it waits; when nobody is ready it blocks in the
//! kernel until a timer is due, a descriptor is ready, or another thread rings. There is no object to pass around:
//! [`spawn`](crate::spawn), [`sleep`](crate::sleep) and all the rest use the calling thread's hub.

mod configuration;
mod current;
pub(crate) mod line;
pub(crate) mod reactor;
mod ready;
pub(crate) mod remote;
pub(crate) mod timers;
pub(crate) mod waiter;
pub(crate) mod waitlist;
pub(crate) mod waitset;

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use configuration::{AlreadyRunning, Config, Driver, configure};
pub(crate) use current::{HubRef, hub, local_hub};
use reactor::Reactor;
use ready::Ready;
use remote::{BYSTANDERS, Door, Letter};
use timers::{TimerKey, Timers};
use waiter::{Waiter, WaitingOn, Wake, Wakeup};

use crate::error::{Elapsed, LoopExit, Parked};
use crate::greenlet::{self, FiberRef, Interrupt, Local, SizeClass, State, Stopped, Thread};
pub use crate::greenlet::{Uncaught, UncaughtHook, set_uncaught_hook};
use crate::sys::clock::Time;
use crate::sys::process;

/// Switches after which the loop looks at timers, letters and descriptors, though somebody is ready.
const SWITCHES_PER_LOOK: usize = 128;
/// Operations that a green thread may do at a stretch without waiting, see [`spend_budget`].
const BUDGET: u32 = 64;
/// How long the hub first sleeps when nothing is left that could wake it but other OS threads, before it looks whether
/// there are any; doubled each time.
const LONELY_SLEEP: Duration = Duration::from_millis(20);

/// Green threads are numbered from blocks, so that a spawn needs no atomic operation for it.
const NUMBERS_AT_A_TIME: u64 = 1 << 20;
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// A green thread that has not begun.
pub(crate) trait Job {
    /// Runs it to its end on `fiber`, and keeps what it raises.
    fn run(self: Arc<Self>, fiber: FiberRef);
    /// The stack that it asked for.
    fn stack(&self) -> SizeClass;
    /// There is no stack for it.
    fn fail(self: Arc<Self>, error: crate::error::StackError);
    /// Its hub ends before it could begin.
    fn abandon(self: Arc<Self>);
}

/// What a timer does.
pub(crate) enum Alarm {
    /// Ends a wait.
    Wake { fiber: FiberRef, generation: u64 },
    /// Raises in what runs on the fiber, if it still does.
    Timeout { fiber: FiberRef, run: u64, id: u64, limit: Duration },
    /// Begins a green thread.
    Start(Arc<dyn Job>),
}

/// One thread's run loop and everything that it looks after.
pub(crate) struct HubState {
    pub(crate) thread: Local<Thread>,
    pub(crate) door: &'static Door,
    pub(crate) epoch: u64,
    ready: RefCell<Ready<FiberRef, Arc<dyn Job>>>,
    /// What a fiber finds to begin with.
    starting: Cell<Option<Arc<dyn Job>>>,
    timers: RefCell<Timers<Alarm>>,
    reactor: OnceCell<Reactor>,
    /// The next generation of a wait: never the same number twice.
    generation: Cell<u64>,
    /// Switches since the loop last looked at timers, letters and descriptors.
    unlooked: Cell<usize>,
    budget: Cell<u32>,
    /// The hub's own code runs: nothing may wait.
    in_callback: Cell<bool>,
    next_number: Cell<u64>,
    /// Green threads spawned here that have not ended.
    alive: Cell<usize>,
    /// The main greenlet, waiting for `alive` to reach zero.
    joiner: Cell<Option<Wake>>,
    /// Who waits for the hub to have nothing ready.
    idlers: RefCell<Vec<Wake>>,
    /// Sleeps in a row from which only another OS thread could have woken the hub, and none did.
    lonely_sleeps: Cell<u32>,
    /// How long to spin before the next block, and how many blocks to skip that.
    spin: Cell<Duration>,
    spins_to_skip: Cell<u32>,
    spins_in_vain: Cell<u32>,
}

impl HubState {
    fn new(thread: Local<Thread>) -> HubState {
        let (door, generation) = Door::open();
        HubState {
            thread,
            door,
            epoch: door.epoch(),
            ready: RefCell::new(Ready::new()),
            starting: Cell::new(None),
            timers: RefCell::new(Timers::new()),
            reactor: OnceCell::new(),
            generation: Cell::new(generation),
            unlooked: Cell::new(0),
            budget: Cell::new(BUDGET),
            in_callback: Cell::new(false),
            next_number: Cell::new(0),
            alive: Cell::new(0),
            joiner: Cell::new(None),
            idlers: RefCell::new(Vec::new()),
            lonely_sleeps: Cell::new(0),
            spin: Cell::new(configuration::settings().spin),
            spins_to_skip: Cell::new(0),
            spins_in_vain: Cell::new(0),
        }
    }

    // ---- the run loop ----

    /// Runs green threads until the main greenlet is to go on: it was woken, or somebody switched to it. Runs on the
    /// thread's own stack.
    fn run(&self) {
        loop {
            let woken = self.ready.borrow_mut().begin_pass();
            if self.begin_fresh() == Stopped::Main || self.run_woken(woken) == Stopped::Main {
                return;
            }
            if self.unlooked.get() >= SWITCHES_PER_LOOK || self.ready.borrow().is_empty() {
                self.thread.back_in_hub();
                self.look();
            }
        }
    }

    #[inline]
    fn run_woken(&self, count: usize) -> Stopped {
        self.unlooked.set(self.unlooked.get() + count);
        for _ in 0..count {
            let Some(fiber) = self.ready.borrow_mut().pop_woken() else { break };
            fiber.state.set(State::Running);
            self.budget.set(BUDGET);
            if fiber == self.thread.main() || self.thread.run(fiber) == Stopped::Main {
                return Stopped::Main;
            }
        }
        Stopped::Idle
    }

    #[inline]
    fn begin_fresh(&self) -> Stopped {
        loop {
            let Some(job) = self.ready.borrow_mut().pop_fresh() else { return Stopped::Idle };
            self.budget.set(BUDGET);
            self.unlooked.set(self.unlooked.get() + 1);
            match self.thread.take_fiber(job.stack(), run_jobs) {
                Ok(fiber) => {
                    self.starting.set(Some(job));
                    if self.thread.run(fiber) == Stopped::Main {
                        return Stopped::Main;
                    }
                }
                Err(error) => self.callback(|| job.fail(error)),
            }
        }
    }

    /// Looks at letters, timers and descriptors; blocks if nobody is ready.
    fn look(&self) {
        self.unlooked.set(0);
        self.callback(|| {
            self.read_letters();
            self.ring_alarms();
        });
        if !self.ready.borrow().is_empty() {
            if self.reactor.get().is_some_and(|reactor| reactor.waiting() > 0) {
                self.poll(Some(Duration::ZERO));
            }
        } else if !self.wake_idlers() {
            self.block();
        }
    }

    /// Nobody is ready: waits for a timer, a descriptor or a letter.
    #[inline(never)]
    fn block(&self) {
        let next = self.timers.borrow().next_deadline();
        let descriptors = self.reactor.get().is_some_and(|reactor| reactor.waiting() > 0);
        let mut longest = next.map(|deadline| Time::now().until(deadline));
        let lonely = next.is_none() && !descriptors;
        if lonely {
            let sleeps = self.lonely_sleeps.get();
            if sleeps > 0 && self.nobody_else() {
                self.lonely_sleeps.set(0);
                return self.raise_loop_exit();
            }
            longest = Some(LONELY_SLEEP.saturating_mul(1 << sleeps.min(20)));
            self.lonely_sleeps.set(sleeps + 1);
        }
        if self.spin_for_events(longest) || !self.door.prepare_to_sleep() {
            self.lonely_sleeps.set(0);
            return;
        }
        self.poll(longest);
        self.door.end_sleep();
        if !lonely || self.door.has_letters() {
            self.lonely_sleeps.set(0);
        }
    }

    /// Looks for events for a while without blocking; whether there were any.
    fn spin_for_events(&self, longest: Option<Duration>) -> bool {
        let spin = self.spin.get();
        if spin.is_zero() || longest.is_some_and(|longest| longest.is_zero()) {
            return false;
        }
        if self.spins_to_skip.get() > 0 {
            self.spins_to_skip.set(self.spins_to_skip.get() - 1);
            return false;
        }
        let end = Time::after(longest.map_or(spin, |longest| longest.min(spin)));
        while Time::now() < end {
            self.poll(Some(Duration::ZERO));
            if self.door.has_letters() || !self.ready.borrow().is_empty() {
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

    fn poll(&self, timeout: Option<Duration>) {
        let reactor = self.reactor();
        self.callback(|| reactor.poll(timeout));
    }

    /// The reactor, made when a descriptor is first waited for, or the hub first blocks.
    pub(crate) fn reactor(&self) -> &Reactor {
        self.reactor.get_or_init(|| {
            let driver = configuration::settings().driver.or_else(Driver::from_environment);
            self.door
                .bell()
                .and_then(|bell| Reactor::new(driver, bell))
                .unwrap_or_else(|error| panic!("the hub needs descriptors to wait with: {error}"))
        })
    }

    /// The reactor, if it has been made.
    #[inline]
    pub(crate) fn made_reactor(&self) -> Option<&Reactor> {
        self.reactor.get()
    }

    fn read_letters(&self) {
        if !self.door.has_letters() {
            return;
        }
        for (epoch, letter) in self.door.take_letters() {
            match letter {
                Letter::Wake { fiber, generation } => self.wake(fiber, generation),
                Letter::Run(callback) if epoch == self.epoch => greenlet::catch("a callback", callback),
                Letter::Run(_) => {}
            }
        }
    }

    fn ring_alarms(&self) {
        if self.timers.borrow().is_empty() {
            return;
        }
        let now = Time::now();
        loop {
            let Some(alarm) = self.timers.borrow_mut().pop_due(now) else { return };
            match alarm {
                Alarm::Wake { fiber, generation } if fiber.generation.get() == generation => {
                    self.make_ready(fiber)
                }
                Alarm::Wake { .. } => {}
                Alarm::Timeout { fiber, run, id, limit } if fiber.runs.get() == run => {
                    self.interrupt(
                        fiber,
                        Interrupt { payload: Box::new(Elapsed { limit, id }), timeout: id },
                    );
                }
                Alarm::Timeout { .. } => {}
                Alarm::Start(job) => self.ready.borrow_mut().push_fresh(job),
            }
        }
    }

    // ---- readiness ----

    /// Ends the wait `generation` of a fiber; nothing if that is over.
    #[inline]
    pub(crate) fn wake(&self, fiber: u32, generation: u64) {
        if let Some(fiber) = self.thread.fiber(fiber)
            && fiber.generation.get() == generation
        {
            self.make_ready(fiber);
        }
    }

    #[inline]
    fn make_ready(&self, fiber: FiberRef) {
        match fiber.state.get() {
            State::Parked => {
                fiber.state.set(State::Ready);
                self.ready.borrow_mut().push_woken(fiber);
            }
            State::Running => fiber.woken.set(true),
            State::Ready | State::Idle => {}
        }
    }

    /// Raises at the fiber's park, now or when it next comes to one.
    pub(crate) fn interrupt(&self, fiber: FiberRef, interrupt: Interrupt) {
        fiber.interrupts.borrow_mut().push(interrupt);
        fiber.disturbed.set(true);
        let state = fiber.state.get();
        if state == State::Parked || (state == State::Running && fiber.is_switched_out()) {
            fiber.state.set(State::Ready);
            self.ready.borrow_mut().push_woken(fiber);
        }
    }

    /// Leaves the stack of the current fiber until it is made ready.
    #[inline]
    fn park(&self, fiber: FiberRef) {
        fiber.state.set(State::Parked);
        self.leave(fiber);
    }

    #[inline]
    fn leave(&self, fiber: FiberRef) {
        self.thread.leave(None);
        if fiber.state.get() != State::Running {
            self.came_by_hand(fiber);
        }
    }

    /// Somebody switched by hand into a fiber that the hub was to resume.
    #[cold]
    fn came_by_hand(&self, fiber: FiberRef) {
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

    // ---- timers ----

    pub(crate) fn arm(&self, deadline: Time, alarm: Alarm) -> TimerKey {
        self.timers.borrow_mut().arm(deadline, alarm)
    }

    /// Takes a timer back; `false` if it has rung.
    pub(crate) fn disarm(&self, key: TimerKey) -> bool {
        let alarm = self.timers.borrow_mut().cancel(key);
        alarm.is_some()
    }

    // ---- green threads ----

    #[inline]
    pub(crate) fn push_fresh(&self, job: Arc<dyn Job>) {
        self.ready.borrow_mut().push_fresh(job);
    }

    /// A green thread is spawned here: counts it, and gives it a number that no other one of the process has.
    #[inline]
    pub(crate) fn count_spawned(&self) -> u64 {
        self.alive.set(self.alive.get() + 1);
        let mut number = self.next_number.get();
        if number % NUMBERS_AT_A_TIME == 0 {
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

    // ---- callbacks, idling, deadlock ----

    /// Runs the hub's own code, in which nothing may wait.
    fn callback(&self, run: impl FnOnce()) {
        let nested = self.in_callback.replace(true);
        run();
        self.in_callback.set(nested);
    }

    #[inline]
    fn assert_may_wait(&self) {
        assert!(
            !(self.in_callback.get() && self.thread.on_main()),
            "nothing may wait in a hub callback: spawn a green thread there"
        );
    }

    fn wake_idlers(&self) -> bool {
        let idlers = self.idlers.take();
        let any = !idlers.is_empty();
        idlers.into_iter().for_each(Wake::wake);
        any
    }

    /// Whether no other OS thread is there that could wake this hub. Looked at before a sleep without end only.
    #[cold]
    fn nobody_else(&self) -> bool {
        let bystanders = BYSTANDERS.load(Ordering::SeqCst);
        process::thread_count().is_some_and(|count| count <= bystanders + 1)
    }

    /// Nothing can wake main: raises it there, or ends its [`Hub::join`].
    #[cold]
    fn raise_loop_exit(&self) {
        let main = self.thread.main();
        if let Some(joiner) = self.joiner.take() {
            return joiner.wake();
        }
        let exit = LoopExit { parked: self.parked() };
        greenlet::report_text(&exit.to_string());
        main.throw(Box::new(exit));
        main.state.set(State::Ready);
        self.ready.borrow_mut().push_woken(main);
    }

    /// Every parked greenlet, main first.
    fn parked(&self) -> Vec<Parked> {
        let waits = |fiber: &FiberRef| fiber.state.get() == State::Parked || fiber.is_switched_out();
        let fibers = self.thread.all();
        let parked = fibers.iter().filter(|fiber| waits(fiber)).map(|fiber| self.describe(*fiber));
        parked.collect()
    }

    fn describe(&self, fiber: FiberRef) -> Parked {
        let waits_on = match fiber.waits_on.get() {
            _ if fiber.is_switched_out() => "a switch by hand".to_owned(),
            (words, number) => words.replace("{}", &number.to_string()),
        };
        let main = fiber == self.thread.main();
        let description = fiber.description();
        let name = match description.and_then(|description| description.name()) {
            _ if main => "main",
            name => name.unwrap_or("<unnamed>"),
        };
        let spawned_at = description.map(|description| description.spawned_at());
        Parked { name: name.to_owned(), spawned_at, waits_on }
    }

    /// The OS thread ends.
    fn end(&self) {
        self.in_callback.set(true);
        let fresh = self.ready.borrow_mut().take_fresh();
        fresh.into_iter().for_each(|job| job.abandon());
        loop {
            let Some(alarm) = self.timers.borrow_mut().pop_due(Time::NEVER) else { break };
            if let Alarm::Start(job) = alarm {
                job.abandon();
            }
        }
        self.door.close(self.generation.get());
    }
}

/// A fiber's work for the hub: green threads, one after another, as long as fresh ones may begin in this pass. The next
/// one begins on the same warm stack, with no switch.
fn run_jobs(fiber: FiberRef) -> Option<FiberRef> {
    let hub = hub();
    let mut next = hub.starting.take();
    while let Some(job) = next {
        job.run(fiber);
        fiber.end_run();
        next = hub.ready.borrow_mut().pop_fresh_if(|job| job.stack() == fiber.class());
        if next.is_some() {
            hub.unlooked.set(hub.unlooked.get() + 1);
            hub.budget.set(BUDGET);
        }
    }
    None
}

/// Lets everybody who is ready run before the current greenlet goes on.
///
/// While a green thread unwinds, nothing happens: it must not yield then.
#[inline]
pub(crate) fn yield_now() {
    if std::thread::panicking() {
        return;
    }
    let hub = hub();
    hub.assert_may_wait();
    let fiber = hub.thread.current();
    if !fiber.disturbed.get() {
        fiber.state.set(State::Ready);
        hub.ready.borrow_mut().push_woken(fiber);
        hub.leave(fiber);
    }
    if fiber.disturbed.get() {
        raise_interrupt(fiber);
    }
}

#[cold]
fn raise_interrupt(fiber: FiberRef) {
    if let Wakeup::Interrupted(interrupt) = waiter::interrupted(fiber) {
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
        } else {
            yield_now();
        }
    }
}

/// Waits until the hub has nothing ready.
pub(crate) fn idle() {
    let waiter = Waiter::new(WaitingOn::Other("idle"));
    let hub = hub();
    hub.idlers.borrow_mut().push(waiter.wake());
    if let Wakeup::Interrupted(interrupt) = waiter.park(None) {
        interrupt.raise();
    }
}

/// The calling OS thread's hub.
///
/// It is made on first use, so there is rarely a reason to name it.
///
/// ```compile_fail
/// let hub = greenloop::hub::Hub::current();
/// std::thread::spawn(move || hub.join()); // a hub stays on its thread
/// ```
#[derive(Clone, Copy)]
pub struct Hub {
    state: HubRef,
}

impl Hub {
    /// The hub of the calling thread.
    pub fn current() -> Hub {
        Hub { state: hub() }
    }

    /// Waits until all green threads of this hub have ended, or none that is left can ever be woken. For the main greenlet
    /// alone; may be called again. gevent's `hub.join()`.
    ///
    /// # Panics
    ///
    /// In a green thread, which would wait for itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::hub::Hub;
    ///
    /// let task = greenloop::spawn(|| greenloop::yield_now());
    /// Hub::current().join();
    /// assert!(task.is_finished());
    /// ```
    pub fn join(&self) {
        self.join_until(None);
    }

    /// Like [`join`](Hub::join), for at most `limit`; whether all have ended.
    pub fn join_timeout(&self, limit: Duration) -> bool {
        self.join_until(Some(Time::after(limit)))
    }

    fn join_until(&self, deadline: Option<Time>) -> bool {
        assert!(self.state.thread.on_main(), "only the main greenlet can join its hub");
        while self.state.alive.get() > 0 {
            let waiter = Waiter::new(WaitingOn::Other("Hub::join"));
            self.state.joiner.set(Some(waiter.wake()));
            let wakeup = waiter.park(deadline);
            let ended_by_hub = self.state.joiner.take().is_none();
            match wakeup {
                Wakeup::Interrupted(interrupt) => interrupt.raise(),
                Wakeup::TimedOut => return self.state.alive.get() == 0,
                Wakeup::Woken if ended_by_hub => return true,
                Wakeup::Woken => {}
            }
        }
        true
    }

    /// How many green threads of this hub have not ended, those that have not begun included.
    pub fn alive(&self) -> usize {
        self.state.alive.get()
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hub").field("alive", &self.alive()).finish_non_exhaustive()
    }
}

impl fmt::Debug for HubState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HubState")
    }
}
