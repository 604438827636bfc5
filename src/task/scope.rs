//! Green threads that borrow from the frame of their maker.

#![expect(unsafe_code, reason = "the lifetime of a scoped green thread is erased in one function")]

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::panic::{self, AssertUnwindSafe, Location};

use super::body::{Join, Task, as_kill};
use super::ending::Outcome;
use super::kill::{Kill, kill_at_home};
use super::record::Record;
use crate::error::{GreenletExit, JoinError};
use crate::fiber::{self, SizeClass};
use crate::hub::waiter::{Waiter, WaitingOn};
use crate::hub::{Job, hub};
use crate::sys::process::abort_with;
use crate::sys::shared::Shared;

/// Children that a scope keeps before it first drops those that have ended.
pub(super) const FIRST_ROOM: usize = 64;

/// How often a scope that ends by unwinding kills its children, before it takes those for immortal that wait for ever.
pub(super) const KILLS: usize = 8;

/// A scope in which green threads are spawned that borrow from the caller's frame. See [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    /// Those that may still run, and some that have ended.
    children: RefCell<Vec<Shared<dyn Kill>>>,
    /// How many there may be before those that have ended are dropped.
    room: Cell<usize>,
    /// A child whose handle was not joined has panicked.
    failed: Cell<bool>,
    scope: PhantomData<Cell<&'scope ()>>,
    environment: PhantomData<Cell<&'env ()>>,
}

/// A handle to a green thread of a [`scope`].
pub struct ScopedJoinHandle<'scope, T> {
    task: Shared<dyn Join<T> + 'scope>,
}

/// Runs `body`, in which you can spawn green threads that borrow from the caller's frame.
///
/// Returns when `body` and all green threads of the scope, its children, have ended. This is [`std::thread::scope`] for green
/// threads.
///
/// If `body` unwinds (by a panic, a kill or a time limit), the children are killed and joined first. The same happens if a kill,
/// a time limit or a [`LoopExit`](crate::LoopExit) reaches the final wait, or if the destructor of a child's result panics there.
///
/// No child outlives the scope, whatever is raised meanwhile:
///
/// - A kill or a time limit that comes while killed children are being joined is raised at the next wait after the scope.
/// - What destructors of children raise goes to the [hook for uncaught errors](crate::hub::set_uncaught_hook).
/// - A child that catches its kill and waits for what never comes is killed again, a few times.
/// - In the child process of a [fork](crate::process::fork) the parent's children never run, and are not waited for.
///
/// # Panics
///
/// Panics if a child panicked whose handle was not joined, as [`std::thread::scope`] does.
///
/// # Aborts
///
/// If the scope would have to be left while a child lives, the process ends with a line that says so. This happens if a child waits
/// for ever in spite of all kills, or if something unwinds that the scope cannot hold back.
///
/// # Examples
///
/// ```
/// let mut numbers = vec![1, 2, 3];
/// let sum = greenloop::scope(|scope| {
///     let sum = scope.spawn(|| numbers.iter().sum::<i32>());
///     sum.join().unwrap()
/// });
/// numbers.push(sum);
/// assert_eq!(numbers, [1, 2, 3, 6]);
/// ```
#[track_caller]
pub fn scope<'env, F, R>(body: F) -> R
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    let scope = Scope {
        children: RefCell::new(Vec::new()),
        room: Cell::new(FIRST_ROOM),
        failed: Cell::new(false),
        scope: PhantomData,
        environment: PhantomData,
    };
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        let value = body(&scope);
        scope.wait_for_children();
        value
    }));
    match outcome {
        Ok(value) => {
            assert!(!scope.failed.get(), "a scoped green thread panicked");
            value
        }
        Err(payload) => {
            scope.end_children();
            panic::resume_unwind(payload)
        }
    }
}

/// While this lives, nothing may unwind.
pub(super) struct NeverLeft;

impl Drop for NeverLeft {
    fn drop(&mut self) {
        abort_with("a scope was to be left while its green threads live");
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Spawns a green thread that may borrow what outlives the scope. See [`spawn`](crate::spawn).
    ///
    /// # Examples
    ///
    /// ```
    /// let words = ["green", "thread"];
    /// let lengths = greenloop::scope(|scope| {
    ///     let [first, second] = words.each_ref().map(|word| scope.spawn(move || word.len()));
    ///     [first.join().unwrap(), second.join().unwrap()]
    /// });
    /// assert_eq!(lengths, [5, 6]);
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, function: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        let hub = hub();
        let place = Location::caller();
        let (task, job) = Task::pair(|| Record::new(hub, None, place, SizeClass::default_now()), function);
        // SAFETY: `scope` neither returns nor unwinds before every child has ended: `wait_for_children` returns only when
        // `next_child` finds none, and if it or the body unwinds, `end_children` does so, out of which nothing unwinds, for
        // that aborts. One that is not of this process's hub, in the child of a fork, never runs. By its end closure and result
        // are gone from the hub's reach: the closure was taken, and the hub touches the result before the end is
        // published only. What it captured is not forgotten with the scope's frame either: nobody has that but `scope`.
        let (child, job) = unsafe { erase_lifetime(as_kill(task.clone()), job) };
        let gone = self.adopt(child);
        hub.push_fresh(job);
        // Last, since their results may have destructors that spawn here, or panic.
        drop(gone);
        ScopedJoinHandle { task }
    }

