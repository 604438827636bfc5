//! Runs a program and checks what must hold at its end.

use std::panic::{self, PanicHookInfo};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::hub::{configure, set_uncaught_hook};
use rustix::net::{RecvFlags, recv};

use super::account::{Bomb, muffle};
use super::memory::Holdings;
use super::program::{Block, Program};
use super::run;
use super::tasks::os_thread;
use super::watchdog;
use super::world::{Fault, Objects, PERMITS, Socket, World, locked, replaced, taken};

/// What grows this often in turn grows for ever.
const GROWTHS: usize = 30;

/// What the library may panic with: its documented rules.
const RULES: &[&str] = &[
    "nothing may wait in ",
    "this OS thread ends",
    "greenlets cannot be used while the thread's locals are destroyed",
    "a scoped green thread panicked",
    "a generator yields in its body's own greenlet",
    "the generator's body is suspended in a switch by hand",
];

/// Who runs, for hooks that belong to the process.
static CURRENT: Mutex<Option<Arc<World>>> = Mutex::new(None);

/// Installs the hooks of the process.
pub(crate) fn install_hooks() {
    panic::set_hook(Box::new(judge));
    set_uncaught_hook(Some(Arc::new(|_| run_hook(1, run::block))));
}

fn run_hook(number: usize, run: fn(&Arc<World>, &Block)) {
    let world = locked(&CURRENT).clone();
    let Some(world) = world else { return };
    let block = taken(&world.hooks[number]);
    if let Some(block) = block {
        run(&world, &block);
    }
}

/// Programs panic with payloads of their own; a text comes from the library, and must be a rule.
fn judge(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let text =
        payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    let Some(text) = text else {
        if payload.downcast_ref().is_some_and(Bomb::may_wait) {
            run_hook(0, run::panic_hook);
        }
        return;
    };
    let world = locked(&CURRENT).clone();
    if let Some(world) = world
        && !RULES.iter().any(|rule| text.contains(rule))
    {
        let place = info.location().map_or_else(String::new, ToString::to_string);
        world.fault("a panic that is no rule", &format!("{text}, at {place}"));
    }
}

/// Runs a program, again if there is more memory in use afterwards, and returns what was wrong.
pub(crate) fn check(program: &Program) -> Vec<Fault> {
    let mut growth = None;
    for _ in 0..=GROWTHS {
        let before = Holdings::now();
        let (mut faults, abandoned) = once(program);
        growth = Holdings::now().more_than(before);
        if !faults.is_empty() {
            faults.truncate(8);
            return faults;
        }
        if growth.is_none() || abandoned {
            return faults;
        }
    }
    let detail = growth.unwrap_or_default();
    vec![Fault { kind: "memory grows".to_owned(), detail: format!("each time, last by {detail}") }]
}

/// Runs a program to its end; also returns whether something was abandoned.
fn once(program: &Program) -> (Vec<Fault>, bool) {
    let world = match World::new(program) {
        Ok(world) => world,
        Err(error) => {
            return (vec![Fault { kind: "no objects".to_owned(), detail: error.to_string() }], false);
        }
    };
    drop(replaced(&CURRENT, world.clone()));
    let watch = watchdog::watch(program, &world);
    let main = thread::spawn({
        let (world, steps) = (world.clone(), program.steps.clone());
        move || os_thread(&world, &steps, false)
    });
    locked(&world.threads).push(main);
    loop {
        let thread = locked(&world.threads).pop();
        let Some(thread) = thread else {
            // A job may start a thread.
            if world.jobs.load(SeqCst) == 0 && locked(&world.threads).is_empty() {
                break;
            }
            thread::sleep(Duration::from_micros(50));
            continue;
        };
        if thread.join().is_err() {
            world.fault("an OS thread panicked", "");
        }
    }
    let end = thread::spawn({
        let world = world.clone();
        move || {
            let _ = configure(world.config());
            end(&world);
        }
    });
    if end.join().is_err() {
        world.fault("the check panicked", "");
    }
    drop(watch);
    drop(taken(&CURRENT));
    let abandoned = world.abandoned.load(SeqCst);
    let faults = locked(&world.faults).clone();
    (faults, abandoned)
}

