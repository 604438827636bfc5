//! Runs each model in every order in which its steps may happen, up to a number of preemptions. A data race, a wait that never
//! ends, or a wrong result ends the program with the steps that led to it.

#![allow(dead_code, reason = "the files have more than the models use")]

/// The real files; what they stand on that is not modelled is in this folder.
mod sys {
    #[path = "../../src/sys/atomic.rs"]
    pub(crate) mod atomic;
    #[path = "../../src/sys/blocks.rs"]
    pub(crate) mod blocks;
    pub(crate) mod clock;
    pub(crate) mod lock;
    #[path = "../../src/sys/section.rs"]
    pub(crate) mod section;
    #[path = "../../src/sys/shared.rs"]
    pub(crate) mod shared;
    #[path = "../../src/sys/lock.rs"]
    pub(crate) mod spinning;
    #[path = "../../src/sys/surplus.rs"]
    pub(crate) mod surplus;
}

mod hub {
    #[path = "../../src/hub/doorbell.rs"]
    pub(crate) mod doorbell;
    #[path = "../../src/hub/handover.rs"]
    pub(crate) mod handover;
    pub(crate) mod waiter;
    #[path = "../../src/hub/waitlist.rs"]
    pub(crate) mod waitlist;

    pub(crate) mod door;
}

mod sync {
    #[path = "../../src/sync/once.rs"]
    pub(crate) mod once;
    #[path = "../../src/sync/raw_mutex.rs"]
    pub(crate) mod raw_mutex;

    pub(crate) mod face;
}

#[path = "../src/task/ending.rs"]
mod ending;
#[path = "../src/io/home.rs"]
mod home;
#[path = "../src/workers/idle.rs"]
mod idle;
#[path = "../src/workers/offers.rs"]
mod offers;

use ending::{End, Ending};
use home::{Found, Home};
use idle::Idle;
use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::sync::Arc;
use loom::thread;
use offers::Offers;

use hub::door::Door;
use sync::face::Mutex;
use sync::once::Once;
use sys::clock::Time;
use sys::lock::Lock as Guarded;
use sys::shared::{Counted, Marked, Shared as Owner};
use sys::spinning::Lock;

fn main() {
    model("a lock excludes", 3, a_lock_excludes);
    model("a mutex excludes and is handed over", 3, a_mutex_excludes);
    model("a mutex is not lost to a deadline", 3, a_mutex_is_not_lost_to_a_deadline);
    model("what is done once is seen by all", 3, what_is_done_once_is_seen_by_all);
    model("no letter is overslept", 3, no_letter_is_overslept);
    model("the last owner drops, and sees all", 3, the_last_owner_drops);
    model("an end ends an owner", 3, an_end_ends_an_owner);
    model("an end is told to all who follow", 3, an_end_is_told);
    model("each hub finds its own key of a source", 3, each_finds_its_own_key);
    model("no job is overslept", 3, no_job_is_overslept);
    model("who looks for work passes on that there is more", 2, who_looks_passes_on);
}

fn model(name: &str, preemptions: usize, run: fn()) {
    let start = std::time::Instant::now();
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(run);
    println!("{name}: {:.1?}", start.elapsed());
}

/// A number without any protection of its own: loom finds two who touch it at once, or out of order.
struct Shared<G> {
    guard: G,
    number: UnsafeCell<u32>,
}

// SAFETY: what the models are to find out.
unsafe impl<G: Sync> Sync for Shared<G> {}
// SAFETY: a number may go anywhere.
unsafe impl<G: Send> Send for Shared<G> {}

impl<G> Shared<G> {
    fn new(guard: G) -> Arc<Shared<G>> {
        Arc::new(Shared { guard, number: UnsafeCell::new(0) })
    }

    fn add(&self) {
        // SAFETY: the pointer is valid; whether it is the only access is what loom checks.
        self.number.with_mut(|number| unsafe { *number += 1 });
    }

    fn get(&self) -> u32 {
        // SAFETY: as in `add`.
        self.number.with(|number| unsafe { *number })
    }
}

/// Runs it on this many threads, one of which is the caller's.
fn together<S: Send + Sync + 'static>(threads: usize, shared: &Arc<S>, run: fn(&S)) {
    let others: Vec<_> = (1..threads)
        .map(|_| {
            let shared = shared.clone();
            thread::spawn(move || run(&shared))
        })
        .collect();
    run(shared);
    others.into_iter().for_each(|other| other.join().unwrap());
}

