//! A value that processes share.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::lock::{DATA_BYTES, Lock, LockGuard};
use super::memory::invalid;
use crate::sys::plain::{self, Plain};

/// "grnval", and the size in two bytes.
const OF_A_VALUE: u64 = u64::from_be_bytes(*b"grnval\0\0");

/// A value that several processes share, with a [`Lock`] of its own. This is Python's `multiprocessing.Value`.
///
/// Clones are the same value, and so is what a child has after a fork. [`get`](Value::get) and [`set`](Value::set) do not lock: a value of
/// at most eight bytes is whole all the same; of a larger one a part may be from before another's `set`. [`update`](Value::update) locks.
///
/// # Examples
///
/// ```
/// use greenloop::processes::shared::Value;
///
/// let total = Value::new(0i64)?;
/// total.update(|total| total + 5);
/// {
///     let _guard = total.lock();
///     total.set(total.get() * 2); // nobody else is in between
/// }
/// assert_eq!(total.get(), 10);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias("RawValue", "Synchronized"))]
pub struct Value<T> {
    lock: Lock,
    value: PhantomData<fn(T) -> T>,
}

impl<T: Plain> Value<T> {
    const KIND: u64 = OF_A_VALUE | (size_of::<T>() as u64 & 0xFFFF);

    /// Makes a value. Does not yield.
    ///
    /// # Errors
    ///
    /// As [`Lock::new`].
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::processes::shared::Value::new(2.5)?.get(), 2.5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(value: T) -> io::Result<Value<T>> {
        let lock = Lock::with_data(size_of::<T>(), Self::KIND)?;
        let shared = Value { lock, value: PhantomData };
        shared.set(value);
        Ok(shared)
    }

    /// Makes the same value from its descriptors, which have come from another process. Does not yield.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if they are no value's, or that of another size. Those of mmap(2).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::shared::Value;
    ///
    /// let value = Value::new(7u32)?;
    /// let copies = |value: &Value<u32>| value.descriptors().map(|fd| fd.try_clone_to_owned().unwrap());
    /// let same = Value::<u32>::from_descriptors(copies(&value))?;
    /// same.set(8);
    /// assert_eq!(value.get(), 8);
    /// assert!(Value::<u64>::from_descriptors(copies(&value)).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn from_descriptors(descriptors: [OwnedFd; 2]) -> io::Result<Value<T>> {
        let lock = Lock::with_kind(descriptors, Self::KIND)?;
        if lock.memory().len() - DATA_BYTES < size_of::<T>() {
            return Err(invalid());
        }
        Ok(Value { lock, value: PhantomData })
    }

    /// Returns the value. Does not lock, nor yield.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::processes::shared::Value::new([1u8, 2, 3])?.get(), [1, 2, 3]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get(&self) -> T {
        plain::value(|bytes| self.lock.memory().read_at(DATA_BYTES, bytes).expect("it has room for one"))
    }

    /// Changes the value. Does not lock, nor yield.
    ///
    /// # Examples
    ///
    /// ```
    /// let value = greenloop::processes::shared::Value::new(1)?;
    /// value.set(2);
    /// assert_eq!(value.get(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set(&self, value: T) {
        self.lock.memory().write_at(DATA_BYTES, plain::bytes(&value)).expect("it has room for one");
    }

    /// Changes the value to what `change` makes of it, and returns that. Locks meanwhile: it yields, ends and panics as
    /// [`lock`](Value::lock).
    ///
    /// A process that is killed in here leaves the value as it was, or changed, if that has at most eight bytes; the next is not told.
    ///
    /// # Examples
    ///
    /// ```
    /// let value = greenloop::processes::shared::Value::new(20)?;
    /// assert_eq!(value.update(|value| value + 1), 21);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn update(&self, change: impl FnOnce(T) -> T) -> T {
        let _guard = self.lock();
        let value = change(self.get());
        self.set(value);
        value
    }

    /// Locks the value's own lock. See [`Lock::lock`] for how it waits, and what ends that.
    ///
    /// # Panics
    ///
    /// As [`Lock::lock`].
    ///
    /// # Examples
    ///
    /// ```
    /// let value = greenloop::processes::shared::Value::new(1)?;
    /// let guard = value.lock();
    /// assert!(!guard.owner_died());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "get_lock")]
    pub fn lock(&self) -> LockGuard<'_> {
        self.lock.lock()
    }

    /// Returns the value's own lock, to try it or to wait for a limited time.
    ///
    /// # Examples
    ///
    /// ```
    /// let value = greenloop::processes::shared::Value::new(1)?;
    /// assert!(value.get_lock().try_lock().is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "get_obj")]
    pub fn get_lock(&self) -> &Lock {
        &self.lock
    }

    /// Returns the two descriptors that another process needs to make the same value of.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::processes::shared::Value::new(1)?.descriptors().len(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        self.lock.descriptors()
    }
}

impl<T> Clone for Value<T> {
    fn clone(&self) -> Value<T> {
        Value { lock: self.lock.clone(), value: PhantomData }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for Value<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Value").field("value", &self.get()).field("lock", &self.lock).finish()
    }
}
