use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use greenloop::{JoinHandle, sleep, yield_now};

use crate::support::{Random, within};
use crate::{GRACE, LIMIT, counts_its_drop, workers};

#[test]
fn many_jobs_at_random_with_kills_end_each_in_one_way() {
    within(LIMIT, || {
        let drops = Arc::new(AtomicUsize::new(0));
        let mut random = Random::new(1);
        let workers = workers(16);
        let mut spawned = 0;
        for _ in 0..60 {
            let jobs: Vec<JoinHandle<_>> = (0..200_u64)
                .map(|number| {
                    let value = counts_its_drop(&drops);
                    spawned += 1;
                    let kind = random.below(6);
                    let inner = workers.clone();
                    workers.spawn(move || {
                        match kind {
                            0 => yield_now(),
                            1 => sleep(Duration::from_micros(number)),
                            2 => std::panic::resume_unwind(Box::new("meant")),
                            3 => inner.spawn(yield_now).join().unwrap(),
                            4 => inner.spawn_on(number as usize % 16, || ()).join().unwrap(),
                            _ => {}
                        }
                        (kind, value)
                    })
                })
                .collect();
            let killed: Vec<bool> = jobs.iter().map(|_| random.below(4) == 0).collect();
            for (job, kill) in jobs.iter().zip(&killed) {
                if *kill {
                    job.try_kill();
                }
            }
            for (job, kill) in jobs.into_iter().zip(killed) {
                match job.join() {
                    Ok((kind, _value)) => assert_ne!(kind, 2),
                    Err(error) if error.is_killed() => assert!(kill),
                    Err(error) => assert_eq!(error.into_panic().downcast_ref(), Some(&"meant")),
                }
            }
        }
        workers.stop(GRACE);
        assert_eq!(drops.load(Ordering::SeqCst), spawned);
    });
}

#[test]
fn jobs_come_from_all_sides_at_once() {
    within(LIMIT, || {
        let workers = workers(8);
        let done = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (workers, done) = (workers.clone(), done.clone());
                std::thread::spawn(move || {
                    for _ in 0..200 {
                        let jobs: Vec<_> = (0..10)
                            .map(|_| {
                                let done = done.clone();
                                workers.spawn(move || done.fetch_add(1, Ordering::SeqCst))
                            })
                            .collect();
                        greenloop::joinall(&jobs);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(done.load(Ordering::SeqCst), 16_000);
    });
}
