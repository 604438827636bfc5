//! What the workers and all handles share: who there is, and what nobody has begun.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use super::desk::Desk;
use super::idle::Idle;
use super::offers::Offers;
use crate::event::Event;
use crate::fiber::in_common;
use crate::hub::fork;
use crate::sync::Mutex;
use crate::sys::lock::Lock;
use crate::task::Offer;
use crate::task::spread::Places;

/// How many workers there may be, unless more are asked for at once.
const MOST: usize = 256;
/// How long those have that were killed, before they are killed again; then twice as long each time.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
const LONGEST_PATIENCE: Duration = Duration::from_secs(8);

thread_local! {
    /// Of which crew the calling OS thread is a worker, by its address, and its number there.
    static SEAT: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
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
    /// The process that the workers are in, by its generation.
    process: u32,
    /// Whether all that runs is killed.
    kills: AtomicBool,
    /// How many workers have not ended, and how many make some.
    living: AtomicUsize,
    /// That none of them lives.
    over: Event,
    threads: Lock<Vec<thread::JoinHandle<()>>>,
    /// Held by who waits for the end of the threads.
    joining: Mutex<()>,
    /// How many servers have had a worker that accepts.
    acceptors: AtomicUsize,
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
            process: fork::generation(),
            kills: AtomicBool::new(false),
            living: AtomicUsize::new(0),
            over: Event::new(),
            threads: Lock::new(Vec::new()),
            joining: Mutex::new(()),
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
        (crew == Arc::as_ptr(self).addr() && self.is_here()).then_some(worker)
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
        // It may have ended since.
        assert!(self.try_put_on(worker, offer), "there is no worker {worker} any more");
    }

    /// Lets one begin on this worker; `false` if there is no such worker. After the end of all it is dropped.
    pub(super) fn try_put_on(&self, worker: usize, offer: Offer) -> bool {
        if !self.accepts() {
            return true;
        }
        let Some(desk) = self.desk(worker).filter(|_| worker < self.number()) else { return false };
        let is_accepted = desk.pinned.push(offer).is_ok();
        desk.ring();
        is_accepted || !self.accepts()
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
        } else if was_last && self.has_offers() {
            self.call(1);
        }
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

    /// How many servers have had a worker that accepts, and one more from now on.
    pub(super) fn next_acceptor(&self) -> usize {
        // Relaxed: any will do.
        self.acceptors.fetch_add(1, Ordering::Relaxed)
    }

    // ---- how many there are ----

    /// Lets there be `number` workers, of which `begin` makes those that are missing.
    pub(super) fn resize(&self, number: usize, begin: impl Fn(usize) -> io::Result<()>) -> io::Result<()> {
        let fits = (1..=self.desks.len()).contains(&number);
        if !fits {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no such number of workers"));
        }
        if !self.accepts() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let _one_at_a_time = self.resizing.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that it makes are waited for by who ends all meanwhile.
        self.count_living();
        let resized = if self.accepts() { self.resize_alone(number, begin) } else { Ok(()) };
        // Whoever ended all while they were made has not told them. SeqCst: either he sees them, or he is seen here.
        fence(Ordering::SeqCst);
        let is_over = !self.accepts();
        if is_over {
            self.close();
        }
        self.count_ended();
        if is_over { Err(io::ErrorKind::NotConnected.into()) } else { resized }
    }

    fn resize_alone(&self, number: usize, begin: impl Fn(usize) -> io::Result<()>) -> io::Result<()> {
        for worker in self.number()..number {
            let desk = self.make_desk(worker);
            if !desk.man() {
                // It may sleep as one that retires does, whom nobody wakes for work.
                desk.ring();
            } else if let Err(error) = begin(worker) {
                desk.unman();
                return Err(error);
            }
            // Release: its desk is there.
            self.number.store(worker + 1, Ordering::Release);
        }
        let leaving = number..self.number();
        // Release: as above.
        self.number.store(number, Ordering::Release);
        for desk in leaving.filter_map(|worker| self.desk(worker)) {
            self.hand_over(desk.retire());
            desk.ring();
        }
        Ok(())
    }

    /// Whether anything is accepted from outside.
    pub(super) fn accepts(&self) -> bool {
        // Relaxed: who is told of the end otherwise knows it.
        self.accepts.load(Ordering::Relaxed) && self.is_here()
    }

    /// Whether the workers are in this process, and not in one that it was forked by: their locks may be held for ever here.
    pub(super) fn is_here(&self) -> bool {
        self.process == fork::generation()
    }

    // ---- the end ----

    /// A worker is to begin.
    pub(super) fn count_living(&self) {
        self.living.fetch_add(1, Ordering::SeqCst);
    }

    /// A worker has ended.
    pub(super) fn count_ended(&self) {
        if self.living.fetch_sub(1, Ordering::SeqCst) == 1 {
            // Who put something there while all ended, or does so later, has come too late.
            drop(self.outside.close());
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
        if self.is_here() {
            self.all_desks().for_each(Desk::dismiss);
        }
    }

    /// Ends all: after `grace`, by killing what still runs.
    pub(super) fn stop(self: &Arc<Crew>, grace: Duration) {
        if !self.is_here() {
            return;
        }
        // Relaxed: who spawns meanwhile may find it so or not.
        self.accepts.store(false, Ordering::Relaxed);
        // SeqCst: for `resize`.
        fence(Ordering::SeqCst);
        self.close();
        if !self.over.wait_timeout(grace) {
            self.kill();
        }
        let _one_at_a_time = self.joining.lock().unwrap_or_else(PoisonError::into_inner);
        let threads = std::mem::take(&mut *self.threads.lock());
        // They have nothing to do but to end.
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }

    /// Whether all that runs is killed: who does one thing after another, and is killed in one, does no more of them.
    pub(super) fn kills(&self) -> bool {
        // Acquire: with the release in `kill`, which comes before any kill.
        self.kills.load(Ordering::Acquire)
    }

    /// Kills all there is, until there is nothing.
    fn kill(&self) {
        // Release: as above.
        self.kills.store(true, Ordering::Release);
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
            patience = LONGEST_PATIENCE.min(2 * patience);
        }
    }
}

impl Places for Arc<Crew> {
    fn put(&self, offer: Offer, worker: Option<usize>) {
        match worker {
            None => Crew::put(self, offer),
            Some(worker) => self.put_on(worker, offer),
        }
    }
}
