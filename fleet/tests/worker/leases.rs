//! Leases that are renewed, lost, and left behind.

use crate::{errors, patched, records, with_jobs};
use fleet::{Broker, Completion, Count, NewJob, Worker};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread::sleep;
use std::time::Duration;

#[test]
fn a_job_that_outlives_its_leases_is_done_once() {
    const LEASE: Duration = Duration::from_secs(2);
    patched(|| {
        let (broker, worker) = with_jobs(&["long"]);
        let worker = worker.lease(LEASE);
        let runs = Rc::new(Cell::new(0));
        let work = |runs: Rc<Cell<u32>>| {
            move |_: &fleet::Job| {
                runs.set(runs.get() + 1);
                sleep(LEASE + LEASE / 2);
                Ok(Completion::new().record("long"))
            }
        };
        let other = {
            let (worker, work) = (worker.clone(), work(runs.clone()));
            greenloop::spawn(move || worker.run(work).unwrap())
        };
        worker.run(work(runs.clone())).unwrap();
        other.join().unwrap();
        assert_eq!((runs.get(), records(&*broker)), (1, vec!["long".to_owned()]));
    });
}

#[test]
fn a_job_that_somebody_else_has_by_now_is_killed() {
    patched(|| {
        let (broker, worker) = with_jobs(&["lost"]);
        let counts = worker.counts();
        let purged = broker.clone();
        let run = worker.lease(Duration::from_millis(300)).run(move |_| {
            // So that no lease is anybody's.
            purged.purge()?;
            greenloop::sleep(Duration::from_secs(600));
            Ok(Completion::new().record("never"))
        });
        run.unwrap();
        // More often, if the lease ended before the purge.
        assert!(counts.get(Count::Lost) >= 1);
        assert_eq!(counts.get(Count::Done), 0);
        assert_eq!(records(&*broker), [""; 0]);
    });
}

/// What ends each worker that takes it is not tried for ever.
#[test]
fn a_job_whose_workers_end_before_it_lies_among_the_dead() {
    patched(|| {
        let (broker, worker) = with_jobs(&["deadly"]);
        for attempt in 1..=3 {
            let job = loop {
                if let Some(job) = broker.take(1, Duration::from_millis(1)).unwrap().pop() {
                    break job;
                }
                sleep(Duration::from_millis(1));
            };
            assert_eq!(job.attempt, attempt);
        }
        worker.run(|_| panic!("it is not even begun")).unwrap();
        assert_eq!(errors(&*broker), ["its worker ended before it, 3 times"]);
    });
}

/// Each of them may be the one that ends its workers.
#[test]
fn jobs_whose_workers_ended_each_time_are_done_one_by_one() {
    patched(|| {
        let (broker, worker) = with_jobs(&["one", "two", "three"]);
        for attempt in 1..=2 {
            let mut taken = 0;
            while taken < 3 {
                let jobs = broker.take(3, Duration::from_millis(1)).unwrap();
                taken += jobs.iter().filter(|job| job.attempt == attempt).count();
                sleep(Duration::from_millis(2));
            }
        }
        broker.push(&["four", "five"].map(NewJob::new)).unwrap();
        let running = Rc::new(RefCell::new(Vec::new()));
        let together = Rc::new(RefCell::new(Vec::new()));
        let seen = together.clone();
        let run = worker.run(move |job| {
            running.borrow_mut().push(job.attempt);
            greenloop::sleep(Duration::from_millis(5));
            seen.borrow_mut().push(running.borrow().clone());
            running.borrow_mut().retain(|attempt| *attempt != job.attempt);
            Ok(Completion::new().record(&job.payload))
        });
        run.unwrap();
        assert_eq!(records(&*broker), ["five", "four", "one", "three", "two"]);
        let alone = together.borrow().iter().filter(|together| together[..] == [3]).count();
        assert_eq!(alone, 3, "{together:?}");
    });
}

/// A limit of the fleet: whoever takes them.
#[test]
fn workers_keep_to_the_spacing_of_a_lane_together() {
    const SPACING: Duration = Duration::from_millis(20);
    patched(|| {
        let (broker, worker) = with_jobs(&[]);
        let jobs: Vec<_> =
            (0..8).map(|number| NewJob::new(number.to_string()).lane("host", SPACING)).collect();
        broker.push(&jobs).unwrap();
        let start = std::time::Instant::now();
        let run = |worker: Worker| {
            greenloop::spawn(move || {
                worker.run(|job| Ok(Completion::new().record(&job.payload))).unwrap();
            })
        };
        let workers = [run(worker.clone()), run(worker)];
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert!(start.elapsed() >= 7 * (SPACING - Duration::from_millis(1)), "{:?}", start.elapsed());
        assert_eq!(records(&*broker).len(), 8);
    });
}
