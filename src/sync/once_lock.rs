//! A value that is set once.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::OnceLock as Cell;

use super::once::Once;

/// A place for a value that is set once, and then read without locking: [`std::sync::OnceLock`], but the closure that makes
/// the value may wait, and who comes meanwhile parks alone, and the hub goes on with the others.
///
/// A closure that unwinds, by a panic, a kill or a time limit, leaves it without a value: the next one tries again.
///
/// # Examples
///
/// ```
/// use greenloop::sync::OnceLock;
/// use greenloop::{spawn, yield_now};
///
/// static CONFIGURATION: OnceLock<String> = OnceLock::new();
///
/// let readers = ["one", "two"].map(|name| {
///     spawn(move || {
///         CONFIGURATION.get_or_init(|| {
///             yield_now(); // reads a file, perhaps
///             name.to_owned()
///         })
///     })
/// });
/// assert_eq!(readers.map(|reader| reader.join().unwrap().as_str()), ["one", "one"]);
/// ```
pub struct OnceLock<T> {
    once: Once,
    /// Written only by the closure that `once` runs, so nobody ever waits for it.
    value: Cell<T>,
}

// The value is written as a whole, and shared.
impl<T: RefUnwindSafe + UnwindSafe> RefUnwindSafe for OnceLock<T> {}
impl<T: UnwindSafe> UnwindSafe for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// Makes a place without a value.
    ///
    /// # Examples
    ///
    /// See [`OnceLock`].
    #[must_use]
    pub const fn new() -> OnceLock<T> {
        OnceLock { once: Once::new(), value: Cell::new() }
    }

    /// The value, if there is one. Never waits.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::sync::OnceLock::<u32>::new().get(), None);
    /// ```
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value, to be changed, if there is one: `&mut self` says that nobody else has the place.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut lock = greenloop::sync::OnceLock::from(1);
    /// *lock.get_mut().unwrap() += 1;
    /// assert_eq!(lock.into_inner(), Some(2));
    /// ```
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut()
    }

    /// Waits until there is a value.
    ///
    /// The calling green thread yields, and who sets the value wakes it. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait by unwinding.
    ///
    /// # Panics
    ///
    /// Panics if it must wait inside a hub callback, where nothing may wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use greenloop::spawn;
    /// use greenloop::sync::OnceLock;
    ///
    /// let lock = Arc::new(OnceLock::new());
    /// let setter = spawn({ let lock = Arc::clone(&lock); move || lock.set(1) });
    /// assert_eq!(*lock.wait(), 1);
    /// # setter.join().unwrap().unwrap();
    /// ```
    pub fn wait(&self) -> &T {
        self.once.wait_force();
        self.get().expect("set by who completed it")
    }

    /// Sets the value, if there is none. Waits if somebody is making one.
    ///
    /// # Errors
    ///
    /// If there is a value; `value` comes back.
    ///
    /// # Panics
    ///
    /// As [`wait`](OnceLock::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = greenloop::sync::OnceLock::new();
    /// assert_eq!((lock.set(1), lock.set(2)), (Ok(()), Err(2)));
    /// assert_eq!(lock.get(), Some(&1));
    /// ```
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("called once"));
        value.map_or(Ok(()), Err)
    }

    /// The value; made by `f` if there is none.
    ///
    /// If somebody is making one, the calling green thread yields until that one has ended, as
    /// [`wait`](OnceLock::wait) does. Calling it again from within `f` waits for itself, for ever.
    ///
    /// # Panics
    ///
    /// As `f` does, or as [`wait`](OnceLock::wait).
    ///
    /// # Examples
    ///
    /// See [`OnceLock`].
    #[inline]
    pub fn get_or_init<F: FnOnce() -> T>(&self, f: F) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        self.once.call_once_force(|_| {
            let _always_new = self.value.set(f());
        });
        self.get().expect("set by who completed it")
    }

    /// Takes the value out. Never waits: nobody else has the place.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::sync::OnceLock::from(1).into_inner(), Some(1));
    /// ```
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Takes the value out, and leaves the place without one: `&mut self` says that nobody else has it.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut lock = greenloop::sync::OnceLock::from(1);
    /// assert_eq!((lock.take(), lock.take()), (Some(1), None));
    /// assert_eq!(*lock.get_or_init(|| 2), 2);
    /// ```
    pub fn take(&mut self) -> Option<T> {
        std::mem::take(self).into_inner()
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> OnceLock<T> {
        OnceLock::new()
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> OnceLock<T> {
        let lock = OnceLock::new();
        lock.get_or_init(|| value);
        lock
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> OnceLock<T> {
        self.get().cloned().map_or_else(OnceLock::new, OnceLock::from)
    }
}

impl<T: PartialEq> PartialEq for OnceLock<T> {
    fn eq(&self, other: &OnceLock<T>) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for OnceLock<T> {}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(formatter)
    }
}
