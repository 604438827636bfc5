//! Operations on green threads, scopes, pools and OS threads.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use greenloop::greenlet;
use greenloop::hub::Hub;
use greenloop::pool::{self, Pool};
use greenloop::threadpool::{self, ThreadPool};
use greenloop::{
    Builder, JoinHandle, Subscription, Waitable, block_on, joinall, joinall_timeout, scope, spawn,
    spawn_later, wait_any, yield_now,
};

use super::account::{Answer, Bomb, Borrowed, Witness, muffle};
use super::program::{self, Block, Patience, Step};
use super::run::{self, Frame, body, micros};
use super::stacks;
use super::verb::Verb;
use super::world::{World, locked, replaced, taken};

/// By then every green thread of an OS thread that waits for them has ended, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the frames of the interpreter need, unoptimised.
const LEAST_STACK: usize = 400_000;

/// More than the greenlets of a program that may end in one that waits.
const ATTEMPTS: usize = 40;

static THREADS: ThreadPool = ThreadPool::new(2);

thread_local! {
    /// Destructors that run when the OS thread ends: those of the first after the hub's, those of the second before.
    static KEPT: [RefCell<Vec<Bomb>>; 2] = const { [const { RefCell::new(Vec::new()) }; 2] };
}

/// Whether a destructor of [`KEPT`] runs: no kill and no time limit is raised there, in an isolated green thread that goes on.
pub(crate) fn is_ending() -> bool {
    KEPT.try_with(|_| ()).is_err()
}

