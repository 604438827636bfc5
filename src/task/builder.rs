//! Making green threads.

use std::io;
use std::panic::Location;
use std::time::Duration;

use super::join_handle::JoinHandle;
use super::packet::{Core, Task};
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
    let core = Core::new(hub, None, Location::caller(), SizeClass::default_now());
    let task = Task::new(core, function);
    hub.push_fresh(task.clone());
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
    Builder::new().delay(delay).spawn_on(SizeClass::default_now(), function)
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

    /// Runs it on a stack with at least this many usable bytes. Memory is used only as far as the stack is.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(bytes);
        self
    }

    /// Lets it begin after this time.
    pub fn delay(mut self, delay: Duration) -> Builder {
        self.delay = Some(delay);
        self
    }

    /// Makes the green thread: see [`spawn`](crate::spawn).
    ///
    /// # Errors
    ///
    /// Of kind `InvalidInput` if the stack size is impossible. The closure is dropped.
    #[track_caller]
    pub fn spawn<F, T>(self, function: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        let stack = self.stack()?;
        Ok(self.spawn_on(stack, function))
    }

    pub(super) fn stack(&self) -> io::Result<SizeClass> {
        Ok(self.stack_size.map_or_else(|| Ok(SizeClass::default_now()), SizeClass::fitting)?)
    }

    #[track_caller]
    fn spawn_on<F, T>(self, stack: SizeClass, function: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        let hub = hub();
        let core = Core::new(hub, self.name.map(String::into_boxed_str), Location::caller(), stack);
        let task = Task::new(core, function);
        match self.delay {
            None => hub.push_fresh(task.clone()),
            Some(delay) => {
                hub.arm(Time::after(delay), Alarm::Start(task.clone()));
            }
        }
        JoinHandle::new(task)
    }
}
