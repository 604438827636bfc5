//! Making green threads.

use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::body::{self, Task};
use super::join_handle::JoinHandle;
use super::record::Record;
use crate::fiber::SizeClass;
use crate::hub::{Alarm, hub};
use crate::sys::clock::Time;

/// Spawns a green thread that runs `function`, and returns its handle.
///
/// The green thread does not run yet. It begins when the caller next yields, after those that were spawned before it. It stays on
/// this OS thread, so `function` need not be `Send`. It gets a stack of the default size when it begins.
///
/// If you drop the handle, the green thread is detached and goes on. Then nobody sees what it returns, not even if that is an `Err`. A
/// panic goes to the hook of [`set_uncaught_hook`](crate::hub::set_uncaught_hook), which prints a line.
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
#[doc(alias(
    "spawn_raw",
    "start_new",
    "start_new_thread",
    "start_joinable_thread",
    "create_task",
    "ensure_future"
))]
#[inline]
#[track_caller]
pub fn spawn<F, T>(function: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    JoinHandle::new(body::begin(Location::caller(), function))
}

/// Spawns a green thread that begins after `delay`.
///
/// Apart from that, it is like [`spawn`]. If the green thread is killed before `delay` is over, it never runs.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let later = greenloop::spawn_later(Duration::from_millis(1), || "done");
/// assert_eq!(later.join().unwrap(), "done");
/// ```
#[doc(alias = "Timer")]
#[track_caller]
pub fn spawn_later<F, T>(delay: Duration, function: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    let spawned = Builder::new().delay(delay).spawn_on(SizeClass::default_now(), function);
    spawned.expect("without settings of its own nothing can be refused")
}

/// Settings for a green thread, as [`std::thread::Builder`] has them for an OS thread.
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
    /// Makes a builder with the default settings: no name, the default stack size, no delay.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Builder;
    ///
    /// let unnamed = Builder::new().spawn(|| 1)?;
    /// assert_eq!(unnamed.name(), None);
    /// assert_eq!(unnamed.join().unwrap(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Names the green thread. The name stands in reports and errors.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Builder;
    ///
    /// let worker = Builder::new().name("worker").spawn(|| ())?;
    /// assert_eq!(worker.name(), Some("worker"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// Runs the green thread on a stack with at least this many usable bytes.
    ///
    /// The stack uses only as much memory as the green thread has reached of it. What lies below the stack is told at
    /// [`set_default_stack_size`](crate::greenlet::set_default_stack_size).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Builder;
    ///
    /// fn fill() -> usize {
    ///     let buffer = std::hint::black_box([1_u8; 1024 * 1024]);
    ///     buffer.iter().map(|&byte| usize::from(byte)).sum()
    /// }
    ///
    /// let deep = Builder::new().stack_size(4 * 1024 * 1024).spawn(fill)?;
    /// assert_eq!(deep.join().unwrap(), 1024 * 1024);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(bytes);
        self
    }

    /// Lets the green thread begin after `delay`, as [`spawn_later`] does.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Builder;
    /// use std::time::Duration;
    ///
    /// let later = Builder::new().delay(Duration::from_secs(60)).spawn(|| ())?;
    /// greenloop::yield_now();
    /// assert!(!later.is_finished());
    /// later.kill(); // it never runs
    /// assert!(later.join().unwrap_err().is_killed());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "start_later")]
    pub fn delay(mut self, delay: Duration) -> Builder {
        self.delay = Some(delay);
        self
    }

    /// Sets whether the green thread has thread-local variables of its own, whatever [`monkey::isolate`](crate::monkey::isolate)
    /// says.
    ///
    /// If it has, every `thread_local!` of Rust and every `__thread` of C begins afresh in it, as in an OS thread of its own, and
    /// is destroyed when the green thread ends. Some crates need this, because they keep a runtime or a queue per thread:
    /// postgres and whatever else waits in tokio's `block_on`, parking_lot's locks, std's and crossbeam's channels between two
    /// green threads of one hub. This is gevent's patched `threading.local`.
    ///
    /// It costs 0.6 µs for each green thread, some 9 KiB of memory for each of those that live at once, and some 15 ns for a switch to
    /// the green thread and back. The memory is used again; beyond that of 1,024, what has been of no use for a second is given back.
    ///
    /// Some rules follow:
    ///
    /// - Greenlets that an isolated green thread switches to by hand have the variables of the hub's thread.
    /// - One that is not to be isolated is, if it begins while the main greenlet waits for a lock that lies in such a variable, as rayon
    ///   and parking_lot have: they would wait in the same one.
    /// - The destructors of its variables run in it when its closure has ended, those of pthread keys last, as at the end of an OS
    ///   thread. They may wait. The result can be joined when all have run. A kill that comes meanwhile has no effect, and a panic in
    ///   one aborts the process, as in an OS thread.
    /// - `pthread_self` is its own, and what asks for the OS thread behind it gets an error: the scheduling class, the processors. Its
    ///   OS thread is that of the hub, as `gettid` says.
    ///
    /// Isolation works with glibc, on x86_64 since Linux 5.9 and on aarch64.
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

    /// Spawns the green thread with these settings: see [`spawn`](crate::spawn).
    ///
    /// # Errors
    ///
    /// - `InvalidInput` if the stack size is impossible.
    /// - With the feature `monkey`: `Unsupported` if `isolated` was set where that does not work, or the error
    ///   that kept its variables from being made, `OutOfMemory` for instance.
    ///
    /// After an error `function` is dropped, and has not run.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Builder;
    ///
    /// let named = Builder::new().name("adder").spawn(|| 1 + 2)?;
    /// assert_eq!(named.join().unwrap(), 3);
    ///
    /// let impossible = Builder::new().stack_size(usize::MAX).spawn(|| ());
    /// assert_eq!(impossible.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "start")]
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
        let record = Record::new(hub, self.name.map(Arc::from), Location::caller(), stack);
        #[cfg(feature = "monkey")]
        if let Some(isolated) = self.isolated {
            record.isolate(isolated)?;
        }
        let (task, job) = Task::pair(|| record, function);
        match self.delay {
            None => hub.push_fresh(job),
            Some(delay) => task.record().set_due(hub.arm(Time::after(delay), Alarm::Start(job))),
        }
        Ok(JoinHandle::new(task))
    }
}
