//! Runs each model in every order in which its steps may happen, up to a number of preemptions. A data race, a wait that never
//! ends, or a wrong result ends the program with the steps that led to it.

#![allow(dead_code, reason = "the files have more than the models use")]

/// The real files; what they stand on that is not modelled is in this folder.
mod sys {
    #[path = "../../src/sys/atomic.rs"]
    pub(crate) mod atomic;
    pub(crate) mod clock;
    pub(crate) mod lock;
    #[path = "../../src/sys/lock.rs"]
    pub(crate) mod spinning;
}

mod hub {
    #[path = "../../src/hub/doorbell.rs"]
    pub(crate) mod doorbell;
    #[path = "../../src/hub/line.rs"]
    pub(crate) mod line;
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

use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::sync::Arc;
use loom::thread;

use hub::door::Door;
use sync::face::Mutex;
use sync::once::Once;
use sys::clock::Time;
use sys::spinning::Lock;

fn main() {
    model("a lock excludes", 3, a_lock_excludes);
    model("a mutex excludes and is handed over", 3, a_mutex_excludes);
    model("a mutex is not lost to a deadline", 3, a_mutex_is_not_lost_to_a_deadline);
    model("what is done once is seen by all", 3, what_is_done_once_is_seen_by_all);
    model("no letter is overslept", 3, no_letter_is_overslept);
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
