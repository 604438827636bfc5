//! Who hears what a hub does: times it, and writes it down.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::codes;
use super::histogram::{Counts, Histogram};
use super::names::MAIN;
use super::occasion::{Occasion, occurs_in_hub};
use super::ring::{Kind, Ring, Scribe};
use super::turns::Turns;
use crate::fiber::{self, Describe, FiberRef, State, existing_thread, in_callback};
use crate::hub::door::Door;
use crate::hub::wait::Wait;
use crate::hub::witness::Witness;
use crate::hub::witnessed::{on_all_hubs, witness_all, witness_none};
use crate::hub::{HubState, fork, local_hub};
use crate::sys::clock::Time;
use crate::sys::process;

/// What one waits on that could go on, and lets others go first.
const YIELD: &str = "its turn";
const SWITCH: &str = "a switch by hand";

/// In which process hubs time what they run: one more than its generation, or 0 for none.
static TIMES: AtomicU32 = AtomicU32::new(0);
/// The recording that goes on, above the generation of its process; 0 for none.
static RECORDING: AtomicU64 = AtomicU64::new(0);
/// How many events the ring of each hub has.
static EVENTS: AtomicUsize = AtomicUsize::new(0);

/// Has all hubs time what they run, or not.
pub(super) fn set_timing(times: bool) {
    TIMES.store(if times { fork::generation() + 1 } else { 0 }, Ordering::SeqCst);
    apply();
}

/// Has all hubs write down what they do, for the recording of this number; for 0, no more. `false` if another one goes on.
pub(super) fn begin_recording(number: u64, events: usize) -> bool {
    let former = RECORDING.load(Ordering::SeqCst);
    // That of a parent is none here.
    let is_free = former == 0 || former as u32 != fork::generation();
    let own = tagged(number);
    if !is_free || RECORDING.compare_exchange(former, own, Ordering::SeqCst, Ordering::SeqCst).is_err() {
        return false;
    }
    EVENTS.store(events, Ordering::SeqCst);
    apply();
    true
}

/// Ends the recording of this number.
pub(super) fn end_recording(number: u64) {
    if RECORDING.compare_exchange(tagged(number), 0, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
        apply();
    }
}

fn tagged(number: u64) -> u64 {
    number << 32 | u64::from(fork::generation())
}

/// Whether hubs of this process time, and the recording of this process, 0 for none.
fn wanted() -> (bool, u64) {
    let (generation, recording) = (fork::generation(), RECORDING.load(Ordering::SeqCst));
    let is_own = recording as u32 == generation;
    (TIMES.load(Ordering::SeqCst) == generation + 1, if is_own { recording >> 32 } else { 0 })
}

fn apply() {
    let (times, recording) = wanted();
    if times || recording != 0 {
        witness_all(|| Box::new(Watcher::new()));
    } else {
        witness_none();
    }
    on_all_hubs(|hub| {
        if let Some(watcher) = Watcher::of(hub) {
            watcher.follow();
        }
    });
}

/// One hub's.
pub(super) struct Watcher {
    /// Who runs, and since when.
    running: Cell<Option<FiberRef>>,
    /// Who that is, while it is recorded.
    face: Cell<Face>,
    began: Cell<u64>,
    times: Cell<bool>,
    slices: Counts,
    delays: Counts,
    turns: Turns,
    /// By the fiber's index: since when it is ready, 0 if it is not, or nobody times it.
    ready_since: RefCell<Vec<u64>>,
    /// By the fiber's index: who it is, and of which run of the fiber that is true.
    faces: RefCell<Vec<Face>>,
    recording: Cell<u64>,
    ring: Cell<Option<&'static Ring>>,
}

/// Who is on a fiber.
#[derive(Clone, Copy, Default)]
struct Face {
    run: u64,
    id: u64,
    place: u16,
}

impl Watcher {
    fn new() -> Watcher {
        let watcher = Watcher {
            running: Cell::new(None),
            face: Cell::default(),
            began: Cell::new(0),
            times: Cell::new(false),
            slices: Counts::new(),
            delays: Counts::new(),
            turns: Turns::default(),
            ready_since: RefCell::default(),
            faces: RefCell::default(),
            recording: Cell::new(0),
            ring: Cell::new(None),
        };
        watcher.follow();
        watcher
    }

