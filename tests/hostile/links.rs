//! Links that are told, and taken back meanwhile.

use std::sync::{Arc, Mutex};

use greenloop::event::{AsyncResult, Event};
use greenloop::{JoinHandle, Link, idle, spawn};

use super::LIMIT;
use super::support::within;

/// What can be linked to, and told.
trait Linkable: 'static {
    fn make() -> Arc<Self>;
    fn tell(&self);
    fn link(&self, function: impl FnOnce() + Send + 'static) -> Link;
    fn unlink(&self, link: Link) -> bool;
}

struct Raw(Event);

impl Linkable for Event {
    fn make() -> Arc<Event> {
        Arc::default()
    }
    fn tell(&self) {
        self.set();
    }
    fn link(&self, function: impl FnOnce() + Send + 'static) -> Link {
        Event::link(self, function)
    }
    fn unlink(&self, link: Link) -> bool {
        Event::unlink(self, link)
    }
}

impl Linkable for Raw {
    fn make() -> Arc<Raw> {
        Arc::new(Raw(Event::new()))
    }
    fn tell(&self) {
        self.0.set();
    }
    fn link(&self, function: impl FnOnce() + Send + 'static) -> Link {
        self.0.rawlink(function)
    }
    fn unlink(&self, link: Link) -> bool {
        self.0.unlink(link)
    }
}

impl Linkable for AsyncResult<()> {
    fn make() -> Arc<AsyncResult<()>> {
        Arc::default()
    }
    fn tell(&self) {
        self.set(());
    }
    fn link(&self, function: impl FnOnce() + Send + 'static) -> Link {
        AsyncResult::link(self, function)
    }
    fn unlink(&self, link: Link) -> bool {
        AsyncResult::unlink(self, link)
    }
}

/// A green thread that ends when it is told.
struct Task(JoinHandle<()>, Arc<Event>);

impl Linkable for Task {
    fn make() -> Arc<Task> {
        let go = Arc::new(Event::new());
        let waits = go.clone();
        let task = spawn(move || waits.wait());
        idle();
        Arc::new(Task(task, go))
    }
    fn tell(&self) {
        self.1.set();
    }
    fn link(&self, function: impl FnOnce() + Send + 'static) -> Link {
        self.0.link(|_| function())
    }
    fn unlink(&self, link: Link) -> bool {
        self.0.unlink(link)
    }
}

type Log = Arc<Mutex<Vec<&'static str>>>;

fn note(log: &Log, what: &'static str) -> impl FnOnce() + Send + 'static {
    let log = log.clone();
    move || log.lock().unwrap().push(what)
}

/// Of three, the first takes back the second and links a fourth.
fn one_takes_back_another<L: Linkable + Send + Sync>() {
    within(LIMIT, || {
        let (linked, log) = (L::make(), Log::default());
        let victim = Arc::new(Mutex::new(None));
        linked.link({
            let (linked, log, victim) = (linked.clone(), log.clone(), victim.clone());
            move || {
                note(&log, "first")();
                assert!(linked.unlink(victim.lock().unwrap().take().unwrap()));
                linked.link(note(&log, "fourth"));
            }
        });
        *victim.lock().unwrap() = Some(linked.link(note(&log, "second")));
        linked.link(note(&log, "third"));
        linked.tell();
        idle();
        // The hub has a letter for itself.
        idle();
        assert_eq!(*log.lock().unwrap(), ["first", "third", "fourth"]);
    });
}

#[test]
fn one_that_was_not_called_is_taken_back_while_others_are() {
    one_takes_back_another::<Event>();
    one_takes_back_another::<Raw>();
    one_takes_back_another::<AsyncResult<()>>();
    one_takes_back_another::<Task>();
}

/// Told already, and not called yet.
fn in_time_and_too_late<L: Linkable>() {
    let (linked, other, log) = (L::make(), L::make(), Log::default());
    linked.tell();
    idle();
    let taken_back = linked.link(note(&log, "taken back"));
    assert!(linked.unlink(taken_back));
    let called = linked.link(note(&log, "called"));
    idle();
    assert!(!linked.unlink(called));
    // What another object gave is nothing here, told or not.
    let (told, untold) = (linked.link(note(&log, "told")), other.link(note(&log, "untold")));
    assert!(!other.unlink(told));
    assert!(!linked.unlink(untold));
    idle();
    other.tell();
    idle();
    assert_eq!(*log.lock().unwrap(), ["called", "told", "untold"]);
}

#[test]
fn one_is_taken_back_until_it_is_called_and_by_who_gave_it() {
    within(LIMIT, || {
        in_time_and_too_late::<Event>();
        in_time_and_too_late::<Raw>();
        in_time_and_too_late::<AsyncResult<()>>();
        in_time_and_too_late::<Task>();
    });
}

#[test]
fn what_is_taken_back_is_dropped_at_once() {
    within(LIMIT, || {
        let (event, owned) = (Event::new(), Arc::new(()));
        let keeps = owned.clone();
        let link = event.link(move || drop(keeps));
        event.set();
        assert!(event.unlink(link));
        assert_eq!(Arc::strong_count(&owned), 1);
        // A link alone keeps nothing.
        event.clear();
        let keeps = owned.clone();
        let _link = event.link(move || drop(keeps));
        drop(event);
        assert_eq!(Arc::strong_count(&owned), 1);
    });
}
