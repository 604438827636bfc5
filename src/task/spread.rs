//! Green threads that borrow from the frame of their maker, and may begin on any hub.

#![expect(unsafe_code, reason = "a scoped green thread whose lifetime is erased goes to other OS threads")]

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::panic::{self, AssertUnwindSafe, Location};

use super::body::{Join, Task, as_kill};
use super::kill::{Kill, kill};
use super::offer::Offer;
use super::record::Record;
use super::scope::{FIRST_ROOM, KILLS, NeverLeft, erase_lifetime, has_failed, wait_whatever_comes};
use crate::error::{GreenletExit, JoinError};
use crate::fiber::{self, assert_may_wait};
use crate::sys::lock::Lock;
use crate::sys::process::abort_with;
use crate::sys::shared::Shared;

/// Where green threads go that may begin on any hub.
pub(crate) trait Places: Sync {
    /// Lets it begin somewhere, or on the worker of this number.
    ///
    /// # Panics
    ///
    /// If there is no such worker.
    #[track_caller]
    fn put(&self, offer: Offer, worker: Option<usize>);
}

/// A scope in which green threads are spawned that borrow from the caller's frame, on all workers. See
/// [`Workers::scope`](crate::workers::Workers::scope).
///
/// Green threads of the scope may spawn in it as well.
pub struct Scope<'scope, 'env: 'scope> {
    places: &'env dyn Places,
    children: Lock<Children>,
    /// The process that it belongs to: a fork takes none of the workers along.
    process: u32,
    scope: PhantomData<&'scope mut &'scope ()>,
    environment: PhantomData<&'env mut &'env ()>,
}

struct Children {
    /// Those that may still run, and some that have ended.
    kept: Vec<Child>,
    /// So many, from the first on, have ended.
    ended: usize,
    /// How many there may be before those that have ended are dropped.
    room: usize,
    /// The scope is being left by unwinding: what is spawned now is killed.
    killed: bool,
}

/// A green thread of a scope.
#[derive(Clone)]
struct Child {
    task: Shared<dyn Kill>,
    /// It alone was killed: that may be on its way still, with a reference to it, when it has ended.
    is_sought: bool,
}

// SAFETY: its closure and its result are `Send`, as `Scope::offer` asks, and all that is done with it goes by `kill`, which sends what is
// for the home thread there, or by its record, of which all that is used here is made for several threads.
unsafe impl Send for Child {}

/// A handle to a green thread of a [`Scope`].
///
/// If you drop it, the scope still waits for the green thread.
pub struct ScopedJoinHandle<'scope, T> {
    task: Shared<dyn Join<T> + 'scope>,
    children: &'scope Lock<Children>,
}

// SAFETY: as for a `JoinHandle`; the children are behind a lock, and `Send`.
unsafe impl<T: Send> Send for ScopedJoinHandle<'_, T> {}
// SAFETY: as above; through a reference no result can be taken.
unsafe impl<T: Send> Sync for ScopedJoinHandle<'_, T> {}

