//! Jobs that are done, fail, panic, take too long, or are stopped.

use crate::{errors, patched, records, with_jobs};
use fleet::{Broker, Completion, Count, Failure, NewJob};
use greenloop::event::Event;
use rustix::process::{Signal, getpid, kill_process};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longer than a test takes.
const LONG: Duration = Duration::from_secs(600);

#[test]
fn jobs_run_at_once_but_no_more_than_were_asked_for() {
    patched(|| {
        let names: Vec<_> = (0..20).map(|number| number.to_string()).collect();
        let (broker, worker) = with_jobs(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let (running, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (again, seen) = (running.clone(), most.clone());
        let run = worker.concurrency(7).run(move |job| {
            running.set(running.get() + 1);
            seen.set(seen.get().max(running.get()));
            sleep(Duration::from_millis(5));
            running.set(running.get() - 1);
            Ok(Completion::new().record(&job.payload))
        });
        run.unwrap();
        assert_eq!((most.get(), again.get(), records(&*broker).len()), (7, 0, 20));
    });
}

/// And not when it is time to look.
#[test]
fn more_are_taken_as_soon_as_there_is_room() {
    patched(|| {
        let (broker, worker) = with_jobs(&["1", "2", "3"]);
        let stopper = worker.stopper();
        let run = worker.concurrency(1).poll(LONG).run(move |job| {
            greenloop::sleep(Duration::from_millis(2));
            if job.payload == "3" {
                stopper.stop();
            }
            Ok(Completion::new().record(&job.payload))
        });
        run.unwrap();
        assert_eq!(records(&*broker), ["1", "2", "3"]);
    });
}

#[test]
fn what_fails_is_tried_again_and_then_lies_among_the_dead() {
    patched(|| {
        let (broker, worker) = with_jobs(&["second time", "never", "not again", "panics"]);
        let attempts = Rc::new(RefCell::new(Vec::new()));
        let seen = attempts.clone();
        let counts = worker.counts();
        let run = worker.run(move |job| {
            seen.borrow_mut().push(job.payload.clone());
            match job.payload.as_str() {
                "second time" if job.attempt == 2 => Ok(Completion::new().record("done")),
                "not again" => Err(Failure::dead("no use")),
                "panics" => panic!("at {}", job.attempt),
                _ => Err("x".parse::<u32>().unwrap_err().into()),
            }
        });
        run.unwrap();
        let of = |payload: &str| attempts.borrow().iter().filter(|seen| *seen == payload).count();
        assert_eq!((of("second time"), of("never"), of("not again"), of("panics")), (2, 2, 1, 2));
        assert_eq!(records(&*broker), ["done"]);
        assert_eq!(errors(&*broker), ["invalid digit found in string", "no use", "panicked: at 2"]);
        assert_eq!((counts.get(Count::Done), counts.get(Count::Retried), counts.get(Count::Dead)), (1, 3, 3));
        assert!(counts.prometheus().contains("# TYPE fleet_dead_total counter\nfleet_dead_total 3\n"));
    });
}

/// It is told by an unwinding, so its destructors run, and may wait.
#[test]
fn a_soft_limit_ends_a_wait_and_lets_the_job_clean_up() {
    struct CleansUp(Rc<Cell<u32>>);
    impl Drop for CleansUp {
        fn drop(&mut self) {
            greenloop::sleep(Duration::from_millis(2));
            self.0.set(self.0.get() + 1);
        }
    }
    patched(|| {
        let (broker, worker) = with_jobs(&["long"]);
        let cleaned = Rc::new(Cell::new(0));
        let seen = cleaned.clone();
        let run = worker.soft_limit(Duration::from_millis(10)).run(move |_| {
            let _guard = CleansUp(seen.clone());
            greenloop::sleep(LONG);
            Ok(Completion::new())
        });
        run.unwrap();
        assert_eq!(errors(&*broker), ["it took longer than its soft limit, 10ms"]);
        assert_eq!(cleaned.get(), 2);
    });
}

#[test]
fn a_hard_limit_kills_what_the_soft_one_does_not_end() {
    patched(|| {
        let (broker, worker) = with_jobs(&["greenloop's sleep", "std's sleep", "quick"]);
        let worker = worker.soft_limit(Duration::from_millis(5)).hard_limit(Duration::from_millis(30));
        let run = worker.run(move |job| {
            if job.payload == "quick" {
                return Ok(Completion::new().record("quick"));
            }
            // As code does that takes no limit for an answer; what it returns is not what was asked for.
            let _ = greenloop::with_timeout(LONG, || {
                let _ = std::panic::catch_unwind(|| greenloop::sleep(LONG));
                match job.payload.as_str() {
                    "std's sleep" => sleep(LONG),
                    _ => greenloop::sleep(LONG),
                }
            });
            Ok(Completion::new().record("never"))
        });
        run.unwrap();
        let errors = errors(&*broker);
        assert_eq!(errors.len(), 2);
        let limits = ["it took longer than its soft limit, 5ms", "it took longer than its hard limit, 30ms"];
        assert!(errors.iter().all(|error| limits.contains(&error.as_str())), "{errors:?}");
        assert_eq!(records(&*broker), ["quick"]);
    });
}

/// Others may have kept it from that for longer.
#[test]
fn a_hard_limit_begins_with_its_job() {
    patched(|| {
        let (broker, worker) = with_jobs(&["computes", "waits"]);
        let run = worker.attempts(1).hard_limit(Duration::from_millis(200)).run(|job| {
            let start = Instant::now();
            while job.payload == "computes" && start.elapsed() < Duration::from_millis(250) {
                std::hint::spin_loop();
            }
            greenloop::sleep(Duration::from_millis(5));
            Ok(Completion::new().record(&job.payload))
        });
        run.unwrap();
        assert!(records(&*broker).contains(&"waits".to_owned()), "{:?}", errors(&*broker));
    });
}

#[test]
fn who_is_stopped_finishes_and_gives_back_what_it_cannot_finish() {
    patched(|| {
        let (broker, worker) = with_jobs(&["short", "long", "unbegun"]);
        let begun = Arc::new(Event::new());
        let (stopper, seen, counts) = (worker.stopper(), begun.clone(), worker.counts());
        greenloop::spawn(move || {
            begun.wait();
            stopper.stop();
        });
        let run = worker.concurrency(2).grace(Duration::from_millis(50)).run(move |job| {
            match job.payload.as_str() {
                "short" => greenloop::sleep(Duration::from_millis(5)),
                _ => {
                    seen.set();
                    greenloop::sleep(LONG);
                }
            }
            Ok(Completion::new().record(&job.payload))
        });
        run.unwrap();
        assert_eq!(records(&*broker), ["short"]);
        assert_eq!((counts.get(Count::Done), counts.get(Count::GivenBack)), (1, 1));
        let left: Vec<_> = broker.take(9, LONG).unwrap();
        let mut left: Vec<_> = left.iter().map(|job| (job.payload.as_str(), job.attempt)).collect();
        left.sort_unstable();
        assert_eq!(left, [("long", 1), ("unbegun", 1)]);
    });
}

#[test]
fn a_sigterm_stops_it() {
    patched(|| {
        let (broker, _) = with_jobs(&["one"]);
        let worker = fleet::Worker::new(broker.clone()).stop_at_signals();
        let start = Instant::now();
        let run = worker.run(|job| {
            kill_process(getpid(), Signal::TERM).unwrap();
            greenloop::sleep(Duration::from_millis(20));
            Ok(Completion::new().record(&job.payload))
        });
        run.unwrap();
        assert!(start.elapsed() < LONG);
        assert_eq!(records(&*broker), ["one"]);
    });
}

#[test]
fn jobs_that_follow_are_done_too() {
    patched(|| {
        let (broker, worker) = with_jobs(&["1"]);
        let run = worker.run(|job| {
            let number: u32 = job.payload.parse()?;
            let next = [2 * number, 2 * number + 1].into_iter().filter(|next| *next < 100);
            let jobs = next.map(|next| NewJob::new(next.to_string()).unique(next.to_string()));
            Ok(Completion::new().record(&job.payload).jobs(jobs))
        });
        run.unwrap();
        assert_eq!(records(&*broker).len(), 99);
        assert!(broker.status().unwrap().is_idle());
    });
}

#[test]
fn an_observer_that_panics_holds_up_nobody() {
    patched(|| {
        let (broker, worker) = with_jobs(&["one", "two"]);
        let worker = worker.observer(|happening| panic!("{happening:?}"));
        let run = worker.run(|job| match job.attempt {
            1 => Err(Failure::retry("not yet")),
            _ => Ok(Completion::new().record(&job.payload)),
        });
        run.unwrap();
        assert_eq!(records(&*broker), ["one", "two"]);
    });
}

#[test]
fn whose_run_is_killed_leaves_no_job_behind() {
    struct Ends(Rc<Event>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.set();
        }
    }
    patched(|| {
        let (_, worker) = with_jobs(&["long"]);
        let (begun, ended) = (Rc::new(Event::new()), Rc::new(Event::new()));
        let (begins, ends) = (begun.clone(), ended.clone());
        let run = greenloop::spawn(move || {
            let run = worker.run(move |_| {
                let _ends = Ends(ends.clone());
                begins.set();
                greenloop::sleep(LONG);
                Ok(Completion::new())
            });
            run.unwrap();
        });
        begun.wait();
        run.kill();
        ended.wait();
    });
}

#[test]
fn of_long_payloads_few_are_held_at_once() {
    patched(|| {
        let (broker, worker) = with_jobs(&[]);
        let long = "long ".repeat(1 << 20);
        for _ in 0..3 {
            broker.push(&[(); 4].map(|()| NewJob::new(&long))).unwrap();
        }
        let (running, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let seen = most.clone();
        let run = worker.held_bytes(1).run(move |_| {
            running.set(running.get() + 1);
            seen.set(seen.get().max(running.get()));
            greenloop::sleep(Duration::from_millis(5));
            running.set(running.get() - 1);
            Ok(Completion::new())
        });
        run.unwrap();
        // As many as one call takes.
        assert_eq!((most.get(), broker.status().unwrap().done), (4, 12));
    });
}

#[test]
fn what_is_too_long_is_cut_or_refused() {
    patched(|| {
        let (broker, worker) = with_jobs(&["error", "panic", "record"]);
        let run = worker.attempts(1).run(|job| {
            let long = "\u{1f415}".repeat(5 << 20);
            match job.payload.as_str() {
                "error" => Err(Failure::retry(long)),
                "panic" => panic!("{}", "long ".repeat(100_000)),
                _ => Ok(Completion::new().record(long)),
            }
        });
        run.unwrap();
        let errors = errors(&*broker);
        assert_eq!(errors[0], "\u{1f415}".repeat(16 << 10) + "\u{2026}");
        assert!(errors[1].starts_with("panicked: long ") && errors[1].len() == (64 << 10) + 3);
        let refused = "the broker does not take what has come of it: a record has 20971520 bytes";
        assert!(errors[2].starts_with(refused), "{}", errors[2]);
    });
}

#[test]
fn a_worker_may_have_all_the_time_there_is() {
    patched(|| {
        let (broker, worker) = with_jobs(&["one"]);
        let stopper = worker.stopper();
        let run = worker.grace(Duration::MAX).hard_limit(Duration::MAX).soft_limit(Duration::MAX);
        let run = run.poll(Duration::MAX).concurrency(usize::MAX).run(move |job| {
            stopper.stop();
            greenloop::sleep(Duration::from_millis(2));
            Ok(Completion::new().record(&job.payload))
        });
        run.unwrap();
        assert_eq!(records(&*broker), ["one"]);
    });
}
