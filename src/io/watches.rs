//! Notices for those who wait for a descriptor beside other things.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::Interest;
use crate::hub::reactor::Watch;
use crate::hub::remote::{Door, Letter};
use crate::hub::waitlist::WaitList;
use crate::hub::{hub, local_hub};
use crate::sys::lock::Lock;
use crate::task::{Notice, Subscription};

/// What a type that has a descriptor keeps to be a [`Waitable`](crate::Waitable). It outlives no subscription.
#[derive(Debug)]
pub(crate) struct Watches(Lock<WaitList<Place>>);

/// A watch in the reactor of one hub.
#[derive(Debug)]
struct Place {
    watch: Watch,
    door: &'static Door,
    epoch: u32,
}

impl Watches {
    pub(crate) const fn new() -> Watches {
        Watches(Lock::new(WaitList::new()))
    }

    /// Has the calling thread's hub give `notice` when `fd` is ready for any of `interest`; at once if it cannot be waited
    /// for.
    pub(crate) fn subscribe(&self, fd: BorrowedFd<'_>, interest: Interest, notice: Notice) -> Subscription {
        let hub = hub();
        let watch = match hub.try_reactor() {
            Ok(reactor) => reactor.watch(fd.as_raw_fd(), interest, notice.0).map_err(|(_, notice)| notice),
            Err(_) => Err(notice.0),
        };
        match watch {
            Ok(watch) => {
                let place = Place { watch, door: hub.door(), epoch: hub.epoch() };
                Subscription::new(self.0.lock().push(place))
            }
            Err(notice) => {
                notice.notify();
                Subscription::none()
            }
        }
    }

    pub(crate) fn unsubscribe(&self, subscription: Subscription) {
        let Some(Place { watch, door, epoch }) =
            subscription.0.and_then(|ticket| self.0.lock().remove(ticket))
        else {
            return;
        };
        let end = move || {
            if let Some(hub) = local_hub() {
                hub.reactor().unwatch(&watch);
            }
        };
        match local_hub() {
            Some(hub) if hub.door().is(door) && hub.epoch() == epoch => end(),
            _ => drop(door.send(epoch, Letter::Run(Box::new(end)))),
        }
    }
}