/// Runs `body` with a scope whose children go to `places`.
#[track_caller]
pub(crate) fn spread<'env, F, R>(places: &'env dyn Places, body: F) -> R
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    // Children may have begun elsewhere, and are to be waited for.
    assert_may_wait();
    let scope = Scope {
        places,
        children: Lock::new(Children { kept: Vec::new(), ended: 0, room: FIRST_ROOM, killed: false }),
        process: std::process::id(),
        scope: PhantomData,
        environment: PhantomData,
    };
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        let value = body(&scope);
        scope.wait_for_children();
        value
    }));
    if outcome.is_err() {
        scope.end_children();
    }
    // All children have ended, so that nobody has a handle any more.
    let failed = scope.let_go_of_all();
    match outcome {
        Ok(value) => {
            assert!(!failed, "a scoped green thread panicked");
            value
        }
        Err(payload) => panic::resume_unwind(payload),
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Spawns a green thread that may borrow what outlives the scope, and begins on whichever worker has time first. See
    /// [`Workers::spawn`](crate::workers::Workers::spawn).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::workers::Workers;
    ///
    /// let words = ["green", "thread"];
    /// let lengths = Workers::new().scope(|scope| {
    ///     let [first, second] = words.each_ref().map(|word| scope.spawn(move || word.len()));
    ///     [first.join().unwrap(), second.join().unwrap()]
    /// });
    /// assert_eq!(lengths, [5, 6]);
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, function: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.offer(None, function)
    }

    /// Spawns a green thread that may borrow what outlives the scope, on the worker of this number. See
    /// [`Workers::spawn_on`](crate::workers::Workers::spawn_on).
    ///
    /// # Panics
    ///
    /// Panics if there is no worker of this number.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::workers::Workers;
    ///
    /// let name = String::from("worker");
    /// let length = Workers::new().scope(|scope| scope.spawn_on(0, || name.len()).join());
    /// assert_eq!(length.unwrap(), 6);
    /// ```
    #[track_caller]
    pub fn spawn_on<F, T>(&'scope self, worker: usize, function: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.offer(Some(worker), function)
    }

    #[track_caller]
    fn offer<F, T>(&'scope self, worker: Option<usize>, function: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let place = Location::caller();
        let (task, job) = Task::pair(|| Record::open(place), function);
        // SAFETY: `spread` neither returns nor unwinds before every child has ended: `wait_for_children` returns only when `next_child`
        // finds none, and if it or the body unwinds, `end_children` does so, out of which nothing unwinds, for that aborts. The only ones
        // who could add a child while none is left are a child and the body, and all have ended. In the child of a fork no worker is there
        // to run one. By its end the closure is gone, and then `let_go_of_all` drops its result: whoever still refers to it (a kill on its
        // way, a queue in which it was when it was killed) frees memory, and no more.
        let (child, job) = unsafe { erase_lifetime(as_kill(task.clone()), job) };
        let (gone, is_killed) = self.adopt(Child { task: child.clone(), is_sought: false });
        // From here on it ends in any case: an offer that finds no place is dropped, which ends it.
        self.places.put(Offer::of(job), worker);
        if is_killed {
            kill(child, Box::new(GreenletExit));
        }
        // Last, since their results may have destructors that spawn here, or panic.
        drop(gone);
        ScopedJoinHandle { task, children: &self.children }
    }

    /// Keeps a child until it has ended; whether it is to be killed. A scope that lasts must not keep all children it ever had: from time
    /// to time those that have ended go, but for those whose panic is to be seen. They are returned. (None that is killed goes, or any once
    /// all are: a kill on its way would be left with its result.)
    fn adopt(&self, child: Child) -> (Vec<Child>, bool) {
        let mut children = self.children.lock();
        let mut gone = Vec::new();
        if children.kept.len() >= children.room && !children.killed {
            let is_done =
                |child: &mut Child| child.has_ended() && !child.is_sought && !has_failed(&*child.task);
            gone.extend(children.kept.extract_if(.., is_done));
            children.ended = 0;
            children.room = (2 * children.kept.len()).max(FIRST_ROOM);
        }
        children.kept.push(child);
        (gone, children.killed)
    }

    /// The ordinary end. A kill or a time limit unwinds out of it.
    fn wait_for_children(&self) {
        while let Some(child) = self.next_child() {
            child.task.record().wait_until(None);
        }
    }

    /// The end by unwinding: kills all, and waits whatever comes.
    fn end_children(&self) {
        let never_left = NeverLeft;
        let mut kills = 0;
        let mut kill_all = || {
            kills += 1;
            if kills > KILLS {
                abort_with("the green threads of a scope wait for ever, and so does the scope");
            }
            let children = {
                let mut children = self.children.lock();
                children.killed = true;
                children.kept.clone()
            };
            for child in children {
                kill(child.task, Box::new(GreenletExit));
            }
        };
        kill_all();
        while let Some(child) = self.next_child() {
            if !wait_whatever_comes(child.task.record()) {
                kill_all();
            }
        }
        mem::forget(never_left);
    }

    /// A child that may still run.
    fn next_child(&self) -> Option<Child> {
        // In the child of a fork no worker is there: the parent's green threads never run here.
        if self.process != std::process::id() {
            return None;
        }
        let mut children = self.children.lock();
        while let Some(child) = children.kept.get(children.ended) {
            if !child.has_ended() {
                return Some(child.clone());
            }
            children.ended += 1;
        }
        None
    }

    /// Drops what is left of the children, all of which have ended; whether one of them has failed, and nobody has taken that.
    fn let_go_of_all(&self) -> bool {
        let children = mem::take(&mut self.children.lock().kept);
        let mut failed = false;
        for child in children {
            failed |= has_failed(&*child.task);
            if child.has_ended() {
                let discard = || {
                    // SAFETY: all children and the body have ended, which alone could have the handle. One that was leaked is never used.
                    unsafe { child.task.discard_result() };
                };
                fiber::catch("the destructor of a scoped green thread's result", discard);
            }
        }
        failed
    }
}

impl Child {
    fn has_ended(&self) -> bool {
        self.task.record().has_ended()
    }
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
    /// let length = greenloop::workers::Workers::new().scope(|scope| scope.spawn(|| name.len()).join());
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
    /// greenloop::workers::Workers::new().scope(|scope| {
    ///     let child = scope.spawn(|| ());
    ///     while !child.is_finished() {
    ///         greenloop::yield_now();
    ///     }
    ///     assert!(child.join().is_ok());
    /// });
    /// ```
    pub fn is_finished(&self) -> bool {
        self.task.record().has_ended()
    }

    /// Ends the green thread, and waits until it has ended. See [`JoinHandle::kill`](crate::JoinHandle::kill).
    ///
    /// One that has not begun never begins.
    ///
    /// # Examples
    ///
    /// ```
    /// greenloop::workers::Workers::new().scope(|scope| {
    ///     let forever = scope.spawn(|| greenloop::sleep(std::time::Duration::MAX));
    ///     forever.kill();
    ///     assert!(forever.join().unwrap_err().is_killed());
    /// });
    /// ```
    pub fn kill(&self) {
        let child = {
            let mut children = self.children.lock();
            let own = |child: &&mut Child| std::ptr::eq(child.task.record(), self.task.record());
            children.kept.iter_mut().find(own).map(|child| {
                child.is_sought = true;
                child.task.clone()
            })
        };
        // One that is not there any more has ended.
        if let Some(child) = child {
            kill(child, Box::new(GreenletExit));
        }
        self.task.record().wait_until(None);
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ScopedJoinHandle").field("is_finished", &self.is_finished()).finish()
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Scope").field("children", &self.children.lock().kept.len()).finish()
    }
}
