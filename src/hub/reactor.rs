//! Readiness of file descriptors with memory: which may be tried, who waits for which, whose turn it is.
//!
//! A descriptor of greenloop's own is registered once and then only heard of. What was heard is kept per direction until a
//! call says that nothing is left (EAGAIN, or a short read or write), so that an operation costs no system call beside its
//! own: it is tried while the descriptor is held to be ready, and parks while not.
//!
//! Any other descriptor is asked for by number, once per wait; see [`Reactor::watch`].

mod completion;
mod descriptor;
mod in_flight;
mod poller;
mod registration;
mod turn;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use slab::Slab;

use super::driver::Driver;
use super::notify::Notify;
use crate::sys::bell::Bell;
use crate::sys::descriptor::{closed, opens_nothing};
use crate::sys::epoll::EpollSet;
use crate::sys::poll::Poll;
use crate::sys::readiness::{Interest, Readiness};
use crate::sys::replaceable::Replaceable;
use crate::sys::socket::{acknowledge, unacknowledged};

pub(crate) use descriptor::Direction;
pub(crate) use descriptor::Key;
use descriptor::{Descriptor, Half};
use in_flight::InFlight;
use poller::{BELL, Poller};
pub(crate) use registration::Registration;
pub(crate) use turn::Turn;

/// In [`Core::numbers`]: no descriptor has this number.
const NOBODY: u32 = u32::MAX;

fn next_reactor() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: the numbers only have to differ.
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// What a [poll](Reactor::poll) has heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    Nothing,
    /// Of a descriptor.
    Something,
    /// The bell, and maybe descriptors.
    Bell,
}

/// Names one wait of [`Reactor::watch`].
#[derive(Debug)]
pub(crate) struct Watch {
    key: Key,
    id: u64,
}

/// The readiness of all descriptors that one hub waits for. It lives in the hub's thread.
pub(crate) struct Reactor {
    id: Cell<u64>,
    /// Never borrowed while somebody is notified, which may run code of others; a plain wake is only queued.
    core: RefCell<Core>,
    /// Operations and watches that are under way.
    waiting: Cell<usize>,
    /// Whom the next poll has to tell in any case, mostly nobody; kept for its memory.
    woken: Cell<Vec<Notify>>,
    /// In the child of a fork, the driver that is yet to be opened.
    deaf: Cell<Option<Driver>>,
    /// On which every call fails with EBADF; kept so that closing a source never lacks a descriptor.
    closed: Replaceable,
}

#[derive(Debug)]
struct Core {
    poller: Poller,
    descriptors: Slab<Descriptor>,
    /// Those that the kernel does as a whole, by their tokens.
    operations: Slab<InFlight>,
    /// `numbers[fd]` is the slot of the descriptor of that number, or [`NOBODY`]. At most one descriptor has a number.
    numbers: Vec<u32>,
    next_generation: u32,
    /// The id of the next operation or watch; 0 is none's.
    next_id: u64,
    /// Entries that the current poll has to look at again; kept for its memory.
    unsettled: Vec<Key>,
    /// The ids of watches whose number was closed, until they end.
    #[cfg(feature = "monkey")]
    closed: Vec<u64>,
}

impl Reactor {
    /// Opens `driver`, or the best that works. Whenever `bell`, which the hub silences, rings, [`poll`](Reactor::poll)
    /// returns.
    ///
    /// # Errors
    ///
    /// As the kernel says, for instance that the process has no descriptor left.
    pub(crate) fn new(driver: Option<Driver>, bell: &Bell) -> io::Result<Reactor> {
        let core = Core {
            poller: Poller::open(driver, bell)?,
            descriptors: Slab::new(),
            operations: Slab::new(),
            numbers: Vec::new(),
            next_generation: 0,
            next_id: 1,
            unsettled: Vec::new(),
            #[cfg(feature = "monkey")]
            closed: Vec::new(),
        };
        Ok(Reactor {
            id: Cell::new(next_reactor()),
            core: RefCell::new(core),
            waiting: Cell::new(0),
            woken: Cell::default(),
            deaf: Cell::new(None),
            closed: Replaceable::new(closed()?),
        })
    }

