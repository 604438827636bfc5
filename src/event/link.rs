//! Functions that are called when something is ready: gevent's links.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Wake;

use crate::hub::door::{Door, Letter};
use crate::hub::waiter::Notify;
use crate::hub::{hub, local_hub};
use crate::task::{Link, Linked, Notice, Subscription, spawn};

/// The number of an object, by which it knows its links: given with the first, and different from those of green threads.
pub(super) struct Origin(AtomicU64);

impl Origin {
    pub(super) const fn new() -> Origin {
        Origin(AtomicU64::new(0))
    }

    pub(super) fn number(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1 << 63);
        // Relaxed: only uniqueness counts, here and below.
        let known = self.0.load(Ordering::Relaxed);
        if known != 0 {
            return known;
        }
        let fresh = NEXT.fetch_add(1, Ordering::Relaxed);
        let given = self.0.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed);
        given.map_or_else(|given| given, |_| fresh)
    }

    /// Links `function`, which the calling thread's hub is to run: itself, where nothing may wait, if it is `raw`, else in a green
    /// thread. `subscribe` has the notice given.
    pub(super) fn link(
        &self,
        raw: bool,
        function: impl FnOnce() + Send + 'static,
        subscribe: impl FnOnce(Notice) -> Subscription,
    ) -> Link {
        let hub = hub();
        let function = Linked::new(self.number(), move |()| function());
        let told = Told { door: hub.door(), epoch: hub.epoch(), function: function.clone(), raw };
        let subscription = subscribe(Notice(Notify::Task(Arc::new(told).into())));
        Link::new(subscription.ticket(), &function)
    }
}

/// A function that is to be called when this is woken, and the hub of the thread that linked it, which is to run it.
struct Told {
    door: &'static Door,
    epoch: u32,
    function: Arc<Linked<()>>,
    /// Whether the hub itself runs it, and not a green thread.
    raw: bool,
}

impl Wake for Told {
    fn wake(self: Arc<Told>) {
        let function = self.function.clone();
        // Taken when it is called, and not now: it can still be taken back.
        let call = move || function.call(());
        let at_home = local_hub().is_some_and(|hub| hub.door().is(self.door) && hub.epoch() == self.epoch);
        let errand: Box<dyn FnOnce() + Send> = match self.raw {
            true => Box::new(call),
            false if at_home => return drop(spawn(call)),
            false => Box::new(|| drop(spawn(call))),
        };
        // A hub that is gone runs nothing.
        self.door.send(self.epoch, Letter::Run(errand));
    }
}
