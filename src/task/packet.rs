//! What a green thread is made of: one allocation with its closure, its state, and later its result.

#![expect(
    unsafe_code,
    reason = "closure and result are reached from the home thread and from the handle in turn"
)]

use std::any::Any;
use std::cell::UnsafeCell;
use std::mem;
use std::panic::{self, AssertUnwindSafe};

use crate::error::{GreenletExit, JoinError, StackError};
use crate::fiber::{self, FiberRef, Interrupt, SizeClass, callback};
use crate::hub::door::Letter;
use crate::hub::{HubRef, Job};
use crate::sys::clock::Time;
use crate::sys::shared::Shared;

use super::core::Core;
use super::ending::{KILLED, PANICKED, RETURNED};
use super::join_handle::TaskId;
use super::local;

/// A green thread, its types hidden, as a kill sees it.
pub(super) trait Kill {
    fn core(&self) -> &Core;
    /// Ends it before it begins, if it has not begun; the payload comes back if it has. Home thread only.
    fn end_unstarted(&self, error: JoinError) -> Result<(), JoinError>;
}

/// A green thread as its handle has it, as a kill sees it.
pub(super) fn as_kill<'a, T>(task: Shared<dyn Join<T> + 'a>) -> Shared<dyn Kill + 'a> {
    // SAFETY: it becomes another trait object, no more.
    unsafe { task.convert(|task| task as _) }
}

/// A green thread as its handle sees it.
pub(super) trait Join<T>: Kill {
    /// The result, once.
    ///
    /// # Safety
    ///
    /// The green thread must have ended, and only its one handle may call this.
    unsafe fn take_result(&self) -> Option<Result<T, JoinError>>;
}

/// A green thread: its closure, and later its result.
pub(super) struct Task<F, T> {
    core: Core,
    /// # Invariant
    /// Touched on the home thread only before the state tells an end, afterwards by the handle only, or by `drop`.
    work: UnsafeCell<Work<F, T>>,
}

enum Work<F, T> {
    Due(F),
    /// Under way, or the result was taken.
    Nothing,
    Done(Result<T, JoinError>),
}

impl<F, T> Task<F, T>
where
    F: FnOnce() -> T,
{
    /// Makes one, for its handle and for the hub.
    #[inline]
    pub(super) fn pair<'a>(
        core: impl FnOnce() -> Core,
        closure: F,
    ) -> (Shared<dyn Join<T> + 'a>, Shared<dyn Job + 'a>)
    where
        F: 'a,
        T: 'a,
    {
        let (handle, job) = Shared::pair(|| Task { core: core(), work: UnsafeCell::new(Work::Due(closure)) });
        // SAFETY: it is unsized, no more.
        let handle = unsafe { handle.convert(|task| task as _) };
        // SAFETY: as above.
        let job = unsafe { job.convert(|task| task as _) };
        (handle, job)
    }

    /// The closure, if it has neither begun nor ended: now it has begun. Home thread only.
    #[inline]
    fn begin(&self) -> Option<F> {
        if self.core.has_ended() {
            return None;
        }
        // SAFETY: it has not ended, and this is the home thread: by the invariant nobody else touches it.
        let work = unsafe { &mut *self.work.get() };
        if !matches!(work, Work::Due(_)) {
            return None;
        }
        match mem::replace(work, Work::Nothing) {
            Work::Due(closure) => Some(closure),
            _ => None,
        }
    }

    /// Keeps the result and tells everybody. Home thread only, once.
    #[inline]
    fn finish(&self, result: Result<T, JoinError>) {
        let state = match &result {
            Ok(_) => RETURNED,
            Err(JoinError::Killed) => KILLED,
            Err(_) => PANICKED,
        };
        // SAFETY: it has not ended, and this is the home thread: by the invariant nobody else touches it. It has begun, so what
        // is overwritten is `Nothing`.
        unsafe { self.work.get().write(Work::Done(result)) };
        self.core.end(state);
    }
}

impl<F, T> Kill for Task<F, T>
where
    F: FnOnce() -> T,
{
    fn core(&self) -> &Core {
        &self.core
    }

    fn end_unstarted(&self, error: JoinError) -> Result<(), JoinError> {
        match self.begin() {
            Some(closure) => {
                let inherited = local::handed_down(self.core.id);
                callback("the destructor of a closure that never ran", || drop((closure, inherited)));
                #[cfg(feature = "monkey")]
                drop(self.core.isolation.take());
                self.finish(Err(error));
                Ok(())
            }
            None => Err(error),
        }
    }
}

impl<F, T> Join<T> for Task<F, T>
where
    F: FnOnce() -> T,
{
    unsafe fn take_result(&self) -> Option<Result<T, JoinError>> {
        // SAFETY: it has ended, and the one handle calls: by the invariant nobody else touches it.
        match mem::replace(unsafe { &mut *self.work.get() }, Work::Nothing) {
            Work::Done(result) => Some(result),
            _ => self.core.is_leaked().then_some(Err(JoinError::Killed)),
        }
    }
}

