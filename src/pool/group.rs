//! Green threads that belong together.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::time::Duration;

use super::slots::{Slot, Slots};
use crate::error::JoinError;
use crate::sys::clock::Time;
use crate::task::{self, Element, Imap, JoinHandle, Order, TaskRef};

/// Green threads that are waited for and killed together. This is gevent's `Group`.
///
/// A green thread is a member if the group has spawned it, or it was added to the group, and it has not ended. If you drop the
/// group, its members go on. A group belongs to one OS thread, as the green threads do that it spawns. Members share it as
/// `Rc<Group>`.
///
/// A [`Pool`](crate::pool::Pool) is a group with a limited number of slots. There [`spawn`](Group::spawn) and its siblings wait
/// for a slot.
///
/// # Examples
///
/// ```
/// use greenloop::pool::Group;
///
/// let group = Group::new();
/// let squares = (1..=3).map(|number| group.spawn(move || number * number)).collect::<Vec<_>>();
/// assert_eq!(group.len(), 3);
/// group.join();
/// assert!(group.is_empty() && squares.iter().all(|square| square.is_finished()));
/// ```
///
/// ```compile_fail
/// let group = greenloop::pool::Group::new();
/// std::thread::spawn(move || group.join()); // it belongs to its OS thread
/// ```
pub struct Group {
    shared: Rc<Roll>,
}

// What it stands for is kept whole by the library, whoever unwinds.
impl UnwindSafe for Group {}
impl RefUnwindSafe for Group {}

struct Roll {
    slots: Slots,
    /// In order of arrival.
    members: RefCell<BTreeMap<u64, Member>>,
    /// The number of the next member.
    next: Cell<u64>,
}

struct Member {
    task: TaskRef,
    /// Whether the group has killed it.
    dying: bool,
    /// Freed when it ends, or is discarded.
    _slot: Slot,
}

/// Held by what runs: its end is the end of the membership.
struct Membership {
    shared: Rc<Roll>,
    number: u64,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.shared.remove(self.number);
    }
}

impl Group {
    /// Makes a group without members.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(greenloop::pool::Group::new().is_empty());
    /// ```
    pub fn new() -> Group {
        Group::with(Slots::unlimited())
    }

    pub(super) fn with(slots: Slots) -> Group {
        let members = RefCell::new(BTreeMap::new());
        Group { shared: Rc::new(Roll { slots, members, next: Cell::new(0) }) }
    }

    pub(super) fn slots(&self) -> &Slots {
        &self.shared.slots
    }

