//! The handle of a green thread.

#![expect(unsafe_code, reason = "a handle may go to other OS threads, though the closure behind it may not")]

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::body::{self, Join, as_kill};
use super::ending::Outcome;
use super::kill::{TaskRef, kill};
use super::link::{Link, Linked};
use super::record::TaskId;
use super::wait::{Notice, Subscription, Waitable};
use crate::error::{GreenletExit, JoinError};
use crate::hub::waitlist::Ticket;
use crate::sys::clock::Time;
use crate::sys::shared::Shared;

/// A handle to a green thread: it waits for its end, takes its result, and kills it.
///
/// If you drop the handle, the green thread is detached and goes on.
///
/// The handle is `Send` and `Sync` if the result is `Send`: any OS thread may wait for the green thread or kill it.
///
/// ```compile_fail
/// let handle = greenloop::spawn(|| std::rc::Rc::new(1)); // the result is not `Send`, so neither is the handle
/// std::thread::spawn(move || handle.join());
/// ```
///
/// The handle is also a [`Future`] of what [`join`](JoinHandle::join) returns.
///
/// # Examples
///
/// ```
/// use greenloop::spawn;
///
/// let task = spawn(|| "done");
/// assert!(!task.is_finished()); // it begins when this green thread yields
/// let elsewhere = std::thread::spawn(move || task.join().unwrap());
/// greenloop::idle(); // let it run
/// assert_eq!(elsewhere.join().unwrap(), "done");
/// ```
#[doc(alias("Thread", "Future", "Task"))]
pub struct JoinHandle<T> {
    task: Shared<dyn Join<T>>,
}

// What it stands for is kept whole by the library, whoever unwinds.
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

