//! In which order a queue gives its items out.

use std::any::Any;
use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::fiber::{UNDER_LOCK, guarded};

/// The order in which a queue gives its items out: [`Fifo`], [`Lifo`] or [`Priority`].
///
/// There are no others: the trait cannot be implemented outside of this crate.
pub trait Order<T> {
    /// What keeps the items.
    type Items: Items<T>;
}

/// First in, first out.
#[derive(Debug)]
pub enum Fifo {}

/// Last in, first out.
#[derive(Debug)]
pub enum Lifo {}

/// The smallest first, and of equal ones the oldest.
#[derive(Debug)]
pub enum Priority {}

impl<T> Order<T> for Fifo {
    type Items = VecDeque<T>;
}

impl<T> Order<T> for Lifo {
    type Items = Vec<T>;
}

impl<T: Ord> Order<T> for Priority {
    type Items = Sorted<T>;
}

/// The items of a queue. It cannot be named outside, so that nobody adds an [`Order`].
#[doc(hidden)]
pub trait Items<T> {
    /// Without any.
    const EMPTY: Self;
    /// Takes an item in; or leaves all as it was, and gives back the payload with which code of others panicked.
    fn push(&mut self, item: T) -> Result<(), Box<dyn Any + Send>>;
    /// The next.
    fn peek(&self) -> Option<&T>;
    /// Takes the next out.
    fn pop(&mut self) -> Option<T>;
    /// How many there are.
    fn len(&self) -> usize;
}

impl<T> Items<T> for VecDeque<T> {
    const EMPTY: VecDeque<T> = VecDeque::new();

    #[inline]
    fn push(&mut self, item: T) -> Result<(), Box<dyn Any + Send>> {
        self.push_back(item);
        Ok(())
    }

    fn peek(&self) -> Option<&T> {
        self.front()
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        self.pop_front()
    }

    #[inline]
    fn len(&self) -> usize {
        VecDeque::len(self)
    }
}

impl<T> Items<T> for Vec<T> {
    const EMPTY: Vec<T> = Vec::new();

    #[inline]
    fn push(&mut self, item: T) -> Result<(), Box<dyn Any + Send>> {
        Vec::push(self, item);
        Ok(())
    }

    fn peek(&self) -> Option<&T> {
        self.last()
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        Vec::pop(self)
    }

    #[inline]
    fn len(&self) -> usize {
        Vec::len(self)
    }
}

/// The items of a [`Priority`] queue.
#[derive(Debug)]
pub struct Sorted<T> {
    // A tree compares only when something is put in, and before it changes anything; a heap does neither.
    items: BTreeSet<Numbered<T>>,
    next: u64,
}

/// An item with its number in the order of arrival.
#[derive(Debug)]
struct Numbered<T> {
    item: T,
    number: u64,
}

impl<T: Ord> Items<T> for Sorted<T> {
    const EMPTY: Sorted<T> = Sorted { items: BTreeSet::new(), next: 0 };

    fn push(&mut self, item: T) -> Result<(), Box<dyn Any + Send>> {
        let numbered = Numbered { item, number: self.next };
        // Whatever a comparison does, a tree stays a tree.
        catch_unwind(AssertUnwindSafe(|| guarded(UNDER_LOCK, || self.items.insert(numbered))))?;
        self.next += 1;
        Ok(())
    }

    fn peek(&self) -> Option<&T> {
        self.items.first().map(|numbered| &numbered.item)
    }

    fn pop(&mut self) -> Option<T> {
        self.items.pop_first().map(|numbered| numbered.item)
    }

    fn len(&self) -> usize {
        self.items.len()
    }
}

impl<T: Ord> Ord for Numbered<T> {
    fn cmp(&self, other: &Numbered<T>) -> Ordering {
        self.item.cmp(&other.item).then(self.number.cmp(&other.number))
    }
}

impl<T: Ord> PartialOrd for Numbered<T> {
    fn partial_cmp(&self, other: &Numbered<T>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> PartialEq for Numbered<T> {
    fn eq(&self, other: &Numbered<T>) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Ord> Eq for Numbered<T> {}
