//! Readiness of many descriptors, for an event loop of one's own.

use std::cell::{Cell, RefCell};
use std::collections::btree_map::{BTreeMap, Entry};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use crate::fiber::{CALLBACK, guarded};
use crate::hub::spend_budget;
use crate::io::{Interest, wait_fd};
use crate::sys::descriptor;
use crate::sys::epoll::{Epoll, EpollSet};

/// A watcher of many descriptors, each with data of your own, that tells which are ready.
///
/// It behaves as Python's `selectors.DefaultSelector` on Linux. Every [`select`](Selector::select) reports a descriptor for as
/// long as it is ready. If there is an error, or the other end has gone, the descriptor is reported as ready for reading and for
/// writing. A regular file is always ready. `select` parks the calling green thread alone, and others may register and unregister
/// meanwhile.
///
/// # Closed descriptors
///
/// The selector knows a descriptor by its number and by the file that the number meant when it was registered. It keeps neither
/// open, so unregister a descriptor before you close it.
///
/// If a descriptor was closed first, the selector does not report it any more, and it can still be unregistered by its number. By
/// then the number may mean another file, and the old file may still be open elsewhere, by a duplicate or in a child process: an
/// event of one is never reported as an event of the other. (Python's `selectors` reports the events of the old file under the
/// new key.) The selector cannot tell apart files of which each is ready at any time, such as regular files.
///
/// What it tells of is a clone of the data. While that is made, which is a [callback](crate::hub#callbacks), the key is out of the
/// selector, as `clone` sees it: every other one may be used.
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
#[doc(alias(
    "DefaultSelector",
    "GeventSelector",
    "BaseSelector",
    "EpollSelector",
    "PollSelector",
    "SelectSelector"
))]
pub struct Selector<D = ()> {
    /// Asked for one answer each: a file that is open after its number was closed cannot be taken out, and would answer for ever.
    epoll: RefCell<Epoll>,
    keys: RefCell<BTreeMap<RawFd, Registered<D>>>,
    next_generation: Cell<u32>,
}

// It is changed in steps that call no code of others.
impl<D: UnwindSafe> UnwindSafe for Selector<D> {}
impl<D: RefUnwindSafe> RefUnwindSafe for Selector<D> {}

/// One that is registered.
struct Registered<D> {
    key: Key<D>,
    /// In the events of this registration: its number below its generation, which no later one of the number has (before the four
    /// billionth).
    token: u64,
    /// Whether epoll refuses it, because it is always ready.
    always: bool,
}

/// A descriptor that is registered in a [`Selector`].
#[doc(alias = "SelectorKey")]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key<D> {
    /// The descriptor's number.
    pub fd: RawFd,
    /// The events that it is watched for.
    pub events: Interest,
    /// The data that were registered with it.
    pub data: D,
}

