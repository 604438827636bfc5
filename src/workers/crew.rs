//! What the workers and all handles share: who there is, and what nobody has begun.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use super::idle::Idle;
use super::offers::Offers;
use crate::event::Event;
use crate::fiber::in_common;
use crate::hub::door::{Door, Letter};
use crate::hub::hub;
use crate::sync::Mutex;
use crate::sys::lock::Lock;
use crate::task::Offer;

/// How many workers there may be, unless more are asked for at once.
const MOST: usize = 256;
/// How long those have that were killed, before they are killed again; then twice as long each time.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);

thread_local! {
    /// Of which crew the calling OS thread is a worker, by its address, and its number there.
    static SEAT: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
}

/// One worker, as others see it.
#[derive(Debug)]
pub(super) struct Desk {
    /// What may begin on any worker, and was spawned here or has been taken from others.
    pub(super) offers: Offers<Offer>,
    /// What is to begin here.
    pub(super) pinned: Offers<Offer>,
    /// Its hub, while it has one.
    door: Lock<Option<(&'static Door, u32)>>,
    life: Lock<Life>,
    /// It is to begin nothing more, but for what is to begin here.
    retires: AtomicBool,
    /// It is to end when it has nothing to do.
    leave: Event,
}

#[derive(Debug)]
struct Life {
    /// There is an OS thread for it.
    lives: bool,
    /// It is to end when it has nothing to do.
    leaves: bool,
}

impl Desk {
    fn new() -> Desk {
        Desk {
            offers: Offers::new(),
            pinned: Offers::new(),
            door: Lock::new(None),
            life: Lock::new(Life { lives: false, leaves: false }),
            retires: AtomicBool::new(false),
            leave: Event::new(),
        }
    }

    /// Has it work, from now on or again. `true` if an OS thread is to be made for it.
    fn man(&self) -> bool {
        let mut life = self.life.lock();
        life.leaves = false;
        // Release: pairs with `retires`.
        self.retires.store(false, Ordering::Release);
        self.offers.open();
        self.pinned.open();
        self.leave.clear();
        !std::mem::replace(&mut life.lives, true)
    }

    /// Has it end when it has nothing to do.
    fn dismiss(&self) {
        self.life.lock().leaves = true;
        self.leave.set();
    }

    /// Whether it is to begin nothing more, but for what is to begin here.
    #[inline]
    pub(super) fn retires(&self) -> bool {
        // Acquire: whoever set it did all else before.
        self.retires.load(Ordering::Acquire)
    }

    pub(super) fn wait_for_dismissal(&self) {
        self.leave.wait();
    }

    /// By the worker, when it has nothing to do: whether it ends, and then what others have put there just now. Nothing of it is there
    /// after that, so that there may be another one of its number.
    pub(super) fn end(&self) -> Option<VecDeque<Offer>> {
        let mut life = self.life.lock();
        let ends = life.leaves && self.pinned.close_if_empty();
        ends.then(|| {
            life.lives = false;
            self.set_door(None);
            self.offers.close()
        })
    }

    /// Whether it has been told to stay after all.
    pub(super) fn stays(&self) -> bool {
        !self.life.lock().leaves
    }

    /// Wakes it, if it sleeps.
    fn ring(&self) {
        let door = *self.door.lock();
        if let Some((door, _)) = door {
            door.ring();
        }
    }

