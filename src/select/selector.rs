//! Readiness of many descriptors, for an event loop of one's own.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use crate::hub::spend_budget;
use crate::io::{Interest, wait_fd};
use crate::sys::descriptor;
use crate::sys::epoll::{Epoll, EpollSet};

/// Watches many descriptors, each with data of one's own, and tells which are ready.
///
/// It behaves as Python's `selectors.DefaultSelector` on Linux: a descriptor is told of by every [`select`](Selector::select) as
/// long as it is ready, for reading and for writing also when there is an error or the other end has gone. A regular file is
/// always ready. `select` parks the calling green thread alone; others may register and unregister meanwhile.
///
/// The selector knows a descriptor by its number and the file that it meant when it was registered, and keeps neither open: unregister
/// it before it is closed. One that was closed before is not heard of any more, and can still be unregistered by its number. That
/// number may mean another file by then, and the old file may still be open elsewhere, by a duplicate or in a child: no event of one
/// is told as the other's. (Here `selectors` tells the new key of what comes for the old file.) A file of which each is ready at any
/// time, a regular one, is taken for every other such file.
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
    /// Asked for one answer each: a file that is open after its number was closed cannot be taken out, and would answer for ever.
    epoll: RefCell<Epoll>,
    keys: RefCell<BTreeMap<RawFd, Registered<D>>>,
    next_generation: Cell<u32>,
}

/// One that is registered.
struct Registered<D> {
    key: Key<D>,
    /// In the events of this registration: its number below its generation, which no later one of the number has (before the four
    /// billionth).
    token: u64,
    /// Whether epoll refuses it, because it is always ready.
    always: bool,
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
        Ok(Selector { epoll, keys: RefCell::default(), next_generation: Cell::new(0) })
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
        let generation = self.next_generation.get();
        let token = u64::from(generation) << 32 | fd as u64;
        let always = match self.epoll.borrow().set().add_once(fd, token, events) {
            Err(error) if descriptor::is_always_ready(&error) => true,
            result => result.map(|()| false)?,
        };
        self.next_generation.set(generation.wrapping_add(1));
        self.keys.borrow_mut().insert(fd, Registered { key: Key { fd, events, data }, token, always });
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
        let former = self.keys.borrow_mut().remove(&fd).ok_or_else(|| unknown(fd))?;
        let modified = Registered { key: Key { fd, events, data }, ..former };
        if former.key.events != events {
            modified.ask_again(self.epoll.borrow().set())?;
        }
        self.keys.borrow_mut().insert(fd, modified);
        Ok(())
    }

    /// Ceases to watch `fd`, which may have been closed. Returns what was registered.
    ///
    /// # Errors
    ///
    /// An error of kind [`NotFound`](io::ErrorKind::NotFound) if it is not registered.
    pub fn unregister(&self, fd: &impl AsRawFd) -> io::Result<Key<D>> {
        let fd = fd.as_raw_fd();
        let registered = self.keys.borrow_mut().remove(&fd).ok_or_else(|| unknown(fd))?;
        if !registered.always {
            self.epoll.borrow().set().delete(fd);
        }
        Ok(registered.key)
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
        let mut epoll = self.epoll.borrow_mut();
        let set = epoll.set().clone();
        let mut ready = Vec::new();
        let mut tell = |registered: &Registered<D>, events: Interest| {
            let events = events.common(registered.key.events);
            // Not if the number has come to mean another file, or none.
            if registered.ask_again(&set).is_ok() && !events.is_none() {
                ready.push((registered.key.fd, events));
            }
        };
        epoll.wait(Some(Duration::ZERO), |event| {
            let number = event.token as u32 as RawFd;
            if let Some(registered) = keys.get(&number).filter(|registered| registered.token == event.token) {
                tell(registered, event.ready);
            }
        })?;
        keys.values().filter(|registered| registered.always).for_each(|always| tell(always, Interest::BOTH));
        drop(epoll);
        // Last, for it is code of others.
        Ok(ready.into_iter().map(|(fd, events)| (keys[&fd].key.clone(), events)).collect())
    }

    /// What was registered with `fd`.
    pub fn get_key(&self, fd: &impl AsRawFd) -> Option<Key<D>> {
        self.keys.borrow().get(&fd.as_raw_fd()).map(|registered| registered.key.clone())
    }

    /// All that are registered, by their numbers.
    #[doc(alias = "get_map")]
    pub fn keys(&self) -> Vec<Key<D>> {
        self.keys.borrow().values().map(|registered| registered.key.clone()).collect()
    }
}

impl<D> Registered<D> {
    /// Asks for the next answer.
    ///
    /// # Errors
    ///
    /// That the number does not mean the file any more.
    fn ask_again(&self, set: &EpollSet) -> io::Result<()> {
        match set.ask_again(self.key.fd, self.token, self.key.events) {
            Err(error) if self.always && descriptor::is_always_ready(&error) => Ok(()),
            result => result,
        }
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
