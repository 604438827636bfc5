//! What a green thread is made of: one allocation with its closure, its state, and later its result.

#![expect(
    unsafe_code,
    reason = "closure and result are reached from the home thread and from the handle in turn"
)]

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
#[cfg(feature = "monkey")]
use std::io;
use std::mem;
use std::panic::{self, AssertUnwindSafe, Location};
use std::task::Waker;

use crate::error::{GreenletExit, JoinError, StackError};
use crate::greenlet::{self, Describe, FiberRef, Interrupt, SizeClass};
use crate::hub::fork::end_of_heir;
use crate::hub::remote::{Door, Letter};
use crate::hub::waiter::{Notify, Waiter, WaitingOn, Wakeup};
use crate::hub::waitlist::{Ticket, WaitList};
use crate::hub::{HubRef, Job, local_hub};
use crate::sys::clock::Time;
use crate::sys::lock::Lock;
use crate::sys::shared::Shared;

use super::ending::{Ending, KILLED, LEAKED, PANICKED, RETURNED};
#[cfg(feature = "monkey")]
use super::isolation::{Isolation, are_all_isolated};
use super::join_handle::{Outcome, TaskId};
use super::local;

/// Called when a green thread has ended.
pub(super) type LinkFunction = Box<dyn FnOnce(Outcome) + Send>;

/// The ticket of one who waits on the home thread, before anybody stands in the list.
const AT_HOME: Ticket = Ticket::from_number(u64::MAX - 1);

/// The part of a green thread that does not depend on its types.
pub(super) struct Core {
    pub(super) id: u64,
    /// Few have one: it takes a word, and the text lies elsewhere.
    name: Option<Box<Box<str>>>,
    pub(super) place: &'static Location<'static>,
    /// The hub that it belongs to.
    door: &'static Door,
    epoch: u32,
    stack: SizeClass,
    /// The result is written before that is.
    ending: Ending,
    /// A scoped handle has taken the result. Home thread only.
    taken: Cell<bool>,
    /// Where it runs. Home thread only.
    fiber: Cell<Option<FiberRef>>,
    /// Who waits for the end on the home thread, first of all: told without a lock. Home thread only.
    follower: Cell<Option<FiberRef>>,
    followers: Lock<Followers>,
    /// What it runs with in place of the OS thread's own thread-local variables, until it ends. Home thread only.
    #[cfg(feature = "monkey")]
    isolation: Cell<Option<Box<Isolation>>>,
}

/// Who is told of the end. Most green threads have one follower, who joins.
#[derive(Default)]
enum Followers {
    #[default]
    None,
    /// Under the ticket [`BESIDE`](Ticket::BESIDE).
    One(Notify),
    /// The task that polled the handle last.
    Poller(Waker),
    More(Box<More>),
}

#[derive(Default)]
struct More {
    /// The one who was alone.
    first: Option<Notify>,
    notices: WaitList<Notify>,
    poller: Option<Waker>,
    links: WaitList<LinkFunction>,
}

impl Followers {
    /// Each way makes its own notice where that goes: moved there, it would be written in parts and read as a whole, which
    /// stalls.
    #[inline]
    fn add(&mut self, notice: impl FnOnce() -> Notify) -> Ticket {
        if let Followers::None = self {
            *self = Followers::One(notice());
            return Ticket::BESIDE;
        }
        self.add_behind(notice)
    }

    #[inline(never)]
    fn add_behind(&mut self, notice: impl FnOnce() -> Notify) -> Ticket {
        self.more().notices.push(notice())
    }

    /// The room for several, made if it is not there.
    fn more(&mut self) -> &mut More {
        if !matches!(self, Followers::More(_)) {
            let mut more = Box::<More>::default();
            match mem::take(self) {
                Followers::One(first) => more.first = Some(first),
                Followers::Poller(poller) => more.poller = Some(poller),
                Followers::None | Followers::More(_) => {}
            }
            *self = Followers::More(more);
        }
        match self {
            Followers::More(more) => more,
            _ => unreachable!("it has just been made"),
        }
    }
}

impl Core {
    #[inline]
    pub(super) fn new(
        hub: HubRef,
        name: Option<Box<str>>,
        place: &'static Location<'static>,
        stack: SizeClass,
    ) -> Core {
        let id = if local::are_inherited() { local::hand_down(hub) } else { hub.count_spawned() };
        Core {
            id,
            name: name.map(Box::new),
            place,
            stack,
            door: hub.door(),
            epoch: hub.epoch(),
            ending: Ending::new(),
            taken: Cell::new(false),
            fiber: Cell::new(None),
            follower: Cell::new(None),
            followers: Lock::new(Followers::None),
            #[cfg(feature = "monkey")]
            isolation: Cell::new(Core::isolation_for_all()),
        }
    }

