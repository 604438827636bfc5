//! Who is told of a green thread's end.

use std::mem;
use std::task::Waker;

use crate::fiber::callback;
use crate::hub::waiter::Notify;
use crate::hub::waitlist::{Ticket, WaitList};

use super::ending::Outcome;

/// Begins a green thread of its own for what is linked, when the one that it is linked to has ended.
pub(super) type LinkFunction = Box<dyn FnOnce(Outcome) + Send>;

/// A list under the record's lock. Most green threads have one follower, who joins.
#[derive(Default)]
pub(super) enum Followers {
    #[default]
    None,
    /// Under the ticket [`BESIDE`](Ticket::BESIDE).
    One(Notify),
    /// The task that polled the handle last.
    Poller(Waker),
    More(Box<More>),
}

#[derive(Default)]
pub(super) struct More {
    /// The one who was alone.
    first: Option<Notify>,
    notices: WaitList<Notify>,
    poller: Option<Waker>,
    links: WaitList<LinkFunction>,
}

impl Followers {
    /// Each way makes its own notice where that goes: moved there, it would be written in parts and read as a whole, which
    /// stalls.
    #[inline]
    pub(super) fn add(&mut self, notice: impl FnOnce() -> Notify) -> Ticket {
        if let Followers::None = self {
            *self = Followers::One(notice());
            return Ticket::BESIDE;
        }
        self.add_behind(notice)
    }

    #[inline(never)]
    fn add_behind(&mut self, notice: impl FnOnce() -> Notify) -> Ticket {
        self.more().notices.push(notice())
    }

    /// [`add`](Followers::add) for a ticket that is given away: that of the list means nothing elsewhere, and who gives away the one
    /// beside it says whose it is.
    pub(super) fn add_for_others(&mut self, notice: Notify) -> Ticket {
        match self {
            Followers::None => {
                *self = Followers::One(notice);
                Ticket::BESIDE
            }
            several => several.more().notices.push_for_others(notice),
        }
    }

    /// The room for several, made if it is not there.
    fn more(&mut self) -> &mut More {
        if !matches!(self, Followers::More(_)) {
            let mut more = Box::<More>::default();
            match mem::take(self) {
                Followers::One(first) => more.first = Some(first),
                Followers::Poller(poller) => more.poller = Some(poller),
                Followers::None | Followers::More(_) => {}
            }
            *self = Followers::More(more);
        }
        match self {
            Followers::More(more) => more,
            _ => unreachable!("it has just been made"),
        }
    }

    /// Takes one out that was added.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Notify> {
        match self {
            Followers::One(_) if ticket == Ticket::BESIDE => match mem::take(self) {
                Followers::One(notice) => Some(notice),
                _ => None,
            },
            Followers::None | Followers::Poller(_) | Followers::One(_) => None,
            Followers::More(more) if ticket == Ticket::BESIDE => more.first.take(),
            Followers::More(more) => more.notices.remove(ticket),
        }
    }

    /// Sets who is to be woken as the one that polled last, in place of the former one.
    pub(super) fn set_poller(&mut self, poller: Waker) -> Option<Waker> {
        match self {
            Followers::None => {
                *self = Followers::Poller(poller);
                None
            }
            Followers::Poller(former) => Some(mem::replace(former, poller)),
            several => several.more().poller.replace(poller),
        }
    }

    pub(super) fn link(&mut self, function: LinkFunction) -> Ticket {
        self.more().links.push_for_others(function)
    }

    pub(super) fn unlink(&mut self, ticket: Ticket) -> Option<LinkFunction> {
        match self {
            Followers::More(more) => more.links.remove(ticket),
            _ => None,
        }
    }

    /// Tells everybody that it has ended, and how.
    #[cold]
    pub(super) fn tell(self, outcome: Outcome) {
        match self {
            Followers::None => {}
            Followers::One(notice) => notice.notify(),
            Followers::Poller(poller) => Notify::Task(poller).notify(),
            Followers::More(more) => more.tell(outcome),
        }
    }
}

impl More {
    fn tell(mut self, outcome: Outcome) {
        if let Some(first) = self.first {
            first.notify();
        }
        while let Some(notice) = self.notices.pop() {
            notice.notify();
        }
        if let Some(poller) = self.poller {
            Notify::Task(poller).notify();
        }
        while let Some(link) = self.links.pop() {
            callback("a link", || link(outcome));
        }
    }
}