impl<D> Selector<D> {
    /// Makes a selector that watches nothing yet. It uses one descriptor of its own.
    ///
    /// # Errors
    ///
    /// Any error of epoll_create1(2).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::select::Selector;
    ///
    /// let selector = Selector::<()>::new()?;
    /// assert!(selector.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> io::Result<Selector<D>> {
        let epoll = RefCell::new(Epoll::new()?);
        Ok(Selector { epoll, keys: RefCell::default(), next_generation: Cell::new(0) })
    }

    /// Watches `fd` for `events` from now on.
    ///
    /// # Errors
    ///
    /// - [`AlreadyExists`](io::ErrorKind::AlreadyExists) if the descriptor is registered already.
    /// - Any error of epoll_ctl(2).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::io::Interest;
    /// use greenloop::select::Selector;
    /// use std::io::ErrorKind;
    ///
    /// let selector = Selector::new()?;
    /// let (reader, _writer) = std::io::pipe()?;
    /// selector.register(&reader, Interest::READABLE, "first")?;
    /// let again = selector.register(&reader, Interest::READABLE, "again");
    /// assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
    /// # Ok::<(), std::io::Error>(())
    /// ```
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

    /// Watches `fd` for other `events` from now on, with other data.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](io::ErrorKind::NotFound) if the descriptor is not registered.
    /// - Any error of epoll_ctl(2), for instance if the descriptor was closed. It is not registered any more then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::io::Interest;
    /// use greenloop::select::Selector;
    ///
    /// let selector = Selector::new()?;
    /// let (_reader, writer) = std::io::pipe()?;
    /// selector.register(&writer, Interest::READABLE, "never")?;
    /// selector.modify(&writer, Interest::WRITABLE, "now")?;
    /// assert_eq!(selector.select(None)?[0].0.data, "now");
    /// # Ok::<(), std::io::Error>(())
    /// ```
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

    /// Ceases to watch `fd`, which may have been closed, and returns what was registered.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`NotFound`](io::ErrorKind::NotFound) if the descriptor is not registered.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::io::Interest;
    /// use greenloop::select::Selector;
    /// use std::io::ErrorKind;
    ///
    /// let selector = Selector::new()?;
    /// let (reader, _writer) = std::io::pipe()?;
    /// selector.register(&reader, Interest::READABLE, "the reader")?;
    /// assert_eq!(selector.unregister(&reader)?.data, "the reader");
    /// assert_eq!(selector.unregister(&reader).unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unregister(&self, fd: &impl AsRawFd) -> io::Result<Key<D>> {
        let fd = fd.as_raw_fd();
        let registered = self.keys.borrow_mut().remove(&fd).ok_or_else(|| unknown(fd))?;
        if !registered.always {
            self.epoll.borrow().set().delete(fd);
        }
        Ok(registered.key)
    }

    /// Returns how many descriptors are registered.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::io::Interest;
    /// use greenloop::select::Selector;
    ///
    /// let selector = Selector::new()?;
    /// let (reader, _writer) = std::io::pipe()?;
    /// selector.register(&reader, Interest::READABLE, ())?;
    /// assert_eq!(selector.len(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.keys.borrow().len()
    }

    /// Returns `true` if no descriptor is registered.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::io::Interest;
    /// use greenloop::select::Selector;
    ///
    /// let selector = Selector::new()?;
    /// assert!(selector.is_empty());
    /// let (reader, _writer) = std::io::pipe()?;
    /// selector.register(&reader, Interest::READABLE, ())?;
    /// assert!(!selector.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<D: Clone> Selector<D> {
    /// Waits until a registered descriptor is ready, or for `timeout`, and returns all that are ready, each with what it is ready
    /// for.
    ///
    /// If none is ready now, the calling green thread yields, and the hub wakes it when one of them is. The list is empty if the
    /// time is over, or, seldom, for no reason. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by
    /// unwinding.
    ///
    /// # Errors
    ///
    /// As [`wait_fd`], except that the end of the time is no error.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait in a [hub callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::io::Interest;
    /// use greenloop::select::Selector;
    /// use std::io::Write;
    /// use std::time::Duration;
    ///
    /// let selector = Selector::new()?;
    /// let (reader, mut writer) = std::io::pipe()?;
    /// selector.register(&reader, Interest::READABLE, 7)?;
    /// assert!(selector.select(Some(Duration::from_millis(1)))?.is_empty());
    /// writer.write_all(b"a")?;
    /// let ready = selector.select(Some(Duration::from_secs(60)))?;
    /// assert_eq!((ready[0].0.data, ready[0].1), (7, Interest::READABLE));
    /// # Ok::<(), std::io::Error>(())
    /// ```
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
                ready.push((registered.key.fd, registered.token, events));
            }
        };
        epoll.wait(Some(Duration::ZERO), |event| {
            let number = event.token as u32 as RawFd;
            if let Some(registered) = keys.get(&number).filter(|registered| registered.token == event.token) {
                tell(registered, event.ready);
            }
        })?;
        keys.values().filter(|registered| registered.always).for_each(|always| tell(always, Interest::BOTH));
        drop((keys, epoll));
        let told = |(fd, token, events)| Some((self.clone_key(fd, Some(token))?, events));
        Ok(ready.into_iter().filter_map(told).collect())
    }

    /// Returns what was registered with `fd`, if it is registered.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::io::Interest;
    /// use greenloop::select::Selector;
    ///
    /// let selector = Selector::new()?;
    /// let (reader, writer) = std::io::pipe()?;
    /// selector.register(&reader, Interest::READABLE, "the reader")?;
    /// assert_eq!(selector.get_key(&reader).unwrap().data, "the reader");
    /// assert!(selector.get_key(&writer).is_none());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get_key(&self, fd: &impl AsRawFd) -> Option<Key<D>> {
        self.clone_key(fd.as_raw_fd(), None)
    }

    /// Returns all that are registered, in the order of the descriptors' numbers.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::io::Interest;
    /// use greenloop::select::Selector;
    /// use std::os::fd::AsRawFd;
    ///
    /// let selector = Selector::new()?;
    /// let (reader, writer) = std::io::pipe()?;
    /// selector.register(&writer, Interest::WRITABLE, ())?;
    /// selector.register(&reader, Interest::READABLE, ())?;
    /// let mut registered = [reader.as_raw_fd(), writer.as_raw_fd()];
    /// registered.sort();
    /// assert_eq!(selector.keys().iter().map(|key| key.fd).collect::<Vec<_>>(), registered);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "get_map")]
    pub fn keys(&self) -> Vec<Key<D>> {
        let numbers: Vec<RawFd> = self.keys.borrow().keys().copied().collect();
        numbers.into_iter().filter_map(|fd| self.clone_key(fd, None)).collect()
    }

    /// A clone of the key of this number, and token: taken out meanwhile, since `clone` may register and unregister.
    fn clone_key(&self, fd: RawFd, token: Option<u64>) -> Option<Key<D>> {
        let registered = {
            let mut keys = self.keys.borrow_mut();
            let registered = keys.remove(&fd)?;
            if token.is_some_and(|token| token != registered.token) {
                keys.insert(fd, registered);
                return None;
            }
            registered
        };
        let out = Out { selector: self, registered: Some(registered) };
        guarded(CALLBACK, || out.registered.as_ref().map(|registered| registered.key.clone()))
    }
}

/// A key that is out of its selector while it is cloned.
struct Out<'a, D> {
    selector: &'a Selector<D>,
    registered: Option<Registered<D>>,
}

impl<D> Drop for Out<'_, D> {
    fn drop(&mut self) {
        let Some(registered) = self.registered.take() else { return };
        let mut keys = self.selector.keys.borrow_mut();
        // Free, for the kernel has the number still. Of a regular file there may be a new key, which stays.
        let former = match keys.entry(registered.key.fd) {
            Entry::Vacant(place) => {
                place.insert(registered);
                None
            }
            Entry::Occupied(_) => Some(registered),
        };
        drop(keys);
        drop(former);
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