    /// In the child of a fork: knows nothing, and forgets without dropping whom it would have told. `bell` is the new one.
    pub(super) fn begin_anew(&self, bell: io::Result<&Bell>) {
        let mut core = self.core.borrow_mut();
        let driver = core.poller.driver();
        // First, so that there is a descriptor for the next.
        core.poller = Poller::Poll(Poll::new());
        mem::forget(mem::take(&mut core.descriptors));
        mem::forget(mem::take(&mut core.operations));
        core.numbers.clear();
        core.unsettled.clear();
        mem::forget(self.woken.take());
        self.waiting.set(0);
        // What is known to the parent's is not known to this one.
        self.id.set(next_reactor());
        drop(core);
        self.deaf.set(Some(driver));
        // Without descriptors, what the child waits for is an error there, until there are some.
        let _ = bell.and_then(|bell| self.hear(bell));
    }

    /// Whether it can wait. If not, [`hear`](Reactor::hear) is to be tried.
    #[inline]
    pub(super) fn hears(&self) -> bool {
        self.deaf.get().is_none()
    }

    /// Opens the driver that it could not open in the child of a fork.
    ///
    /// # Errors
    ///
    /// As [`new`](Reactor::new).
    pub(super) fn hear(&self, bell: &Bell) -> io::Result<()> {
        if let Some(driver) = self.deaf.get() {
            self.core.borrow_mut().poller = Poller::open(Some(driver), bell)?;
            self.deaf.set(None);
        }
        Ok(())
    }

    /// A number that no other reactor of this process has or had; never 0.
    #[inline]
    pub(crate) fn id(&self) -> u64 {
        self.id.get()
    }

    fn set(&self) -> Weak<EpollSet> {
        self.core.borrow().poller.set()
    }