    pub(super) fn set_door(&self, door: Option<(&'static Door, u32)>) {
        *self.door.lock() = door;
    }

    /// Kills all green threads that are there.
    fn kill(&self) {
        let door = *self.door.lock();
        if let Some((door, epoch)) = door {
            // `false`: it has just ended.
            let _ = door.send(epoch, Letter::Run(Box::new(|| hub().kill_all())));
        }
    }
}

/// What workers and handles share.
#[derive(Debug)]
pub(super) struct Crew {
    /// By number. One that was made stays, and is used again.
    desks: Box<[OnceLock<Box<Desk>>]>,
    /// How many workers there are, or are to be.
    number: AtomicUsize,
    resizing: Mutex<()>,
    /// What was spawned from outside.
    pub(super) outside: Offers<Offer>,
    pub(super) idle: Idle,
    /// Whether anything is accepted from outside.
    accepts: AtomicBool,
    /// How many workers have not ended.
    living: AtomicUsize,
    /// That none of them lives.
    over: Event,
    threads: Lock<Vec<thread::JoinHandle<()>>>,
    /// How many servers have had a worker that accepts.
    pub(super) acceptors: AtomicUsize,
}

impl Crew {
    /// One that may have so many workers, and more, and has none yet.
    pub(super) fn new(number: usize) -> Crew {
        Crew {
            desks: (0..number.max(MOST)).map(|_| OnceLock::new()).collect(),
            number: AtomicUsize::new(0),
            resizing: Mutex::new(()),
            outside: Offers::new(),
            idle: Idle::new(),
            accepts: AtomicBool::new(true),
            living: AtomicUsize::new(0),
            over: Event::new(),
            threads: Lock::new(Vec::new()),
            acceptors: AtomicUsize::new(0),
        }
    }

    /// How many workers there are.
    pub(super) fn number(&self) -> usize {
        // Acquire: their desks are there.
        self.number.load(Ordering::Acquire)
    }

    /// The desk of a worker that there is, or was.
    #[inline]
    pub(super) fn desk(&self, worker: usize) -> Option<&Desk> {
        self.desks.get(worker)?.get().map(|desk| &**desk)
    }

    /// The desk of a worker, made if there never was one of this number.
    pub(super) fn make_desk(&self, worker: usize) -> &Desk {
        self.desks[worker].get_or_init(|| Box::new(Desk::new()))
    }

    fn all_desks(&self) -> impl Iterator<Item = &Desk> {
        self.desks.iter().map_while(|desk| desk.get()).map(|desk| &**desk)
    }

    /// The number that the calling OS thread has among these workers, if it is one.
    #[inline]
    pub(super) fn seat(self: &Arc<Crew>) -> Option<usize> {
        let (crew, worker) = in_common(|| SEAT.get())?;
        (crew == Arc::as_ptr(self).addr()).then_some(worker)
    }

    /// The calling OS thread is this worker from now on.
    pub(super) fn take_seat(self: &Arc<Crew>, worker: usize) {
        SEAT.set(Some((Arc::as_ptr(self).addr(), worker)));
    }

    /// Lets one begin wherever there is time for it. After the end of all it is dropped.
    #[inline]
    pub(super) fn put(self: &Arc<Crew>, offer: Offer) {
        if !self.accepts() {
            return drop(offer);
        }
        let own = self.seat().and_then(|worker| self.desk(worker));
        let queue = own.map_or(&self.outside, |desk| &desk.offers);
        match queue.push(offer) {
            Ok(()) => self.call(queue.count()),
            // Closed: one that retires.
            Err(offer) => {
                if self.outside.push(offer).is_ok() {
                    self.call(self.outside.count());
                }
            }
        }
    }

    /// Lets one begin on this worker.
    ///
    /// # Panics
    ///
    /// If there is no such worker.
    #[track_caller]
    pub(super) fn put_on(&self, worker: usize, offer: Offer) {
        let number = self.number();
        assert!(worker < number, "there is no worker {worker}: there are {number}");
        if self.accepts()
            && let Some(desk) = self.desk(worker)
        {
            let accepted = desk.pinned.push(offer).is_ok();
            // It may have ended since.
            assert!(accepted || !self.accepts(), "there is no worker {worker} any more");
            desk.ring();
        }
    }

    /// Work was added, and so much waits in one place: has those woken for it who sleep, unless enough look for work already.
    #[inline]
    pub(super) fn call(&self, waiting: usize) {
        while let Some(worker) = self.idle.call(waiting) {
            self.wake(worker);
        }
    }

    #[cold]
    fn wake(&self, worker: usize) {
        if let Some(desk) = self.desk(worker) {
            desk.ring();
        }
    }