    /// Keeps a child until it has ended. A scope that lasts must not keep all children it ever had: from time to time, as
    /// rarely as a vector grows, those that have ended go, but for the failed ones whose handle may still be joined.
    /// Returns them.
    fn adopt(&self, child: Shared<dyn Kill>) -> Vec<Shared<dyn Kill>> {
        let mut children = self.children.borrow_mut();
        let mut gone = Vec::new();
        if children.len() >= self.room.get() {
            let ended = |child: &mut Shared<dyn Kill>| child.record().has_ended() && !has_failed(&**child);
            gone.extend(children.extract_if(.., ended));
            self.room.set((2 * children.len()).max(FIRST_ROOM));
        }
        children.push(child);
        gone
    }

    /// The ordinary end. A kill or a time limit unwinds out of it.
    fn wait_for_children(&self) {
        while let Some(child) = self.next_child(drop) {
            child.record().wait_until(None);
            self.note(&*child);
        }
    }

    /// The end by unwinding: kills all, and waits whatever comes.
    fn end_children(&self) {
        let never_left = NeverLeft;
        let let_go = |child| fiber::catch("the destructor of a scoped green thread's result", || drop(child));
        let mut kills = 0;
        let mut kill_all = || {
            kills += 1;
            if kills > KILLS {
                abort_with("the green threads of a scope wait for ever, and so does the scope");
            }
            // A copy, since destructors of those that have not begun run here, and may spawn.
            let children = self.children.borrow().clone();
            for child in children {
                kill_at_home(&*child, hub(), Box::new(GreenletExit));
                let_go(child);
            }
        };
        kill_all();
        while let Some(child) = self.next_child(let_go) {
            if !wait_whatever_comes(child.record()) {
                kill_all();
            }
        }
        mem::forget(never_left);
    }

    /// A child that may still run. It stays in the list until it has ended, so that an unwinding finds it there. What has ended is
    /// `let_go`.
    fn next_child(&self, let_go: impl Fn(Shared<dyn Kill>)) -> Option<Shared<dyn Kill>> {
        loop {
            let mut children = self.children.borrow_mut();
            let last = children.last()?;
            // In the child of a fork, those of the parent never run, so they have ended as far as this process knows.
            if !last.record().has_ended() && last.record().home().is_some() {
                return Some(last.clone());
            }
            self.note(&**last);
            let ended = children.pop();
            drop(children);
            // Only now: its result may have a destructor that spawns here.
            ended.map(&let_go);
        }
    }

    fn note(&self, child: &dyn Kill) {
        if has_failed(child) {
            self.failed.set(true);
        }
    }
}

/// The one place where the lifetime of a green thread is erased.
///
/// # Safety
///
/// It must have ended, and its result be out of everybody's reach, before anything that it borrows ends.
#[expect(clippy::disallowed_methods, reason = "this is the named function that may")]
pub(super) unsafe fn erase_lifetime<'scope>(
    child: Shared<dyn Kill + 'scope>,
    job: Shared<dyn Job + 'scope>,
) -> (Shared<dyn Kill>, Shared<dyn Job>) {
    // SAFETY: the types differ in the lifetime only; that it is kept is the caller's promise.
    unsafe { std::mem::transmute((child, job)) }
}

/// Whether it has ended by a panic that nobody has taken.
pub(super) fn has_failed(child: &dyn Kill) -> bool {
    child.record().outcome() == Some(Outcome::Panicked) && !child.record().is_taken()
}

/// Waits for the end of a green thread; `false` if nothing can wake who waits, or in a callback, where all that a scope has spawned is
/// unstarted, so that a kill ends it.
pub(super) fn wait_whatever_comes(record: &Record) -> bool {
    if fiber::in_callback() {
        return false;
    }
    let waiter = Waiter::new(WaitingOn::Join(record.id));
    let mut can_end = true;
    while can_end && let Some(ticket) = record.subscribe(&waiter) {
        can_end = waiter.park_whatever_comes();
        record.unsubscribe(ticket);
    }
    can_end
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits until the green thread has ended, and returns its result. See [`JoinHandle::join`](crate::JoinHandle::join).
    ///
    /// # Errors
    ///
    /// As [`JoinHandle::join`](crate::JoinHandle::join).
    ///
    /// # Examples
    ///
    /// ```
    /// let name = String::from("scope");
    /// let length = greenloop::scope(|scope| scope.spawn(|| name.len()).join());
    /// assert_eq!(length.unwrap(), 5);
    /// ```
    pub fn join(self) -> Result<T, JoinError> {
        self.task.record().wait_until(None);
        self.task.record().set_taken();
        // SAFETY: it has ended, and this is its one handle.
        unsafe { self.task.take_result() }.expect("a handle takes the result once")
    }

    /// Returns `true` if the green thread has ended. Never yields.
    ///
    /// # Examples
    ///
    /// ```
    /// greenloop::scope(|scope| {
    ///     let child = scope.spawn(|| ());
    ///     assert!(!child.is_finished()); // it has not begun
    ///     greenloop::yield_now();
    ///     assert!(child.is_finished());
    /// });
    /// ```
    pub fn is_finished(&self) -> bool {
        self.task.record().has_ended()
    }

    /// Ends the green thread, and waits until it has ended. See [`JoinHandle::kill`](crate::JoinHandle::kill).
    ///
    /// # Examples
    ///
    /// ```
    /// greenloop::scope(|scope| {
    ///     let forever = scope.spawn(|| loop { greenloop::yield_now() });
    ///     forever.kill();
    ///     assert!(forever.join().unwrap_err().is_killed());
    /// });
    /// ```
    pub fn kill(&self) {
        kill_at_home(upcast(&*self.task), hub(), Box::new(GreenletExit));
        self.task.record().wait_until(None);
    }
}

fn upcast<'a, T>(task: &'a (dyn Join<T> + 'a)) -> &'a (dyn Kill + 'a) {
    task
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Scope").field("children", &self.children.borrow().len()).finish()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ScopedJoinHandle").field("is_finished", &self.is_finished()).finish()
    }
}
