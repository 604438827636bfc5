use std::rc::Rc;

use greenloop::channel::{bounded, unbounded};
use greenloop::event::Event;
use greenloop::inspect;
use greenloop::sync::{Condvar, Mutex, RwLock, Semaphore};
use greenloop::{JoinHandle, idle, killall, spawn};

use crate::LIMIT;
use crate::support::within;

const PAGE: &str = include_str!("../../src/guide/when_something_hangs.md");

/// Each mistake of the page is made, and the dump says of it what the page says.
#[test]
fn the_page_for_when_something_hangs_has_the_words_of_the_dump() {
    within(LIMIT, || {
        let (kept_sender, receiver) = unbounded::<u32>();
        let (sender, kept_receiver) = bounded::<u32>(1);
        let (mutex, lock) = (Rc::new(Mutex::new(())), Rc::new(RwLock::new(())));
        let reads = lock.read().unwrap();
        let (event, permits) = (Event::new(), Semaphore::new(0));
        let condition = (Mutex::new(()), Condvar::new());
        let mistakes: [(&str, JoinHandle<()>); 7] = [
            ("Receiver::recv", spawn(move || assert!(receiver.recv().is_err()))),
            (
                "Sender::send",
                spawn(move || {
                    sender.send(1).unwrap();
                    let _ = sender.send(2);
                }),
            ),
            (
                "Mutex::lock",
                spawn(move || {
                    let _first = mutex.lock().unwrap();
                    drop(mutex.lock());
                }),
            ),
            (
                "RwLock::write",
                spawn({
                    let lock = lock.clone();
                    move || drop(lock.write())
                }),
            ),
            ("Event::wait", spawn(move || event.wait())),
            ("Semaphore::acquire", spawn(move || drop(permits.acquire()))),
            (
                "Condvar::wait",
                spawn(move || {
                    let (mutex, condition) = condition;
                    drop(condition.wait(mutex.lock().unwrap()));
                }),
            ),
        ];
        idle();
        let dump = inspect::dump();
        for (words, task) in &mistakes {
            let place = task.spawned_at();
            let thread = dump.green_threads().find(|thread| thread.spawned_at() == Some(place)).unwrap();
            assert_eq!(thread.waits_on().as_deref(), Some(*words));
            let row = format!("| `waiting on {words}`");
            assert!(PAGE.lines().any(|line| line.starts_with(&row)), "{row}");
        }
        killall(mistakes.iter().map(|(_, task)| task));
        drop((kept_sender, kept_receiver, reads));
    });
}
