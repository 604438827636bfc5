//! Prints what the scheduler makes of each workload with 1 to 64 workers: the same numbers at each run.
//!
//!     cargo run -p workers_model

use workers_model::connections::spread;
use workers_model::simulation::{Costs, Outcome, run};
use workers_model::workloads::Kind;

const WORKERS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
/// From the call until a worker runs, in microseconds: where the processor spins, sleeps lightly, or was given back to a host.
const WAKES: [u64; 3] = [5, 25, 50];

fn main() {
    for wake in WAKES {
        let costs = Costs::assumed(wake * 1_000);
        println!("A worker that is woken runs after {wake} µs");
        println!();
        println!(
            "{:9} {:>7} {:>9} {:>9} {:>6} {:>10} {:>10} {:>7} {:>7} {:>10}",
            "workload",
            "workers",
            "wall ms",
            "x ideal",
            "used",
            "wait p50",
            "wait p99",
            "steals",
            "wakes",
            "looked µs"
        );
        for kind in Kind::ALL {
            for workers in WORKERS {
                let ideal = kind.ideal(workers, costs);
                print(kind, workers, ideal, &run(workers, costs, kind.workload(workers)));
            }
        }
        println!();
    }
    println!("Connections, 32 for each worker: the most of one worker, beside the average");
    println!();
    println!("{:>7} {:>9} {:>9}", "workers", "mean", "largest");
    for workers in WORKERS {
        let [mean, largest] = spread(workers, 10_000);
        println!("{workers:>7} {mean:>9.3} {largest:>9.3}");
    }
}

fn print(kind: Kind, workers: usize, ideal: u64, outcome: &Outcome) {
    let microseconds = |time: u64| format!("{:.1}", time as f64 / 1e3);
    println!(
        "{:9} {workers:>7} {:>9.3} {:>9.3} {:>5.1}% {:>10} {:>10} {:>7} {:>7} {:>10}",
        kind.name(),
        outcome.wall as f64 / 1e6,
        outcome.wall as f64 / ideal as f64,
        outcome.utilisation * 100.0,
        microseconds(outcome.waited[0]),
        microseconds(outcome.waited[1]),
        outcome.steals,
        outcome.wakes,
        outcome.searched / 1_000,
    );
}
