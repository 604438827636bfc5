//! The part of a green thread that does not depend on its types: who it is, where it belongs, and its end.

use std::cell::{Cell, OnceCell};
use std::fmt;
#[cfg(feature = "monkey")]
use std::io;
use std::mem::{self, ManuallyDrop};
use std::num::NonZero;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::Waker;

use crate::error::GreenThread;
#[cfg(feature = "monkey")]
use crate::fiber::isolation::Variables;
use crate::fiber::{Describe, FiberRef, MOST_KILLS, SizeClass};
use crate::hub::ended::tell;
use crate::hub::residence::{DoorCell, Residence};
use crate::hub::timers::TimerKey;
use crate::hub::waiter::{Notify, Waiter, WaitingOn, Wakeup};
use crate::hub::waitlist::Ticket;
use crate::hub::{Ended, HubRef, HubState, hub, local_hub};
use crate::sys::clock::Time;
use crate::sys::lock::Lock;

use super::duties;
use super::ending::{End, Ending, Outcome};
use super::followers::{Followers, LinkFunction};
#[cfg(feature = "monkey")]
use super::isolation::Isolation;
use super::local;

/// A number that no other green thread of the process has.
///
/// # Examples
///
/// ```
/// use greenloop::spawn;
///
/// let (first, second) = (spawn(|| ()), spawn(|| ()));
/// assert_ne!(first.id(), second.id());
/// ```
#[doc(alias = "get_ident")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub(super) u64);

impl Record {
    /// Of which size records are, and where in one lie its number, its place, and its rarities; where in those the name lies.
    pub(super) const LAYOUT: [usize; 5] = [
        size_of::<Record>(),
        mem::offset_of!(Record, id),
        mem::offset_of!(Record, place),
        mem::offset_of!(Record, rarities),
        mem::offset_of!(Rarities, name),
    ];
}

impl TaskId {
    /// As reports have it.
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The part of a green thread that does not depend on its types.
#[repr(C)]
pub(super) struct Record {
    /// The result is written before that is. First, since it counts the owners too.
    ending: Ending,
    pub(super) id: u64,
    /// Set before the handle is given out.
    rarities: ManuallyDrop<OnceCell<Box<Rarities>>>,
    pub(super) place: &'static Location<'static>,
    /// The hub that it belongs to; open while it may begin on any.
    door: DoorCell,
    /// Where it runs. Home thread only.
    pub(super) fiber: Cell<Option<FiberRef>>,
    /// Who waits for the end on the home thread, first of all: told without a lock. Home thread only.
    follower: Cell<Option<FiberRef>>,
    followers: ManuallyDrop<Lock<Followers>>,
    /// Which hub behind that door. Written before the door is.
    epoch: AtomicU32,
    pub(super) stack: SizeClass,
    /// Kills on their way from other OS threads.
    errands: AtomicU8,
    /// A scoped handle has taken the result.
    taken: AtomicBool,
    /// What it is to run with in place of the OS thread's own thread-local variables, until it begins. Home thread only.
    #[cfg(feature = "monkey")]
    isolation: Cell<Isolation>,
}

/// What few have, elsewhere so that it takes all others a word.
#[derive(Default)]
struct Rarities {
    /// Set before the handle is given out, or on the home thread if nobody asks a handle for it.
    name: OnceCell<Arc<str>>,
    /// Who has spawned it. Set before the handle is given out.
    spawned_by: Cell<Option<NonZero<u64>>>,
    /// The timer that begins it, which may have rung. Home thread only.
    due: Cell<Option<TimerKey>>,
}

impl Record {
    #[inline]
    pub(super) fn new(
        hub: HubRef,
        name: Option<Arc<str>>,
        place: &'static Location<'static>,
        stack: SizeClass,
    ) -> Record {
        let (id, rarities) = if duties::are_there() {
            Record::with_duties(hub, name)
        } else {
            (hub.count_spawned(), name.map_or_else(OnceCell::new, Record::named))
        };
        Record::of(id, DoorCell::at(hub.door()), hub.epoch(), rarities, place, stack)
    }

