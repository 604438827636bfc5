//! Making green threads.

use std::io;
use std::panic::Location;
use std::time::Duration;

use super::core::Core;
use super::join_handle::JoinHandle;
use super::packet::Task;
use crate::greenlet::SizeClass;
use crate::hub::{Alarm, hub};
use crate::sys::clock::Time;

/// Makes a green thread that will run `function`, and returns its handle.
///
/// Nothing runs yet: it begins when the caller next yields, after those spawned before it. It stays on this OS thread, so
/// the closure need not be `Send`. Dropping the handle detaches it. It gets a stack of the default size when it begins.
///
/// # Examples
///
/// ```
/// use std::rc::Rc;
///
/// let name = Rc::new("green thread".to_string());
/// let length = greenloop::spawn({ let name = name.clone(); move || name.len() });
/// assert_eq!(length.join().unwrap(), 12);
/// ```
#[inline]
#[track_caller]
pub fn spawn<F, T>(function: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    let hub = hub();
    let place = Location::caller();
    let (task, job) = Task::pair(|| Core::new(hub, None, place, SizeClass::default_now()), function);
    hub.push_fresh(job);
    JoinHandle::new(task)
}

/// Like [`spawn`], but it begins after `delay`. Killed before, it never runs.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let later = greenloop::spawn_later(Duration::from_millis(1), || "done");
/// assert_eq!(later.join().unwrap(), "done");
/// ```
#[track_caller]
pub fn spawn_later<F, T>(delay: Duration, function: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    let spawned = Builder::new().delay(delay).spawn_on(SizeClass::default_now(), function);
    spawned.expect("without settings of its own nothing can be refused")
}

/// A green thread with settings of its own.
///
/// # Examples
///
/// ```
/// use greenloop::Builder;
///
/// let worker = Builder::new().name("worker").stack_size(256 * 1024).spawn(|| 1).unwrap();
/// assert_eq!(worker.name(), Some("worker"));
/// assert_eq!(worker.join().unwrap(), 1);
/// ```
#[derive(Debug, Default)]
#[must_use]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
    delay: Option<Duration>,
    #[cfg(feature = "monkey")]
    isolated: Option<bool>,
}

impl Builder {
    /// Default settings: no name, the default stack size, no delay.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Names it, for reports.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// Runs it on a stack with at least this many usable bytes. Memory is used only as far as the stack is. For what lies below it,
    /// see [`set_default_stack_size`](crate::greenlet::set_default_stack_size).
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(bytes);
        self
    }

    /// Lets it begin after this time.
    pub fn delay(mut self, delay: Duration) -> Builder {
        self.delay = Some(delay);
        self
    }

    /// Gives it thread-local variables of its own, or not, whatever [`monkey::isolate`](crate::monkey::isolate) says.
    ///
    /// Every `thread_local!` of Rust and `__thread` of C then begins afresh in it, as in an OS thread of its own, and is
    /// destroyed when it ends. It is what crates need that keep a runtime or a queue per thread: postgres and whatever else
    /// waits in tokio's `block_on`, parking_lot's locks, std's and crossbeam's channels between two green threads of one
    /// hub. It is gevent's patched `threading.local`.
    ///
    /// The variables are those of a real OS thread, which is made for it, waits all the while, and ends with it: some 60 µs
    /// in all, and 30 KiB of memory, half of them the kernel's. A switch to it and back takes 15 to 40 ns more. Greenlets that
    /// it switches to by hand have the variables of the hub's thread. Destructors
    /// of its variables run on that OS thread, and stop the hub's if they wait. There are no greenlets there: a switch gives
    /// [`SwitchError::Ending`](crate::error::SwitchError::Ending), a spawn and a wait of greenloop's own panic, and a suspended
    /// greenlet whose last handle goes there stays suspended.
    ///
    /// It works on x86_64, since Linux 5.9.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// thread_local! {
    ///     static COUNT: Cell<u32> = const { Cell::new(0) };
    /// }
    ///
    /// COUNT.set(7);
    /// let isolated = greenloop::Builder::new().isolated(true).spawn(|| COUNT.replace(1))?;
    /// assert_eq!(isolated.join().unwrap(), 0);
    /// assert_eq!(COUNT.get(), 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(feature = "monkey")]
    pub fn isolated(mut self, isolated: bool) -> Builder {
        self.isolated = Some(isolated);
        self
    }

    /// Makes the green thread: see [`spawn`](crate::spawn).
    ///
    /// # Errors
    ///
    /// Of kind `InvalidInput` if the stack size is impossible; with the feature `monkey`, of kind `Unsupported` if it is to be
    /// isolated where that does not work, or why there is no OS thread for it. The closure is dropped.
    #[track_caller]
    pub fn spawn<F, T>(self, function: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        let stack = self.stack()?;
        self.spawn_on(stack, function)
    }

    pub(super) fn stack(&self) -> io::Result<SizeClass> {
        Ok(self.stack_size.map_or_else(|| Ok(SizeClass::default_now()), SizeClass::fitting)?)
    }

    #[track_caller]
    fn spawn_on<F, T>(self, stack: SizeClass, function: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        let hub = hub();
        let core = Core::new(hub, self.name.map(String::into_boxed_str), Location::caller(), stack);
        #[cfg(feature = "monkey")]
        if let Some(isolated) = self.isolated {
            core.isolate(isolated)?;
        }
        let (task, job) = Task::pair(|| core, function);
        match self.delay {
            None => hub.push_fresh(job),
            Some(delay) => task.core().set_due(hub.arm(Time::after(delay), Alarm::Start(job))),
        }
        Ok(JoinHandle::new(task))
    }
}
