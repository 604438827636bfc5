//! The life of a worker: an OS thread, its hub, and what feeds that.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;

use super::crew::Crew;
use super::desk::Desk;
use super::search::{Found, LOOKS_PER_TURN, Search};
use crate::fiber;
use crate::hub::{Config, Feed, Hub, HubState, Job, configure, hub};
use crate::sys::atomic::spin_loop;
use crate::sys::os_thread::real;
use crate::sys::shared::Shared;
use crate::task::Offer;

/// Begins the worker of this number.
pub(super) fn begin(crew: &Arc<Crew>, worker: usize, config: Config) -> io::Result<()> {
    // At most 15 bytes, which is what the kernel shows.
    let thread = thread::Builder::new().name(format!("worker-{worker}"));
    crew.count_living();
    let life = {
        let crew = Arc::clone(crew);
        move || live(&crew, worker, config)
    };
    match real(|| thread.spawn(life)) {
        Ok(thread) => crew.keep_thread(thread),
        Err(error) => {
            crew.count_ended();
            return Err(error);
        }
    }
    Ok(())
}

fn live(crew: &Arc<Crew>, worker: usize, config: Config) {
    // The OS thread is new, so there is no hub yet.
    let _ = configure(config);
    crew.take_seat(worker);
    let hub = hub();
    let desk = crew.make_desk(worker);
    hub.set_feed(Box::new(Seat::new(crew, worker)));
    desk.set_door(Some((hub.door(), hub.epoch())));
    let mut unbegun = None;
    while unbegun.is_none() {
        // What jobs throw at the thread's main greenlet, which they can name, ends no worker.
        fiber::catch("the main greenlet of a worker", || {
            desk.wait_for_dismissal();
            unbegun = finish(desk, &hub);
        });
    }
    crew.hand_over(unbegun.unwrap_or_default());
    crew.count_ended();
}

/// Begins and waits for all there is to do here, until that is nothing. `None` if the worker has been told to stay, else what others are to
/// have.
fn finish(desk: &Desk, hub: &HubState) -> Option<VecDeque<Offer>> {
    let current = Hub::current();
    while !desk.stays() {
        current.join();
        // One may have begun since the last one ended. If nothing is alive here, nobody but others can bring more.
        if current.alive() == 0
            && !hub.is_fed()
            && let Some(unbegun) = desk.end()
        {
            return Some(unbegun);
        }
    }
    None
}

/// What a worker's hub asks for green threads.
struct Seat {
    crew: Arc<Crew>,
    worker: usize,
    search: RefCell<Search<Offer>>,
    /// How often it has looked for work.
    looks: Cell<u32>,
    /// Whether it counts as one who looks for work.
    searches: Cell<bool>,
    /// Whether it counts as one who sleeps.
    sleeps: Cell<bool>,
}

impl Seat {
    fn new(crew: &Arc<Crew>, worker: usize) -> Seat {
        Seat {
            crew: Arc::clone(crew),
            worker,
            search: RefCell::new(Search::new(worker)),
            looks: Cell::new(0),
            searches: Cell::new(false),
            sleeps: Cell::new(false),
        }
    }

    fn desk(&self) -> &Desk {
        self.crew.make_desk(self.worker)
    }

    fn retires(&self) -> bool {
        self.desk().retires()
    }

    #[inline]
    fn next(&self) -> Option<Offer> {
        let desk = self.desk();
        let looks = self.looks.get().wrapping_add(1);
        self.looks.set(looks);
        let is_others_turn = looks.is_multiple_of(LOOKS_PER_TURN);
        if !is_others_turn && let Some(pinned) = desk.pinned.pop() {
            return Some(pinned);
        }
        if self.retires() {
            return desk.pinned.pop();
        }
        let others =
            |worker| if worker == self.worker { None } else { Some(&self.crew.desk(worker)?.offers) };
        let mut search = self.search.borrow_mut();
        if desk.offers.looks_empty() && self.crew.outside.looks_empty() {
            (0..search.pause()).for_each(|_| spin_loop());
        }
        let found = search.next(&desk.offers, &self.crew.outside, self.crew.number(), others);
        drop(search);
        let Some((offer, place)) = found else { return desk.pinned.pop() };
        // It was told to end after the look at that: what it took besides may be outside now.
        if place != Found::Own && self.retires() {
            self.crew.call(self.crew.outside.count());
        }
        Some(offer)
    }
}

impl Feed for Seat {
    #[inline]
    fn take(&self, hub: &HubState) -> Option<Shared<dyn Job>> {
        loop {
            let offer = self.next();
            if self.searches.get() && (offer.is_some() || self.retires()) {
                self.end_search();
            }
            // One that was killed meanwhile is passed over.
            let job = offer?.take(hub);
            if job.is_some() {
                return job;
            }
        }
    }

    fn begin_search(&self) -> bool {
        if !self.searches.get() && !self.retires() {
            self.searches.set(self.crew.idle.begin_search(self.crew.number()));
        }
        self.searches.get()
    }

    fn end_search(&self) {
        if self.searches.take() {
            self.crew.end_search(self.desk().offers.count());
        }
    }

    fn begin_sleep(&self) -> bool {
        if self.retires() {
            self.end_search();
            return self.desk().pinned.is_empty();
        }
        self.crew.idle.begin_sleep(self.worker, self.searches.take());
        self.sleeps.set(true);
        let has_work = !self.desk().pinned.is_empty() || self.crew.has_offers();
        if has_work {
            self.end_sleep();
        }
        !has_work
    }

    fn end_sleep(&self) {
        if self.sleeps.take() && self.crew.idle.end_sleep(self.worker) {
            self.searches.set(true);
        }
    }
}