    /// The number of one that is spawned here, and what few have.
    #[cold]
    #[inline(never)]
    fn with_duties(hub: HubRef, name: Option<Arc<str>>) -> (u64, OnceCell<Box<Rarities>>) {
        let id = if local::are_inherited() { local::hand_down(hub) } else { hub.count_spawned() };
        let rarities = name.map_or_else(OnceCell::new, Record::named);
        if let Some(spawner) = duties::spawner(hub) {
            rarities.get_or_init(Box::default).spawned_by.set(Some(spawner));
        }
        (id, rarities)
    }

    /// Of one that may begin on any hub, and is handed no locals down.
    #[inline]
    pub(super) fn open(place: &'static Location<'static>) -> Record {
        Record::of(
            hub().take_number_of_stranger(),
            DoorCell::open(),
            0,
            OnceCell::new(),
            place,
            SizeClass::default_now(),
        )
    }

    #[inline]
    fn of(
        id: u64,
        door: DoorCell,
        epoch: u32,
        rarities: OnceCell<Box<Rarities>>,
        place: &'static Location<'static>,
        stack: SizeClass,
    ) -> Record {
        Record {
            id,
            rarities: ManuallyDrop::new(rarities),
            place,
            stack,
            door,
            epoch: AtomicU32::new(epoch),
            ending: Ending::new(),
            errands: AtomicU8::new(0),
            taken: AtomicBool::new(false),
            fiber: Cell::new(None),
            follower: Cell::new(None),
            followers: ManuallyDrop::new(Lock::new(Followers::None)),
            #[cfg(feature = "monkey")]
            isolation: Cell::new(Isolation::by_default()),
        }
    }

    #[cold]
    fn named(name: Arc<str>) -> OnceCell<Box<Rarities>> {
        OnceCell::from(Box::new(Rarities { name: name.into(), ..Rarities::default() }))
    }

    /// Lets it have thread-local variables of its own, or not. It has not begun.
    #[cfg(feature = "monkey")]
    pub(super) fn isolate(&self, isolated: bool) -> io::Result<()> {
        self.isolation.set(Isolation::chosen(isolated)?);
        Ok(())
    }

    /// Lets it have these thread-local variables. It has not begun.
    #[cfg(feature = "monkey")]
    pub(super) fn isolate_with(&self, variables: Variables) {
        self.isolation.set(Isolation::With(variables));
    }

    /// What it is to run with; the OS thread's own from now on.
    #[cfg(feature = "monkey")]
    #[inline]
    pub(super) fn take_isolation(&self) -> Isolation {
        self.isolation.replace(Isolation::Not)
    }

    pub(super) fn name(&self) -> Option<&Arc<str>> {
        self.rarities.get()?.name.get()
    }

    /// Says which timer begins it, before the handle is given out.
    pub(super) fn set_due(&self, timer: TimerKey) {
        self.rarities.get_or_init(Box::default).due.set(Some(timer));
    }

    /// That timer, once.
    pub(super) fn take_due(&self) -> Option<TimerKey> {
        self.rarities.get()?.due.take()
    }

    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        self.ending.get().is_some()
    }

