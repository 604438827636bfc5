//! The handle of a green thread.

#![expect(unsafe_code, reason = "a handle may go to other OS threads, though the closure behind it may not")]

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::link::{Link, Linked};
use super::packet::{Join, TaskRef, as_kill, kill};
use super::wait::{Notice, Subscription, Waitable};
use crate::error::{GreenletExit, JoinError};
use crate::hub::waitlist::Ticket;
use crate::sys::clock::Time;
use crate::sys::shared::Shared;

/// How a green thread ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It returned a value.
    Returned,
    /// It was killed, or its OS thread ended while it was parked.
    Killed,
    /// A panic, an uncaught timeout or another payload ended it.
    Panicked,
}

/// A number that no other green thread of the process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub(super) u64);

impl fmt::Display for TaskId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Owns the permission to wait for a green thread and to take its result. Dropping it detaches the green thread, which
/// goes on.
///
/// A handle is `Send` and `Sync` when the result is `Send`: any OS thread may wait for the green thread or kill it.
///
/// ```compile_fail
/// let handle = greenloop::spawn(|| std::rc::Rc::new(1)); // the result is not `Send`, so neither is the handle
/// std::thread::spawn(move || handle.join());
/// ```
///
/// It is also a [`Future`] of what [`join`](JoinHandle::join) returns.
pub struct JoinHandle<T> {
    task: Shared<dyn Join<T>>,
}

// SAFETY: of what is behind the handle, other threads touch the state and the waiters, which are made for it, and the
// result, which is `Send` and written before the state says so. The closure stays at home: see `packet`.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: as for `Send`; through `&JoinHandle` no result can be taken.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> Unpin for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    pub(super) fn new(task: Shared<dyn Join<T>>) -> JoinHandle<T> {
        JoinHandle { task }
    }

    /// Waits until the green thread has ended, and returns its result.
    ///
    /// Yields unless it has ended already. A kill of the waiting one, or an enclosing [`with_timeout`](crate::with_timeout),
    /// ends the wait by unwinding; the green thread goes on, detached.
    ///
    /// # Errors
    ///
    /// [`JoinError::Killed`] if a kill ended it, or its OS thread did while it was parked; [`JoinError::Panicked`] with the
    /// payload if it panicked.
    ///
    /// # Panics
    ///
    /// In a hub callback, where nothing may wait.
    ///
    /// # Examples
    ///
    /// ```
    /// let answer = greenloop::spawn(|| 6 * 7);
    /// assert_eq!(answer.join().unwrap(), 42);
    /// ```
    #[inline]
    pub fn join(self) -> Result<T, JoinError> {
        self.wait_until(None);
        self.take()
    }

    /// Waits for at most `limit` until the green thread has ended, and returns its result; the handle comes back if it has
    /// not.
    ///
    /// # Errors
    ///
    /// The handle itself, at the end of `limit`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let sleeper = greenloop::spawn(|| greenloop::sleep(Duration::from_secs(60)));
    /// let sleeper = sleeper.join_timeout(Duration::from_millis(1)).unwrap_err();
    /// sleeper.kill();
    /// assert!(sleeper.join().unwrap_err().is_killed());
    /// ```
    pub fn join_timeout(self, limit: Duration) -> Result<Result<T, JoinError>, JoinHandle<T>> {
        if self.wait_until(Some(Time::after(limit))) { Ok(self.take()) } else { Err(self) }
    }

    fn take(self) -> Result<T, JoinError> {
        // SAFETY: the green thread has ended, and this is its one handle.
        let result = unsafe { self.task.take_result() };
        result.expect("a handle takes the result once")
    }

    /// Waits until the green thread has ended, and leaves its result where it is.
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// Waits for at most `limit` until the green thread has ended; whether it has.
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        self.wait_until(Some(Time::after(limit)))
    }

    #[inline]
    fn wait_until(&self, deadline: Option<Time>) -> bool {
        self.task.core().wait_until(deadline)
    }

    /// The green thread behind the handle.
    pub(crate) fn task(&self) -> TaskRef {
        TaskRef(as_kill(self.task.clone()))
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.task.core().has_ended()
    }

    /// Raises [`GreenletExit`] in the green thread where it is parked, and waits until it has ended, cleanup included.
    ///
    /// One that has not begun never runs, and its closure is dropped at once, as is the timer of one that was to begin later; one
    /// that has ended is left alone. A green thread may catch the exit and go on:
    /// then this waits on. Killing oneself unwinds at once. gevent's `kill(block=True)`.
    ///
    /// The closure of one that never runs is dropped as a [hub callback](crate::hub#callbacks): its destructors may not wait.
    ///
    /// Destructors that run while a green thread unwinds may wait for locks, channels and joins, and nothing is raised in it then. This
    /// is known of each that a kill or a time limit unwinds. Of one that *panics* while another one waits in such a destructor, it is
    /// not: std counts the panics of the OS thread. If that one's destructors wait too, a kill in there is a panic within a panic, which
    /// aborts the process. With `monkey::patch_all` each has its own count, and there is no such case.
    ///
    /// # Examples
    ///
    /// ```
    /// let forever = greenloop::spawn(|| loop { greenloop::yield_now() });
    /// greenloop::yield_now();
    /// forever.kill();
    /// assert!(forever.is_finished());
    /// ```
    pub fn kill(&self) {
        self.try_kill();
        self.wait();
    }

    /// Like [`kill`](JoinHandle::kill), but waits for at most `limit`; whether it has ended.
    pub fn kill_timeout(&self, limit: Duration) -> bool {
        self.try_kill();
        self.wait_timeout(limit)
    }

    /// Like [`kill`](JoinHandle::kill), but never waits; whether it has ended. gevent's `kill(block=False)`.
    pub fn try_kill(&self) -> bool {
        self.kill_with(Box::new(GreenletExit))
    }

    /// Raises `payload` in the green thread where it is parked, and does not wait; whether it has ended.
    ///
    /// If it lets the payload through, [`join`](JoinHandle::join) returns that in [`JoinError::Panicked`]. gevent's
    /// `kill(exception)`.
    pub fn kill_with(&self, payload: Box<dyn Any + Send>) -> bool {
        kill(as_kill(self.task.clone()), payload);
        self.is_finished()
    }

    /// Whether it has ended otherwise than by returning or by a kill.
    pub(super) fn has_failed(&self) -> bool {
        self.task.core().outcome() == Some(Outcome::Panicked)
    }

    /// Calls `function` in a green thread of its own when this one has ended: at once, if it has. In the order in which
    /// they were registered. Until it is called, [`unlink`](JoinHandle::unlink) takes it back.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Outcome, channel};
    ///
    /// let (sender, receiver) = channel::unbounded();
    /// let task = greenloop::spawn(|| 1);
    /// task.link(move |outcome| sender.send(outcome).unwrap());
    /// assert_eq!(receiver.recv(), Ok(Outcome::Returned));
    /// ```
    pub fn link(&self, function: impl FnOnce(Outcome) + Send + 'static) -> Link {
        let (core, function) = (self.task.core(), Linked::new(self.id().0, function));
        let ticket = core.link(function.clone());
        let link = Link::new(ticket.ok(), &function);
        if let Err(outcome) = ticket {
            drop(super::spawn(move || function.call(outcome)));
        }
        link
    }

    /// [`link`](JoinHandle::link) for success: also called after a kill, as in gevent.
    pub fn link_value(&self, function: impl FnOnce() + Send + 'static) -> Link {
        self.link(move |outcome| {
            if outcome != Outcome::Panicked {
                function();
            }
        })
    }

    /// [`link`](JoinHandle::link) for failure.
    pub fn link_exception(&self, function: impl FnOnce() + Send + 'static) -> Link {
        self.link(move |outcome| {
            if outcome == Outcome::Panicked {
                function();
            }
        })
    }

    /// Takes a callback back that has not been called yet, also when the green thread has ended and others are being called. Returns
    /// whether that was in time.
    ///
    /// # Examples
    ///
    /// ```
    /// let task = greenloop::spawn(|| ());
    /// task.wait();
    /// let link = task.link(|_| unreachable!("it would be called when the caller yields"));
    /// assert!(task.unlink(link));
    /// greenloop::yield_now();
    /// ```
    pub fn unlink(&self, link: Link) -> bool {
        link.take_back(self.id().0, |ticket| self.task.core().unlink(ticket))
    }

    /// The name given by [`Builder::name`](crate::Builder::name).
    pub fn name(&self) -> Option<&str> {
        self.task.core().name()
    }

    /// Its number.
    pub fn id(&self) -> TaskId {
        TaskId(self.task.core().id)
    }

    /// Where it was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.task.core().place
    }
}