/// Looks at what is left, and takes it apart.
fn end(world: &Arc<World>) {
    // First, so that no block runs any more: what it made would belong to this thread.
    let Some(objects) = world.take_objects() else { return };
    for task in &world.tasks {
        muffle(|| drop(taken(task)));
    }
    muffle(|| locks_are_free(world, &objects));
    muffle(|| values_are_there(world, &objects));
    muffle(|| bytes_are_there(world, &objects));
    muffle(|| drop(objects));
    // What a thread of a pool, or of an ended hub's, is still about to drop.
    let deadline = Instant::now() + soon();
    while world.witnesses.load(SeqCst) > 0 && !world.abandoned.load(SeqCst) {
        if Instant::now() >= deadline {
            let left = world.witnesses.load(SeqCst);
            return world.fault("not dropped", &format!("{left} values or closures"));
        }
        thread::sleep(Duration::from_micros(50));
    }
}

/// By then what is free is got by who waits for it.
fn soon() -> Duration {
    watchdog::patience() / 15
}

/// What nobody holds can be had.
fn locks_are_free(world: &World, objects: &Objects) {
    let would_block = |blocks: bool, name: &str| {
        if blocks {
            world.fault("locked for ever", name);
        }
    };
    for mutex in &objects.mutexes {
        if mutex.held.load(SeqCst) == 0 {
            let guard = mutex.lock.lock_timeout(soon());
            would_block(matches!(guard, Err(TryLockError::WouldBlock)), "a mutex");
        }
    }
    if objects.rwlock.held.load(SeqCst) == 0 {
        let guard = objects.rwlock.lock.write_timeout(soon());
        would_block(matches!(guard, Err(TryLockError::WouldBlock)), "a reader-writer lock");
    }
    if objects.reentrant.held.load(SeqCst) == 0 {
        would_block(objects.reentrant.lock.lock_timeout(soon()).is_err(), "a reentrant lock");
    }
    for (semaphore, permits) in objects.semaphores.iter().zip(PERMITS) {
        let free = permits - semaphore.held.load(SeqCst) as usize;
        let available = semaphore.lock.available_permits();
        if available != free {
            world.fault("permits are lost", &format!("{available} available, {free} not held"));
        }
        if free > 0 {
            would_block(semaphore.lock.acquire_timeout(soon()).is_err(), "a semaphore");
        }
    }
}

/// Every value that was sent, and not received, can be.
fn values_are_there(world: &World, objects: &Objects) {
    for channel in &objects.channels {
        let receiver = locked(&channel.receiver).clone();
        if let Some(receiver) = receiver {
            while let Ok(token) = receiver.try_recv() {
                token.received();
            }
        }
        channel.ledger.check_empty(world);
        channel.ledger.close();
    }
    let (first, second, third) = &objects.queues;
    let gets: [&dyn Fn() -> Option<_>; 3] =
        [&|| first.try_get().ok(), &|| second.try_get().ok(), &|| third.try_get().ok()];
    for (get, ledger) in gets.iter().zip(&objects.ledgers) {
        while let Some(token) = get() {
            muffle(|| token.received());
        }
        ledger.check_empty(world);
        ledger.close();
    }
}

/// Every byte that was written, and not read, can be.
fn bytes_are_there(world: &World, objects: &Objects) {
    for (number, socket) in objects.sockets.iter().enumerate() {
        let socket = locked(socket).clone();
        let Some(socket) = socket.filter(|_| !objects.cut[number / 2].load(SeqCst)) else { continue };
        let mut buffer = [0; 4096];
        let mut read = || match &*socket {
            Socket::Unix(stream) => recv(stream, &mut buffer, RecvFlags::DONTWAIT),
            Socket::Tcp(stream) => recv(stream, &mut buffer, RecvFlags::DONTWAIT),
        };
        let mut left = objects.bytes[number].load(SeqCst);
        // Those of TCP may be on their way for a moment.
        let deadline = Instant::now() + soon();
        while left != 0 && Instant::now() < deadline {
            match read() {
                Ok((_, bytes)) => left -= bytes as i64,
                Err(_) => thread::sleep(Duration::from_micros(100)),
            }
        }
        if left != 0 {
            world.fault("bytes are lost", &format!("{left} towards k{number}"));
        }
    }
}
