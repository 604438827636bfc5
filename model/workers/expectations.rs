//! What the scheduler must make of the workloads, whatever the number of workers.

use workers_model::connections::spread;
use workers_model::simulation::{Costs, Outcome, Workload, run};
use workers_model::workloads::Kind;

const WORKERS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const WAKES: [u64; 3] = [5_000, 25_000, 50_000];

fn outcome(kind: Kind, workers: usize, wake: u64) -> Outcome {
    run(workers, Costs::assumed(wake), kind.workload(workers))
}

/// The time beside what it takes at best.
fn ratio(kind: Kind, workers: usize, wake: u64) -> f64 {
    outcome(kind, workers, wake).wall as f64 / kind.ideal(workers, Costs::assumed(wake)) as f64
}

#[test]
fn each_run_gives_the_same_numbers() {
    for kind in [Kind::Uneven, Kind::Map, Kind::Requests] {
        assert_eq!(outcome(kind, 4, 25_000), outcome(kind, 4, 25_000), "{kind:?}");
    }
}

#[test]
fn even_jobs_keep_all_workers_busy() {
    for wake in WAKES {
        for workers in [1, 2, 4, 8, 16] {
            let outcome = outcome(Kind::Even, workers, wake);
            assert!(outcome.utilisation >= 0.98, "{workers} workers, {wake} ns: {outcome:?}");
            assert!(ratio(Kind::Even, workers, wake) <= 1.02, "{workers} workers, {wake} ns: {outcome:?}");
        }
    }
    assert!(ratio(Kind::Even, 32, 25_000) <= 1.02);
    assert!(ratio(Kind::Even, 64, 25_000) <= 1.2);
}

#[test]
fn a_long_job_keeps_nobody_waiting_who_has_not_begun() {
    for wake in WAKES {
        for workers in WORKERS {
            let ratio = ratio(Kind::Uneven, workers, wake);
            assert!(ratio <= 1.01, "{workers} workers, {wake} ns: {ratio}");
        }
    }
}

#[test]
fn tiny_jobs_cost_little_more_than_they_take() {
    for workers in [1, 2, 4, 8, 16] {
        let ratio = ratio(Kind::Tiny, workers, 25_000);
        assert!(ratio <= 1.02, "{workers} workers: {ratio}");
    }
    // One spawner cannot feed more: all rob it, of one job at a time, and so it takes twice as long as it would alone.
    for (kind, workers) in [(Kind::Tiny, 32), (Kind::Tiny, 64), (Kind::Empty, 64)] {
        let ratio = ratio(kind, workers, 25_000);
        assert!(ratio <= 2.3, "{kind:?}, {workers} workers: {ratio}");
    }
    // A few pause, so that each takes some.
    for (workers, most) in [(2, 1.2), (4, 1.5)] {
        let ratio = ratio(Kind::Empty, workers, 25_000);
        assert!(ratio <= most, "{workers} workers: {ratio}");
    }
}

#[test]
fn who_has_enough_is_not_robbed() {
    for workers in WORKERS {
        let outcome = outcome(Kind::Spread, workers, 25_000);
        assert_eq!((outcome.steals, outcome.wakes), (0, 0), "{workers} workers");
        assert!(outcome.utilisation >= 0.91, "{workers} workers: {outcome:?}");
    }
}

#[test]
fn a_theft_takes_many() {
    for workers in WORKERS {
        let outcome = outcome(Kind::Even, workers, 25_000);
        assert!(outcome.steals <= 10 * workers, "{workers} workers: {} thefts", outcome.steals);
    }
}

/// If each were woken by the one before, the last of 64 would come after 63 times 25 µs.
#[test]
fn a_burst_wakes_many_at_once() {
    let [two, sixteen, all] = [2, 16, 64].map(|workers| outcome(Kind::Map, workers, 25_000));
    assert!(two.wall <= 10_000_000 * 10 / 19, "{two:?}");
    assert!(sixteen.utilisation >= 0.9, "{sixteen:?}");
    assert!(all.wall <= 156_250 + 8 * 25_000, "{all:?}");
}

#[test]
fn few_jobs_wake_few() {
    for workers in WORKERS {
        let workload = Workload { spawners: vec![vec![1_000]], ..Workload::default() };
        let outcome = run(workers, Costs::assumed(25_000), workload);
        assert!(outcome.wakes <= 1, "{workers} workers: {outcome:?}");
    }
}

#[test]
fn what_comes_from_outside_waits_for_little_more_than_a_processor() {
    // Where two serve a single queue at no cost, one in a hundred waits for more than 135 µs; where sixteen do, for more than 10.
    for (workers, most) in [(2, 180_000), (4, 110_000), (8, 50_000), (16, 30_000), (32, 70_000)] {
        for wake in [5_000, 50_000] {
            let outcome = outcome(Kind::Requests, workers, wake);
            assert!(outcome.waited[1] <= most, "{workers} workers, {wake} ns: {outcome:?}");
        }
    }
}

#[test]
fn idle_workers_look_for_a_moment_and_sleep() {
    for kind in [Kind::Even, Kind::Tiny, Kind::Requests] {
        for workers in [2, 16, 64] {
            let outcome = outcome(kind, workers, 5_000);
            let after = outcome.quiet.saturating_sub(outcome.wall);
            assert!(after <= 110_000, "{kind:?}, {workers} workers: {after} ns after the last job");
        }
    }
}

#[test]
fn connections_are_spread_evenly() {
    for workers in WORKERS {
        let [mean, largest] = spread(workers, 2_000);
        assert!(mean <= 1.05 && largest <= 1.1, "{workers} workers: {mean}, {largest}");
    }
}
