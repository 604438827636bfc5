//! What a green thread is made of: one allocation with its closure, its state, and later its result.

#![expect(
    unsafe_code,
    reason = "closure and result are reached from the home thread and from the handle in turn"
)]

use std::cell::UnsafeCell;
use std::mem::{self, ManuallyDrop};
use std::panic::{self, AssertUnwindSafe, Location};
use std::ptr;

use super::ending::End;
#[cfg(feature = "monkey")]
use super::isolation;
use super::kill::Kill;
use super::local;
use super::record::Record;
use crate::error::{Failure, JoinError, StackError};
use crate::fiber::{self, Describe, FiberRef, SizeClass, callback};
#[cfg(feature = "monkey")]
use crate::hub::no_unwind;
use crate::hub::{Ended, HubState, Job, hub};
use crate::sys::shared::{Counted, Shared};

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

/// Makes a green thread without settings of its own, which begins when its turn comes.
#[inline]
pub(super) fn begin<F, T>(place: &'static Location<'static>, closure: F) -> Shared<dyn Join<T>>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    let hub = hub();
    let (task, job) = Task::pair(|| Record::new(hub, None, place, SizeClass::default_now()), closure);
    hub.push_fresh(job);
    task
}

/// A green thread: its closure, and later its result.
#[repr(C)]
pub(super) struct Task<F, T> {
    /// First, since it begins with the count of the owners.
    record: Record,
    /// # Invariant
    /// Touched on the home thread only before the state tells an end, afterwards by the handle only, or by `drop`, or by a scope that has
    /// outlived all handles. One that may begin on any hub has as its home thread, before it begins, whoever takes it, or ends it.
    work: ManuallyDrop<UnsafeCell<Work<F, T>>>,
}

// SAFETY: it is `repr(C)`, as is the record that it begins with, which begins with its `Ending`, which is nothing but a count.
unsafe impl<F, T> Counted for Task<F, T> {}

enum Work<F, T> {
    Due(F),
    /// Under way, or the result was taken.
    Nothing,
    Done(Result<T, Failure>),
}

impl<F, T> Work<F, T> {
    #[inline]
    fn in_place(self) -> ManuallyDrop<UnsafeCell<Work<F, T>>> {
        ManuallyDrop::new(UnsafeCell::new(self))
    }
}

impl<F, T> Task<F, T>
where
    F: FnOnce() -> T,
{
    /// Makes one, for its handle and for the hub.
    #[inline]
    pub(super) fn pair<'a>(
        record: impl FnOnce() -> Record,
        closure: F,
    ) -> (Shared<dyn Join<T> + 'a>, Shared<dyn Job + 'a>)
    where
        F: 'a,
        T: 'a,
    {
        let (handle, job) = Shared::pair(|| Task { record: record(), work: Work::Due(closure).in_place() });
        // SAFETY: it is unsized, no more.
        let handle = unsafe { handle.convert(|task| task as _) };
        // SAFETY: as above.
        let job = unsafe { job.convert(|task| task as _) };
        (handle, job)
    }

    /// The closure, if it has neither begun nor ended: now it has begun. Home thread only.
    #[inline]
    fn begin(&self) -> Option<F> {
        if self.record.has_ended() {
            return None;
        }
        // SAFETY: it has not ended, and this is the home thread: by the invariant nobody else touches it.
        let work = unsafe { &mut *self.work.get() };
        let Work::Due(closure) = work else { return None };
        // Once, out of its place: replaced as a whole, it would be copied twice.
        // SAFETY: it is valid, and what is written over it below does not drop it.
        let closure = unsafe { ptr::read(closure) };
        // SAFETY: valid, as a reference is.
        unsafe { ptr::write(work, Work::Nothing) };
        Some(closure)
    }

    /// Keeps the result, and returns how it ended, which is to be published. Home thread only, once.
    #[inline]
    fn keep(&self, result: Result<T, Failure>) -> End {
        let how = match &result {
            Ok(_) => End::Returned,
            Err(Failure::Killed) => End::Killed,
            Err(_) => End::Panicked,
        };
        // SAFETY: it has not ended, and this is the home thread: by the invariant nobody else touches it. It has begun, so what
        // is overwritten is `Nothing`.
        unsafe { self.work.get().write(Work::Done(result)) };
        how
    }
}

impl<F, T> Kill for Task<F, T>
where
    F: FnOnce() -> T,
{
    fn record(&self) -> &Record {
        &self.record
    }

    fn end_unstarted(&self, failure: Failure) -> Result<(), Failure> {
        match self.begin() {
            Some(closure) => {
                let inherited = local::handed_down(self.record.id);
                callback("the destructor of a closure that never ran", || drop((closure, inherited)));
                #[cfg(feature = "monkey")]
                drop(self.record.take_isolation());
                self.record.end(self.keep(Err(failure)));
                Ok(())
            }
            None => Err(failure),
        }
    }

    unsafe fn discard_result(&self) {
        // SAFETY: it has ended, and no handle takes it: by the invariant nobody else touches it.
        let work = unsafe { &mut *self.work.get() };
        self.drop_work(mem::replace(work, Work::Nothing));
    }
}