impl<T> Waitable for JoinHandle<T> {
    fn is_ready(&self) -> bool {
        self.is_finished()
    }

    fn subscribe(&self, notice: Notice) -> Subscription {
        match self.task.core().subscribe_notice(notice.0) {
            Ok(Ticket::BESIDE) => Subscription::beside(self.task.core().id),
            Ok(ticket) => Subscription::new(ticket),
            Err(notice) => {
                notice.notify();
                Subscription::none()
            }
        }
    }

    fn unsubscribe(&self, subscription: Subscription) {
        let core = self.task.core();
        let beside = subscription.is_beside(core.id).then_some(Ticket::BESIDE);
        if let Some(ticket) = subscription.ticket().or(beside) {
            core.leave_line(ticket);
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.task.core().poll(context.waker().clone()) {
            return Poll::Pending;
        }
        // SAFETY: the green thread has ended, and this is its one handle.
        Poll::Ready(unsafe { self.task.take_result() }.expect("polled again after its end"))
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("JoinHandle")
            .field("id", &self.id().0)
            .field("name", &self.name())
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// Kills all, then waits until all have ended. gevent's `killall`.
///
/// # Examples
///
/// ```
/// let tasks: Vec<_> = (0..3).map(|_| greenloop::spawn(|| loop { greenloop::yield_now() })).collect();
/// greenloop::killall(&tasks);
/// assert!(tasks.iter().all(|task| task.is_finished()));
/// ```
pub fn killall<'a, T: 'a>(tasks: impl IntoIterator<Item = &'a JoinHandle<T>>) {
    let tasks: Vec<_> = tasks.into_iter().collect();
    for task in &tasks {
        task.try_kill();
    }
    tasks.iter().for_each(|task| task.wait());
}

/// Like [`killall`], but waits for at most `limit` in all; whether all have ended.
pub fn killall_timeout<'a, T: 'a>(
    tasks: impl IntoIterator<Item = &'a JoinHandle<T>>,
    limit: Duration,
) -> bool {
    let deadline = Some(Time::after(limit));
    let tasks: Vec<_> = tasks.into_iter().collect();
    for task in &tasks {
        task.try_kill();
    }
    tasks.iter().all(|task| task.wait_until(deadline))
}