impl<F, T> Job for Task<F, T>
where
    F: FnOnce() -> T,
{
    fn run(&self, fiber: FiberRef) {
        let Some(closure) = self.begin() else { return };
        self.core.fiber.set(Some(fiber));
        // SAFETY: `self` keeps the core alive until the description is taken back below.
        unsafe { fiber.describe(Some(self.core.as_description())) };
        if local::are_inherited() {
            local::take_over(self.core.id, fiber);
        }
        let body = || {
            let outcome = panic::catch_unwind(AssertUnwindSafe(closure));
            fiber.free_locals();
            outcome
        };
        #[cfg(not(feature = "monkey"))]
        let outcome = body();
        #[cfg(feature = "monkey")]
        let outcome = match self.core.isolation.take() {
            None => body(),
            Some(isolation) => isolation.run(body),
        };
        self.core.fiber.set(None);
        // SAFETY: nothing is described.
        unsafe { fiber.describe(None) };
        self.finish(outcome.map_err(JoinError::from_payload));
    }

    fn stack(&self) -> SizeClass {
        self.core.stack
    }

    fn has_ended(&self) -> bool {
        self.core.has_ended()
    }

    fn fail(&self, error: StackError) {
        let _ = self.end_unstarted(JoinError::Stack(error));
    }

    fn abandon(&self) {
        let _ = self.end_unstarted(JoinError::Killed);
    }
}

impl JoinError {
    pub(super) fn from_payload(payload: Box<dyn Any + Send>) -> JoinError {
        if payload.is::<GreenletExit>() { JoinError::Killed } else { JoinError::Panicked(payload) }
    }
}

impl<F, T> Task<F, T> {
    #[cold]
    fn report_failure(&mut self) {
        match mem::replace(self.work.get_mut(), Work::Nothing) {
            Work::Done(Err(JoinError::Panicked(payload))) => {
                fiber::report(&self.core.words(), &*payload);
                fiber::discard(payload);
            }
            Work::Done(Err(JoinError::Stack(error))) => {
                fiber::report_text(&format!("{} could not begin: {error}", self.core.words()));
            }
            _ => {}
        }
    }
}

impl<F, T> Drop for Task<F, T> {
    fn drop(&mut self) {
        // Nobody has taken it, and nobody can any more.
        if matches!(self.work.get_mut(), Work::Done(Err(JoinError::Panicked(_) | JoinError::Stack(_)))) {
            self.report_failure();
        }
    }
}

/// Raises `payload` in a green thread, from any OS thread; an unstarted one ends without running. Nothing if it has ended.
pub(super) fn kill(task: Shared<dyn Kill>, payload: Box<dyn Any + Send>) {
    let core = task.core();
    if core.has_ended() {
        return;
    }
    if let Some(hub) = core.home() {
        kill_at_home(&*task, hub, payload);
        return;
    }
    let (door, epoch) = (core.door, core.epoch);
    let errand = Errand { task, payload };
    door.send(epoch, Letter::Run(Box::new(move || errand.run())));
}

pub(super) fn kill_at_home(task: &dyn Kill, hub: HubRef, payload: Box<dyn Any + Send>) {
    if task.core().home().is_none() {
        // The parent's, in the child of a fork.
        return;
    }
    if let Some(fiber) = task.core().fiber.get() {
        hub.interrupt(fiber, Interrupt::new(payload, 0));
    } else if !task.core().has_ended() {
        // Neither running nor ended: it has not begun, or it is publishing its end, which comes first then.
        let was_unstarted = task.end_unstarted(JoinError::from_payload(payload)).is_ok();
        if was_unstarted && !task.core().take_due().is_some_and(|timer| hub.disarm(timer)) {
            hub.count_dead_fresh();
        }
    }
}

/// A green thread for whoever looks after it and need not know the type of its result.
#[derive(Clone)]
pub(crate) struct TaskRef(pub(super) Shared<dyn Kill>);

impl TaskRef {
    pub(crate) fn id(&self) -> TaskId {
        TaskId(self.0.core().id)
    }

    /// Whether it is the one that calls.
    pub(crate) fn is_current(&self) -> bool {
        let core = self.0.core();
        core.home().is_some() && core.fiber.get() == Some(fiber::thread().current())
    }

    /// [`JoinHandle::try_kill`](crate::JoinHandle::try_kill).
    pub(crate) fn try_kill(&self) {
        kill(self.0.clone(), Box::new(GreenletExit));
    }

    /// Waits for its end until `deadline`; whether it has come.
    pub(crate) fn wait_until(&self, deadline: Option<Time>) -> bool {
        self.0.core().wait_until(deadline)
    }
}

/// A kill on its way to the home thread.
struct Errand {
    task: Shared<dyn Kill>,
    payload: Box<dyn Any + Send>,
}

// SAFETY: the sender, whose handle was `Send`, only passes it on; `Kill` is used by `run` alone, on the home thread. If the
// letter is thrown away elsewhere, at most the last reference to the task is dropped there, whose closure is gone by then
// (a hub that ends abandons what has not begun) and whose result is `Send`, for a handle that is not `Send` never leaves home.
unsafe impl Send for Errand {}

impl Errand {
    fn run(self) {
        if let Some(hub) = self.task.core().home() {
            kill_at_home(&*self.task, hub, self.payload);
        }
    }
}
