//! A value that is set once.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::OnceLock as Cell;

use super::once::Once;

/// A value that is set once, and then read without locking: [`std::sync::OnceLock`], but a wait parks the calling green thread
/// alone.
///
/// The closure that makes the value may wait. Callers that come meanwhile wait until it has ended. If the closure unwinds, by a
/// panic, a kill or a time limit, there is no value, and the next call tries again.
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
    /// Makes a `OnceLock` without a value.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::OnceLock;
    ///
    /// static NAME: OnceLock<String> = OnceLock::new();
    /// assert_eq!(NAME.get(), None);
    /// ```
    #[must_use]
    pub const fn new() -> OnceLock<T> {
        OnceLock { once: Once::new(), value: Cell::new() }
    }

    /// Returns a reference to the value, if there is one. Never waits.
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

    /// Returns a mutable reference to the value, if there is one. Never waits.
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

    /// Waits until there is a value, and returns a reference to it.
    ///
    /// The calling green thread yields, and the call that sets the value wakes it. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait by unwinding.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait in a [hub callback](crate::hub#callbacks), which may not wait.
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

    /// Sets the value, if there is none. Waits if another call is making one.
    ///
    /// # Errors
    ///
    /// Returns `value` if there is a value already.
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

    /// Returns a reference to the value, and makes it with `f` first if there is none.
    ///
    /// If another call is making one, the calling green thread yields until that call has ended, as [`wait`](OnceLock::wait)
    /// does. A call from within `f` waits for itself, for ever.
    ///
    /// # Panics
    ///
    /// Panics if `f` panics, and as [`wait`](OnceLock::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::OnceLock;
    ///
    /// let lock = OnceLock::new();
    /// assert_eq!(*lock.get_or_init(|| 1), 1);
    /// assert_eq!(*lock.get_or_init(|| 2), 1); // it has a value
    /// ```
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

    /// Consumes the `OnceLock`, and returns its value, if there is one. Never waits.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::sync::OnceLock::from(1).into_inner(), Some(1));
    /// ```
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Takes the value out, if there is one, and leaves none. Never waits.
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
