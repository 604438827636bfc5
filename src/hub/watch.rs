//! A hub that is watched from another OS thread: whether it goes on, and who keeps it.
//!
//! Nobody watches unless somebody asks for that. Then a look is always due, and in its place comes another loop
//! ([`run_watched`](HubState::run_watched)), which leaves a [beat](super::beat) before each switch. So the loop of a hub that nobody watches
//! has nothing to do with all this.

use std::panic::Location;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering, fence};

use super::beat::{LOOKS, RUNS, Watch};
use super::current::local_hub;
use super::door::{Letter, open_doors};
use super::state::{BUDGET, HubState, MARKS, SWITCHES_PER_LOOK, WATCHED};
use crate::fiber::{self, Describe, existing_thread};
use crate::sys::clock::Time;
use crate::sys::unwind::frames_of_the_interrupted;
use crate::sys::{futex, process};

/// Whether new hubs are watched, and how.
static LEVEL: AtomicU8 = AtomicU8::new(NOT);
const NOT: u8 = 0;
const BEATS: u8 = 1;
/// Each beat says who runs, too.
const NAMES: u8 = 2;

/// Not 0 while who watches sleeps, or is about to, since no hub goes on.
static WATCHER_SLEEPS: AtomicU32 = AtomicU32::new(0);

/// How many frames are taken down.
const MOST_FRAMES: usize = 64;
/// How long a name may be, in bytes.
const LONGEST_NAME: usize = 64;
/// Due timers are counted up to this.
const MOST_DUE: usize = 1024;

/// Has all hubs of the process watched from now on, in which each beat says who runs if `with_names`.
pub(crate) fn watch_all(with_names: bool) {
    LEVEL.store(if with_names { NAMES } else { BEATS }, Ordering::SeqCst);
    tell_all(|hub| hub.start_watch());
}

/// Has none watched any more.
pub(crate) fn watch_none() {
    LEVEL.store(NOT, Ordering::SeqCst);
    tell_all(|hub| hub.end_watch());
}

/// In the child of a fork, nobody is there who watches.
pub(super) fn forget() {
    LEVEL.store(NOT, Ordering::SeqCst);
}

fn tell_all(change: fn(&HubState)) {
    let own = local_hub();
    if let Some(hub) = &own {
        change(hub);
    }
    for door in open_doors() {
        if own.is_none_or(|own| !own.door().is(door)) {
            let tell = move || local_hub().into_iter().for_each(|hub| change(&hub));
            door.send(door.epoch(), Letter::Run(Box::new(tell)));
        }
    }
}

/// Says that who watches is about to sleep. `false` if a hub goes on that is watched: then it is not.
pub(crate) fn prepare_watcher_to_sleep() -> bool {
    WATCHER_SLEEPS.store(1, Ordering::SeqCst);
    // With the one in `wake_watcher`: either this finds the hub awake, or that finds this asleep.
    fence(Ordering::SeqCst);
    let all_sleep = open_doors().iter().all(|door| door.is_asleep() || !door.watch.is_on());
    if !all_sleep {
        WATCHER_SLEEPS.store(0, Ordering::SeqCst);
    }
    all_sleep
}

/// Blocks until a hub goes on, or somebody calls [`wake_watcher`], since that was prepared.
pub(crate) fn let_watcher_sleep() {
    futex::wait(&WATCHER_SLEEPS, 1, None);
}

/// Wakes who watches, if he sleeps.
pub(crate) fn wake_watcher() {
    fence(Ordering::SeqCst);
    if WATCHER_SLEEPS.load(Ordering::SeqCst) != 0 {
        WATCHER_SLEEPS.store(0, Ordering::SeqCst);
        futex::wake(&WATCHER_SLEEPS);
    }
}

/// Runs `function`, which may keep the hub as long as it takes, until it ends or first waits.
pub(crate) fn allow<R>(function: impl FnOnce() -> R) -> R {
    let _allowance = local_hub().map(|hub| hub.door().watch.allow());
    function()
}

impl HubState {
    /// Has it watched, if hubs are. One in a world is not: its time is another.
    pub(super) fn start_watch(&self) {
        let watch = &self.door().watch;
        if LEVEL.load(Ordering::SeqCst) == NOT || watch.is_on() || self.world().is_some() {
            return;
        }
        let name = fiber::in_common(std::thread::current).name().unwrap_or("<unnamed>").to_owned();
        watch.set_thread(process::os_thread_id(), name);
        watch.tell(self.thread.current().description());
        watch.begin(RUNS);
        self.unlooked.set(self.unlooked.get() | WATCHED);
        wake_watcher();
    }

    /// Not watched any more.
    pub(super) fn end_watch(&self) {
        self.door().watch.end();
        self.unlooked.set(self.unlooked.get() & !WATCHED);
    }

    /// Nobody keeps it.
    pub(super) fn beat(&self) {
        let watch = &self.door().watch;
        if watch.is_on() {
            watch.begin(LOOKS);
        }
    }

