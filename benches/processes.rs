//! What processes cost that talk to each other, beside bare sockets and CPython's `multiprocessing`.
//!
//!     cargo bench --bench processes
//!     cargo bench --bench processes -- --short
//!
//! Each figure is the median of several rounds in processes of their own, in which the three take turns, in wall time. *Bare* is the same by
//! blocking calls: sockets of packets, a stream for what is large, and std's `Command` of `true` for a start. Where there is no `python3`
//! its column is empty. A start ends when the child is there, of a zygote; in CPython, when fork has returned. A death is told of when who
//! waits for the job has the error, of a pool or of a `ProcessPoolExecutor`.

#[path = "support/packets.rs"]
mod packets;
#[path = "support/processes.rs"]
mod processes;
#[path = "support/relatives.rs"]
mod relatives;
mod support;
#[path = "support/table.rs"]
mod table;

use std::process::{Command, ExitCode, Stdio};

use processes::value_of;
use support::arguments::Arguments;
use support::green::Green;
use support::output::Output;
use table::{median, number};

const KINDS: [&str; 3] = ["bare", "greenloop", "cpython"];

/// The same measures in Python.
const PYTHON: &str = include_str!("support/multiprocessing.py");

struct Workload {
    full: &'static str,
    short: &'static str,
    /// A metric's name up to the dot, and what it is.
    rows: &'static [(&'static str, &'static str)],
}

const WORKLOADS: [Workload; 7] = [
    Workload {
        full: "round_trip --iters 20000",
        short: "round_trip --iters 200",
        rows: &[("round_trip", "round trip of 64 bytes, us")],
    },
    Workload {
        full: "job --iters 20000",
        short: "job --iters 200",
        rows: &[("job", "job of a pool of one, us"), ("job_map", "job of a map over a pool of two, us each")],
    },
    Workload {
        full: "batch --iters 2000000",
        short: "batch --iters 20000",
        rows: &[("batch", "small message, many at once, ns each")],
    },
    Workload {
        full: "start --iters 200",
        short: "start --iters 5",
        rows: &[("start", "start, us"), ("start_join", "start and end, us")],
    },
    Workload {
        full: "start --iters 20 --mebibytes 1024",
        short: "start --iters 3 --mebibytes 16",
        rows: &[
            ("start", "start, of a parent of 1 GiB, us"),
            ("start_join", "start and end, of a parent of 1 GiB, us"),
        ],
    },
    Workload {
        full: "death --iters 50",
        short: "death --iters 2",
        rows: &[
            ("death_told", "death of a worker, until it is told, us"),
            ("death_again", "the same, until another has begun its job, us"),
        ],
    },
    Workload {
        full: "large --iters 10",
        short: "large --iters 1",
        rows: &[("large", "round trip of 16 MiB, ms")],
    },
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let kind = arguments.get("kind", String::from("greenloop"));
    match (arguments.measure.as_str(), kind.as_str()) {
        ("", _) if arguments.has("short") || arguments.has("bench") => {
            return compare(arguments.has("short"));
        }
        ("", _) => println!("nothing to do: cargo bench runs this with --bench, --short makes it quick"),
        (measure, "cpython") => return python(measure, &arguments),
        (_, "bare") => packets::run(&Output::new("bare"), &arguments),
        _ => {
            let output = Output::new("greenloop");
            if !relatives::run(&output, &arguments) {
                support::run::<Green>(&output, &arguments);
            }
        }
    }
    ExitCode::SUCCESS
}

/// Runs the measure in Python.
fn python(measure: &str, arguments: &Arguments) -> ExitCode {
    let numbers = ["iters", "mebibytes"].map(|key| arguments.get(key, 0).to_string());
    let status = Command::new("python3").args(["-c", PYTHON, measure]).args(numbers).status();
    if status.is_ok_and(|status| status.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn compare(short: bool) -> ExitCode {
    let has_python = Command::new("python3")
        .args(["-c", "import multiprocessing; multiprocessing.Lock()"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let kinds = if has_python { &KINDS[..] } else { &KINDS[..2] };
    let mut rows = Vec::new();
    let mut failed = false;
    for Workload { full, short: little, rows: metrics } in WORKLOADS {
        let (line, rounds) = if short { (little, 1) } else { (full, 5) };
        // For each row, for each kind, the value of each round.
        let mut values = vec![vec![Vec::new(); KINDS.len()]; metrics.len()];
        for (column, kind) in (0..rounds).flat_map(|_| kinds.iter().enumerate()) {
            match processes::run(&format!("{line} --kind {kind}")) {
                Ok(text) => {
                    for (values, (metric, _)) in values.iter_mut().zip(metrics) {
                        values[column].extend(value_of(&text, metric));
                    }
                }
                Err(reason) => {
                    println!("{line}: {kind}: {reason}");
                    failed = true;
                }
            }
        }
        for ((_, what), values) in metrics.iter().zip(&mut values) {
            let cells = values.iter_mut().map(|values| median(values).map_or("-".to_owned(), number));
            rows.push([what.to_string()].into_iter().chain(cells).collect());
        }
    }
    table::print(&["between processes", "bare", "greenloop", "CPython's"], &rows);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