fn a_lock_excludes() {
    let shared = Shared::new(Lock::new(()));
    together(2, &shared, |shared| {
        let _guard = shared.guard.lock();
        shared.add();
    });
    assert_eq!(shared.get(), 2);
}

fn a_mutex_excludes() {
    let shared = Shared::new(Mutex::new());
    together(3, &shared, |shared| {
        shared.guard.lock(None);
        shared.add();
        shared.guard.unlock();
    });
    assert_eq!(shared.get(), 3);
    assert!(shared.guard.lock(Some(Time)), "unlocked in the end");
}

fn a_mutex_is_not_lost_to_a_deadline() {
    let shared = Shared::new(Mutex::new());
    together(3, &shared, |shared| {
        if shared.guard.lock(Some(Time)) {
            shared.add();
            shared.guard.unlock();
        }
    });
    assert!(shared.get() >= 1);
    assert!(shared.guard.lock(Some(Time)), "unlocked in the end");
}

fn what_is_done_once_is_seen_by_all() {
    let shared = Shared::new(Once::new());
    together(3, &shared, |shared| {
        shared.guard.call_once(|| shared.add());
        assert_eq!(shared.get(), 1);
    });
}

fn no_letter_is_overslept() {
    let door = Arc::new(Door::new());
    let senders = [1, 2].map(|letter| {
        let door = door.clone();
        thread::spawn(move || door.send(letter))
    });
    let mut letters = Vec::new();
    while letters.len() < 2 {
        letters.extend(door.receive());
    }
    letters.sort_unstable();
    assert_eq!(letters, [1, 2]);
    senders.into_iter().for_each(|sender| sender.join().unwrap());
}

/// Owned on several threads, as by handles.
struct Handle(Owner<Owned>);

// SAFETY: what the model is to find out.
unsafe impl Send for Handle {}

/// What its owners touch without any protection, one kind of access each, and its drop after all.
#[repr(C)]
struct Owned {
    ending: Ending,
    numbers: [UnsafeCell<u32>; 2],
    dropped: Arc<loom::sync::atomic::AtomicUsize>,
}

// SAFETY: it begins with its count, which is all that an `Ending` is.
unsafe impl Counted for Owned {}

impl Owned {
    fn pair(dropped: &Arc<loom::sync::atomic::AtomicUsize>) -> [Handle; 2] {
        let numbers = [0, 0].map(UnsafeCell::new);
        let (one, other) = Owner::pair(|| Owned { ending: Ending::new(), numbers, dropped: dropped.clone() });
        [one, other].map(Handle)
    }
}

impl Handle {
    fn add(&self, number: usize, added: u32) {
        // SAFETY: each number has one who adds; whether that is over before the drop is what loom checks.
        self.0.numbers[number].with_mut(|number| unsafe { *number += added });
    }