    /// Spawns a green thread that is a member. See [`spawn`](crate::spawn()).
    ///
    /// In a [`Pool`](crate::pool::Pool) that is full, the calling green thread yields until a member ends; waiters get slots in
    /// the order of their arrival. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends that wait by unwinding, and
    /// `function` is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// let group = greenloop::pool::Group::new();
    /// assert_eq!(group.spawn(|| 6 * 7).join().unwrap(), 42);
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&self, function: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        self.shared.spawn(self.shared.slots.take(), function)
    }

    /// [`spawn`](Group::spawn) with a slot that is taken.
    #[track_caller]
    pub(super) fn spawn_in<F, T>(&self, slot: Slot, function: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        self.shared.spawn(slot, function)
    }

    /// Calls `function` with each item, in a member of its own, and returns the results in the order of the items.
    ///
    /// The calling green thread yields until all results are there. If a call panics or is killed, its result is an `Err`. To get
    /// the first error in place of all results, collect: `.into_iter().collect::<Result<Vec<_>, _>>()`. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait by unwinding, and members that have begun go on.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::pool::Pool::new(2);
    /// let squares: Result<Vec<u32>, _> = pool.map(1..=3, |number| number * number).into_iter().collect();
    /// assert_eq!(squares.unwrap(), [1, 4, 9]);
    /// ```
    pub fn map<I, F, T>(&self, items: I, function: F) -> Vec<Result<T, JoinError>>
    where
        I: IntoIterator<Item: 'static>,
        F: Fn(I::Item) -> T + 'static,
        T: 'static,
    {
        self.imap(items, function).maxsize(usize::MAX).collect()
    }

    /// Calls `function` with each item, and returns an iterator over the results in the order of the items.
    ///
    /// Further members run while you take the results: see [`Imap`]. In a [`Pool`](crate::pool::Pool), [`maxsize`](Imap::maxsize)
    /// is twice the size at first. In a group it has no limit, so all items begin at once.
    ///
    /// # Examples
    ///
    /// ```
    /// let group = greenloop::pool::Group::new();
    /// let mut parts = group.imap([6, 0, 3], |divisor| 12 / divisor);
    /// assert_eq!(parts.next().unwrap().unwrap(), 2);
    /// assert!(parts.next().unwrap().unwrap_err().is_panic());
    /// assert_eq!(parts.next().unwrap().unwrap(), 4);
    /// assert!(parts.next().is_none());
    /// ```
    pub fn imap<'a, I, F, T>(&self, items: I, function: F) -> Imap<'a, T>
    where
        I: IntoIterator<IntoIter: 'a, Item: 'static>,
        F: Fn(I::Item) -> T + 'static,
        T: 'static,
    {
        self.mapped(items, function, Order::Given)
    }

    /// Like [`imap`](Group::imap), but each result comes as soon as it is there.
    ///
    /// # Examples
    ///
    /// ```
    /// let group = greenloop::pool::Group::new();
    /// let yields = |count| { (0..count).for_each(|_| greenloop::yield_now()); count };
    /// let order: Vec<u32> = group.imap_unordered([6, 1, 3], yields).flatten().collect();
    /// assert_eq!(order, [1, 3, 6]);
    /// ```
    pub fn imap_unordered<'a, I, F, T>(&self, items: I, function: F) -> Imap<'a, T>
    where
        I: IntoIterator<IntoIter: 'a, Item: 'static>,
        F: Fn(I::Item) -> T + 'static,
        T: 'static,
    {
        self.mapped(items, function, Order::Completion)
    }

    fn mapped<'a, I, F, T>(&self, items: I, function: F, order: Order) -> Imap<'a, T>
    where
        I: IntoIterator<IntoIter: 'a, Item: 'static>,
        F: Fn(I::Item) -> T + 'static,
        T: 'static,
    {
        let shared = self.shared.clone();
        let most = shared.slots.look_ahead();
        Imap::new(items, function, order, most, move |wait| {
            let slot = shared.slots.take_for_element(wait)?;
            let shared = shared.clone();
            Some(move |element: Element<F, I::Item, T>| drop(shared.spawn(slot, move || element.run())))
        })
    }

    /// Runs `function` in a member, and waits for its result. It is [`spawn`](Group::spawn) and [`join`](JoinHandle::join) in
    /// one.
    ///
    /// If a member of a full [`Pool`](crate::pool::Pool) calls this, it runs `function` itself, since otherwise it could wait for
    /// itself. A panic of `function` is then its own.
    ///
    /// # Errors
    ///
    /// As [`JoinHandle::join`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    /// use greenloop::pool::Pool;
    ///
    /// let pool = Rc::new(Pool::new(1));
    /// let inner = pool.clone();
    /// assert_eq!(pool.apply(move || inner.apply(|| 1).unwrap() + 1).unwrap(), 2);
    /// ```
    #[track_caller]
    pub fn apply<F, T>(&self, function: F) -> Result<T, JoinError>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        let slot = match self.shared.slots.try_take() {
            Some(slot) => slot,
            None if self.shared.has_current() => return Ok(function()),
            None => self.shared.slots.take(),
        };
        self.shared.spawn(slot, function).join()
    }

    /// Spawns a member that runs `function`, and then `callback` with the value. Never yields.
    ///
    /// In a [`Pool`](crate::pool::Pool) that is full, it is the new member that waits for a slot. `callback` runs when the slot
    /// is free again, and before the member ends. If `function` panics or is killed, `callback` is not called.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    ///
    /// let pool = greenloop::pool::Pool::new(1);
    /// let sum = Rc::new(Cell::new(0));
    /// for number in 1..=3 {
    ///     let sum = sum.clone();
    ///     pool.apply_async(move || number, move |value| sum.set(sum.get() + value));
    /// }
    /// pool.join();
    /// assert_eq!(sum.get(), 6);
    /// ```
    #[track_caller]
    pub fn apply_async<F, T, C>(&self, function: F, callback: C) -> JoinHandle<T>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
        C: FnOnce(&T) + 'static,
    {
        let slots = self.shared.slots.clone();
        self.shared.spawn(Slot::none(), move || {
            let slot = slots.take();
            let value = function();
            drop(slot);
            callback(&value);
            value
        })
    }

    /// Makes a green thread that was spawned elsewhere a member. Nothing happens if it is one.
    ///
    /// In a [`Pool`](crate::pool::Pool) that is full, the call waits for a slot, as [`spawn`](Group::spawn) does.
    ///
    /// # Examples
    ///
    /// ```
    /// let group = greenloop::pool::Group::new();
    /// let task = greenloop::spawn(|| greenloop::yield_now());
    /// group.add(&task);
    /// group.join();
    /// assert!(task.is_finished());
    /// ```
    pub fn add<T>(&self, handle: &JoinHandle<T>) {
        if !self.contains(handle) {
            self.admit(self.shared.slots.take(), handle);
        }
    }

    /// Makes it a member that has `slot`.
    pub(super) fn admit<T>(&self, slot: Slot, handle: &JoinHandle<T>) {
        let membership = self.shared.membership();
        let task = handle.task();
        self.shared.enroll(membership.number, task.clone(), slot);
        // It holds no membership itself, so somebody watches for its end.
        task::spawn(move || {
            task.wait_until(None);
            drop(membership);
        });
    }

    /// Ends the membership of a green thread. Returns `true` if it was a member.
    ///
    /// The green thread goes on, and its slot is free.
    ///
    /// # Examples
    ///
    /// ```
    /// let group = greenloop::pool::Group::new();
    /// let task = group.spawn(|| ());
    /// assert!(group.discard(&task));
    /// assert!(!group.discard(&task) && group.is_empty());
    /// ```
    pub fn discard<T>(&self, handle: &JoinHandle<T>) -> bool {
        self.shared.number_of(handle).is_some_and(|number| self.shared.remove(number))
    }

    /// Returns `true` if the green thread is a member.
    ///
    /// The call looks at one member after the other.
    ///
    /// # Examples
    ///
    /// ```
    /// let group = greenloop::pool::Group::new();
    /// assert!(group.contains(&group.spawn(|| ())));
    /// assert!(!group.contains(&greenloop::spawn(|| ())));
    /// ```
    pub fn contains<T>(&self, handle: &JoinHandle<T>) -> bool {
        self.shared.number_of(handle).is_some()
    }

    /// Returns how many members there are.
    ///
    /// # Examples
    ///
    /// ```
    /// let group = greenloop::pool::Group::new();
    /// let members = [1, 2].map(|number| group.spawn(move || number));
    /// assert_eq!(group.len(), 2);
    /// greenloop::joinall(&members);
    /// assert_eq!(group.len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.shared.members.borrow().len()
    }

    /// Returns `true` if there is no member.
    ///
    /// # Examples
    ///
    /// ```
    /// let group = greenloop::pool::Group::new();
    /// group.spawn(|| ());
    /// assert!(!group.is_empty());
    /// group.join();
    /// assert!(group.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.shared.members.borrow().is_empty()
    }

    /// Waits until there is no member. Members that come meanwhile are waited for as well.
    ///
    /// The call yields while there is a member. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by
    /// unwinding, and leaves the members alone. A member that calls this waits for itself, for ever.
    ///
    /// # Examples
    ///
    /// ```
    /// let group = greenloop::pool::Group::new();
    /// let members = [1, 2].map(|number| group.spawn(move || number));
    /// group.join();
    /// assert!(members.iter().all(|member| member.is_finished()));
    /// ```
    pub fn join(&self) {
        self.shared.wait_until(None, |_| ());
    }

    /// Waits for at most `limit` until there is no member. Returns `true` if there is none.
    ///
    /// Apart from that, it is like [`join`](Group::join).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let group = greenloop::pool::Group::new();
    /// group.spawn(|| greenloop::sleep(Duration::from_secs(60)));
    /// assert!(!group.join_timeout(Duration::from_millis(1)));
    /// # group.kill();
    /// ```
    pub fn join_timeout(&self, limit: Duration) -> bool {
        self.shared.wait_until(Some(Time::after(limit)), |_| ())
    }

    /// Kills all members, and waits until there is none. See [`JoinHandle::kill`].
    ///
    /// However often you call this, it raises once in each member: if a member catches that and goes on, the call waits for it.
    /// Members that come meanwhile, from the cleanup of others, are killed as well. A member that calls this is the last to be
    /// killed.
    ///
    /// # Examples
    ///
    /// ```
    /// let group = greenloop::pool::Group::new();
    /// let forever = group.spawn(|| loop { greenloop::yield_now() });
    /// group.kill();
    /// assert!(forever.is_finished() && group.is_empty());
    /// ```
    pub fn kill(&self) {
        self.shared.wait_until(None, Roll::kill_all);
    }

    /// Kills all members, and waits for at most `limit` until there is none. Returns `true` if there is none.
    ///
    /// Apart from that, it is like [`kill`](Group::kill).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let group = greenloop::pool::Group::new();
    /// group.spawn(|| loop { greenloop::yield_now() });
    /// assert!(group.kill_timeout(Duration::from_secs(10)));
    /// ```
    pub fn kill_timeout(&self, limit: Duration) -> bool {
        self.shared.wait_until(Some(Time::after(limit)), Roll::kill_all)
    }

    /// Kills all members, and does not wait. Returns `true` if there is none any more.
    ///
    /// Apart from that, it is like [`kill`](Group::kill). This is gevent's `kill(block=False)`.
    ///
    /// # Examples
    ///
    /// ```
    /// let group = greenloop::pool::Group::new();
    /// group.spawn(|| unreachable!("it does not begin"));
    /// assert!(group.try_kill());
    /// ```
    pub fn try_kill(&self) -> bool {
        self.shared.kill_all();
        self.is_empty()
    }

    /// Kills one member, and waits until it has ended. See [`JoinHandle::kill`].
    ///
    /// A member is raised in once, by this or by [`kill`](Group::kill). Nothing happens if the green thread is not a member.
    ///
    /// # Examples
    ///
    /// ```
    /// let group = greenloop::pool::Group::new();
    /// let [first, second] = [1, 2].map(|number| group.spawn(move || number));
    /// group.killone(&first);
    /// assert!(first.join().unwrap_err().is_killed());
    /// assert_eq!(second.join().unwrap(), 2);
    /// ```
    pub fn killone<T>(&self, handle: &JoinHandle<T>) {
        let Some(number) = self.shared.number_of(handle) else { return };
        self.shared.kill_once(number);
        handle.wait();
    }
}

