//! Shared ownership: [`std::sync::Arc`] without weak references, which comes in pairs.

use std::ops::Deref;
use std::ptr::NonNull;

use super::atomic::{AtomicUsize, Ordering};

/// One of the owners of a `T`; the last one frees it.
///
/// Arc counts twice, once for its weak references: then who is the last is found out by two atomic operations, and a pair is
/// made by another. Here a pair costs none, and who is alone sees that by a load. It is neither `Send` nor `Sync`.
pub(crate) struct Shared<T: ?Sized>(NonNull<Counted<T>>);

/// A value, and how many own it.
pub(crate) struct Counted<T: ?Sized> {
    owners: AtomicUsize,
    value: T,
}

impl<T> Shared<T> {
    /// Two owners of a value, which is made where it stays, once there is memory for it.
    #[inline]
    pub(crate) fn pair(make: impl FnOnce() -> T) -> (Shared<T>, Shared<T>) {
        let mut place = Box::<Counted<T>>::new_uninit();
        place.write(Counted { owners: AtomicUsize::new(2), value: make() });
        let counted = NonNull::from(Box::leak(place)).cast();
        (Shared(counted), Shared(counted))
    }
}

impl<T: ?Sized> Shared<T> {
    /// The same owner of the same value, seen as another type.
    ///
    /// # Safety
    ///
    /// `convert` must return what it is given, unsized or as another trait object.
    #[inline]
    pub(crate) unsafe fn convert<U: ?Sized>(
        self,
        convert: impl FnOnce(NonNull<Counted<T>>) -> NonNull<Counted<U>>,
    ) -> Shared<U> {
        let counted = self.0;
        std::mem::forget(self);
        Shared(convert(counted))
    }

    #[inline]
    fn counted(&self) -> &Counted<T> {
        // SAFETY: made by `pair`, and freed by the last owner only, which this one is not before its drop. All share it.
        unsafe { self.0.as_ref() }
    }
}

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        // Relaxed: who makes another owner is one, so the value is not freed before that one is counted. It cannot overflow: this
        // crate makes all owners, and each stands somewhere in memory.
        self.counted().owners.fetch_add(1, Ordering::Relaxed);
        Shared(self.0)
    }
}

impl<T: ?Sized> Deref for Shared<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.counted().value
    }
}

impl<T: ?Sized> Drop for Shared<T> {
    #[inline]
    fn drop(&mut self) {
        let owners = &self.counted().owners;
        // Who is alone stays so: there is nobody else to make another owner.
        // Acquire: what the others did with the value, published by the Release of their ends, comes before its drop.
        if owners.load(Ordering::Acquire) != 1 {
            // Release: what this owner did with the value comes before its drop.
            if owners.fetch_sub(1, Ordering::Release) != 1 {
                return;
            }
            // Acquire: as above. No fence, of which ThreadSanitizer knows nothing.
            owners.load(Ordering::Acquire);
        }
        // SAFETY: made as a box of this layout by `pair`; this was the last owner, so nobody else has the pointer, and all
        // that the others did is over, by the orderings above.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn the_last_owner_drops_the_value_once() {
        let value = Rc::new(());
        let (one, other) = Shared::pair(|| value.clone());
        let third = one.clone();
        drop(one);
        drop(third);
        assert_eq!(Rc::strong_count(&other), 2);
        drop(other);
        assert_eq!(Rc::strong_count(&value), 1);
    }

    #[test]
    fn a_value_may_be_seen_as_a_trait_object() {
        let (one, other) = Shared::pair(|| 7u8);
        // SAFETY: it is unsized, no more.
        let one: Shared<dyn std::fmt::Display> = unsafe { one.convert(|counted| counted as _) };
        assert_eq!((one.to_string(), *other), ("7".to_owned(), 7));
    }

    #[test]
    fn nothing_is_left_of_a_value_that_could_not_be_made() {
        let made = std::panic::catch_unwind(|| Shared::<u8>::pair(|| std::panic::resume_unwind(Box::new(1))));
        assert!(made.is_err());
    }
}