    /// One has stopped looking for work, and has so many jobs in his queue: if he was the last one, and there is more anywhere, or if he
    /// has many, others are woken.
    pub(super) fn end_search(&self, waiting: usize) {
        let was_last = self.idle.end_search();
        if waiting > 0 {
            self.call(waiting);
        } else if was_last && self.looks_full() {
            self.call(1);
        }
    }

    /// Whether there is work, as far as one sees who locks nothing.
    fn looks_full(&self) -> bool {
        !self.outside.looks_empty() || self.all_desks().any(|desk| !desk.offers.looks_empty())
    }

    /// Whether there is work that any worker may begin. Who adds some later sees what the caller did before.
    pub(super) fn has_offers(&self) -> bool {
        !self.outside.is_empty() || self.all_desks().any(|desk| !desk.offers.is_empty())
    }

    /// Lets others have what a worker that ends has not begun.
    pub(super) fn hand_over(&self, mut offers: VecDeque<Offer>) {
        self.outside.append(&mut offers);
        // What finds no place is dropped, since all ends.
        drop(offers);
        if !self.outside.looks_empty() {
            self.call(self.outside.count());
        }
    }

    // ---- how many there are ----

    /// Lets there be `number` workers, of which `begin` makes those that are missing.
    pub(super) fn resize(&self, number: usize, begin: impl Fn(usize) -> io::Result<()>) -> io::Result<()> {
        let fits = (1..=self.desks.len()).contains(&number);
        if !fits {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no such number of workers"));
        }
        let _one_at_a_time = self.resizing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.accepts() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        for worker in self.number()..number {
            if self.make_desk(worker).man()
                && let Err(error) = begin(worker)
            {
                self.make_desk(worker).life.lock().lives = false;
                return Err(error);
            }
            // Release: its desk is there.
            self.number.store(worker + 1, Ordering::Release);
        }
        let leaving = number..self.number();
        // Release: as above.
        self.number.store(number, Ordering::Release);
        for desk in leaving.filter_map(|worker| self.desk(worker)) {
            // Release: pairs with `retires`.
            desk.retires.store(true, Ordering::Release);
            desk.dismiss();
            self.hand_over(desk.offers.close());
            desk.ring();
        }
        Ok(())
    }

    /// Whether anything is accepted from outside.
    fn accepts(&self) -> bool {
        // Relaxed: who is told of the end otherwise knows it.
        self.accepts.load(Ordering::Relaxed)
    }

    // ---- the end ----

    /// A worker is to begin.
    pub(super) fn count_living(&self) {
        self.living.fetch_add(1, Ordering::SeqCst);
    }

    /// A worker has ended.
    pub(super) fn count_ended(&self) {
        if self.living.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.over.set();
        }
    }

    pub(super) fn keep_thread(&self, thread: thread::JoinHandle<()>) {
        let mut threads = self.threads.lock();
        let ended: Vec<_> = threads.extract_if(.., |thread| thread.is_finished()).collect();
        threads.push(thread);
        drop(threads);
        drop(ended);
    }

    /// Has the workers end when all that was accepted is done.
    pub(super) fn close(&self) {
        self.all_desks().for_each(Desk::dismiss);
    }

    /// Ends all: after `grace`, by killing what still runs.
    pub(super) fn stop(self: &Arc<Crew>, grace: Duration) {
        // Relaxed: who spawns meanwhile may find it so or not.
        self.accepts.store(false, Ordering::Relaxed);
        self.close();
        if !self.over.wait_timeout(grace) {
            self.kill();
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        // They have nothing to do but to end.
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }

    /// Kills all there is, until there is nothing.
    fn kill(&self) {
        let mut patience = FIRST_PATIENCE;
        loop {
            let mut unbegun = self.outside.close();
            for desk in self.all_desks() {
                unbegun.append(&mut desk.offers.close());
                unbegun.append(&mut desk.pinned.close());
                desk.kill();
            }
            drop(unbegun);
            if self.over.wait_timeout(patience) {
                return;
            }
            patience *= 2;
        }
    }
}
