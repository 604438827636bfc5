//! The wait of one operation at a descriptor of greenloop's own.

use super::super::waiter::Notify;
use super::entry::Place;
use super::{Direction, Key, Reactor};

/// An operation's stay in the line at its descriptor. However it ends, what it leaves goes to the next one.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    reactor: &'a Reactor,
    key: Key,
    direction: Direction,
    place: Place,
    /// Whether its result showed that nothing is left.
    drained: bool,
}

impl<'a> Turn<'a> {
    /// An operation that has to wait gets in line, and parks next: `notify` is called when its turn has come and it may try,
    /// or when nothing more will be heard of the descriptor. `None` if the key names nothing.
    #[inline]
    pub(crate) fn begin(
        reactor: &'a Reactor,
        key: Key,
        direction: Direction,
        notify: impl FnOnce() -> Notify,
    ) -> Option<Turn<'a>> {
        let core = &mut *reactor.core.borrow_mut();
        let id = core.next_id();
        let place = core.side(key, direction)?.enter(id, notify);
        core.refresh_owned(key);
        reactor.waiting.update(|waiting| waiting + 1);
        Some(Turn { reactor, key, direction, place, drained: false })
    }

    /// Whether its turn has come and it may try; `None` if the key names nothing any more.
    #[inline]
    pub(crate) fn may_try(&self) -> Option<bool> {
        let core = &mut *self.reactor.core.borrow_mut();
        core.side(self.key, self.direction).map(|side| side.may_try(&self.place))
    }

    /// It has tried and was told EAGAIN if `blocked`, or it was woken for nothing; it parks next.
    pub(crate) fn wait_again(&self, blocked: bool, notify: impl FnOnce() -> Notify) {
        let core = &mut *self.reactor.core.borrow_mut();
        if let Some(side) = core.side(self.key, self.direction) {
            side.wait_again(&self.place, blocked, notify);
            core.refresh_owned(self.key);
        }
    }

    /// It is done.
    #[inline]
    pub(crate) fn finish(mut self, drained: bool) {
        self.drained = drained;
    }
}

impl Drop for Turn<'_> {
    #[inline]
    fn drop(&mut self) {
        let reactor = self.reactor;
        reactor.waiting.update(|waiting| waiting - 1);
        let mut next = None;
        {
            let core = &mut *reactor.core.borrow_mut();
            if let Some(side) = core.side(self.key, self.direction) {
                if self.drained {
                    side.note_drained();
                }
                next = side.leave(&self.place);
                core.refresh_owned(self.key);
            }
        }
        if let Some(notify) = next {
            notify.notify();
        }
    }
}
