//! Leases that are renewed, lost, and left behind.

use crate::{errors, patched, records, with_jobs};
use fleet::{
    Broker, BrokerError, Completion, Count, Failure, Job, Lease, NewJob, Settlement, Sqlite, Status, Worker,
};
use greenloop::event::Event;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

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

/// The way to a broker, for one worker: what it is told of may come late.
struct Late {
    broker: Arc<Sqlite>,
    /// How long what was taken is on its way.
    taken: Duration,
    /// Set when leases are to be renewed.
    renews: Event,
}

impl Late {
    fn to(broker: &Arc<Sqlite>, taken: Duration) -> Arc<Late> {
        Arc::new(Late { broker: Arc::clone(broker), taken, renews: Event::new() })
    }
}

impl Broker for Late {
    passes_on!();

    fn take(&self, most: usize, lease: Duration) -> Result<Vec<Job>, BrokerError> {
        let jobs = self.broker.take(most, lease)?;
        if !jobs.is_empty() {
            greenloop::sleep(self.taken);
        }
        Ok(jobs)
    }

    fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<Lease>, BrokerError> {
        self.renews.wait();
        self.broker.renew(leases, lease)
    }

    fn settle(&self, settlements: &[Settlement]) -> Result<Vec<bool>, BrokerError> {
        self.broker.settle(settlements)
    }

    fn status(&self) -> Result<Status, BrokerError> {
        self.broker.status()
    }
}

/// Runs as long as it is there, and notes when that was.
struct Ran(Rc<RefCell<Vec<(Instant, Instant)>>>, Instant);

impl Drop for Ran {
    fn drop(&mut self) {
        self.0.borrow_mut().push((self.1, Instant::now()));
    }
}

#[test]
fn a_job_whose_lease_is_not_renewed_in_time_runs_at_no_two_workers() {
    const LEASE: Duration = Duration::from_secs(3);
    patched(|| {
        let (broker, other) = with_jobs(&["job"]);
        let (late, ran) = (Late::to(&broker, Duration::ZERO), Rc::default());
        let worker = Worker::new(late.clone()).lease(LEASE);
        let (stopper, began) = (worker.stopper(), Rc::new(Event::new()));
        let cut_off = {
            let (ran, began) = (Rc::clone(&ran), Rc::clone(&began));
            greenloop::spawn(move || {
                let run = worker.run(move |_| {
                    let _ran = Ran(Rc::clone(&ran), Instant::now());
                    began.set();
                    greenloop::sleep(Duration::from_secs(600));
                    Ok(Completion::new())
                });
                run.unwrap();
            })
        };
        began.wait();
        // Another one gets it once the first one's lease has ended, and not sooner.
        stopper.stop();
        let runs = Rc::clone(&ran);
        let run = other.run(move |job| {
            let _ran = Ran(Rc::clone(&runs), Instant::now());
            assert!(job.lease_left() > Duration::ZERO);
            greenloop::sleep(Duration::from_millis(100));
            Ok(Completion::new().record(&job.payload))
        });
        run.unwrap();
        late.renews.set();
        cut_off.join().unwrap();
        let mut ran = ran.take();
        ran.sort();
        assert!(matches!(ran[..], [(_, end), (start, _)] if end <= start), "{ran:?}");
        assert_eq!(records(&*broker), ["job"]);
    });
}

#[test]
fn a_job_that_comes_after_its_lease_is_not_begun() {
    const LEASE: Duration = Duration::from_millis(100);
    patched(|| {
        let (broker, other) = with_jobs(&["job"]);
        let worker = Worker::new(Late::to(&broker, 2 * LEASE)).lease(LEASE).attempts(1000);
        let (counts, stopper) = (worker.counts(), worker.stopper());
        let too_late =
            greenloop::spawn(move || worker.run(|_| unreachable!("it may be another one's")).unwrap());
        // Lost, if it has taken it again before that is settled.
        while counts.get(Count::GivenBack) + counts.get(Count::Lost) == 0 {
            sleep(Duration::from_millis(1));
        }
        stopper.stop();
        too_late.join().unwrap();
        other.attempts(1000).run(|job| Ok(Completion::new().record(&job.payload))).unwrap();
        assert_eq!(records(&*broker), ["job"]);
        assert_eq!(counts.get(Count::Retried) + counts.get(Count::Dead), 0);
    });
}

#[test]
fn a_job_that_is_given_back_was_not_tried() {
    patched(|| {
        let (broker, worker) = with_jobs(&["job"]);
        let (counts, times) = (worker.counts(), Cell::new(0));
        let run = worker.attempts(1).run(move |job| {
            times.set(times.get() + 1);
            match times.get() {
                1..=3 => Err(Failure::given_back()),
                _ => Ok(Completion::new().record(job.attempt.to_string())),
            }
        });
        run.unwrap();
        assert_eq!((counts.get(Count::GivenBack), records(&*broker)), (3, vec!["1".to_owned()]));
    });
}

/// Since nobody else has them, and the broker says so.
#[test]
fn jobs_of_a_worker_that_stood_still_go_on_if_nobody_has_taken_them() {
    const LEASE: Duration = Duration::from_secs(2);
    patched(|| {
        let (broker, worker) = with_jobs(&["waits", "computes"]);
        let counts = worker.counts();
        // It has no room to take them again itself.
        let run = worker.concurrency(2).lease(LEASE).run(|job| {
            match &*job.payload {
                "computes" => {
                    let start = Instant::now();
                    while start.elapsed() < LEASE * 2 {
                        std::hint::spin_loop();
                    }
                    assert_eq!(job.lease_left(), Duration::ZERO);
                    while job.lease_left().is_zero() {
                        greenloop::sleep(Duration::from_millis(1));
                    }
                }
                _ => greenloop::sleep(LEASE),
            }
            Ok(Completion::new().record(&job.payload))
        });
        run.unwrap();
        assert_eq!(records(&*broker), ["computes", "waits"]);
        assert_eq!(counts.get(Count::Taken), 2);
    });
}