    /// # Panics
    ///
    /// If all are to be isolated and this one cannot be.
    #[cfg(feature = "monkey")]
    #[inline]
    fn isolation_for_all() -> Option<Box<Isolation>> {
        are_all_isolated()
            .then(|| Isolation::new(None).expect("a green thread that is spawned can be isolated"))
    }

    /// Lets it have thread-local variables of its own, or not. It has not begun.
    #[cfg(feature = "monkey")]
    pub(super) fn isolate(&self, isolated: bool) -> io::Result<()> {
        let isolation = if isolated { Some(Isolation::new(self.name())?) } else { None };
        self.isolation.set(isolation);
        Ok(())
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_ref().map(|name| &***name)
    }

    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        self.ending.get().is_some()
    }

    /// How it ended, if it has.
    #[inline]
    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.ending.get().map(|ending| match ending {
            RETURNED => Outcome::Returned,
            PANICKED => Outcome::Panicked,
            _ => Outcome::Killed,
        })
    }

    /// Whether its scoped handle was joined, so that the scope need not care how it ended.
    pub(super) fn is_taken(&self) -> bool {
        self.taken.get()
    }

    pub(super) fn set_taken(&self) {
        self.taken.set(true);
    }

    fn is_leaked(&self) -> bool {
        self.ending.get() == Some(LEAKED)
    }

    /// The hub it belongs to, if that is the calling thread's.
    fn home(&self) -> Option<HubRef> {
        local_hub().filter(|&hub| self.is_of(hub))
    }

    #[inline]
    fn is_of(&self, hub: HubRef) -> bool {
        hub.door().is(self.door) && hub.epoch() == self.epoch
    }

    /// Has `waiter` woken at the end; `None` if that has come.
    #[inline]
    pub(super) fn subscribe(&self, waiter: &Waiter) -> Option<Ticket> {
        if !self.is_of(waiter.hub()) || self.follower.get().is_some() || self.ending.is_followed() {
            return self.subscribe_in_line(waiter);
        }
        if self.has_ended() {
            return None;
        }
        self.follower.set(Some(waiter.fiber()));
        Some(AT_HOME)
    }

    #[inline(never)]
    fn subscribe_in_line(&self, waiter: &Waiter) -> Option<Ticket> {
        let mut followers = self.followers.lock();
        self.ending.follow().then(|| followers.add(|| waiter.notify()))
    }

    /// Has `notice` given at the end; it comes back if that has come.
    pub(super) fn subscribe_notice(&self, notice: Notify) -> Result<Ticket, Notify> {
        let mut followers = self.followers.lock();
        if !self.ending.follow() {
            return Err(notice);
        }
        Ok(followers.add(|| notice))
    }

    /// Has `poller` woken at the end, in place of the one that was to be woken so far; `false` if that has come.
    pub(super) fn poll(&self, poller: Waker) -> bool {
        let mut followers = self.followers.lock();
        if !self.ending.follow() {
            return false;
        }
        let former = match &mut *followers {
            Followers::None => {
                *followers = Followers::Poller(poller);
                None
            }
            Followers::Poller(former) => Some(mem::replace(former, poller)),
            several => several.more().poller.replace(poller),
        };
        drop(followers);
        drop(former);
        true
    }

    /// By who has subscribed.
    #[inline]
    pub(super) fn unsubscribe(&self, ticket: Ticket) {
        if ticket == AT_HOME {
            self.follower.set(None);
        } else {
            self.leave_line(ticket);
        }
    }

    fn leave_line(&self, ticket: Ticket) {
        let mut followers = self.followers.lock();
        let notice = match &mut *followers {
            Followers::None | Followers::Poller(_) => None,
            // Nobody else can be the one.
            one @ Followers::One(_) => match mem::take(one) {
                Followers::One(notice) => Some(notice),
                _ => None,
            },
            Followers::More(more) if ticket == Ticket::BESIDE => more.first.take(),
            Followers::More(more) => more.notices.remove(ticket),
        };
        drop(followers);
        drop(notice);
    }

    /// Waits for the end until `deadline`; whether it has come.
    ///
    /// Inlined up to the public call: the processor mispredicts each return after a switch.
    #[inline(always)]
    pub(super) fn wait_until(&self, deadline: Option<Time>) -> bool {
        if self.has_ended() {
            return true;
        }
        let waiter = Waiter::new(WaitingOn::Join(self.id));
        loop {
            let Some(ticket) = self.subscribe(&waiter) else { return true };
            let wakeup = waiter.park(deadline);
            if self.has_ended() && matches!(wakeup, Wakeup::Woken) {
                return true;
            }
            self.unsubscribe(ticket);
            match wakeup {
                Wakeup::Woken => {}
                Wakeup::TimedOut => return self.has_ended(),
                Wakeup::Interrupted(interrupt) => interrupt.raise(),
            }
        }
    }

    /// Has `function` called at the end; it comes back, with the outcome, if that has come.
    pub(super) fn link(&self, function: LinkFunction) -> Result<Ticket, (LinkFunction, Outcome)> {
        let mut followers = self.followers.lock();
        if !self.ending.follow()
            && let Some(outcome) = self.outcome()
        {
            return Err((function, outcome));
        }
        Ok(followers.more().links.push(function))
    }

    pub(super) fn unlink(&self, ticket: Ticket) -> bool {
        let function = match &mut *self.followers.lock() {
            Followers::More(more) => more.links.remove(ticket),
            _ => None,
        };
        function.is_some()
    }

    /// Publishes the end, once the result is in its place, and tells everybody.
    fn end(&self, how: u8) {
        let home = self.home();
        let followers = if self.ending.end_unfollowed(how) { None } else { Some(self.end_followed(how)) };
        if let (Some(hub), Some(follower)) = (home, self.follower.take()) {
            hub.make_ready(follower);
        }
        if let Some(followers) = followers {
            self.tell(followers);
        }
        match home {
            Some(hub) => hub.count_ended(),
            None => end_of_heir(how == RETURNED),
        }
    }
}

