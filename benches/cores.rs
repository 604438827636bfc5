//! What more than one processor is worth: workers that take jobs from each other, beside one.
//!
//!     cargo bench --bench cores
//!     cargo bench --bench cores -- --short
//!
//! Each figure is the median of several rounds in processes of their own, in which all numbers of workers take turns. *Of the ideal* is the
//! time from the first spawn to the last join beside what the jobs compute, divided by the workers. All jobs are spawned by one green thread
//! of a worker. Messages between two hubs are measured by the bench `hubs`.

#[path = "support/cores.rs"]
mod cores;
#[path = "support/processes.rs"]
mod processes;
mod support;
#[path = "support/table.rs"]
mod table;

use std::process::ExitCode;

use processes::value_of;
use support::arguments::Arguments;
use support::green::Green;
use support::output::Output;
use table::{median, number};

struct Workload {
    full: &'static str,
    short: &'static str,
    /// A metric's name up to the dot, and what it is.
    rows: &'static [(&'static str, &'static str)],
}

const WORKLOADS: [Workload; 4] = [
    Workload {
        full: "cores --part 1",
        short: "cores --part 20",
        rows: &[
            ("cores_even", "1,000 jobs of 100 us, of the ideal"),
            ("cores_uneven", "10,000 of 10 us beside one of 50 ms, of the ideal"),
            ("cores_tiny", "100,000 jobs of 1 us, of the ideal"),
        ],
    },
    Workload {
        full: "cores_spawn --batch 1000 --iters 400000",
        short: "cores_spawn --batch 1000 --iters 5000",
        rows: &[
            ("cores_spawn", "spawn and join of 1,000 that do nothing, ns each"),
            ("cores_spawn_cpu", "the same, processor time"),
        ],
    },
    Workload {
        full: "cores_spawn --batch 100000 --iters 400000",
        short: "cores_spawn --batch 2000 --iters 4000",
        rows: &[
            ("cores_spawn", "spawn and join of 100,000, ns each"),
            ("cores_spawn_cpu", "the same, processor time"),
        ],
    },
    Workload {
        full: "cores_map --iters 1000000",
        short: "cores_map --iters 50000",
        rows: &[
            ("cores_map", "map of 1,000,000 numbers, times as fast as a loop"),
            ("cores_map_cpu", "the same, processor time beside the loop's"),
        ],
    },
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output::new("greenloop");
    match arguments.measure.as_str() {
        "" if arguments.has("short") || arguments.has("bench") => return compare(arguments.has("short")),
        "" => println!("nothing to do: cargo bench runs this with --bench, --short makes it quick"),
        _ if cores::run(&output, &arguments) => {}
        _ => support::run::<Green>(&output, &arguments),
    }
    ExitCode::SUCCESS
}

fn compare(short: bool) -> ExitCode {
    let numbers = numbers(short);
    let mut rows = Vec::new();
    let mut failed = false;
    let mut run = |line: &str| match processes::run(line) {
        Ok(text) => text,
        Err(reason) => {
            println!("{line}: {reason}");
            failed = true;
            String::new()
        }
    };
    for Workload { full, short: little, rows: metrics } in WORKLOADS {
        let (line, rounds) = if short { (little, 1) } else { (full, 5) };
        // For each row, for each number of workers, the value of each round.
        let mut values = vec![vec![Vec::new(); numbers.len()]; metrics.len()];
        for (column, workers) in (0..rounds).flat_map(|_| numbers.iter().enumerate()) {
            let text = run(&format!("{line} --workers {workers}"));
            for (values, (metric, _)) in values.iter_mut().zip(metrics) {
                values[column].extend(value_of(&text, metric));
            }
        }
        for ((_, what), values) in metrics.iter().zip(&mut values) {
            let cells = values.iter_mut().map(|values| median(values).map_or("-".to_owned(), number));
            rows.push([what.to_string()].into_iter().chain(cells).collect());
        }
    }
    let heads: Vec<_> = numbers.iter().map(|number| format!("{number} workers")).collect();
    let head: Vec<_> = ["of one spawner"].into_iter().chain(heads.iter().map(String::as_str)).collect();
    table::print(&head, &rows);
    let text = run(if short { "cores_idle --milliseconds 100" } else { "cores_idle" });
    if let Some(idle) = value_of(&text, "cores_idle") {
        println!("Sixteen workers with nothing to do: {} us of processor time in a second.", number(idle));
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Doubled until there are as many as there are processors; and that.
fn numbers(short: bool) -> Vec<usize> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let most = if short { 2 } else { processors };
    let doubled = (0..).map(|power| 1 << power).take_while(|&number| number < most);
    doubled.chain([most]).collect()
}