impl<F, T> Join<T> for Task<F, T>
where
    F: FnOnce() -> T,
{
    unsafe fn take_result(&self) -> Option<Result<T, JoinError>> {
        // SAFETY: it has ended, and the one handle calls: by the invariant nobody else touches it.
        let work = unsafe { &mut *self.work.get() };
        let Work::Done(Ok(value)) = work else { return self.failure(work) };
        // As in `begin`.
        // SAFETY: it is valid, and what is written over it below does not drop it.
        let value = unsafe { ptr::read(value) };
        // SAFETY: valid, as a reference is.
        unsafe { ptr::write(work, Work::Nothing) };
        Some(Ok(value))
    }
}

impl<F, T> Job for Task<F, T>
where
    F: FnOnce() -> T,
{
    fn run(&self, fiber: FiberRef) -> Option<Ended> {
        #[cfg(feature = "monkey")]
        let variables = match self.record.take_isolation().begin() {
            Ok(variables) => variables,
            Err(error) => {
                self.fail(error);
                return None;
            }
        };
        let closure = self.begin()?;
        self.record.fiber.set(Some(fiber));
        // SAFETY: `self` keeps the record alive until the description is taken back below.
        unsafe { fiber.describe(Some(self.record.as_description())) };
        if local::are_inherited() {
            local::take_over(self.record.id, fiber);
        }
        let body = || {
            let outcome = panic::catch_unwind(AssertUnwindSafe(closure));
            #[cfg(feature = "monkey")]
            let outcome = if fiber.disturbed.get() { after_told_kill(fiber, outcome) } else { outcome };
            fiber.free_locals();
            outcome
        };
        #[cfg(not(feature = "monkey"))]
        let outcome = body();
        #[cfg(feature = "monkey")]
        let outcome = match variables {
            None => body(),
            Some(variables) => isolation::run_with(variables, body),
        };
        #[cfg(feature = "monkey")]
        fiber.run_at_end();
        self.record.fiber.set(None);
        // SAFETY: nothing is described.
        unsafe { fiber.describe(None) };
        Some(self.record.ended(self.keep(outcome.map_err(Failure::from_payload))))
    }

    fn end_followed(&self, ended: Ended) {
        self.record.end_followed(ended);
    }

    fn stack(&self) -> SizeClass {
        self.record.stack
    }

    fn number(&self) -> u64 {
        self.record.id
    }

    fn has_ended(&self) -> bool {
        self.record.has_ended()
    }

    fn description(&self) -> Option<&dyn Describe> {
        Some(self.record.as_description())
    }

    fn fail(&self, error: StackError) {
        let _ = self.end_unstarted(Failure::Stack(error));
    }

    fn abandon(&self) {
        let _ = self.end_unstarted(Failure::Killed);
    }

    fn settle(&self, hub: &HubState) -> bool {
        self.record.settle(hub)
    }

    fn withdraw(&self) {
        if self.record.close() {
            self.abandon();
        }
    }
}

/// How it has ended on `fiber`, when a kill was told to calls from C: what the code made of their failures, a value or a panic, is not
/// what was asked for.
#[cfg(feature = "monkey")]
#[cold]
fn after_told_kill<T>(fiber: FiberRef, outcome: std::thread::Result<T>) -> std::thread::Result<T> {
    match outcome {
        Err(payload) if !no_unwind::is_of_a_panic(&*payload) => Err(payload),
        outcome => match no_unwind::take_told_kill(fiber) {
            None => outcome,
            Some(kill) => {
                callback("the destructor of a result that nobody takes", || drop(outcome));
                Err(kill)
            }
        },
    }
}

impl<F, T> Task<F, T> {
    /// How it failed, taken out of `work`.
    #[cold]
    fn failure(&self, work: &mut Work<F, T>) -> Option<Result<T, JoinError>> {
        let failure = match mem::replace(work, Work::Nothing) {
            Work::Done(Err(failure)) => failure,
            _ if self.record.is_leaked() => Failure::Killed,
            _ => return None,
        };
        Some(Err(failure.of(self.record.name(), self.record.place)))
    }

    /// Drops a closure that never ran, or a result that nobody has taken, and nobody can any more; tells of a failure.
    #[inline(never)]
    fn drop_work(&self, work: Work<F, T>) {
        match work {
            Work::Done(Err(Failure::Panicked(payload))) => {
                fiber::report(&self.record.words(), &*payload);
                fiber::discard(payload);
            }
            Work::Done(Err(Failure::Stack(error))) => {
                fiber::report_text(&format!("{} could not begin: {error}", self.record.words()));
            }
            _ => {}
        }
    }
}

impl<F, T> Drop for Task<F, T> {
    #[inline]
    fn drop(&mut self) {
        if !matches!(self.work.get_mut(), Work::Nothing) {
            let work = mem::replace(self.work.get_mut(), Work::Nothing);
            self.drop_work(work);
        }
    }
}
