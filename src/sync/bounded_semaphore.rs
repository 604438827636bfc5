//! A semaphore that tells when it is given back more than was taken.

use std::fmt;
use std::ops::Deref;

use super::semaphore::Semaphore;
use crate::task::{Notice, Subscription, Waitable};

/// A [`Semaphore`] that never has more permits than it began with. This is gevent's `BoundedSemaphore`.
///
/// It has all methods of a semaphore, by [`Deref`]. The difference is that [`release`](Semaphore::release) panics if there would
/// be more permits than at first, since that is most often a mistake in the program. Dropping a
/// [`SemaphorePermit`](super::SemaphorePermit) never panics: it comes back once.
///
/// # Examples
///
/// ```
/// use greenloop::sync::BoundedSemaphore;
/// use std::panic::catch_unwind;
///
/// let slots = BoundedSemaphore::new(2);
/// slots.acquire().forget();
/// slots.release(1);
/// assert!(catch_unwind(|| slots.release(1)).is_err());
/// assert_eq!(slots.available_permits(), 2);
/// ```
pub struct BoundedSemaphore {
    semaphore: Semaphore,
}

impl BoundedSemaphore {
    /// Makes a semaphore with that many permits, now and at most.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::BoundedSemaphore;
    ///
    /// static SLOTS: BoundedSemaphore = BoundedSemaphore::new(2);
    /// assert_eq!((SLOTS.available_permits(), SLOTS.bound()), (2, 2));
    /// ```
    pub const fn new(permits: usize) -> BoundedSemaphore {
        BoundedSemaphore { semaphore: Semaphore::with_bound(permits, permits) }
    }

    /// Returns how many permits there are at most.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::sync::BoundedSemaphore::new(2).bound(), 2);
    /// ```
    pub fn bound(&self) -> usize {
        self.semaphore.bound()
    }
}

impl Deref for BoundedSemaphore {
    type Target = Semaphore;

    #[inline]
    fn deref(&self) -> &Semaphore {
        &self.semaphore
    }
}

/// Ready while a permit is free; a wait takes none.
impl Waitable for BoundedSemaphore {
    fn is_ready(&self) -> bool {
        self.semaphore.is_ready()
    }

    fn subscribe(&self, notice: Notice) -> Subscription {
        self.semaphore.subscribe(notice)
    }

    fn unsubscribe(&self, subscription: Subscription) {
        self.semaphore.unsubscribe(subscription);
    }
}

impl fmt::Debug for BoundedSemaphore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("BoundedSemaphore").field(&self.semaphore).finish()
    }
}