impl Core {
    #[cold]
    fn end_followed(&self, how: u8) -> Followers {
        let mut followers = self.followers.lock();
        self.ending.end_followed(how);
        mem::take(&mut *followers)
    }

    #[cold]
    fn tell(&self, followers: Followers) {
        match followers {
            Followers::None => {}
            Followers::One(notice) => notice.notify(),
            Followers::Poller(poller) => Notify::Task(poller).notify(),
            Followers::More(more) => self.tell_more(*more),
        }
    }

    fn tell_more(&self, mut more: More) {
        if let Some(first) = more.first {
            first.notify();
        }
        while let Some(notice) = more.notices.pop() {
            notice.notify();
        }
        if let Some(poller) = more.poller {
            Notify::Task(poller).notify();
        }
        let Some(outcome) = self.outcome() else { return };
        while let Some(link) = more.links.pop() {
            drop(super::spawn(move || link(outcome)));
        }
    }
}

impl Describe for Core {
    fn name(&self) -> Option<&str> {
        self.name()
    }

    fn spawned_at(&self) -> &'static Location<'static> {
        self.place
    }

    fn leak(&self) {
        if self.home().is_none() {
            // The parent's, in the child of a fork: whoever waits for it is not here.
            return;
        }
        self.end(LEAKED);
    }
}

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
                greenlet::catch("the destructor of a closure that never ran", || drop((closure, inherited)));
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

    fn fail(&self, error: StackError) {
        let _ = self.end_unstarted(JoinError::Stack(error));
    }

    fn abandon(&self) {
        let _ = self.end_unstarted(JoinError::Killed);
    }
}

impl Core {
    /// The core as a fiber's description, which outlives no borrow: the fiber's rules bound it, not a lifetime.
    fn as_description(&self) -> &(dyn Describe + 'static) {
        self
    }
}

impl JoinError {
    pub(super) fn from_payload(payload: Box<dyn Any + Send>) -> JoinError {
        if payload.is::<GreenletExit>() { JoinError::Killed } else { JoinError::Panicked(payload) }
    }
}

impl<F, T> Drop for Task<F, T> {
    fn drop(&mut self) {
        if let Work::Done(Err(JoinError::Panicked(payload))) = self.work.get_mut() {
            // Nobody has taken it, and nobody can any more.
            greenlet::report(&self.core.words(), &**payload);
        }
    }
}

impl Core {
    #[cold]
    fn words(&self) -> String {
        format!("green thread '{}', spawned at {},", self.name().unwrap_or("<unnamed>"), self.place)
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
        let _ = task.end_unstarted(JoinError::from_payload(payload));
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
        core.home().is_some() && core.fiber.get() == Some(greenlet::thread().current())
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