    /// How it ended, if it has.
    #[inline]
    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.ending.get().map(End::outcome)
    }

    /// Whether its scoped handle was joined, so that the scope need not care how it ended.
    pub(super) fn is_taken(&self) -> bool {
        // Relaxed: who took it has ended, or is the caller.
        self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn set_taken(&self) {
        // Relaxed: as above.
        self.taken.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_leaked(&self) -> bool {
        self.ending.get() == Some(End::Leaked)
    }

    /// The hub it belongs to, if that is the calling thread's.
    #[inline]
    pub(super) fn home(&self) -> Option<HubRef> {
        local_hub().filter(|&hub| self.is_of(hub))
    }

    #[inline]
    fn is_of(&self, hub: HubRef) -> bool {
        // Relaxed: at its own door the calling thread reads what itself has written, or who made it.
        self.door.is(hub.door()) && hub.epoch() == self.epoch.load(Ordering::Relaxed)
    }

    /// Where it is at home, with the epoch of that hub.
    pub(super) fn residence(&self) -> (Residence, u32) {
        let residence = self.door.get();
        // Relaxed: the door was written after it.
        (residence, self.epoch.load(Ordering::Relaxed))
    }

    /// Of an open one: from now on it belongs to `hub`. `false` if it was ended before.
    #[inline]
    pub(super) fn settle(&self, hub: &HubState) -> bool {
        // Relaxed: who sees the door sees it; one at a time can want to settle it.
        self.epoch.store(hub.epoch(), Ordering::Relaxed);
        let settles = self.door.settle(hub.door());
        if settles {
            hub.count_stranger();
        }
        settles
    }

    /// Of an open one: no hub will have it, and the caller is to end it. `false` if it is decided otherwise.
    pub(super) fn close(&self) -> bool {
        self.door.close()
    }

    /// Has `waiter` woken at the end; `None` if that has come.
    #[inline]
    pub(super) fn subscribe(&self, waiter: &Waiter) -> Option<Ticket> {
        if !self.is_of(waiter.hub()) || self.follower.get().is_some() || self.ending.is_followed() {
            return self.subscribe_in_line(waiter);
        }
        if self.has_ended() {
            return None;
        }
        self.follower.set(Some(waiter.fiber()));
        // Before anybody stands in the list.
        Some(Ticket::AT_HOME)
    }

    #[inline(never)]
    fn subscribe_in_line(&self, waiter: &Waiter) -> Option<Ticket> {
        let mut followers = self.followers.lock();
        self.ending.follow().then(|| followers.add(|| waiter.notify()))
    }

    /// Has `notice` given at the end, under a ticket that is given away; it comes back if that has come.
    pub(super) fn subscribe_notice(&self, notice: Notify) -> Result<Ticket, Notify> {
        let mut followers = self.followers.lock();
        if !self.ending.follow() {
            return Err(notice);
        }
        Ok(followers.add_for_others(notice))
    }

    /// Has `poller` woken at the end, in place of the one that was to be woken so far; `false` if that has come.
    pub(super) fn poll(&self, poller: Waker) -> bool {
        let mut followers = self.followers.lock();
        if !self.ending.follow() {
            return false;
        }
        let former = followers.set_poller(poller);
        drop(followers);
        drop(former);
        true
    }

    /// By who has subscribed.
    #[inline]
    pub(super) fn unsubscribe(&self, ticket: Ticket) {
        if ticket == Ticket::AT_HOME {
            self.follower.set(None);
        } else {
            self.leave_line(ticket);
        }
    }

    pub(super) fn leave_line(&self, ticket: Ticket) {
        let notice = self.followers.lock().remove(ticket);
        drop(notice);
    }

    /// Waits for the end until `deadline`; whether it has come.
    ///
    /// Inlined up to the public call: the processor mispredicts each return after a switch.
    #[inline(always)]
    pub(super) fn wait_until(&self, deadline: Option<Time>) -> bool {
        if self.has_ended() {
            return true;
        }
        let waiter = Waiter::new(WaitingOn::Join(self.id));
        loop {
            let Some(ticket) = self.subscribe(&waiter) else { return true };
            let wakeup = waiter.park(deadline);
            if self.has_ended() && matches!(wakeup, Wakeup::Woken) {
                return true;
            }
            self.unsubscribe(ticket);
            match wakeup {
                Wakeup::Woken => {}
                Wakeup::TimedOut => return self.has_ended(),
                Wakeup::Interrupted(interrupt) => interrupt.raise(),
            }
        }
    }

    /// Has `function` called at the end; it comes back, with how that was, if that has come.
    pub(super) fn link(&self, function: LinkFunction) -> Result<Ticket, (LinkFunction, Outcome)> {
        let mut followers = self.followers.lock();
        if !self.ending.follow()
            && let Some(outcome) = self.outcome()
        {
            return Err((function, outcome));
        }
        Ok(followers.link(function))
    }

    pub(super) fn unlink(&self, ticket: Ticket) -> Option<LinkFunction> {
        self.followers.lock().unlink(ticket)
    }

    /// What the hub is to publish and to tell, now that the result is in its place. Home thread only.
    #[inline]
    pub(super) fn ended(&self, how: End) -> Ended {
        let is_home = self.home().is_some();
        let follower = if is_home { self.follower.take() } else { None };
        Ended::new(follower, how as u8, is_home, how == End::Returned)
    }

    /// Publishes the end, once the result is in its place, and tells everybody. Home thread only.
    pub(super) fn end(&self, how: End) {
        let ended = self.ended(how);
        if matches!(self.door.get(), Residence::Closed) {
            self.end_nowhere(how);
        } else if self.ending.end_unfollowed(how) {
            tell(ended, || {});
        } else {
            self.end_followed(ended);
        }
    }

    /// The same without a hub that counts it.
    #[cold]
    fn end_nowhere(&self, how: End) {
        if self.ending.end_unfollowed(how) {
            return;
        }
        let mut list = self.followers.lock();
        self.ending.end_followed(how as u8);
        let followers = mem::take(&mut *list);
        drop(list);
        followers.tell(how.outcome());
    }

    /// The same where somebody stands in the list.
    #[cold]
    pub(super) fn end_followed(&self, ended: Ended) {
        let mut list = self.followers.lock();
        self.ending.end_followed(ended.mark());
        let followers = mem::take(&mut *list);
        drop(list);
        tell(ended, || {
            if let Some(outcome) = self.outcome() {
                followers.tell(outcome);
            }
        });
    }

    /// Whether another OS thread may send a kill; [`end_errand`](Record::end_errand) when it has arrived. `false` if as many are on their
    /// way as change anything.
    pub(super) fn begin_errand(&self) -> bool {
        let one_more = |errands| (usize::from(errands) < MOST_KILLS).then_some(errands + 1);
        // Relaxed: it is a count. The kill itself goes through the lock of a door.
        self.errands.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    pub(super) fn end_errand(&self) {
        // Relaxed: as above.
        self.errands.fetch_sub(1, Ordering::Relaxed);
    }

    #[cold]
    fn drop_rarities(&mut self) {
        drop(self.rarities.take());
        drop(mem::take(self.followers.get_mut()));
    }

    /// The record as a fiber's description, which outlives no borrow: the fiber's rules bound it, not a lifetime.
    pub(super) fn as_description(&self) -> &(dyn Describe + 'static) {
        self
    }

    /// For reports.
    #[cold]
    pub(super) fn words(&self) -> String {
        GreenThread { name: self.name().map(|name| &**name), place: self.place }.to_string()
    }
}

/// In place of what the compiler would do, which looks at each field by a call: nearly always there is nothing.
impl Drop for Record {
    #[inline]
    fn drop(&mut self) {
        if self.rarities.get().is_some() || !matches!(*self.followers.get_mut(), Followers::None) {
            self.drop_rarities();
        }
    }
}

impl Describe for Record {
    fn id(&self) -> Option<u64> {
        Some(self.id)
    }

    fn name(&self) -> Option<&Arc<str>> {
        self.name()
    }

    #[cfg(feature = "monkey")]
    fn give_name(&self, name: &str) {
        self.rarities.get_or_init(Box::default).name.get_or_init(|| Arc::from(name));
    }

    fn spawned_by(&self) -> Option<u64> {
        self.rarities.get()?.spawned_by.get().map(NonZero::get)
    }

    fn spawned_at(&self) -> &'static Location<'static> {
        self.place
    }

    fn leak(&self) {
        if self.home().is_none() {
            // The parent's, in the child of a fork: whoever waits for it is not here.
            return;
        }
        self.end(End::Leaked);
    }
}
