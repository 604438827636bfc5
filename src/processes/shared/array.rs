//! Values in a row that processes share.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use super::lock::{DATA, DATA_BYTES, Lock, LockGuard};
use super::memory::invalid;
use crate::sys::plain::{self, Plain};

/// "grnarr", and the size of an element in two bytes.
const OF_AN_ARRAY: u64 = u64::from_be_bytes(*b"grnarr\0\0");
/// Where the number of elements is, in words.
const LENGTH: usize = 3;

/// Values in a row that several processes share, as many as at first, with a [`Lock`] of their own. This is Python's
/// `multiprocessing.Array`.
///
/// Clones are the same array, and so is what a child has after a fork. The methods do not lock; an element that lies within a word of eight
/// bytes is whole all the same.
///
/// # Examples
///
/// ```
/// use greenloop::processes::shared::Array;
///
/// let squares = Array::from_slice(&[0u32; 5])?;
/// {
///     let _guard = squares.lock();
///     for place in 0..squares.len() {
///         squares.set(place, (place * place) as u32);
///     }
/// }
/// assert_eq!(squares.to_vec(), [0, 1, 4, 9, 16]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias("RawArray", "SynchronizedArray", "ShareableList"))]
pub struct Array<T> {
    lock: Lock,
    length: usize,
    elements: PhantomData<fn(T) -> T>,
}

impl<T: Plain> Array<T> {
    const KIND: u64 = OF_AN_ARRAY | (size_of::<T>() as u64 & 0xFFFF);

    /// Makes an array of so many elements, whose bytes are all zero. Does not yield.
    ///
    /// # Errors
    ///
    /// As [`Lock::new`]; `InvalidInput` if there cannot be so many.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::processes::shared::Array::<i16>::zeroed(3)?.to_vec(), [0, 0, 0]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn zeroed(length: usize) -> io::Result<Array<T>> {
        let bytes = length.checked_mul(size_of::<T>()).ok_or_else(invalid)?;
        let lock = Lock::with_data(bytes, Self::KIND)?;
        // Relaxed: nobody else has it yet.
        lock.memory().words()[LENGTH].store(length as u64, Ordering::Relaxed);
        Ok(Array { lock, length, elements: PhantomData })
    }

    /// Makes an array with copies of these elements. Does not yield.
    ///
    /// # Errors
    ///
    /// As [`zeroed`](Array::zeroed).
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::processes::shared::Array::from_slice(b"abc")?.get(1), Some(b'b'));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn from_slice(elements: &[T]) -> io::Result<Array<T>> {
        let array = Array::zeroed(elements.len())?;
        for (place, element) in elements.iter().enumerate() {
            array.set(place, *element);
        }
        Ok(array)
    }

    /// Makes the same array from its descriptors, which have come from another process. Does not yield.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if they are no array's, or that of elements of another size. Those of mmap(2).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::shared::Array;
    ///
    /// let array = Array::from_slice(&[1u64, 2])?;
    /// let same = Array::<u64>::from_descriptors(array.descriptors().map(|fd| fd.try_clone_to_owned().unwrap()))?;
    /// same.set(0, 3);
    /// assert_eq!(array.to_vec(), [3, 2]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn from_descriptors(descriptors: [OwnedFd; 2]) -> io::Result<Array<T>> {
        let lock = Lock::with_kind(descriptors, Self::KIND)?;
        // Relaxed: it was written before the descriptor was sent.
        let length = usize::try_from(lock.memory().words()[LENGTH].load(Ordering::Relaxed));
        let length = length.map_err(|_| invalid())?;
        let bytes = length.checked_mul(size_of::<T>());
        if bytes.is_none_or(|bytes| bytes > lock.memory().len() - DATA_BYTES) {
            return Err(invalid());
        }
        Ok(Array { lock, length, elements: PhantomData })
    }

    /// Returns the number of elements.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::processes::shared::Array::<u8>::zeroed(10)?.len(), 10);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.length
    }

    /// Returns `true` if there is no element.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(greenloop::processes::shared::Array::<u8>::zeroed(0)?.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns an element; `None` if there is none at that place. Does not lock, nor yield.
    ///
    /// # Examples
    ///
    /// ```
    /// let array = greenloop::processes::shared::Array::from_slice(&[1.5, 2.5])?;
    /// assert_eq!((array.get(1), array.get(2)), (Some(2.5), None));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get(&self, place: usize) -> Option<T> {
        let offset = self.offset(place)?;
        Some(plain::value(|bytes| self.lock.memory().read_at(offset, bytes).expect("it has room for all")))
    }

    /// Changes an element. Does not lock, nor yield.
    ///
    /// # Panics
    ///
    /// If there is none at that place.
    ///
    /// # Examples
    ///
    /// ```
    /// let array = greenloop::processes::shared::Array::<u8>::zeroed(2)?;
    /// array.set(1, 9);
    /// assert_eq!(array.to_vec(), [0, 9]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set(&self, place: usize, element: T) {
        let Some(offset) = self.offset(place) else {
            panic!("there is no element {place}: the array has {}", self.length)
        };
        self.lock.memory().write_at(offset, plain::bytes(&element)).expect("it has room for all");
    }

    fn offset(&self, place: usize) -> Option<usize> {
        (place < self.length).then(|| DATA * size_of::<u64>() + place * size_of::<T>())
    }

    /// Returns copies of all elements. Does not lock, nor yield.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::processes::shared::Array::from_slice(&[1, 2])?.to_vec(), [1, 2]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn to_vec(&self) -> Vec<T> {
        (0..self.length).filter_map(|place| self.get(place)).collect()
    }

    /// Locks the array's own lock. See [`Lock::lock`] for how it waits, and what ends that.
    ///
    /// # Panics
    ///
    /// As [`Lock::lock`].
    ///
    /// # Examples
    ///
    /// ```
    /// let array = greenloop::processes::shared::Array::<u8>::zeroed(1)?;
    /// let guard = array.lock();
    /// assert!(!guard.owner_died());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn lock(&self) -> LockGuard<'_> {
        self.lock.lock()
    }

    /// Returns the array's own lock, to try it or to wait for a limited time.
    ///
    /// # Examples
    ///
    /// ```
    /// let array = greenloop::processes::shared::Array::<u8>::zeroed(1)?;
    /// assert!(array.get_lock().try_lock().is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get_lock(&self) -> &Lock {
        &self.lock
    }

    /// Returns the two descriptors that another process needs to make the same array of.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::processes::shared::Array::<u8>::zeroed(1)?.descriptors().len(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        self.lock.descriptors()
    }
}

impl<T> Clone for Array<T> {
    fn clone(&self) -> Array<T> {
        Array { lock: self.lock.clone(), length: self.length, elements: PhantomData }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for Array<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Array").field("elements", &self.to_vec()).field("lock", &self.lock).finish()
    }
}