    /// That of a hub which has one, also where it hears no more.
    fn of(hub: &HubState) -> Option<&Watcher> {
        let witness: &dyn Any = hub.last_witness()?;
        witness.downcast_ref()
    }

    /// How long the slices took, and how long who was ready had to wait; `None` where nobody times them.
    pub(super) fn histograms(hub: &HubState) -> Option<(Histogram, Histogram)> {
        let watcher = Watcher::of(hub).filter(|watcher| watcher.times.get())?;
        Some((watcher.slices.read(), watcher.delays.read()))
    }

    /// How often who is on the fiber with this number has gone on, and how long it ran; `None` where nobody times that.
    pub(super) fn turns(hub: &HubState, index: u32) -> Option<(u64, Duration)> {
        let watcher = Watcher::of(hub).filter(|watcher| watcher.times.get())?;
        watcher.turns.of(index, hub.run_at(index)?)
    }

    /// Does what all are to do.
    fn follow(&self) {
        let (times, recording) = wanted();
        let times_else = times != self.times.replace(times);
        let records_else = recording != self.recording.replace(recording);
        if times_else {
            self.slices.clear();
            self.delays.clear();
            self.turns.clear();
            self.ready_since.borrow_mut().clear();
        }
        if records_else {
            self.leave_ring();
            self.faces.borrow_mut().clear();
        }
        if records_else && recording != 0 {
            // The hub's, also where a green thread has variables of its own.
            let thread = fiber::in_common(std::thread::current);
            let scribe = Scribe {
                hub: local_hub().map_or(0, |hub| number_of(hub.door())),
                thread: Arc::from(thread.name().unwrap_or("<unnamed>")),
                thread_id: process::os_thread_id(),
            };
            self.ring.set(Some(Ring::take(recording, EVENTS.load(Ordering::SeqCst), scribe)));
        }
        if times_else || records_else {
            self.begin();
        }
    }

    /// What is heard of begins with who runs, if it is not the hub itself.
    fn begin(&self) {
        self.running.set(None);
        let current = existing_thread().filter(|_| !in_callback()).map(|thread| thread.current());
        if let Some(fiber) = current {
            let now = now();
            self.enter(fiber, now);
            self.record_run(now, |watcher| watcher.face(fiber));
        }
    }

    fn leave_ring(&self) {
        if let Some(ring) = self.ring.take() {
            ring.give_back();
        }
    }

    fn record(&self, kind: Kind, now: u64, id: u64, code: u16) {
        if let Some(ring) = self.ring.get() {
            ring.write(kind, now, id, code);
        }
    }

    /// Somebody goes on, whose face is asked for if there is a recording.
    #[inline]
    fn record_run(&self, now: u64, face: impl FnOnce(&Watcher) -> Face) {
        if let Some(ring) = self.ring.get() {
            let face = face(self);
            self.face.set(face);
            ring.write(Kind::Run, now, face.id, face.place);
        }
    }

    /// Who is on `fiber`. Asked for once in each of its runs.
    #[inline]
    fn face(&self, fiber: FiberRef) -> Face {
        let run = fiber.runs.get();
        let known = self.faces.borrow().get(fiber.index() as usize).copied();
        known.filter(|face| face.run == run).unwrap_or_else(|| self.look_at(fiber, run, fiber.description()))
    }

    #[cold]
    fn look_at(&self, fiber: FiberRef, run: u64, description: Option<&dyn Describe>) -> Face {
        let place = match description {
            None if fiber.index() == 0 => MAIN,
            None => codes::UNKNOWN,
            Some(description) => codes::of_place(description.spawned_at()),
        };
        let id = description.and_then(Describe::id).unwrap_or(0);
        let face = Face { run, id, place };
        if let (Some(ring), Some(name)) = (self.ring.get(), description.and_then(Describe::name))
            && id != 0
        {
            ring.note_name(id, name);
        }
        let mut faces = self.faces.borrow_mut();
        let index = fiber.index() as usize;
        if faces.len() <= index {
            faces.resize(index + 1, Face::default());
        }
        faces[index] = face;
        face
    }

