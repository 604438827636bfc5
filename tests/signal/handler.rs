use std::cell::RefCell;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use greenloop::event::Event;
use greenloop::hub::Hub;
use greenloop::signal::{self, Interrupted, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use greenloop::{sleep, spawn, yield_now};

use crate::{LONG, alone, raise, raise_soon, until};

/// Case 152: it may wait, another one runs beside it, and it stays.
#[test]
fn a_handler_runs_in_a_green_thread_of_its_own_and_may_wait() {
    alone(|| {
        let log = Rc::new(RefCell::new(Vec::new()));
        let go_on = Rc::new(Event::new());
        let _handler = signal::on(SIGTERM, {
            let (log, go_on) = (log.clone(), go_on.clone());
            move || {
                log.borrow_mut().push("begun");
                go_on.wait();
                log.borrow_mut().push("ended");
            }
        })
        .unwrap();
        raise(SIGTERM);
        until(|| log.borrow().len() == 1);
        raise(SIGTERM);
        until(|| log.borrow().len() == 2);
        go_on.set();
        until(|| log.borrow().len() == 4);
        assert_eq!(*log.borrow(), ["begun", "begun", "ended", "ended"]);
        raise(SIGTERM);
        until(|| log.borrow().len() == 6);
    });
}

/// Case 152: as in gevent, and the handler stays.
#[test]
fn what_a_handler_panics_with_reaches_main() {
    alone(|| {
        let count = Rc::new(RefCell::new(0));
        let _handler = signal::on(SIGUSR1, {
            let count = count.clone();
            move || {
                *count.borrow_mut() += 1;
                resume_unwind(Box::new(*count.borrow()));
            }
        })
        .unwrap();
        let worker = spawn(|| (0..50).for_each(|_| sleep(Duration::from_millis(1))));
        for expected in 1..=2 {
            let sender = raise_soon(SIGUSR1);
            let raised = catch_unwind(|| sleep(LONG)).unwrap_err();
            assert_eq!(raised.downcast_ref(), Some(&expected));
            sender.join().unwrap();
        }
        worker.join().unwrap();
    });
}

#[test]
fn a_hub_that_only_listens_waits_for_a_signal() {
    alone(|| {
        let stop = Rc::new(Event::new());
        let _handler = signal::on(SIGTERM, {
            let stop = stop.clone();
            move || stop.set()
        })
        .unwrap();
        // Alone in its process but for who sends: and that one is no thread of it.
        let mut sender = greenloop::process::Command::new("sh")
            .args(["-c", &format!("sleep 0.2; kill {}", std::process::id())])
            .spawn()
            .unwrap();
        stop.wait();
        sender.wait().unwrap();
        // A handler keeps nobody from ending.
        Hub::current().join();
    });
}

#[test]
fn ctrl_c_reaches_main() {
    alone(|| {
        let handler = signal::raise_in_main(SIGINT).unwrap();
        let waiting = spawn(|| Event::new().wait());
        let sender = raise_soon(SIGINT);
        let raised = catch_unwind(AssertUnwindSafe(|| waiting.wait())).unwrap_err();
        assert_eq!(raised.downcast_ref(), Some(&Interrupted { signal: SIGINT }));
        sender.join().unwrap();
        // While it does not wait: at its next wait.
        raise(SIGINT);
        let raised = catch_unwind(|| until(|| false)).unwrap_err();
        assert!(raised.is::<Interrupted>());
        assert_eq!(Interrupted { signal: SIGINT }.to_string(), "signal 2 came");
        handler.cancel();
        waiting.kill();
    });
}

#[test]
fn every_hub_that_listens_is_told() {
    alone(|| {
        let told = Arc::new(AtomicUsize::new(0));
        let ready = Arc::new(AtomicUsize::new(0));
        let listeners: Vec<_> = (0..4)
            .map(|_| {
                let (told, ready) = (told.clone(), ready.clone());
                std::thread::spawn(move || {
                    let heard = Rc::new(Event::new());
                    let handlers = [(); 2].map(|()| {
                        let (told, heard) = (told.clone(), heard.clone());
                        signal::on(SIGHUP, move || {
                            told.fetch_add(1, Ordering::SeqCst);
                            heard.set();
                        })
                        .unwrap()
                    });
                    ready.fetch_add(1, Ordering::SeqCst);
                    heard.wait();
                    yield_now();
                    drop(handlers);
                })
            })
            .collect();
        let _own = signal::on(SIGUSR2, || unreachable!("nobody sends it")).unwrap();
        until(|| ready.load(Ordering::SeqCst) == 4);
        raise(SIGHUP);
        listeners.into_iter().for_each(|listener| listener.join().unwrap());
        assert_eq!(told.load(Ordering::SeqCst), 8);
        // Those who have gone are not told, and neither is the next hub behind one of their doors.
        let _handler = signal::on(SIGHUP, || ()).unwrap();
        std::thread::spawn(|| {
            raise(SIGHUP);
            sleep(Duration::from_millis(1));
        })
        .join()
        .unwrap();
        assert_eq!(told.load(Ordering::SeqCst), 8);
    });
}

/// Case 91.
#[test]
fn what_nobody_can_listen_to_is_refused() {
    alone(|| {
        for signal in [1000, 0, -1, 65, 9, 19, 11, 7, 8, 4, 32] {
            assert_eq!(signal::on(signal, || ()).unwrap_err().kind(), ErrorKind::InvalidInput, "{signal}");
            assert!(signal::raise_in_main(signal).is_err());
        }
    });
}

#[test]
fn a_signal_comes_through_to_a_busy_hub() {
    alone(|| {
        let told = Rc::new(Event::new());
        let _handler = signal::on(SIGUSR1, {
            let told = told.clone();
            move || told.set()
        })
        .unwrap();
        let spinners: Vec<_> = (0..3)
            .map(|_| {
                spawn(|| {
                    loop {
                        yield_now()
                    }
                })
            })
            .collect();
        for _ in 0..100 {
            told.clear();
            raise(SIGUSR1);
            told.wait();
        }
        spinners.iter().for_each(|spinner| spinner.kill());
    });
}

#[test]
fn signals_that_come_at_any_moment_are_all_told() {
    alone(|| {
        let told = Rc::new(RefCell::new(0));
        let _handler = signal::on(SIGUSR1, {
            let told = told.clone();
            move || *told.borrow_mut() += 1
        })
        .unwrap();
        // From another thread, each time the last one was told: so each meets the hub anywhere on its way to sleep.
        let (ask, asked) = greenloop::channel::unbounded::<()>();
        let sender = std::thread::spawn(move || asked.iter().for_each(|()| raise(SIGUSR1)));
        for number in 0..2000 {
            ask.send(()).unwrap();
            until(|| *told.borrow() > number);
        }
        drop(ask);
        sender.join().unwrap();
    });
}
