//! A pool whose members borrow from the frame of their maker.

use std::fmt;

use super::slots::{Slot, Slots};
use crate::error::{JoinError, PoolFull};
use crate::task::{self, Element, Imap, Order, Scope, ScopedJoinHandle};

/// A pool whose members may borrow what outlives it. See [`scope`].
#[derive(Clone)]
pub struct ScopedPool<'scope, 'env: 'scope> {
    scope: &'scope Scope<'scope, 'env>,
    slots: Slots,
}

/// Runs `body` with a pool of `size` slots, whose members may borrow from the caller's frame.
///
/// Returns when `body` and all members have ended. This is [`greenloop::scope`](crate::scope()) with a limit. If `body` unwinds
/// (by a panic, a kill or a time limit), the members are killed and joined first.
///
/// # Panics
///
/// Panics if a member panicked whose handle was not joined. A panic in an element of a map is in its result instead.
///
/// # Examples
///
/// ```
/// let words = ["green", "thread", "pool"].map(String::from);
/// let lengths = greenloop::pool::scope(2, |pool| pool.map(&words, |word| word.len()));
/// assert_eq!(lengths.into_iter().flatten().sum::<usize>(), 15);
/// ```
#[doc(alias = "TaskGroup")]
#[track_caller]
pub fn scope<'env, F, R>(size: usize, body: F) -> R
where
    F: for<'scope> FnOnce(ScopedPool<'scope, 'env>) -> R,
{
    task::scope(|scope| body(ScopedPool { scope, slots: Slots::new(size) }))
}

impl<'scope> ScopedPool<'scope, '_> {
    /// Spawns a member, and waits until a slot is free. See [`Group::spawn`](crate::pool::Group::spawn).
    ///
    /// # Examples
    ///
    /// ```
    /// let text = String::from("borrowed");
    /// let length = greenloop::pool::scope(1, |pool| pool.spawn(|| text.len()).join());
    /// assert_eq!(length.unwrap(), 8);
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&self, function: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        spawn_in(self.scope, self.slots.take(), function)
    }

    /// Spawns a member if a slot is free. Never waits.
    ///
    /// # Errors
    ///
    /// Returns `function` in [`PoolFull`] if no slot is free.
    ///
    /// # Examples
    ///
    /// ```
    /// greenloop::pool::scope(1, |pool| {
    ///     let member = pool.try_spawn(|| 1);
    ///     assert!(member.is_ok() && pool.try_spawn(|| 2).is_err());
    /// });
    /// ```
    #[track_caller]
    pub fn try_spawn<F, T>(&self, function: F) -> Result<ScopedJoinHandle<'scope, T>, PoolFull<F>>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        match self.slots.try_take() {
            Some(slot) => Ok(spawn_in(self.scope, slot, function)),
            None => Err(PoolFull(function)),
        }
    }

    /// Calls `function` with each item, and returns the results in the order of the items. See
    /// [`Group::map`](crate::pool::Group::map).
    ///
    /// # Examples
    ///
    /// ```
    /// let words = ["one", "three"].map(String::from);
    /// let lengths = greenloop::pool::scope(2, |pool| pool.map(&words, |word| word.len()));
    /// assert_eq!(lengths.into_iter().flatten().collect::<Vec<_>>(), [3, 5]);
    /// ```
    pub fn map<I, F, T>(&self, items: I, function: F) -> Vec<Result<T, JoinError>>
    where
        I: IntoIterator + 'scope,
        F: Fn(I::Item) -> T + 'scope,
        T: 'scope,
    {
        self.imap(items, function).maxsize(usize::MAX).collect()
    }

    /// Calls `function` with each item, and returns an iterator over the results in the order of the items.
    ///
    /// See [`Group::imap`](crate::pool::Group::imap).
    ///
    /// # Examples
    ///
    /// ```
    /// let numbers = [3, 1, 2];
    /// let doubled: Vec<_> = greenloop::pool::scope(2, |pool| pool.imap(&numbers, |number| number * 2).flatten().collect());
    /// assert_eq!(doubled, [6, 2, 4]);
    /// ```
    pub fn imap<I, F, T>(&self, items: I, function: F) -> Imap<'scope, T>
    where
        I: IntoIterator + 'scope,
        F: Fn(I::Item) -> T + 'scope,
        T: 'scope,
    {
        self.mapped(items, function, Order::Given)
    }

    /// Like [`imap`](ScopedPool::imap), but each result comes as soon as it is there.
    ///
    /// # Examples
    ///
    /// ```
    /// let numbers = [3, 1, 2];
    /// let sum = greenloop::pool::scope(2, |pool| pool.imap_unordered(&numbers, |number| *number).flatten().sum::<i32>());
    /// assert_eq!(sum, 6);
    /// ```
    pub fn imap_unordered<I, F, T>(&self, items: I, function: F) -> Imap<'scope, T>
    where
        I: IntoIterator + 'scope,
        F: Fn(I::Item) -> T + 'scope,
        T: 'scope,
    {
        self.mapped(items, function, Order::Completion)
    }

    fn mapped<I, F, T>(&self, items: I, function: F, order: Order) -> Imap<'scope, T>
    where
        I: IntoIterator + 'scope,
        F: Fn(I::Item) -> T + 'scope,
        T: 'scope,
    {
        let (scope, slots) = (self.scope, self.slots.clone());
        Imap::new(items, function, order, slots.look_ahead(), move |wait| {
            let slot = slots.take_for_element(wait)?;
            Some(move |element: Element<F, I::Item, T>| drop(spawn_in(scope, slot, move || element.run())))
        })
    }
}

#[track_caller]
fn spawn_in<'scope, F, T>(
    scope: &'scope Scope<'scope, '_>,
    slot: Slot,
    function: F,
) -> ScopedJoinHandle<'scope, T>
where
    F: FnOnce() -> T + 'scope,
    T: 'scope,
{
    scope.spawn(move || {
        let _slot = slot;
        function()
    })
}

impl fmt::Debug for ScopedPool<'_, '_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ScopedPool")
            .field("size", &self.slots.size())
            .field("free", &self.slots.free())
            .finish()
    }
}
