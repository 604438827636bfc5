//! A semaphore that tells when it is given back more than was taken.

use std::fmt;
use std::ops::Deref;

use super::semaphore::Semaphore;
use crate::task::{Notice, Subscription, Waitable};

/// A [`Semaphore`] that never has more permits than it began with: gevent's `BoundedSemaphore`.
///
/// All that a semaphore does it does too, by [`Deref`]. Only [`release`](Semaphore::release) panics where it would make
/// permits that there were not at first, since that is most often a mistake in the program. A
/// [`SemaphorePermit`](super::SemaphorePermit) that is dropped never does: it comes back once.
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
    /// See [`BoundedSemaphore`].
    pub const fn new(permits: usize) -> BoundedSemaphore {
        BoundedSemaphore { semaphore: Semaphore::with_bound(permits, permits) }
    }

    /// How many permits there are at most.
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