    /// Looks for the end and the result, and asks to be told if that has not come; whether it will be.
    fn follow(&self) -> bool {
        let owned = &self.0;
        let follows = owned.ending.get().is_none() && owned.ending.follow();
        if !follows {
            assert_eq!(owned.ending.get(), Some(End::Returned));
            // SAFETY: who adds there was done before the end was told, which is what loom checks.
            assert_eq!(owned.numbers[0].with(|number| unsafe { *number }), 1);
        }
        follows
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: whether it is the only access, after all others, is what loom checks.
        let sum = self.numbers.iter().map(|number| number.with_mut(|number| unsafe { *number })).sum::<u32>();
        assert_eq!(sum, 3);
        self.dropped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

fn the_last_owner_drops() {
    let dropped = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
    let [one, other] = Owned::pair(&dropped);
    let third = Handle(one.0.clone());
    let threads = [(one, 0, 1), (other, 1, 2)]
        .map(|(handle, number, added)| thread::spawn(move || handle.add(number, added)));
    drop(third);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(dropped.load(std::sync::atomic::Ordering::Relaxed), 1);
}

/// Who sees the end sees the result; it is told by one who is no owner any more, is alone, or was asked to wait.
fn an_end_ends_an_owner() {
    let dropped = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
    let [job, handle] = Owned::pair(&dropped);
    let other = thread::spawn(move || {
        let follows = handle.follow();
        handle.add(1, 2);
        follows
    });
    job.add(0, 1);
    let asked = match job.0.mark_and_end(End::Returned as u8) {
        Marked::Ended | Marked::Alone(_) => false,
        Marked::Asked(job) => {
            job.ending.end_followed(End::Returned as u8);
            true
        }
    };
    assert_eq!(other.join().unwrap(), asked);
    assert_eq!(dropped.load(std::sync::atomic::Ordering::Relaxed), 1);
}

/// One who wants to be told is told, or sees the end and the result.
fn an_end_is_told() {
    let result = Shared::new((Ending::new(), Guarded::new(0)));
    let followers: Vec<_> = (0..2)
        .map(|_| {
            let result = result.clone();
            thread::spawn(move || {
                let (ending, list) = &result.guard;
                let mut list = list.lock();
                let follows = ending.follow();
                if follows {
                    *list += 1;
                } else {
                    assert_eq!((ending.get(), result.get()), (Some(End::Returned), 1));
                }
                u32::from(follows)
            })
        })
        .collect();
    result.add();
    let (ending, list) = &result.guard;
    let told = if ending.end_unfollowed(End::Returned) {
        0
    } else {
        let mut list = list.lock();
        ending.end_followed(End::Returned as u8);
        std::mem::take(&mut *list)
    };
    let following: u32 = followers.into_iter().map(|follower| follower.join().unwrap()).sum();
    assert_eq!(told, following);
    assert_eq!(*list.lock(), 0);
}

/// Who finds a key in the place that all hubs have in common finds his own.
fn each_finds_its_own_key() {
    let home = Arc::new((Home::new(), Guarded::new(())));
    let hubs: Vec<_> = (1..=2)
        .map(|hub| {
            let home = home.clone();
            thread::spawn(move || {
                let (home, lock) = &*home;
                {
                    let _guard = lock.lock();
                    home.settle(hub, hub * 10);
                }
                let found = home.find(hub);
                assert!(
                    matches!(found, Found::Elsewhere) || found == Found::Key(hub * 10),
                    "{hub}: {found:?}"
                );
            })
        })
        .collect();
    hubs.into_iter().for_each(|hub| hub.join().unwrap());
}

/// Workers that share a queue each, what wakes them, and what they have done.
struct Crew {
    offers: [Offers<u32>; 2],
    idle: Idle,
    doors: [Door; 2],
    done: Guarded<u32>,
}

impl Crew {
    fn new() -> Arc<Crew> {
        Arc::new(Crew {
            offers: [Offers::new(), Offers::new()],
            idle: Idle::new(),
            doors: [Door::new(), Door::new()],
            done: Guarded::new(0),
        })
    }

    /// As `Crew::put`.
    fn put(&self, queue: usize, job: u32) {
        self.offers[queue].push(job).unwrap();
        self.call(self.offers[queue].count());
    }

    fn call(&self, waiting: usize) {
        while let Some(worker) = self.idle.call(waiting) {
            self.doors[worker].send(0);
        }
    }

    /// As `Crew::end_search`.
    fn end_search(&self, worker: usize) {
        let was_last = self.idle.end_search();
        match self.offers[worker].count() {
            0 if was_last && !self.offers.iter().all(Offers::is_empty) => self.call(1),
            waiting => self.call(waiting),
        }
    }

    /// The life of a worker, as its `Seat` has it, until `jobs` are done.
    fn work(&self, worker: usize, jobs: u32) {
        let mut searches = false;
        loop {
            while let Some(job) = self.offers[worker].pop().or_else(|| self.offers[1 - worker].pop()) {
                if std::mem::take(&mut searches) {
                    self.end_search(worker);
                }
                let mut done = self.done.lock();
                *done += job;
                if *done == jobs {
                    drop(done);
                    // The others are to see it too.
                    self.doors[1 - worker].send(0);
                }
            }
            if *self.done.lock() == jobs {
                return;
            }
            self.idle.begin_sleep(worker, std::mem::take(&mut searches));
            if self.offers.iter().all(Offers::is_empty) {
                self.doors[worker].receive();
            }
            searches = self.idle.end_sleep(worker);
        }
    }
}

fn no_job_is_overslept() {
    let crew = Crew::new();
    let worker = {
        let crew = crew.clone();
        thread::spawn(move || crew.work(0, 2))
    };
    crew.put(1, 1);
    crew.put(1, 1);
    worker.join().unwrap();
    assert_eq!(*crew.done.lock(), 2);
}

fn who_looks_passes_on() {
    let crew = Crew::new();
    let workers = [0, 1].map(|worker| {
        let crew = crew.clone();
        thread::spawn(move || crew.work(worker, 2))
    });
    crew.put(0, 1);
    crew.put(0, 1);
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    assert_eq!(*crew.done.lock(), 2);
}
