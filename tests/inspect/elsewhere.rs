use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::event::AsyncResult;
use greenloop::hub::Hub;
use greenloop::inspect::{DumpOptions, Standing};
use greenloop::{Builder, sleep, spawn, yield_now};

use crate::support::{OnDrop, raise, settle, within};
use crate::{LIMIT, LONG, named};

/// An OS thread with a hub, on which one of that name sleeps until the sender goes.
fn with_sleeper(name: &'static str) -> (thread::JoinHandle<()>, mpsc::Sender<()>) {
    let (sender, end) = mpsc::channel::<()>();
    let (ready, is_ready) = mpsc::channel();
    let thread = thread::Builder::new().name(format!("of {name}")).spawn(move || {
        let sleeper = Builder::new().name(name).spawn(|| sleep(LONG)).unwrap();
        settle();
        ready.send(()).unwrap();
        while end.try_recv() == Err(mpsc::TryRecvError::Empty) {
            sleep(Duration::from_millis(1));
        }
        sleeper.kill();
        Hub::current().join();
    });
    is_ready.recv().unwrap();
    (thread.unwrap(), sender)
}

#[test]
fn an_os_thread_without_a_hub_sees_all_hubs() {
    within(LIMIT, || {
        let (first, end_first) = with_sleeper("first sleeper");
        let (second, end_second) = with_sleeper("second sleeper");
        let dump = DumpOptions::new().all_hubs(true).patience(LIMIT).take();
        for name in ["first sleeper", "second sleeper"] {
            assert_eq!(named(&dump, name).waits_on().as_deref(), Some("a sleep"));
            let of = format!("of {name}");
            let hub = dump.hubs().iter().find(|hub| hub.thread() == of).unwrap();
            assert!(hub.green_threads().iter().any(|thread| thread.name() == name));
        }
        // None was made by that.
        let own = thread::current().name().unwrap().to_owned();
        assert!(DumpOptions::new().all_hubs(true).take().hubs().iter().all(|hub| hub.thread() != own));
        drop((end_first, end_second));
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn who_asks_is_first_and_runs() {
    within(LIMIT, || {
        let (other, end) = with_sleeper("third sleeper");
        let task =
            Builder::new().name("asker").spawn(|| DumpOptions::new().all_hubs(true).patience(LIMIT).take());
        let dump = task.unwrap().join().unwrap();
        let own = thread::current().name().unwrap().to_owned();
        assert_eq!(dump.hubs()[0].thread(), own);
        let asker = named(&dump, "asker");
        assert_eq!((asker.standing(), asker.waits_on()), (Standing::Running, None));
        assert_eq!(
            dump.hubs()[0].green_threads()[0].waits_on().unwrap(),
            format!("the end of green thread {}", asker.id().unwrap())
        );
        named(&dump, "third sleeper");
        drop(end);
        other.join().unwrap();
    });
}

#[test]
fn a_hub_that_is_kept_is_told_of() {
    within(LIMIT, || {
        let (go_on, gone_on) = mpsc::channel::<()>();
        let (blocks, is_blocked) = mpsc::channel();
        let blocked = thread::spawn(move || {
            yield_now();
            blocks.send(()).unwrap();
            let _ = gone_on.recv();
            yield_now();
        });
        is_blocked.recv().unwrap();
        let dump = DumpOptions::new().all_hubs(true).patience(Duration::from_millis(20)).take();
        assert!(dump.silent_hubs() >= 1, "{dump}");
        assert!(dump.to_string().contains("not answered: a green thread keeps"), "{dump}");
        drop(go_on);
        blocked.join().unwrap();
    });
}

#[test]
fn a_hub_that_ends_before_it_answers_is_not_called_kept() {
    within(LIMIT, || {
        let (end, is_to_end) = mpsc::channel::<()>();
        let (begins, has_begun) = mpsc::channel();
        let other = thread::spawn(move || {
            yield_now();
            begins.send(()).unwrap();
            let _ = is_to_end.recv();
        });
        has_begun.recv().unwrap();
        let taker = spawn(|| DumpOptions::new().all_hubs(true).patience(LIMIT).take());
        // Until all are asked.
        yield_now();
        drop(end);
        let dump = taker.join().unwrap();
        assert_eq!(dump.silent_hubs(), 0, "{dump}");
        other.join().unwrap();
    });
}

#[test]
fn where_nothing_may_wait_it_is_of_the_own_hub_at_once() {
    within(LIMIT, || {
        let (result, seen) = (Arc::new(AsyncResult::<u32>::new()), Arc::new(Mutex::new(None)));
        result.rawlink({
            let seen = seen.clone();
            move || *seen.lock().unwrap() = Some(DumpOptions::new().all_hubs(true).take())
        });
        result.set(7);
        settle();
        let dump = seen.lock().unwrap().take().unwrap();
        assert_eq!(dump.hubs().len(), 1);
        assert_eq!(dump.hubs()[0].thread(), thread::current().name().unwrap());
    });
}

#[test]
fn amid_unwinding_too() {
    within(LIMIT, || {
        let hubs = Cell::new(0);
        yield_now();
        let unwinds = catch_unwind(AssertUnwindSafe(|| {
            let _dumps = OnDrop(|| hubs.set(DumpOptions::new().all_hubs(true).take().hubs().len()));
            raise("on purpose");
        }));
        assert!(unwinds.is_err());
        assert_eq!(hubs.get(), 1);
    });
}

#[test]
fn a_large_one_is_taken_in_slices() {
    within(LIMIT, || {
        let tasks: Vec<_> = (0..3000).map(|_| spawn(|| sleep(LONG))).collect();
        settle();
        let ticks = Rc::new(Cell::new(0));
        let ticker = spawn({
            let ticks = ticks.clone();
            move || loop {
                ticks.set(ticks.get() + 1);
                yield_now();
            }
        });
        yield_now();
        let (before, began) = (ticks.get(), Instant::now());
        let dump = DumpOptions::new().patience(LIMIT).take();
        assert_eq!(dump.green_threads().count(), 3002);
        // Others run between two slices, of which there are as many as it takes half milliseconds, and more.
        assert!(ticks.get() > before, "in {:?}", began.elapsed());
        ticker.kill();
        greenloop::killall(&tasks);
    });
}