    /// `fiber` is ready, if that is timed.
    #[inline]
    fn stamp(&self, fiber: FiberRef, now: u64) {
        if !self.times.get() {
            return;
        }
        let mut ready_since = self.ready_since.borrow_mut();
        let index = fiber.index() as usize;
        if ready_since.len() <= index {
            ready_since.resize(index + 1, 0);
        }
        ready_since[index] = now;
    }

    fn take_stamp(&self, fiber: FiberRef) -> u64 {
        self.ready_since.borrow_mut().get_mut(fiber.index() as usize).map_or(0, std::mem::take)
    }

    /// Who ran does not run any more.
    #[inline]
    fn end_slice(&self, now: u64) -> Option<FiberRef> {
        let fiber = self.running.take()?;
        if self.times.get() {
            let ran = now.saturating_sub(self.began.get());
            self.slices.add(ran);
            self.turns.ran(fiber, ran);
        }
        Some(fiber)
    }

    #[inline]
    fn leave(&self, now: u64) {
        let Some(fiber) = self.end_slice(now) else { return };
        let on = match fiber.state.get() {
            State::Parked | State::Witnessed => {
                fiber.state.set(State::Witnessed);
                fiber.waits_on.get().0
            }
            State::Ready => {
                self.stamp(fiber, now);
                YIELD
            }
            State::Running => SWITCH,
            State::Idle => return,
        };
        if let Some(ring) = self.ring.get() {
            ring.write(Kind::Park, now, self.face.get().id, codes::of_words(on));
        }
    }

    /// The hub does something, perhaps between one who has left his stack and the next one.
    fn leave_if_gone(&self, now: u64) {
        if self.running.get().is_some_and(|running| running.state.get() != State::Running) {
            self.leave(now);
        }
    }

    #[inline]
    fn enter(&self, fiber: FiberRef, now: u64) {
        self.running.set(Some(fiber));
        self.began.set(now);
        if self.times.get() {
            let since = self.take_stamp(fiber);
            if since != 0 {
                self.delays.add(now.saturating_sub(since));
            }
        }
    }
}

fn now() -> u64 {
    Time::now().nanoseconds()
}

/// The number of the hub behind this door.
fn number_of(door: &Door) -> u64 {
    ptr::from_ref(door).addr() as u64
}

/// Which wait it is, of those that a hub has at a time: more than as many of them that are at an end may be woken late.
fn code_of(generation: u64) -> u16 {
    generation as u16
}

impl Witness for Watcher {
    fn passes(&self, target: FiberRef) {
        let now = now();
        self.leave(now);
        self.enter(target, now);
        if self.times.get() {
            self.turns.enter(target);
        }
        // Who has not begun is told of when it does.
        if target.index() == 0 || target.description().is_some() {
            self.record_run(now, |watcher| watcher.face(target));
        }
    }

    fn begins(&self, fiber: FiberRef, _number: u64, description: Option<&dyn Describe>) {
        // The first on a stack has been switched to, the others follow on it.
        let now = if self.running.get().is_some() { self.began.get() } else { now() };
        self.enter(fiber, now);
        if self.times.get() {
            self.turns.begin(fiber);
        }
        self.record_run(now, |watcher| watcher.look_at(fiber, fiber.runs.get(), description));
    }

    fn ends(&self, number: u64) {
        let now = now();
        self.end_slice(now);
        self.record(Kind::End, now, number, codes::UNKNOWN);
    }

    fn woken(&self, fiber: FiberRef) {
        let now = now();
        self.leave_if_gone(now);
        self.stamp(fiber, now);
        if self.ring.get().is_some() {
            self.record(Kind::Wake, now, self.face(fiber).id, code_of(fiber.generation.get()));
        }
    }

    fn calls(&self, door: &Door, wait: Wait) {
        if self.ring.get().is_some() {
            self.record(Kind::Call, now(), number_of(door), code_of(wait.generation()));
        }
    }

    fn times_out(&self) {
        occurs_in_hub(Occasion::TimeLimit);
    }

    fn pauses(&self) {
        self.leave_if_gone(now());
    }

    fn sleeps(&self) {
        let now = now();
        self.leave(now);
        self.record(Kind::Sleep, now, 0, codes::UNKNOWN);
    }

    fn stops(&self) {
        self.times.set(false);
        self.recording.set(0);
        self.running.set(None);
        self.leave_ring();
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.leave_ring();
    }
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Watcher")
    }
}