    /// One turn of the loop. Whether main is to go on.
    #[cold]
    #[inline(never)]
    pub(super) fn run_watched(&self) -> bool {
        let watch = &self.door().watch;
        let is_due = self.unlooked.get() & !MARKS >= SWITCHES_PER_LOOK;
        let (fresh, woken) = if is_due { (0, 0) } else { self.ready.borrow_mut().begin_pass() };
        if fresh + woken == 0 {
            watch.begin(LOOKS);
            return self.look_marked() && self.run_chosen();
        }
        watch.set_ready(fresh + woken);
        self.begin_fresh_watched(watch, fresh) || self.run_woken_watched(watch, woken)
    }

    /// Whether main is to go on.
    fn begin_fresh_watched(&self, watch: &Watch, count: usize) -> bool {
        for _ in 0..count {
            // Each by itself: else they begin one after another on the same stack, and nobody sees.
            let job = self.ready.borrow_mut().pop_only_fresh();
            let Some(job) = job else { return false };
            leave_beat(watch, || job.description());
            self.budget.set(BUDGET);
            if self.begin(job) {
                return true;
            }
        }
        false
    }

    /// Whether main is to go on.
    fn run_woken_watched(&self, watch: &Watch, count: usize) -> bool {
        self.unlooked.set(self.unlooked.get() + count);
        for _ in 0..count {
            let Some(fiber) = self.take_woken(&mut self.ready.borrow_mut()) else { break };
            leave_beat(watch, || fiber.description());
            #[cfg(feature = "monkey")]
            if fiber.is_isolated() {
                if self.run_isolated(fiber, &mut 0) {
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
}

#[inline]
fn leave_beat<'a>(watch: &Watch, who: impl FnOnce() -> Option<&'a dyn Describe>) {
    // Who ran before in this pass may have ended that.
    if !watch.is_on() {
        return;
    }
    // Relaxed: it does not matter when exactly it is seen.
    if LEVEL.load(Ordering::Relaxed) == NAMES {
        watch.tell(who());
    }
    watch.begin(RUNS);
}

/// What an OS thread sees of itself in the handler of a signal.
#[derive(Debug)]
pub(crate) struct Testimony {
    /// Whether it runs a green thread or another greenlet, and not main or the hub's own work.
    is_somebody: bool,
    number: Option<u64>,
    name: [u8; LONGEST_NAME],
    name_length: usize,
    has_name: bool,
    place: Option<&'static Location<'static>>,
    ready: Option<usize>,
    due: Option<usize>,
    frames: [usize; MOST_FRAMES],
    depth: usize,
}

impl Testimony {
    pub(crate) fn new() -> Testimony {
        Testimony {
            is_somebody: false,
            number: None,
            name: [0; LONGEST_NAME],
            name_length: 0,
            has_name: false,
            place: None,
            ready: None,
            due: None,
            frames: [0; MOST_FRAMES],
            depth: 0,
        }
    }

    /// Looks about on the calling thread. Async-signal-safe: it reads what lies in the records of the thread, which nothing in them is
    /// freed or moved by, and asks each cell whether the interrupted code is in the middle of it.
    pub(crate) fn take(&mut self) {
        let Some(thread) = existing_thread() else { return };
        let current = thread.current();
        if let Some(description) = current.description() {
            self.is_somebody = true;
            self.number = description.id();
            self.place = Some(description.spawned_at());
            if let Some(name) = description.name() {
                self.has_name = true;
                self.name_length = name.len().min(LONGEST_NAME);
                self.name[..self.name_length].copy_from_slice(&name.as_bytes()[..self.name_length]);
            }
        }
        if let Some(hub) = local_hub() {
            self.ready = hub.ready.try_borrow().ok().map(|ready| ready.woken() + ready.fresh());
            let now = Time::now();
            self.due = hub.timers.try_borrow().ok().map(|timers| timers.count_due(now, MOST_DUE));
        }
        let (frames, depth) = (&mut self.frames, &mut self.depth);
        frames_of_the_interrupted(current.stack_bounds(), &mut |address| {
            if let Some(frame) = frames.get_mut(*depth) {
                *frame = address;
                *depth += 1;
            }
            *depth < MOST_FRAMES
        });
    }

    /// The number, the name and the place of the spawn of who runs; `None` for main and the hub's own work.
    pub(crate) fn who(&self) -> Option<(Option<u64>, Option<String>, &'static Location<'static>)> {
        let name =
            self.has_name.then(|| String::from_utf8_lossy(&self.name[..self.name_length]).into_owned());
        self.place.filter(|_| self.is_somebody).map(|place| (self.number, name, place))
    }

    /// How many are ready; `None` if that could not be seen.
    pub(crate) fn ready(&self) -> Option<usize> {
        self.ready
    }

    /// How many timers are due, up to some number; `None` if that could not be seen.
    pub(crate) fn due(&self) -> Option<usize> {
        self.due
    }

    /// Where each call returns to, the innermost first.
    pub(crate) fn frames(&self) -> &[usize] {
        &self.frames[..self.depth]
    }
}