impl Roll {
    #[track_caller]
    fn spawn<F, T>(self: &Rc<Roll>, slot: Slot, function: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        let membership = self.membership();
        let number = membership.number;
        let handle = task::spawn(move || {
            let _membership = membership;
            function()
        });
        self.enroll(number, handle.task(), slot);
        handle
    }

    fn membership(self: &Rc<Roll>) -> Membership {
        let number = self.next.get();
        self.next.set(number + 1);
        Membership { shared: self.clone(), number }
    }

    fn enroll(&self, number: u64, task: TaskRef, slot: Slot) {
        let member = Member { task, dying: false, _slot: slot };
        self.members.borrow_mut().insert(number, member);
    }

    fn number_of<T>(&self, handle: &JoinHandle<T>) -> Option<u64> {
        let members = self.members.borrow();
        members.iter().find(|(_, member)| member.task.id() == handle.id()).map(|(number, _)| *number)
    }

    /// Whether the calling green thread is a member.
    fn has_current(&self) -> bool {
        self.members.borrow().values().any(|member| member.task.is_current())
    }

    /// Waits until there is no member, and does `each_time` before each look.
    fn wait_until(&self, deadline: Option<Time>, each_time: impl Fn(&Roll)) -> bool {
        loop {
            each_time(self);
            let first =
                self.members.borrow().iter().next().map(|(number, member)| (*number, member.task.clone()));
            let Some((number, task)) = first else { return true };
            if !task.wait_until(deadline) {
                return false;
            }
            // Who watches over one that was added may not have run yet.
            self.remove(number);
        }
    }

    /// Ends a membership, and whether there was one.
    fn remove(&self, number: u64) -> bool {
        let member = self.members.borrow_mut().remove(&number);
        // Its slot calls the next in line when it is dropped: with the members no longer borrowed.
        member.is_some()
    }

    /// Raises in every member that it has not been raised in, itself last.
    fn kill_all(&self) {
        let mut numbers = Vec::new();
        let mut current = None;
        for (number, member) in &*self.members.borrow() {
            if member.task.is_current() {
                current = Some(*number);
            } else {
                numbers.push(*number);
            }
        }
        numbers.into_iter().chain(current).for_each(|number| self.kill_once(number));
    }

    fn kill_once(&self, number: u64) {
        let task = match self.members.borrow_mut().get_mut(&number) {
            Some(member) if !member.dying => {
                member.dying = true;
                member.task.clone()
            }
            _ => return,
        };
        task.try_kill();
    }
}

impl Default for Group {
    fn default() -> Group {
        Group::new()
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Group").field("members", &self.len()).finish_non_exhaustive()
    }
}
