//! A value that is made on first use.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::OnceLock as Cell;

use super::once::Once;
use crate::sys::lock::Lock;

/// A value that is made on first use: [`std::sync::LazyLock`], but a wait parks the calling green thread alone.
///
/// The closure that makes the value may wait. Uses that come meanwhile wait until it has ended. If the closure unwinds, by a
/// panic, a kill or a time limit, the `LazyLock` is poisoned, and every later use panics, as with std's.
///
/// # Examples
///
/// ```
/// use greenloop::sync::LazyLock;
/// use std::time::Duration;
///
/// static NUMBERS: LazyLock<Vec<u32>> = LazyLock::new(|| {
///     greenloop::sleep(Duration::from_millis(1));
///     vec![1, 2, 3]
/// });
/// let sums = [(); 2].map(|()| greenloop::spawn(|| NUMBERS.iter().sum::<u32>()));
/// assert_eq!(sums.map(|sum| sum.join().unwrap()), [6, 6]);
/// ```
pub struct LazyLock<T, F = fn() -> T> {
    once: Once,
    /// Taken by the closure that `once` runs.
    make: Lock<Option<F>>,
    /// Written only by the closure that `once` runs.
    value: Cell<T>,
}

// The value is written as a whole, and shared; the closure is taken before it is called.
impl<T: RefUnwindSafe + UnwindSafe, F: UnwindSafe> RefUnwindSafe for LazyLock<T, F> {}
impl<T: UnwindSafe, F: UnwindSafe> UnwindSafe for LazyLock<T, F> {}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    /// Makes a `LazyLock` whose value `f` makes on first use.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::LazyLock;
    ///
    /// static GREETING: LazyLock<String> = LazyLock::new(|| "hello".to_owned());
    /// assert_eq!(GREETING.len(), 5);
    /// ```
    pub const fn new(f: F) -> LazyLock<T, F> {
        LazyLock { once: Once::new(), make: Lock::new(Some(f)), value: Cell::new() }
    }

    /// Returns a reference to the value, and makes it first if it has not been used before. [`Deref`] does the same.
    ///
    /// If another use is making it, the calling green thread yields until that has ended. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait by unwinding. A use from within its own closure waits for itself, for
    /// ever.
    ///
    /// # Panics
    ///
    /// Panics if the closure panics, if the `LazyLock` is poisoned, or if it has to wait in a [hub
    /// callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::LazyLock;
    ///
    /// let lazy = LazyLock::new(|| 92);
    /// assert_eq!(LazyLock::force(&lazy), &92);
    /// ```
    #[inline]
    #[track_caller]
    pub fn force(this: &LazyLock<T, F>) -> &T {
        match this.value.get() {
            Some(value) => value,
            None => this.make(),
        }
    }

    /// Returns a mutable reference to the value, and makes it first if it has not been used before.
    ///
    /// # Panics
    ///
    /// As [`force`](LazyLock::force).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::LazyLock;
    ///
    /// let mut lazy = LazyLock::new(|| 92);
    /// *LazyLock::force_mut(&mut lazy) += 1;
    /// assert_eq!(*lazy, 93);
    /// ```
    #[track_caller]
    pub fn force_mut(this: &mut LazyLock<T, F>) -> &mut T {
        LazyLock::force(this);
        this.value.get_mut().expect("set by who completed it")
    }

    #[cold]
    #[track_caller]
    fn make(&self) -> &T {
        self.once.call_once_force(|_| {
            let make = self.make.lock().take();
            if let Some(make) = make {
                let _always_new = self.value.set(make());
            }
        });
        // None: whoever took the closure has unwound.
        self.value.get().expect("LazyLock instance has previously been poisoned")
    }
}

impl<T, F> LazyLock<T, F> {
    /// Returns a reference to the value, if it has been made. Never waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::LazyLock;
    ///
    /// let lazy = LazyLock::new(|| 92);
    /// assert_eq!(LazyLock::get(&lazy), None);
    /// assert_eq!(*lazy, 92);
    /// assert_eq!(LazyLock::get(&lazy), Some(&92));
    /// ```
    pub fn get(this: &LazyLock<T, F>) -> Option<&T> {
        this.value.get()
    }

    /// Returns a mutable reference to the value, if it has been made. Never waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::LazyLock;
    ///
    /// let mut lazy = LazyLock::new(|| 92);
    /// assert_eq!(LazyLock::get_mut(&mut lazy), None);
    /// ```
    pub fn get_mut(this: &mut LazyLock<T, F>) -> Option<&mut T> {
        this.value.get_mut()
    }
}

impl<T, F: FnOnce() -> T> Deref for LazyLock<T, F> {
    type Target = T;

    #[inline]
    #[track_caller]
    fn deref(&self) -> &T {
        LazyLock::force(self)
    }
}

impl<T, F: FnOnce() -> T> DerefMut for LazyLock<T, F> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        LazyLock::force_mut(self)
    }
}

impl<T: Default> Default for LazyLock<T> {
    fn default() -> LazyLock<T> {
        LazyLock::new(T::default)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for LazyLock<T, F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_tuple("LazyLock");
        match self.value.get() {
            Some(value) => debug.field(value),
            None => debug.field(&format_args!("<uninit>")),
        };
        debug.finish()
    }
}
