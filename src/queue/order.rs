//! In which order a queue gives its items out.

use std::any::Any;
use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fmt;
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

/// An item that could not be taken in, and what a comparison panicked with.
pub struct Refused<T> {
    pub(super) item: T,
    pub(super) payload: Box<dyn Any + Send>,
}

/// The items of a queue. It cannot be named outside, so that nobody adds an [`Order`].
#[doc(hidden)]
pub trait Items<T> {
    /// Without any.
    const EMPTY: Self;
    /// Takes an item in; or leaves all as it was, and gives it back with the payload with which code of others panicked. Drops
    /// nothing of others: that is for who has let go of the lock.
    fn push(&mut self, item: T) -> Result<(), Refused<T>>;
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
    fn push(&mut self, item: T) -> Result<(), Refused<T>> {
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
    fn push(&mut self, item: T) -> Result<(), Refused<T>> {
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
    items: BTreeMap<Numbered<T>, ()>,
    next: u64,
}

/// An item with its number in the order of arrival.
struct Numbered<T> {
    item: T,
    number: u64,
    /// What a comparison panicked with while a place was looked for; boxed, for all others have this word too.
    panicked: OnceCell<Box<Box<dyn Any + Send>>>,
}

impl<T: Ord> Items<T> for Sorted<T> {
    const EMPTY: Sorted<T> = Sorted { items: BTreeMap::new(), next: 0 };

    fn push(&mut self, item: T) -> Result<(), Refused<T>> {
        let numbered = Numbered { item, number: self.next, panicked: OnceCell::new() };
        // Nothing unwinds through the tree, which would drop the item. No two are equal, so the place is free.
        let Entry::Vacant(place) = guarded(UNDER_LOCK, || self.items.entry(numbered)) else {
            unreachable!("no two have the same number")
        };
        if place.key().panicked.get().is_none() {
            place.insert(());
            self.next += 1;
            return Ok(());
        }
        let Numbered { item, panicked, .. } = place.into_key();
        let payload = panicked.into_inner().expect("seen just now");
        Err(Refused { item, payload: *payload })
    }

    fn peek(&self) -> Option<&T> {
        self.items.first_key_value().map(|(numbered, ())| &numbered.item)
    }

    fn pop(&mut self) -> Option<T> {
        self.items.pop_first().map(|(numbered, ())| numbered.item)
    }

    fn len(&self) -> usize {
        self.items.len()
    }
}

impl<T: Ord> Ord for Numbered<T> {
    /// Asked of the one whose place is looked for. When a comparison has panicked, any answer will do.
    fn cmp(&self, other: &Numbered<T>) -> Ordering {
        if self.panicked.get().is_some() {
            return Ordering::Less;
        }
        let compare = || self.item.cmp(&other.item).then(self.number.cmp(&other.number));
        catch_unwind(AssertUnwindSafe(compare)).unwrap_or_else(|payload| {
            self.panicked.get_or_init(|| Box::new(payload));
            Ordering::Less
        })
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

impl<T> fmt::Debug for Numbered<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Numbered").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Refused<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Refused { .. }")
    }
}
