//! Shared ownership: [`std::sync::Arc`] without weak references, which comes in pairs.

use std::alloc::Layout;
use std::mem;
use std::ops::Deref;
use std::ptr::{self, NonNull};

use super::atomic::{AtomicUsize, Ordering, constant};
use super::blocks;

/// One of the owners of a `T`; the last one frees it.
///
/// Arc counts twice, once for its weak references: then who is the last is found out by two atomic operations, and a pair is
/// made by another. Here a pair costs none, and who is alone sees that by a load. It is neither `Send` nor `Sync`.
pub(crate) struct Shared<T: ?Sized + Counted>(NonNull<T>);

/// A value that says itself how many own it.
///
/// # Safety
///
/// The value begins with a [`Count`]: its type is `repr(C)`, and its first field is one, or begins with one in turn. It is used by
/// [`Shared`] alone.
pub(crate) unsafe trait Counted {}

/// How many own a value, and a byte of the value's own beside that: its marks, which only grow.
#[repr(transparent)]
pub(crate) struct Count(AtomicUsize);

/// One owner, above the marks.
const OWNER: usize = 1 << 8;

/// What came of [`Shared::mark_and_end`].
pub(crate) enum Marked<T: ?Sized + Counted> {
    /// It is marked, and this owner is none any more.
    Ended,
    /// It is marked, and has no other owner.
    Alone(Shared<T>),
    /// It is not marked, for somebody has asked for [`Count::WAIT`].
    Asked(Shared<T>),
}

impl Count {
    /// The mark of who wants no other to be made in passing.
    pub(crate) const WAIT: u8 = 1 << 7;

    constant! {
        /// That of two owners, without a mark.
        pub(crate) fn of_pair() -> Count {
            Count(AtomicUsize::new(2 * OWNER))
        }
    }

    /// The marks.
    #[inline]
    pub(crate) fn marks(&self, order: Ordering) -> u8 {
        self.0.load(order) as u8
    }

    /// Adds marks. Returns those of before.
    #[inline]
    pub(crate) fn mark(&self, marks: u8, order: Ordering) -> u8 {
        self.0.fetch_or(usize::from(marks), order) as u8
    }

    /// Adds marks, unless somebody has asked to wait; whether it did. By the only one who makes other marks.
    #[inline]
    pub(crate) fn mark_unasked(&self, marks: u8) -> bool {
        let marked = |word: usize| (word as u8 & Count::WAIT == 0).then_some(word | usize::from(marks));
        // Release: publishes what the mark stands for. Relaxed: nothing is seen.
        self.0.fetch_update(Ordering::Release, Ordering::Relaxed, marked).is_ok()
    }

    /// Takes one owner away. Whether it was the last, who has seen all that the others did with the value.
    #[inline]
    fn end_one(&self) -> bool {
        // Who is alone stays so: there is nobody else to make another owner.
        // Acquire: what the others did with the value, published by the Release of their ends, comes before its drop.
        if self.0.load(Ordering::Acquire) / OWNER != 1 {
            // Release: what this owner did with the value comes before its drop.
            if self.0.fetch_sub(OWNER, Ordering::Release) / OWNER != 1 {
                return false;
            }
            // Acquire: as above. No fence, of which ThreadSanitizer knows nothing.
            self.0.load(Ordering::Acquire);
        }
        true
    }
}

/// Memory for a value that is not there yet, or not any more.
struct Room(NonNull<u8>, Layout);

impl Drop for Room {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: allocated with this layout by who made the value, and no value is there.
        unsafe { blocks::free(self.0, self.1) };
    }
}

impl<T: Counted> Shared<T> {
    /// Two owners of a value with a new count, which is made where it stays, once there is memory for it.
    #[inline]
    pub(crate) fn pair(make: impl FnOnce() -> T) -> (Shared<T>, Shared<T>) {
        const { assert!(size_of::<T>() >= size_of::<Count>(), "it begins with a count") };
        let layout = Layout::new::<T>();
        let room = Room(blocks::allocate(layout), layout);
        let value = room.0.cast::<T>();
        // SAFETY: there is room for one, and nobody else knows of it.
        unsafe { value.write(make()) };
        mem::forget(room);
        (Shared(value), Shared(value))
    }
}

impl<T: ?Sized + Counted> Shared<T> {
    /// The same owner of the same value, seen as another type.
    ///
    /// # Safety
    ///
    /// `convert` must return what it is given, unsized or as another trait object.
    #[inline]
    pub(crate) unsafe fn convert<U: ?Sized + Counted>(
        self,
        convert: impl FnOnce(NonNull<T>) -> NonNull<U>,
    ) -> Shared<U> {
        let value = self.0;
        mem::forget(self);
        Shared(convert(value))
    }

