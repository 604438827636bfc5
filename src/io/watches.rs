//! Notices for those who wait for a descriptor beside other things.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use super::Interest;
use crate::hub::door::{Door, Letter};
use crate::hub::reactor::Watch;
use crate::hub::waitlist::WaitList;
use crate::hub::{hub, local_hub};
use crate::sys::descriptor;
use crate::sys::lock::Lock;
use crate::task::{self, Notice, Subscription};

/// How long it may take until something is noticed that nobody tells.
const SOON: Duration = Duration::from_millis(20);

/// What a type that has a descriptor keeps to be a [`Waitable`](crate::Waitable). It outlives no subscription.
#[derive(Debug)]
pub(crate) struct Watches(Lock<WaitList<Place>>);

// What it stands for is kept whole by the library, whoever unwinds.
impl UnwindSafe for Watches {}
impl RefUnwindSafe for Watches {}

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
    /// for, and [soon](give_soon) if there is nothing to wait with.
    pub(crate) fn subscribe(&self, fd: BorrowedFd<'_>, interest: Interest, notice: Notice) -> Subscription {
        let hub = hub();
        let watch = match hub.try_reactor() {
            Ok(reactor) => reactor.watch(fd.as_raw_fd(), interest, notice.0),
            Err(error) => Err((error, notice.0)),
        };
        match watch {
            Ok(watch) => {
                let place = Place { watch, door: hub.door(), epoch: hub.epoch() };
                Subscription::new(self.0.lock().push_for_others(place))
            }
            Err((error, notice)) => {
                if descriptor::is_shortage(&error) {
                    give_soon(Notice(notice));
                } else {
                    notice.notify();
                }
                Subscription::none()
            }
        }
    }

    pub(crate) fn unsubscribe(&self, subscription: Subscription) {
        let Some(Place { watch, door, epoch }) =
            subscription.ticket().and_then(|ticket| self.0.lock().remove(ticket))
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

/// Gives `notice` in a while, so that who gets it looks again: there is no descriptor, or no memory, to be told with.
pub(crate) fn give_soon(notice: Notice) {
    drop(task::spawn(|| {
        task::sleep(SOON);
        notice.give();
    }));
}
