use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use greenloop::sync::{Barrier, TimedOut};
use greenloop::{JoinHandle, spawn, with_timeout};

use super::LIMIT;
use super::support::{in_any_order, spawn_parked};

fn arrive(barrier: &Arc<Barrier>) -> JoinHandle<bool> {
    let barrier = barrier.clone();
    spawn_parked(move || barrier.wait().is_leader())
}

#[test]
fn the_last_one_leads_and_the_barrier_serves_again() {
    in_any_order(LIMIT, || {
        let barrier = Arc::new(Barrier::new(3));
        for _ in 0..3 {
            let others = [(); 2].map(|()| arrive(&barrier));
            assert_eq!(format!("{barrier:?}"), "Barrier { count: 3, waiting: 2 }");
            assert!(barrier.wait().is_leader());
            assert_eq!(others.map(|other| other.join().unwrap()), [false, false]);
        }
        for few in [0, 1] {
            let result = Barrier::new(few).wait();
            assert_eq!(format!("{result:?}"), "BarrierWaitResult { is_leader: true }");
        }
    });
}

#[test]
fn who_does_not_wait_has_not_arrived() {
    in_any_order(LIMIT, || {
        let barrier = Arc::new(Barrier::new(2));
        arrive(&barrier).kill();
        assert_eq!(barrier.wait_timeout(Duration::from_millis(1)).unwrap_err(), TimedOut);
        assert!(with_timeout(Duration::from_millis(1), || barrier.wait()).is_err());
        let other = arrive(&barrier);
        assert!(barrier.wait_timeout(LIMIT).unwrap().is_leader());
        assert!(!other.join().unwrap());
    });
}

#[test]
fn one_killed_after_all_have_arrived_has() {
    in_any_order(LIMIT, || {
        let barrier = Arc::new(Barrier::new(3));
        let [first, second] = [(); 2].map(|()| arrive(&barrier));
        assert!(barrier.wait().is_leader());
        assert!(!first.try_kill(), "released, and has not run");
        assert!(first.join().unwrap_err().is_killed());
        assert!(!second.join().unwrap());
    });
}

#[test]
fn hubs_and_plain_threads_go_round_by_round() {
    const ROUNDS: usize = 200;
    in_any_order(LIMIT, || {
        let (barrier, arrived) = (Arc::new(Barrier::new(6)), Arc::new(AtomicUsize::new(0)));
        let rounds = {
            let (barrier, arrived) = (barrier.clone(), arrived.clone());
            move || {
                let mut led = 0;
                for round in 1..=ROUNDS {
                    arrived.fetch_add(1, SeqCst);
                    led += usize::from(barrier.wait().is_leader());
                    assert!(arrived.load(SeqCst) >= round * 6, "round {round} has begun early");
                }
                led
            }
        };
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let rounds = rounds.clone();
                thread::spawn(move || {
                    if number < 2 {
                        return rounds();
                    }
                    let two = [spawn(rounds.clone()), spawn(rounds)];
                    two.into_iter().map(|task| task.join().unwrap()).sum()
                })
            })
            .collect();
        let led: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(led, ROUNDS);
    });
}