    /// A descriptor on which every call fails with EBADF.
    ///
    /// # Errors
    ///
    /// If somebody else has closed it and no other is left.
    pub(crate) fn closed(&self) -> io::Result<BorrowedFd<'_>> {
        if !opens_nothing(self.closed.as_fd()) {
            self.closed.replace(closed()?);
        }
        Ok(self.closed.as_fd())
    }

    /// How many wait for a descriptor, or have been woken and have not gone on yet.
    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.get()
    }

    /// Waits until some descriptor is ready or the bell rings, for `timeout` at most (`None`: as long as the driver's waits last),
    /// and makes those ready whom that concerns. A signal may end the wait early.
    ///
    /// # Errors
    ///
    /// If the kernel refuses to wait. Unless it is [renewed](Reactor::renew), no wait can end well then.
    pub(crate) fn poll(&self, timeout: Option<Duration>) -> io::Result<Heard> {
        let mut woken = self.woken.take();
        let timeout = if woken.is_empty() { timeout } else { Some(Duration::ZERO) };
        let heard = self.core.borrow_mut().poll(timeout, &mut woken);
        self.notify(woken);
        heard
    }

    /// Looks whether it still hears the bell.
    ///
    /// # Errors
    ///
    /// That it does not: it is to be [renewed](Reactor::renew).
    pub(super) fn listen_again(&self, bell: &Bell) -> io::Result<()> {
        self.core.borrow_mut().poller.listen_again(bell)
    }

    /// Puts other descriptors in the place of its own, after `error` of a poll, or because the bell that had the number `former` is
    /// none any more. Whoever waits goes on; who waits for what was closed too is woken to find that.
    ///
    /// # Errors
    ///
    /// As [`Poller::renew`].
    pub(super) fn renew(&self, error: Option<io::Error>, former: RawFd, bell: &Bell) -> io::Result<()> {
        let mut woken = self.woken.take();
        let renewed = self.core.borrow_mut().renew(error, former, bell, &mut woken);
        self.notify(woken);
        renewed
    }

    /// Inlined: each poll that finds something does it.
    #[inline(always)]
    fn notify(&self, mut woken: Vec<Notify>) {
        for notify in woken.drain(..) {
            notify.notify();
        }
        self.woken.set(woken);
    }

    /// See [`Registration::new`].
    fn register(&self, fd: RawFd, blocked: Direction) -> io::Result<Key> {
        let mut woken = self.woken.take();
        let result = self.core.borrow_mut().register(fd, blocked, &mut woken);
        // If anybody, he waited for a source that was leaked. The next poll tells him: the caller holds a lock.
        self.woken.set(woken);
        result
    }

    /// Takes a source's descriptor out, still open, and wakes whoever waits for it.
    fn deregister(&self, fd: RawFd, key: Key) {
        let mut woken = self.woken.take();
        {
            let core = &mut *self.core.borrow_mut();
            if core.descriptor(key).is_some() {
                core.poller.disown(fd);
                core.remove(key, &mut woken);
            }
        }
        self.notify(woken);
    }

    /// Like [`deregister`](Reactor::deregister), after another thread has taken the descriptor out of the kernel's set. The
    /// number may mean something else by now.
    fn forget(&self, key: Key) {
        let mut woken = self.woken.take();
        self.core.borrow_mut().remove(key, &mut woken);
        self.notify(woken);
    }

    /// Whether the driver tells each change of what is greenloop's own without being asked.
    #[inline]
    pub(crate) fn tells_edges(&self) -> bool {
        self.core.borrow().poller.tells_edges()
    }

    /// Whether an operation that comes now may try before it waits: the descriptor is held to be ready, and nobody else's
    /// turn is now. True for a key that names nothing.
    #[inline]
    pub(crate) fn is_free(&self, key: Key, direction: Direction) -> bool {
        self.core.borrow_mut().half(key, direction).is_none_or(|half| half.is_free())
    }

    /// A result showed that nothing is left for now.
    #[inline]
    pub(crate) fn note_drained(&self, key: Key, direction: Direction) {
        if let Some(half) = self.core.borrow_mut().half(key, direction) {
            half.note_drained();
        }
    }

    /// The call said EAGAIN.
    #[inline]
    pub(crate) fn note_blocked(&self, key: Key, direction: Direction) {
        if let Some(half) = self.core.borrow_mut().half(key, direction) {
            half.ready = false;
        }
    }

    /// Has `notify` called once when `fd` becomes ready for any of `interest`, or nothing more will be heard of it. The
    /// caller has found it not ready just now. It ends the watch with [`unwatch`](Reactor::unwatch) in any case.
    ///
    /// The number need not belong to greenloop: it may be closed, and mean something else later. Then nobody may be told,
    /// as with poll(2).
    ///
    /// # Errors
    ///
    /// As epoll_ctl(2) has it: EPERM for what is always ready, such as a regular file. `notify` comes back then.
    pub(crate) fn watch(
        &self,
        fd: RawFd,
        interest: Interest,
        notify: Notify,
    ) -> Result<Watch, (io::Error, Notify)> {
        let watch = self.core.borrow_mut().watch(fd, interest, notify)?;
        self.waiting.update(|waiting| waiting + 1);
        Ok(watch)
    }

    /// Wakes those who watch `fd`, which is about to be closed and belongs to no source.
    pub(crate) fn closing(&self, fd: RawFd) {
        let mut woken = self.woken.take();
        // Borrowed: the reactor's own descriptor, or one of a notice that is being dropped.
        if let Ok(mut core) = self.core.try_borrow_mut()
            && let Some(descriptor) = core.descriptor_of(fd).filter(|descriptor| !descriptor.owned)
        {
            let key = descriptor.key;
            #[cfg(feature = "monkey")]
            let ids: Vec<_> = descriptor.watching().collect();
            #[cfg(feature = "monkey")]
            core.closed.extend(ids);
            core.remove(key, &mut woken);
        }
        self.notify(woken);
    }

    /// Has the kernel send what it puts off of TCP connections: an acknowledgement, for which the other end may wait before it sends more.
    /// Returns how many bytes are on their way.
    pub(super) fn acknowledge(&self) -> usize {
        let core = self.core.borrow();
        let tcp = core.descriptors.iter().filter(|(_, descriptor)| acknowledge(descriptor.fd));
        tcp.map(|(_, descriptor)| unacknowledged(descriptor.fd)).sum()
    }

    /// Whether it is amid work on its own state.
    #[cfg(feature = "monkey")]
    pub(crate) fn is_at_work(&self) -> bool {
        self.core.try_borrow().is_err()
    }

    /// Whether the number that is watched was closed meanwhile.
    #[cfg(feature = "monkey")]
    pub(crate) fn is_closed(&self, watch: &Watch) -> bool {
        self.core.borrow().closed.contains(&watch.id)
    }

    pub(crate) fn unwatch(&self, watch: &Watch) {
        self.waiting.update(|waiting| waiting - 1);
        let untold = {
            let core = &mut *self.core.borrow_mut();
            #[cfg(feature = "monkey")]
            core.closed.retain(|&id| id != watch.id);
            let untold = core.descriptor(watch.key).and_then(|descriptor| descriptor.unwatch(watch.id));
            // An error comes again when the next one asks, who hears of it.
            let _ = core.refresh(watch.key);
            untold
        };
        // With the borrow over: a notice may own other code.
        drop(untold);
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reactor").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl Core {
    #[inline]
    fn descriptor(&mut self, key: Key) -> Option<&mut Descriptor> {
        self.descriptors.get_mut(key.index()).filter(|descriptor| descriptor.key == key)
    }

    #[inline]
    fn half(&mut self, key: Key, direction: Direction) -> Option<&mut Half> {
        self.descriptor(key).map(|descriptor| descriptor.half(direction))
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    fn poll(&mut self, timeout: Option<Duration>, woken: &mut Vec<Notify>) -> io::Result<Heard> {
        // The wait borrows the poller, so a descriptor for which it has to be asked again is looked at afterwards.
        let Core { poller, descriptors, unsettled, .. } = self;
        let tells_edges = poller.tells_edges();
        let mut rings = false;
        let events = poller.wait(timeout, |Readiness { token, ready, marked }| {
            if token == BELL {
                rings = true;
                return;
            }
            let key = Key(token);
            if let Some(descriptor) =
                descriptors.get_mut(key.index()).filter(|descriptor| descriptor.key == key)
            {
                descriptor.hear(ready, marked, woken);
                if !(descriptor.owned && tells_edges) {
                    unsettled.push(key);
                }
            }
        })?;
        self.hear_done();
        while let Some(key) = self.unsettled.pop() {
            self.settle(key, woken);
        }
        Ok(match rings {
            true => Heard::Bell,
            false if events > 0 => Heard::Something,
            false => Heard::Nothing,
        })
    }

    /// See [`Reactor::renew`].
    fn renew(
        &mut self,
        error: Option<io::Error>,
        former: RawFd,
        bell: &Bell,
        woken: &mut Vec<Notify>,
    ) -> io::Result<()> {
        self.poller.renew(error, former, bell)?;
        if !self.poller.tells_edges() {
            // It keeps what it was asked for.
            return Ok(());
        }
        let keys: Vec<_> = self.descriptors.iter().map(|(_, descriptor)| descriptor.key).collect();
        for key in keys {
            let Some(descriptor) = self.descriptor(key) else { continue };
            let (fd, owned) = (descriptor.fd, descriptor.owned);
            let asked = mem::replace(&mut descriptor.asked, Interest::NONE);
            let told = match (owned, asked.is_none()) {
                (true, _) => self.poller.own(fd, key.0),
                (false, false) => self.refresh(key),
                (false, true) => Ok(()),
            };
            if told.is_err() {
                self.remove(key, woken);
            }
        }
        Ok(())
    }

    /// After an event for a descriptor whose driver may have to be asked again.
    fn settle(&mut self, key: Key, woken: &mut Vec<Notify>) {
        let answers_once = self.poller.answers_once();
        let Some(descriptor) = self.descriptor(key) else { return };
        if answers_once {
            descriptor.asked = Interest::NONE;
        }
        if self.refresh(key).is_err() {
            // The number is closed, or names something else: those who still wait find that out themselves.
            self.remove(key, woken);
        }
    }

    /// [`refresh`](Core::refresh) for a descriptor that belongs to a source. A driver that tells edges needs to hear nothing,
    /// and the others do not fail.
    #[inline]
    fn refresh_owned(&mut self, key: Key) {
        if !self.poller.tells_edges() {
            let _ = self.refresh(key);
        }
    }

    /// The same when one has left. The source may be closed next by an OS thread that cannot tell this driver to let go of it.
    #[inline]
    fn refresh_left(&mut self, key: Key) {
        if self.poller.tells_edges() {
            return;
        }
        let was_asked = self.is_asked(key);
        self.refresh_owned(key);
        if was_asked && !self.is_asked(key) {
            self.poller.let_go();
            self.hear_done();
        }
    }

    fn is_asked(&mut self, key: Key) -> bool {
        self.descriptor(key).is_some_and(|descriptor| !descriptor.asked.is_none())
    }

    /// Asks the driver for what those at `key` wait for, if that has changed; forgets a descriptor that nobody needs.
    fn refresh(&mut self, key: Key) -> io::Result<()> {
        let tells_edges = self.poller.tells_edges();
        let Some(descriptor) = self.descriptor(key) else { return Ok(()) };
        if descriptor.owned && tells_edges {
            return Ok(());
        }
        let (fd, wanted) = (descriptor.fd, descriptor.wanted(tells_edges));
        if !descriptor.is_needed() {
            self.remove(key, &mut Vec::new());
        } else if wanted != descriptor.asked {
            descriptor.asked = wanted;
            self.poller.ask(fd, key.0, wanted)?;
        }
        Ok(())
    }

    fn register(&mut self, fd: RawFd, blocked: Direction, woken: &mut Vec<Notify>) -> io::Result<Key> {
        let key = match self.descriptor_of(fd) {
            // Somebody watches the number by hand; he will be told by the same edges.
            Some(descriptor) if !descriptor.owned => descriptor.key,
            // Its source was leaked, and the number closed under it.
            Some(descriptor) => {
                let stale = descriptor.key;
                self.remove(stale, woken);
                self.insert(fd)
            }
            None => self.insert(fd),
        };
        if let Err(error) = self.poller.own(fd, key.0) {
            self.remove(key, woken);
            return Err(error);
        }
        let descriptor = self.descriptor(key).expect("it has just been found or inserted");
        descriptor.owned = true;
        descriptor.half(blocked).ready = false;
        Ok(key)
    }

    fn watch(&mut self, fd: RawFd, interest: Interest, notify: Notify) -> Result<Watch, (io::Error, Notify)> {
        let key = match self.descriptor_of(fd) {
            Some(descriptor) => descriptor.key,
            None => self.insert(fd),
        };
        let id = self.next_id();
        let descriptor = self.descriptor(key).expect("it has just been found or inserted");
        descriptor.watch(id, interest, notify);
        // The number may name another file than when it was last asked for: it is asked again even for the same.
        descriptor.asked = Interest::NONE;
        let watched = self.refresh(key);
        if let Err(error) = watched {
            let notify =
                self.descriptor(key).expect("it is still there").unwatch(id).expect("nobody has told it");
            if self.descriptor(key).is_some_and(|descriptor| !descriptor.is_needed()) {
                self.remove(key, &mut Vec::new());
            }
            return Err((error, notify));
        }
        Ok(Watch { key, id })
    }

    fn descriptor_of(&mut self, fd: RawFd) -> Option<&mut Descriptor> {
        let slot = *self.numbers.get(fd as usize)?;
        self.descriptors.get_mut(slot as usize)
    }

    fn insert(&mut self, fd: RawFd) -> Key {
        let slot = self.descriptors.vacant_entry();
        let index = u32::try_from(slot.key()).expect("there are fewer descriptors than that");
        let key = Key::new(index, self.next_generation);
        self.next_generation = self.next_generation.wrapping_add(1);
        slot.insert(Descriptor::new(key, fd));
        let number = fd as usize;
        if self.numbers.len() <= number {
            self.numbers.resize(number + 1, NOBODY);
        }
        self.numbers[number] = index;
        key
    }

    /// Forgets a descriptor and hands out who waits at it. The driver hears only what it can bear by number: that nobody asks.
    fn remove(&mut self, key: Key, woken: &mut Vec<Notify>) {
        if self.descriptor(key).is_none() {
            return;
        }
        let descriptor = self.descriptors.remove(key.index());
        self.numbers[descriptor.fd as usize] = NOBODY;
        descriptor.performed().for_each(|token| self.hurry(token));
        if !descriptor.asked.is_none() {
            // Asking for nothing cannot fail.
            let _ = self.poller.ask(descriptor.fd, key.0, Interest::NONE);
        }
        self.poller.let_go();
        self.hear_done();
        descriptor.disband(woken);
    }
}

#[cfg(test)]
mod tests;