// SAFETY: of what is behind the handle, other threads touch the state and the waiters, which are made for it, and the
// result, which is `Send` and written before the state says so. The closure stays at home: see `body`.
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
    /// The call yields unless the green thread has ended already. A kill of the caller, or an enclosing
    /// [`with_timeout`](crate::with_timeout), ends the wait by unwinding; the green thread that was waited for goes on, detached.
    ///
    /// # Errors
    ///
    /// Returns a [`JoinError`] if the green thread left no value. These of its methods tell why:
    ///
    /// - [`is_killed`](JoinError::is_killed): a kill ended it, or its OS thread ended while it was parked.
    /// - [`is_panic`](JoinError::is_panic): it panicked. The error contains the payload.
    /// - [`stack_error`](JoinError::stack_error): there was no stack to run it on.
    ///
    /// Unlike std's, it is an [`Error`](std::error::Error), so `?` passes it on. If the closure returns a `Result`, there are two to
    /// pass on.
    ///
    /// # Panics
    ///
    /// Panics if called in a [hub callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// let answer = greenloop::spawn(|| 6 * 7);
    /// assert_eq!(answer.join().unwrap(), 42);
    ///
    /// let killed = greenloop::spawn(|| 6 * 7);
    /// killed.kill();
    /// assert!(killed.join().unwrap_err().is_killed());
    /// ```
    ///
    /// A closure that may fail:
    ///
    /// ```
    /// use std::error::Error;
    ///
    /// fn parse(text: &'static str) -> Result<u32, Box<dyn Error + Send + Sync>> {
    ///     let number = greenloop::spawn(|| text.parse::<u32>()).join()??;
    ///     Ok(number)
    /// }
    ///
    /// assert_eq!(parse("42").unwrap(), 42);
    /// assert_eq!(parse("many").unwrap_err().to_string(), "invalid digit found in string");
    /// ```
    #[doc(alias("successful", "value", "exception", "exc_info", "get", "result"))]
    #[inline]
    pub fn join(self) -> Result<T, JoinError> {
        self.wait_until(None);
        self.take()
    }

    /// Waits for at most `limit` until the green thread has ended, and returns its result.
    ///
    /// Apart from that, it is like [`join`](JoinHandle::join).
    ///
    /// # Errors
    ///
    /// Returns the handle itself if the green thread has not ended after `limit`.
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

    /// Waits until the green thread has ended, and leaves its result in the handle.
    ///
    /// Apart from that, it is like [`join`](JoinHandle::join).
    ///
    /// # Examples
    ///
    /// ```
    /// let task = greenloop::spawn(|| 1);
    /// task.wait();
    /// assert!(task.is_finished());
    /// assert_eq!(task.join().unwrap(), 1);
    /// ```
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// Waits for at most `limit` until the green thread has ended. Returns `true` if it has.
    ///
    /// Apart from that, it is like [`wait`](JoinHandle::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let quick = greenloop::spawn(|| ());
    /// assert!(quick.wait_timeout(Duration::from_secs(60)));
    ///
    /// let slow = greenloop::spawn(|| greenloop::sleep(Duration::from_secs(60)));
    /// assert!(!slow.wait_timeout(Duration::from_millis(1)));
    /// slow.kill();
    /// ```
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        self.wait_until(Some(Time::after(limit)))
    }

    #[inline]
    pub(super) fn wait_until(&self, deadline: Option<Time>) -> bool {
        self.task.record().wait_until(deadline)
    }

    /// The green thread behind the handle.
    pub(crate) fn task(&self) -> TaskRef {
        TaskRef(as_kill(self.task.clone()))
    }

    /// Returns `true` if the green thread has ended. Never yields.
    ///
    /// # Examples
    ///
    /// ```
    /// let task = greenloop::spawn(|| ());
    /// assert!(!task.is_finished()); // it has not begun
    /// task.wait();
    /// assert!(task.is_finished());
    /// ```
    #[doc(alias("dead", "ready", "is_alive", "done"))]
    pub fn is_finished(&self) -> bool {
        self.task.record().has_ended()
    }

    /// Ends the green thread, and waits until it has ended. This is gevent's `kill(block=True)`.
    ///
    /// [`GreenletExit`] is raised in the green thread where it is parked, and unwinds it: its destructors run. The call returns
    /// when they have.
    ///
    /// - A green thread that has not begun never runs. Its closure is dropped at once, and so is its timer if it was to begin
    ///   later. The closure is dropped as a [hub callback](crate::hub#callbacks), so its destructors may not wait.
    /// - A green thread that has ended is left alone.
    /// - A green thread may catch the exit and go on. Then this call waits on.
    /// - A green thread that kills itself unwinds at once.
    /// - Calls of C under `monkey::patch_all` cannot unwind. They fail instead, and the green thread counts as killed whatever it makes of
    ///   that.
    /// - Two kills are raised one after the other, at two waits, as in gevent. Of those that wait to be raised the first 16 count,
    ///   and further ones change nothing.
    ///
    /// Destructors that run while a kill or a time limit unwinds a green thread may wait for locks, channels and joins, and
    /// nothing is raised in them. For a green thread that *panics* this does not always hold, because std counts the panics of
    /// the whole OS thread: if another green thread is waiting in such a destructor at that time, a kill that is raised in the
    /// destructors of the panicking one is a panic within a panic, which aborts the process. With `monkey::patch_all` each green
    /// thread has its own count, and this case does not exist.
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

    /// Ends the green thread, and waits for at most `limit` until it has ended. Returns `true` if it has.
    ///
    /// Apart from that, it is like [`kill`](JoinHandle::kill). `false` means that the green thread goes on: it has caught the exit, or its
    /// destructors wait, or it computes, or it is code under `monkey::patch_all` that takes no failure for an answer.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let task = greenloop::spawn(|| greenloop::sleep(Duration::from_secs(60)));
    /// greenloop::yield_now();
    /// assert!(task.kill_timeout(Duration::from_secs(60)));
    /// ```
    pub fn kill_timeout(&self, limit: Duration) -> bool {
        self.try_kill();
        self.wait_timeout(limit)
    }

    /// Raises [`GreenletExit`] in the green thread, and does not wait. Returns `true` if the green thread has ended.
    ///
    /// The exit is raised when the green thread next runs. Apart from that, it is like [`kill`](JoinHandle::kill). This is gevent's
    /// `kill(block=False)`.
    ///
    /// # Examples
    ///
    /// ```
    /// let task = greenloop::spawn(|| loop { greenloop::yield_now() });
    /// greenloop::yield_now();
    /// assert!(!task.try_kill()); // it is parked, and unwinds when it next runs
    /// greenloop::yield_now();
    /// assert!(task.is_finished());
    /// ```
    pub fn try_kill(&self) -> bool {
        self.kill_with(Box::new(GreenletExit))
    }

    /// Raises `payload` in the green thread where it is parked, and does not wait. Returns `true` if the green thread has ended.
    ///
    /// If the green thread does not catch the payload, it counts as panicked with it: [`join`](JoinHandle::join) returns it in a
    /// [`JoinError`]. This is gevent's `kill(exception)`.
    ///
    /// # Examples
    ///
    /// ```
    /// let task = greenloop::spawn(|| loop { greenloop::yield_now() });
    /// greenloop::yield_now();
    /// task.kill_with(Box::new("too slow"));
    /// let payload = task.join().unwrap_err().into_panic();
    /// assert_eq!(payload.downcast_ref(), Some(&"too slow"));
    /// ```
    pub fn kill_with(&self, payload: Box<dyn Any + Send>) -> bool {
        kill(as_kill(self.task.clone()), payload);
        self.is_finished()
    }

    /// Whether it has ended otherwise than by returning or by a kill.
    pub(super) fn has_failed(&self) -> bool {
        self.task.record().outcome() == Some(Outcome::Panicked)
    }

    /// Calls `function` in a green thread of its own when this one has ended.
    ///
    /// If this one has ended already, the call is due at once. Functions are called in the order in which they were linked. Until
    /// `function` is called, [`unlink`](JoinHandle::unlink) takes it back.
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
    #[doc(alias("rawlink", "add_done_callback"))]
    #[track_caller]
    pub fn link(&self, function: impl FnOnce(Outcome) + Send + 'static) -> Link {
        let function = Linked::new(self.id().0, function);
        let place = Location::caller();
        let begin = {
            let function = function.clone();
            move |outcome| drop(body::begin(place, move || function.call(outcome)))
        };
        match self.task.record().link(Box::new(begin)) {
            Ok(ticket) => Link::new(Some(ticket), &function),
            Err((begin, outcome)) => {
                begin(outcome);
                Link::new(None, &function)
            }
        }
    }

    /// Calls `function` when the green thread has ended otherwise than by a panic.
    ///
    /// This is [`link`](JoinHandle::link) for success. As in gevent, a kill counts as success.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel;
    ///
    /// let (sender, receiver) = channel::unbounded();
    /// let task = greenloop::spawn(|| 1);
    /// task.link_value(move || sender.send("ended well").unwrap());
    /// assert_eq!(receiver.recv(), Ok("ended well"));
    /// ```
    #[track_caller]
    pub fn link_value(&self, function: impl FnOnce() + Send + 'static) -> Link {
        self.link(move |outcome| {
            if outcome != Outcome::Panicked {
                function();
            }
        })
    }

    /// Calls `function` when a panic, an uncaught timeout or another payload has ended the green thread.
    ///
    /// This is [`link`](JoinHandle::link) for failure.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel;
    ///
    /// let (sender, receiver) = channel::unbounded();
    /// let task = greenloop::spawn(|| std::panic::resume_unwind(Box::new("broken")));
    /// task.link_exception(move || sender.send("failed").unwrap());
    /// assert_eq!(receiver.recv(), Ok("failed"));
    /// ```
    #[track_caller]
    pub fn link_exception(&self, function: impl FnOnce() + Send + 'static) -> Link {
        self.link(move |outcome| {
            if outcome == Outcome::Panicked {
                function();
            }
        })
    }

    /// Takes a linked function back. Returns `true` if it will not be called any more.
    ///
    /// This works until the function is called, also when the green thread has ended and other linked functions are being called.
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
        link.take_back(self.id().0, |ticket| self.task.record().unlink(ticket))
    }

    /// Returns the name given by [`Builder::name`](crate::Builder::name), if any.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Builder, spawn};
    ///
    /// assert_eq!(Builder::new().name("worker").spawn(|| ())?.name(), Some("worker"));
    /// assert_eq!(spawn(|| ()).name(), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.task.record().name().map(|name| &**name)
    }

    /// Returns the green thread's number, which no other green thread of the process has.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::spawn;
    ///
    /// let (first, second) = (spawn(|| ()), spawn(|| ()));
    /// assert_ne!(first.id(), second.id());
    /// ```
    #[doc(alias("minimal_ident", "ident"))]
    pub fn id(&self) -> TaskId {
        TaskId(self.task.record().id)
    }

    /// Returns the place in the source where the green thread was spawned.
    ///
    /// # Examples
    ///
    /// ```
    /// let task = greenloop::spawn(|| ());
    /// assert_eq!(task.spawned_at().file(), file!());
    /// ```
    #[doc(alias = "spawning_stack")]
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.task.record().place
    }
}

impl<T> Waitable for JoinHandle<T> {
    fn is_ready(&self) -> bool {
        self.is_finished()
    }

    fn subscribe(&self, notice: Notice) -> Subscription {
        match self.task.record().subscribe_notice(notice.0) {
            Ok(Ticket::BESIDE) => Subscription::beside(self.task.record().id),
            Ok(ticket) => Subscription::new(ticket),
            Err(notice) => {
                notice.notify();
                Subscription::none()
            }
        }
    }

    fn unsubscribe(&self, subscription: Subscription) {
        let record = self.task.record();
        let beside = subscription.is_beside(record.id).then_some(Ticket::BESIDE);
        if let Some(ticket) = subscription.ticket().or(beside) {
            record.leave_line(ticket);
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.task.record().poll(context.waker().clone()) {
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
