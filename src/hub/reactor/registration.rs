//! A source's place in a reactor, for any thread to hold and to end.

use std::io;
use std::os::fd::RawFd;
use std::sync::Weak;

use super::super::current::{HubRef, local_hub};
use super::super::door::{Door, Letter};
use super::Reactor;
use super::descriptor::{Direction, Key};
use crate::sys::epoll::EpollSet;

/// A source's descriptor in the reactor of one hub.
#[derive(Debug)]
pub(crate) struct Registration {
    reactor: u64,
    key: Key,
    fd: RawFd,
    door: &'static Door,
    epoch: u32,
    set: Weak<EpollSet>,
}

impl Registration {
    /// Takes `fd` into the reactor of the calling thread's hub, because it said EAGAIN in the direction of `blocked`. It has to be
    /// [ended](Registration::end) before the number can mean anything else.
    ///
    /// # Errors
    ///
    /// As epoll_ctl(2) has it.
    pub(crate) fn new(hub: HubRef, fd: RawFd, blocked: Direction) -> io::Result<Registration> {
        let reactor = hub.try_reactor()?;
        let key = reactor.register(fd, blocked)?;
        let (reactor, set) = (reactor.id(), reactor.set());
        Ok(Registration { reactor, key, fd, door: hub.door(), epoch: hub.epoch(), set })
    }

    #[inline]
    pub(crate) fn key(&self) -> Key {
        self.key
    }

    #[inline]
    pub(crate) fn is_in(&self, reactor: &Reactor) -> bool {
        self.reactor == reactor.id()
    }

    /// Whether its hub still exists.
    pub(crate) fn is_live(&self) -> bool {
        self.door.epoch() == self.epoch
    }

    /// Takes the descriptor, still open, out of the reactor, and wakes whoever waits for it there. From any thread.
    pub(crate) fn end(self) {
        match local_hub() {
            Some(hub) if hub.made_reactor().is_some_and(|reactor| self.is_in(reactor)) => {
                hub.reactor().deregister(self.fd, self.key);
            }
            _ => self.end_from_outside(),
        }
    }

    /// Out of the kernel's set now, while the number still means this descriptor; out of the reactor when its hub reads its
    /// letters. An event that comes in between carries a key that nobody has got since, so it wakes nobody else.
    #[cold]
    fn end_from_outside(self) {
        if let Some(set) = self.set.upgrade().filter(|set| set.is_ours()) {
            set.delete(self.fd);
        }
        let key = self.key;
        let forget = move || {
            if let Some(hub) = local_hub() {
                hub.reactor().forget(key);
            }
        };
        self.door.send(self.epoch, Letter::Run(Box::new(forget)));
    }
}