    #[inline]
    fn count(&self) -> &Count {
        // SAFETY: made by `pair`, and freed by the last owner only, which this one is not before its drop; it begins with a count, as
        // `Counted` promises. All share it.
        unsafe { self.0.cast().as_ref() }
    }

    /// Marks the value, and ends this owner by the same operation. By the only one who makes marks but [`Count::WAIT`].
    #[inline]
    pub(crate) fn mark_and_end(self, marks: u8) -> Marked<T> {
        let count = &self.count().0;
        let marks = usize::from(marks);
        // Relaxed: a first guess.
        let mut word = count.load(Ordering::Relaxed);
        loop {
            if word as u8 & Count::WAIT != 0 {
                return Marked::Asked(self);
            }
            if word / OWNER == 1 {
                // Relaxed: there is nobody to see it.
                count.store(word | marks, Ordering::Relaxed);
                return Marked::Alone(self);
            }
            // Release: what this owner did with the value, and what the mark stands for, comes before who sees the mark, and
            // before the value's drop. Relaxed: nothing is seen.
            match count.compare_exchange_weak(
                word,
                (word - OWNER) | marks,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    mem::forget(self);
                    return Marked::Ended;
                }
                Err(other) => word = other,
            }
        }
    }
}

impl<T: ?Sized + Counted> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        // Relaxed: who makes another owner is one, so the value is not freed before that one is counted. It cannot overflow: this
        // crate makes all owners, and each stands somewhere in memory.
        self.count().0.fetch_add(OWNER, Ordering::Relaxed);
        Shared(self.0)
    }
}

impl<T: ?Sized + Counted> Deref for Shared<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: as in `count`.
        unsafe { self.0.as_ref() }
    }
}

impl<T: ?Sized + Counted> Drop for Shared<T> {
    #[inline]
    fn drop(&mut self) {
        if self.count().end_one() {
            let _room = Room(self.0.cast(), Layout::for_value(&**self));
            // SAFETY: this was the last owner, so nobody else has the pointer, and all that the others did is over, by the orderings
            // in `end_one`.
            unsafe { ptr::drop_in_place(self.0.as_ptr()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[repr(C)]
    struct Of<T> {
        count: Count,
        value: T,
    }

    // SAFETY: it begins with its count.
    unsafe impl<T> Counted for Of<T> {}

    trait Named: Counted {
        fn name(&self) -> String;
    }

    impl<T: ToString> Named for Of<T> {
        fn name(&self) -> String {
            self.value.to_string()
        }
    }

    fn pair<T>(value: impl FnOnce() -> T) -> (Shared<Of<T>>, Shared<Of<T>>) {
        Shared::pair(|| Of { count: Count::of_pair(), value: value() })
    }

    #[test]
    fn the_last_owner_drops_the_value_once() {
        let value = Rc::new(());
        let (one, other) = pair(|| value.clone());
        let third = one.clone();
        drop(one);
        drop(third);
        assert_eq!(Rc::strong_count(&other.value), 2);
        drop(other);
        assert_eq!(Rc::strong_count(&value), 1);
    }

    #[test]
    fn a_value_may_be_seen_as_a_trait_object() {
        let (one, other) = pair(|| 7u8);
        // SAFETY: it is unsized, no more.
        let one: Shared<dyn Named> = unsafe { one.convert(|value| value as _) };
        assert_eq!((one.name(), other.value), ("7".to_owned(), 7));
    }

    #[test]
    fn nothing_is_left_of_a_value_that_could_not_be_made() {
        let made = std::panic::catch_unwind(|| pair::<u8>(|| std::panic::resume_unwind(Box::new(1))));
        assert!(made.is_err());
    }

    #[test]
    fn who_marks_the_value_ends_by_that_unless_alone_or_asked_to_wait() {
        let value = Rc::new(());
        let (one, other) = pair(|| value.clone());
        assert!(matches!(one.mark_and_end(1), Marked::Ended));
        assert_eq!(other.count.marks(Ordering::Relaxed), 1);
        assert_eq!(Rc::strong_count(&value), 2);
        let Marked::Alone(other) = other.mark_and_end(2) else { panic!("there is no other") };
        assert_eq!(other.count.marks(Ordering::Relaxed), 3);
        let third = other.clone();
        assert_eq!(third.count.mark(Count::WAIT, Ordering::Relaxed), 3);
        assert!(!third.count.mark_unasked(4));
        let Marked::Asked(other) = other.mark_and_end(4) else { panic!("it was asked to wait") };
        assert_eq!(other.count.marks(Ordering::Relaxed), 3 | Count::WAIT);
        drop((other, third));
        assert_eq!(Rc::strong_count(&value), 1);
    }
}