impl Frame<'_> {
    /// Whether it was one of these.
    pub(super) fn task_step(&self, step: &Step) -> bool {
        match step.verb {
            Verb::Spawn | Verb::SpawnLater | Verb::SpawnSized | Verb::SpawnIsolated => self.spawn(step),
            Verb::Join => self.join(step),
            Verb::Wait => self.with_task(step, |frame, task| match frame.patience(step) {
                Patience::Forever => task.wait(),
                Patience::Never => drop(task.is_finished()),
                Patience::Micros(time) => drop(task.wait_timeout(micros(time))),
            }),
            Verb::Kill => self.with_task(step, |frame, task| match frame.patience(step) {
                Patience::Forever => task.kill(),
                Patience::Never => drop(task.try_kill()),
                Patience::Micros(time) => drop(task.kill_timeout(micros(time))),
            }),
            Verb::KillWith => self.with_task(step, |frame, task| {
                task.kill_with(Box::new(Bomb::new(frame.world, &step.block)));
            }),
            Verb::LinkTask => self.with_task(step, |frame, task| {
                let bomb = Callback::new(frame.world, &step.block);
                task.link(move |_| bomb.call_in_green_thread());
            }),
            Verb::Forge => self.with_task(step, |_, task| {
                // The last few are what a library would reserve.
                let number =
                    if step.number < 4 { step.number.into() } else { u64::MAX - u64::from(step.number - 4) };
                task.unsubscribe(Subscription::with_number(number));
            }),
            Verb::Detach => drop(taken(&self.world.tasks[step.object])),
            Verb::Await | Verb::WaitAny if !self.limits_hold() => {}
            Verb::Await => self.wait_as_future(step),
            Verb::WaitAny => self.with_tasks(|_, tasks| _ = wait_any(tasks)),
            Verb::JoinAll => self.with_tasks(|frame, tasks| match frame.patience(step) {
                Patience::Forever => drop(joinall(tasks)),
                Patience::Never => drop(joinall_timeout(tasks, Duration::ZERO)),
                Patience::Micros(time) => drop(joinall_timeout(tasks, micros(time))),
            }),
            Verb::Scope => self.scope(step),
            Verb::Pool => self.pool(step),
            Verb::HubJoin if greenlet::current().is_main() => {
                Hub::current().join_timeout(Duration::from_millis(2));
            }
            Verb::HubJoin => {}
            Verb::Thread | Verb::LeavingThread => self.thread(step),
            Verb::Unblock => self.give_job(step, threadpool::unblock),
            Verb::Job => {
                let job = self.give_job(step, |job| THREADS.spawn(job));
                let _ = job.wait_timeout(Duration::from_millis(1));
            }
            Verb::Keep => {
                let bomb = Bomb::muffled(self.world, &step.block);
                // Within those destructors there is no place left; then it goes at once.
                let _ = KEPT.try_with(|kept| kept[step.number as usize].borrow_mut().push(bomb));
            }
            _ => return false,
        }
        true
    }

    fn spawn(&self, step: &Step) {
        let witness = Witness::at_home(self.world);
        let body = body(self.world, &step.block);
        let run = move || {
            let _witness = witness;
            body()
        };
        let builder = Builder::new().name(format!("line {}", step.line));
        let task = match step.verb {
            Verb::SpawnLater => Ok(spawn_later(step.time(), run)),
            Verb::SpawnSized => builder.stack_size(LEAST_STACK + step.number as usize).spawn(run),
            #[cfg(feature = "monkey")]
            Verb::SpawnIsolated => builder.isolated(true).spawn(run),
            _ => Ok(spawn(run)),
        };
        if let Ok(task) = task {
            drop(replaced(&self.world.tasks[step.object], Arc::new(task)));
        }
    }

    fn with_task(&self, step: &Step, function: impl FnOnce(&Self, &JoinHandle<Answer>)) {
        let task = locked(&self.world.tasks[step.object]).clone();
        if let Some(task) = task {
            function(self, &task);
        }
    }

    fn with_tasks(&self, function: impl FnOnce(&Self, Vec<&JoinHandle<Answer>>)) {
        let tasks: Vec<_> = self.world.tasks.iter().filter_map(|task| locked(task).clone()).collect();
        // Forever it could wait only where the program's limit ends it.
        let wait = || function(self, tasks.iter().map(|task| &**task).collect());
        self.patiently(&forever(), wait);
    }

    /// Takes a handle of which nobody else has a share.
    fn take_task(&self, step: &Step) -> Option<JoinHandle<Answer>> {
        taken(&self.world.tasks[step.object]).and_then(Arc::into_inner)
    }

    fn join(&self, step: &Step) {
        let Some(task) = self.take_task(step) else { return };
        let outcome = match self.patience(step) {
            Patience::Forever => Ok(task.join()),
            Patience::Never => task.join_timeout(Duration::ZERO),
            Patience::Micros(time) => task.join_timeout(micros(time)),
        };
        match outcome {
            Ok(result) => drop(result),
            Err(task) => drop(replaced(&self.world.tasks[step.object], Arc::new(task))),
        }
    }

    fn wait_as_future(&self, step: &Step) {
        if let Some(task) = self.take_task(step) {
            self.patiently(&forever(), || drop(block_on(task)));
        }
    }

    fn scope(&self, step: &Step) {
        let open = Open::new();
        scope(|scope| {
            for child in &*step.block {
                if child.verb != Verb::Child {
                    self.run(std::slice::from_ref(child));
                    continue;
                }
                let (borrowed, body) = (Borrowed::new(self.world, &open.0), body(self.world, &child.block));
                let task = scope.spawn(move || {
                    let _borrowed = borrowed;
                    body()
                });
                if child.line % 3 == 0 {
                    task.kill();
                }
            }
        });
    }

    fn pool(&self, step: &Step) {
        let size = 1 + step.number as usize / 2;
        let children = step.block.iter().filter(|child| child.verb == Verb::Child);
        if step.number.is_multiple_of(2) {
            let pool = Pool::new(size);
            children.for_each(|child| drop(pool.spawn(body(self.world, &child.block))));
            pool.join_timeout(Duration::from_millis(1));
            pool.kill();
            return;
        }
        let open = Open::new();
        pool::scope(size, |pool| {
            for child in children {
                let (borrowed, body) = (Borrowed::new(self.world, &open.0), body(self.world, &child.block));
                pool.spawn(move || {
                    let _borrowed = borrowed;
                    body()
                });
            }
        });
    }

    /// Gives a block to an OS thread of a pool, where nothing may stay behind: that lasts longer than the program.
    fn give_job<R>(&self, step: &Step, give: impl FnOnce(Box<dyn FnOnce() + Send>) -> R) -> R {
        let (job, counted) = (Callback::new(self.world, &step.block), Counted::new(self.world));
        // Callbacks and late kills are letters to that OS thread, which does not run its hub between jobs.
        let leaves_letters = |step: &Step| {
            let spawns = [Verb::Spawn, Verb::SpawnLater, Verb::SpawnSized, Verb::SpawnIsolated];
            let links = [Verb::Link, Verb::LinkTask, Verb::Rawlink, Verb::RawlinkResult];
            spawns.contains(&step.verb) || links.contains(&step.verb)
        };
        if program::any(&step.block, leaves_letters) {
            self.world.abandoned.store(true, SeqCst);
        }
        let asks = greenlet::current().id();
        let given = Arc::new(AtomicBool::new(false));
        let was_given = given.clone();
        let result = give(Box::new(move || {
            let _counted = counted;
            muffle(|| drop(run::greenlet(&job.witness.world, &job.block, None)));
            // A pool may have it done in the place of who asks, which goes on there.
            if given.load(SeqCst) || greenlet::current().id() != asks {
                clean_up(&job.witness.world);
            }
        }));
        was_given.store(true, SeqCst);
        result
    }

    fn thread(&self, step: &Step) {
        let (world, witness) = (self.world.clone(), Witness::new(self.world));
        let (block, leaves) = (step.block.clone(), step.verb == Verb::LeavingThread);
        let thread = thread::Builder::new().spawn(move || {
            let _witness = witness;
            os_thread(&world, &block, leaves);
        });
        if let Ok(thread) = thread {
            locked(&self.world.threads).push(thread);
        }
    }
}

