//! Runs blocks: what every operation has in common, and those that only steer.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use greenloop::error::GreenletExit;
use greenloop::greenlet::Yielder;
use greenloop::{Elapsed, Timeout, idle, sleep, with_timeout, yield_now};

use super::account::{Answer, Bomb};
use super::program::{Block, Patience, Step};
use super::stacks::Running;
use super::tasks;
use super::verb::Verb;
use super::world::{Objects, World};

/// How long who would wait for ever waits where no limit of the program's ends it.
const UNBOUNDED: u32 = 1500;

/// What surrounds a block that runs.
pub(crate) struct Frame<'a> {
    pub(crate) world: &'a Arc<World>,
    /// The generator in whose body this is.
    pub(crate) yielder: Option<&'a Yielder<(), ()>>,
    /// What the green thread is to return.
    answer: &'a Cell<Option<Bomb>>,
    /// The program's limit ends each wait here.
    bounded: bool,
}

/// What lives until its block ends.
enum Held {
    #[expect(dead_code, reason = "dropped, nothing else")]
    Bomb(Bomb),
    #[expect(dead_code, reason = "dropped, nothing else")]
    Timer(Timeout),
}

thread_local! {
    /// A panic hook runs here, to the end of which std aborts the process at any other panic.
    static IN_PANIC_HOOK: Cell<bool> = const { Cell::new(false) };
}

/// Runs the block of a panic hook.
pub(crate) fn panic_hook(world: &Arc<World>, steps: &Block) {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            IN_PANIC_HOOK.set(false);
        }
    }
    let _running = Running::new();
    let answer = Cell::new(None);
    IN_PANIC_HOOK.set(true);
    let _reset = Reset;
    Frame { world, yielder: None, answer: &answer, bounded: false }.run(steps);
}

/// Runs a block in a place that may be any: a destructor, a callback, a hook. Not of what a panic hook drops or calls, as it may
/// panic.
pub(crate) fn block(world: &Arc<World>, steps: &Block) {
    if IN_PANIC_HOOK.get() {
        return;
    }
    let _running = Running::new();
    let answer = Cell::new(None);
    Frame { world, yielder: None, answer: &answer, bounded: false }.run(steps);
}

/// Runs a block as all of a greenlet, which the program's limit ends.
pub(crate) fn greenlet(world: &Arc<World>, steps: &[Step], yielder: Option<&Yielder<(), ()>>) -> Answer {
    let answer = Cell::new(None);
    let frame = Frame { world, yielder, answer: &answer, bounded: true };
    let _ = with_timeout(world.left(), || frame.run(steps));
    Answer { _bomb: answer.take() }
}

/// What a green thread is to run. What it holds from the first it takes along when it is spawned.
pub(crate) fn body(world: &Arc<World>, steps: &Block) -> impl FnOnce() -> Answer + Send + use<> {
    let (world, steps) = (world.clone(), steps.clone());
    let first = steps.iter().take_while(|step| step.verb == Verb::Hold).count();
    let held: Vec<_> = steps[..first].iter().map(|step| Bomb::new(&world, &step.block)).collect();
    move || {
        let held = held;
        let answer = greenlet(&world, &steps[first..], None);
        // By hand: what a function has already returned is leaked if a local's destructor panics (rust-lang/rust#47949).
        drop(held);
        answer
    }
}

/// Somebody is in a step, as the watchdog shows.
struct Inside<'a> {
    world: &'a World,
    line: usize,
}

impl<'a> Inside<'a> {
    fn new(world: &'a World, line: usize) -> Inside<'a> {
        world.inside[line].fetch_add(1, SeqCst);
        Inside { world, line }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.world.inside[self.line].fetch_sub(1, SeqCst);
    }
}

impl Frame<'_> {
    pub(crate) fn run(&self, steps: &[Step]) {
        let mut held = Vec::new();
        for step in steps {
            // The objects go before the end, when callbacks are still called.
            let Some(objects) = self.world.objects() else { return };
            if self.world.is_over() {
                return;
            }
            let _inside = Inside::new(self.world, step.line);
            match step.verb {
                Verb::Hold => held.push(Held::Bomb(Bomb::new(self.world, &step.block))),
                Verb::Timer => {
                    let mut timeout = Timeout::new(step.time());
                    timeout.start().expect("it has not started");
                    held.push(Held::Timer(timeout));
                }
                _ => self.step(step, &objects),
            }
        }
    }

    /// How long a step may wait here.
    pub(crate) fn patience(&self, step: &Step) -> Patience {
        match step.patience {
            // In a destructor of who unwinds, or ends, a wait for a lock is not ended by limits.
            Patience::Forever if !self.bounded || thread::panicking() || tasks::is_ending() => {
                Patience::Micros(UNBOUNDED)
            }
            patience => patience,
        }
    }

    /// Whether a wait that cannot be told how long it may last ends all the same: not in a destructor of who unwinds, where
    /// limits and kills do not disturb waits for locks and for others, nor in those of thread-local variables, where they disturb none.
    pub(crate) fn limits_hold(&self) -> bool {
        !thread::panicking() && !tasks::is_ending()
    }

    /// Whether a wait for oneself, which would last for ever, is ended all the same.
    pub(crate) fn may_deadlock(&self) -> bool {
        self.bounded && self.limits_hold()
    }

    /// Runs what waits until somebody switches back, which may be never.
    pub(crate) fn switching(&self, function: impl FnOnce()) {
        if self.bounded && !tasks::is_ending() {
            function();
        } else if self.limits_hold() {
            let _ = with_timeout(micros(UNBOUNDED), function);
        }
    }

    /// Runs what has no time limit of its own for as long as the step may wait.
    pub(crate) fn patiently<R>(&self, step: &Step, function: impl FnOnce() -> R) -> Option<R> {
        if tasks::is_ending() {
            return None;
        }
        match self.patience(step) {
            Patience::Forever => Some(function()),
            Patience::Never => with_timeout(Duration::ZERO, function).ok(),
            Patience::Micros(time) => with_timeout(micros(time), function).ok(),
        }
    }

    fn step(&self, step: &Step, objects: &Arc<Objects>) {
        match step.verb {
            Verb::Yield => yield_now(),
            Verb::Sleep => sleep(step.time()),
            Verb::Idle => idle(),
            Verb::Compute => compute(step.time()),
            Verb::Limit => drop(with_timeout(step.time(), || self.run(&step.block))),
            Verb::Repeat => (0..step.number).for_each(|_| self.run(&step.block)),
            Verb::Catch => self.catch(step),
            Verb::Panic => panic_any(Bomb::payload(self.world, &step.block, self.bounded)),
            Verb::Return => drop(self.answer.replace(Some(Bomb::new(self.world, &step.block)))),
            Verb::Hold | Verb::Timer | Verb::Child => self.run(&step.block),
            _ if self.task_step(step) || self.stack_step(step) || self.lock_step(step, objects) => {}
            _ if self.value_step(step, objects) || self.event_step(step, objects) => {}
            _ => self.kernel_step(step, objects),
        }
    }

    /// Catches everything, but lets the end of the whole go on.
    fn catch(&self, step: &Step) {
        let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.run(&step.block))) else { return };
        let ends = payload.is::<GreenletExit>() || payload.is::<Elapsed>();
        if ends && step.line.is_multiple_of(2) {
            resume_unwind(payload);
        }
    }
}

pub(crate) fn micros(time: u32) -> Duration {
    Duration::from_micros(time.into())
}

fn compute(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}
