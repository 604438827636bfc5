//! Readiness of many descriptors, for an event loop of one's own.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use crate::hub::spend_budget;
use crate::io::{Interest, wait_fd};
use crate::sys::descriptor;
use crate::sys::epoll::Epoll;

/// Watches many descriptors, each with data of one's own, and tells which are ready.
///
/// It behaves as Python's `selectors.DefaultSelector` on Linux: a descriptor is told of by every [`select`](Selector::select) as
/// long as it is ready, for reading and for writing also when there is an error or the other end has gone. A regular file is
/// always ready. `select` parks the calling green thread alone; others may register and unregister meanwhile.
///
/// The selector knows a descriptor by its number and keeps it not open: unregister it before it is closed. One that was closed
/// before is not heard of any more, and can still be unregistered by its number.
///
/// # Examples
///
/// ```
/// use greenloop::io::Interest;
/// use greenloop::select::Selector;
/// use std::io::Write;
///
/// let selector = Selector::new()?;
/// let (reader, mut writer) = std::io::pipe()?;
/// selector.register(&reader, Interest::READABLE, "the reader")?;
/// writer.write_all(b"a")?;
/// for (key, events) in selector.select(None)? {
///     assert_eq!((key.data, events), ("the reader", Interest::READABLE));
/// }
/// selector.unregister(&reader)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "DefaultSelector")]
pub struct Selector<D = ()> {
    epoll: RefCell<Epoll>,
    keys: RefCell<BTreeMap<RawFd, Key<D>>>,
    /// Those that epoll refuses, because they are always ready.
    always: RefCell<BTreeSet<RawFd>>,
}

/// A descriptor in a [`Selector`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key<D> {
    /// Its number.
    pub fd: RawFd,
    /// What it is watched for.
    pub events: Interest,
    /// What was registered with it.
    pub data: D,
}

impl<D> Selector<D> {
    /// A selector of nothing. It takes one descriptor.
    ///
    /// # Errors
    ///
    /// What epoll_create1(2) says.
    pub fn new() -> io::Result<Selector<D>> {
        let epoll = RefCell::new(Epoll::new()?);
        Ok(Selector { epoll, keys: RefCell::default(), always: RefCell::default() })
    }

    /// Watches `fd` for `events` from now on.
    ///
    /// # Errors
    ///
    /// An error of kind [`AlreadyExists`](io::ErrorKind::AlreadyExists) if it is registered. What epoll_ctl(2) says.
    pub fn register(&self, fd: &impl AsFd, events: Interest, data: D) -> io::Result<()> {
        let fd = fd.as_fd().as_raw_fd();
        if self.keys.borrow().contains_key(&fd) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("fd {fd} is registered already"),
            ));
        }
        match self.epoll.borrow().set().add_level(fd, fd as u64, events) {
            Err(error) if descriptor::is_always_ready(&error) => _ = self.always.borrow_mut().insert(fd),
            result => result?,
        }
        self.keys.borrow_mut().insert(fd, Key { fd, events, data });
        Ok(())
    }

    /// Watches `fd` for `events` instead, with other data.
    ///
    /// # Errors
    ///
    /// An error of kind [`NotFound`](io::ErrorKind::NotFound) if it is not registered. What epoll_ctl(2) says, for instance that it
    /// was closed; it is not registered any more then.
    pub fn modify(&self, fd: &impl AsRawFd, events: Interest, data: D) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        let key = self.keys.borrow_mut().remove(&fd).ok_or_else(|| unknown(fd))?;
        if key.events != events && !self.always.borrow().contains(&fd) {
            self.epoll.borrow().set().modify_level(fd, fd as u64, events)?;
        }
        self.keys.borrow_mut().insert(fd, Key { fd, events, data });
        Ok(())
    }

    /// Ceases to watch `fd`, which may have been closed. Returns what was registered.
    ///
    /// # Errors
    ///
    /// An error of kind [`NotFound`](io::ErrorKind::NotFound) if it is not registered.
    pub fn unregister(&self, fd: &impl AsRawFd) -> io::Result<Key<D>> {
        let fd = fd.as_raw_fd();
        let key = self.keys.borrow_mut().remove(&fd).ok_or_else(|| unknown(fd))?;
        if !self.always.borrow_mut().remove(&fd) {
            self.epoll.borrow().set().delete(fd);
        }
        Ok(key)
    }

    /// How many descriptors are registered.
    pub fn len(&self) -> usize {
        self.keys.borrow().len()
    }

    /// Whether no descriptor is registered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<D: Clone> Selector<D> {
    /// Waits until a registered descriptor is ready, or for `timeout`, and returns all that are, with what they are ready for.
    ///
    /// If none is ready now, the calling green thread yields, and the hub makes it ready when one of them is. The list is empty if
    /// the time is over, or, seldom, for no reason. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding.
    ///
    /// # Errors
    ///
    /// As [`wait_fd`], but for the end of the time.
    ///
    /// # Panics
    ///
    /// If it must wait inside a hub callback, where nothing may wait.
    pub fn select(&self, timeout: Option<Duration>) -> io::Result<Vec<(Key<D>, Interest)>> {
        let ready = self.ready()?;
        if !ready.is_empty() || timeout == Some(Duration::ZERO) {
            spend_budget();
            return Ok(ready);
        }
        let set = self.epoll.borrow().set().clone();
        match wait_fd(&*set, Interest::READABLE, timeout) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            result => _ = result?,
        }
        self.ready()
    }

    /// Those that are ready now.
    fn ready(&self) -> io::Result<Vec<(Key<D>, Interest)>> {
        let keys = self.keys.borrow();
        let mut ready = Vec::new();
        let mut tell = |fd: RawFd, events: Interest| {
            let Some(key) = keys.get(&fd) else { return };
            let events = events.common(key.events);
            if !events.is_none() {
                ready.push((key.clone(), events));
            }
        };
        self.epoll
            .borrow_mut()
            .wait(Some(Duration::ZERO), |event| tell(event.token as RawFd, event.ready))?;
        self.always.borrow().iter().for_each(|&fd| tell(fd, Interest::BOTH));
        Ok(ready)
    }

    /// What was registered with `fd`.
    pub fn get_key(&self, fd: &impl AsRawFd) -> Option<Key<D>> {
        self.keys.borrow().get(&fd.as_raw_fd()).cloned()
    }

    /// All that are registered, by their numbers.
    #[doc(alias = "get_map")]
    pub fn keys(&self) -> Vec<Key<D>> {
        self.keys.borrow().values().cloned().collect()
    }
}

fn unknown(fd: RawFd) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("fd {fd} is not registered"))
}

impl<D> fmt::Debug for Selector<D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Selector").field("len", &self.len()).finish_non_exhaustive()
    }
}