/// Runs a block as all of an OS thread. One that `leaves` does not care for what is parked in it.
pub(crate) fn os_thread(world: &Arc<World>, block: &Block, leaves: bool) {
    // Its destructor runs after the hub's, since the hub comes later.
    KEPT.with(|_| ());
    // A thread that was patched may have a hub already.
    let _ = greenloop::hub::configure(world.config());
    muffle(|| drop(run::greenlet(world, block, None)));
    if !leaves {
        settle(world);
    }
    greenlet::settrace(None);
    if Hub::current().alive() > 0 || stacks::any() {
        world.abandoned.store(true, SeqCst);
    }
}

/// A job that has not ended.
struct Counted(Arc<World>);

impl Counted {
    fn new(world: &Arc<World>) -> Counted {
        world.jobs.fetch_add(1, SeqCst);
        Counted(world.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.jobs.fetch_sub(1, SeqCst);
    }
}

/// Leaves nothing on an OS thread that goes on.
fn clean_up(world: &World) {
    // What is dropped may leave something again; a program is finite.
    loop {
        settle(world);
        let kept: Vec<_> = KEPT.with(|kept| kept.iter().flat_map(RefCell::take).collect());
        if kept.is_empty() & !stacks::forget_locals() {
            return;
        }
    }
}

/// Ends what runs on this OS thread, or waits for its end.
fn settle(world: &World) {
    greenlet::settrace(None);
    // What is thrown here meanwhile, by greenlets that end, ends one attempt.
    for _ in 0..ATTEMPTS {
        let mut done = false;
        muffle(|| {
            // What was killed before it began is forgotten when the hub next runs.
            yield_now();
            stacks::end_all(PATIENCE);
            if !Hub::current().join_timeout(PATIENCE) {
                world.fault("green threads do not end", &format!("{} left", Hub::current().alive()));
            }
            stacks::end_all(PATIENCE);
            done = true;
        });
        if done {
            return;
        }
    }
}

/// A block as a callback, which counts itself.
pub(super) struct Callback {
    witness: Witness,
    block: Block,
}

impl Callback {
    pub(super) fn new(world: &Arc<World>, block: &Block) -> Callback {
        Callback { witness: Witness::new(world), block: block.clone() }
    }

    pub(super) fn call(self) {
        run::block(&self.witness.world, &self.block);
    }

    pub(super) fn call_in_green_thread(self) {
        drop(run::greenlet(&self.witness.world, &self.block, None));
    }
}

/// A scope may have children until this is dropped.
struct Open(Arc<AtomicBool>);

impl Open {
    fn new() -> Open {
        Open(Arc::new(AtomicBool::new(true)))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.store(false, SeqCst);
    }
}

/// A step that waits for as long as its place allows.
fn forever() -> Step {
    Step { verb: Verb::Wait, object: 0, number: 0, patience: Patience::Forever, block: [].into(), line: 0 }
}
