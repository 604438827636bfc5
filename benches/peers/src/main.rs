//! Green threads beside what else one would take for the same: tokio, OS threads, and for files io_uring by hand.
//!
//!     cargo bench --bench peers               some minutes
//!     cargo bench --bench peers -- --short    some seconds
//!     cargo bench --bench peers -- --only select
//!     cargo bench --bench peers -- unblock --tasks 16 --kind tokio
//!
//! Every figure is the median of several rounds, in which the kinds take turns, each in a process of its own. All are at their
//! defaults; *on io_uring* is greenloop with that driver. OS threads use std's calls, crossbeam's channels, and for `unblock`
//! a pool by hand. Those that choose among channels run on one processor, the rest on all. Files are in the folder for temporary
//! ones, names in /etc/hosts, TLS is rustls with ring, and a child is /bin/true.

mod asynchronous;
#[path = "../../support/calls.rs"]
mod calls;
#[path = "../../support/choosing.rs"]
mod choosing;
#[path = "../../support/operating_system.rs"]
mod operating_system;
#[path = "../../support/processes.rs"]
mod processes;
#[path = "../../support/mod.rs"]
mod support;
#[path = "../../support/table.rs"]
mod table;
mod threads;
mod tls;
mod uring;

use std::process::ExitCode;

use calls::Calls;
use choosing::Choosing;
use greenloop::hub::{Config, Driver, configure};
use operating_system::OperatingSystem;
use processes::value_of;
use support::arguments::Arguments;
use support::green::Green;
use support::output::Output;
use table::{median, number};

/// One run of a workload, and the rows that its lines make.
struct Comparison {
    full: &'static str,
    short: &'static str,
    /// Which of `KINDS` take part.
    kinds: &'static [usize],
    /// The metric's name up to the dot, what it is, and its unit. Nanoseconds become microseconds where that is the unit.
    rows: &'static [(&'static str, &'static str, &'static str)],
}

/// What a row is of: its name on the command line, and at the head of its column.
const KINDS: [(&str, &str); 6] = [
    ("green", "greenloop"),
    ("green-uring", "on io_uring"),
    ("tokio-one", "tokio, one thread"),
    ("tokio", "tokio"),
    ("threads", "OS threads"),
    ("uring", "io_uring by hand"),
];
const ALL: &[usize] = &[0, 1, 2, 3, 4, 5];
const TASKS: &[usize] = &[0, 2, 3, 4];

const COMPARISONS: [Comparison; 18] = [
    Comparison {
        full: "file_read --tasks 1 --iters 20000",
        short: "file_read --tasks 1 --iters 500",
        kinds: ALL,
        rows: &[("file_read", "read 4 KiB of an open file, in memory", "us")],
    },
    Comparison {
        full: "file_read --tasks 16 --iters 50000",
        short: "file_read --tasks 16 --iters 800",
        kinds: ALL,
        rows: &[("file_read", "… 16 at once", "us"), ("file_read_cpu", "… 16 at once: processor time", "us")],
    },
    Comparison {
        full: "file_whole --tasks 16 --iters 10000",
        short: "file_whole --tasks 16 --iters 256",
        kinds: ALL,
        rows: &[
            ("file_whole", "read a file of 16 KiB, in memory, 16 at once", "us"),
            ("file_whole_cpu", "…: processor time", "us"),
        ],
    },
    Comparison {
        full: "file_whole --tasks 16 --iters 2000 --cold",
        short: "file_whole --tasks 16 --iters 256 --cold",
        kinds: ALL,
        rows: &[
            ("file_cold", "read a file of 16 KiB, from the disk, 16 at once", "us"),
            ("file_cold_cpu", "…: processor time", "us"),
        ],
    },
    Comparison {
        full: "file_write --tasks 1 --iters 20000",
        short: "file_write --tasks 1 --iters 500",
        kinds: ALL,
        rows: &[("file_write", "write 4 KiB to an open file", "us")],
    },
    Comparison {
        full: "file_write --tasks 16 --iters 50000",
        short: "file_write --tasks 16 --iters 800",
        kinds: ALL,
        rows: &[
            ("file_write", "… 16 at once", "us"),
            ("file_write_cpu", "… 16 at once: processor time", "us"),
        ],
    },
    Comparison {
        full: "file_sync --tasks 16 --iters 500",
        short: "file_sync --tasks 16 --iters 32",
        kinds: ALL,
        rows: &[("file_sync", "write 4 KiB on to the disk, 16 at once", "us")],
    },
    Comparison {
        full: "unblock --tasks 1 --iters 50000",
        short: "unblock --tasks 1 --iters 1000",
        kinds: TASKS,
        rows: &[
            ("unblock", "unblock a call that does nothing", "us"),
            ("unblock_cpu", "…: processor time", "us"),
        ],
    },
    Comparison {
        full: "unblock --tasks 16 --iters 100000",
        short: "unblock --tasks 16 --iters 1600",
        kinds: TASKS,
        rows: &[("unblock", "… 16 at once", "us"), ("unblock_cpu", "… 16 at once: processor time", "us")],
    },
    Comparison {
        full: "unblock --tasks 256 --iters 100000",
        short: "unblock --tasks 256 --iters 2560",
        kinds: TASKS,
        rows: &[("unblock", "… 256 at once", "us"), ("unblock_cpu", "… 256 at once: processor time", "us")],
    },
    Comparison {
        full: "names --rate 1000 --iters 2000",
        short: "names --rate 1000 --iters 100",
        kinds: TASKS,
        rows: &[
            ("names_p50", "1,000 names looked up a second: half within", "us"),
            ("names_p99", "…: 99 of 100 within", "us"),
            ("names_cpu", "…: processor time of each", "us"),
        ],
    },
    Comparison {
        full: "tls_echo --connections 100 --iters 50000",
        short: "tls_echo --connections 100 --iters 1000",
        kinds: TASKS,
        rows: &[
            ("tls_echo", "TLS echo, 100 connections: a round trip", "us"),
            ("tls_echo_cpu", "…: processor time of it", "us"),
        ],
    },
    Comparison {
        full: "tls_handshakes --tasks 16 --iters 800",
        short: "tls_handshakes --tasks 16 --iters 32",
        kinds: TASKS,
        rows: &[
            ("tls_handshake", "TLS handshake, 16 at once", "us"),
            ("tls_handshake_cpu", "…: processor time of both ends", "us"),
        ],
    },
    Comparison {
        full: "select --channels 2 --iters 50000",
        short: "select --channels 2 --iters 2000",
        kinds: TASKS,
        rows: &[
            ("select_wait_cpu", "choose among 2 channels, and wait", "ns"),
            ("select_ready_cpu", "choose among 2 that have something", "ns"),
        ],
    },
    Comparison {
        full: "select --channels 10 --iters 50000",
        short: "select --channels 10 --iters 2000",
        kinds: TASKS,
        rows: &[
            ("select_wait_cpu", "choose among 10 channels, and wait", "ns"),
            ("select_ready_cpu", "choose among 10 that have something", "ns"),
        ],
    },
    Comparison {
        full: "select --channels 100 --iters 10000",
        short: "select --channels 100 --iters 1000",
        kinds: TASKS,
        rows: &[
            ("select_wait_cpu", "choose among 100 channels, and wait", "ns"),
            ("select_ready_cpu", "choose among 100 that have something", "ns"),
        ],
    },
    Comparison {
        full: "children --tasks 1 --rounds 100",
        short: "children --tasks 1 --rounds 5",
        kinds: TASKS,
        rows: &[("children", "run a child process", "us")],
    },
    Comparison {
        full: "children --tasks 100 --rounds 5",
        short: "children --tasks 100 --rounds 1",
        kinds: TASKS,
        rows: &[
            ("children", "… 100 at once", "us"),
            ("children_cpu", "… 100 at once: processor time of the parent", "us"),
        ],
    },
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.measure.is_empty() {
        if arguments.has("short") || arguments.has("bench") {
            return compare_all(&arguments);
        }
        println!("nothing to do: cargo bench runs this with --bench, --short makes it quick");
        return ExitCode::SUCCESS;
    }
    if arguments.has("one-processor") {
        stay_on_one_processor();
    }
    let kind = arguments.get("kind", "green".to_owned());
    let output = Output::new(&kind);
    match kind.as_str() {
        "tokio-one" => asynchronous::run(true, output, arguments),
        "tokio" => asynchronous::run(false, output, arguments),
        "threads" => measure::<OperatingSystem>(&output, &arguments),
        "uring" => uring::run(&output, &arguments),
        "green-uring" => {
            configure(Config::new().driver(Driver::IoUring)).expect("no hub yet");
            measure::<Green>(&output, &arguments);
        }
        _ => measure::<Green>(&output, &arguments),
    }
    ExitCode::SUCCESS
}

fn measure<R: Calls + Choosing>(output: &Output, arguments: &Arguments) {
    if !(calls::run::<R>(output, arguments)
        || choosing::run::<R>(output, arguments)
        || tls::run::<R>(output, arguments))
    {
        support::run::<R>(output, arguments);
    }
}

fn stay_on_one_processor() {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let allowed = sched_getaffinity(None).expect("the own affinity");
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|&processor| allowed.is_set(processor)).expect("a processor"));
    sched_setaffinity(None, &one).expect("a processor of the allowed");
}

fn compare_all(arguments: &Arguments) -> ExitCode {
    let (only, short) = (arguments.get("only", String::new()), arguments.has("short"));
    let rounds = arguments.get("rounds", if short { 1 } else { 5 });
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    for comparison in COMPARISONS.iter().filter(|comparison| comparison.full.starts_with(&only)) {
        compare(comparison, short, rounds, &mut rows, &mut notes);
    }
    let mut head = vec!["", "unit"];
    head.extend(KINDS.map(|(_, name)| name));
    table::print(&head, &rows);
    notes.iter().for_each(|note| println!("{note}"));
    if notes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one workload for its kinds in turn, several times, and adds its rows to the table.
fn compare(
    comparison: &Comparison,
    short: bool,
    rounds: usize,
    rows: &mut Vec<Vec<String>>,
    notes: &mut Vec<String>,
) {
    let line = if short { comparison.short } else { comparison.full };
    // For each kind, for each row, the value of each round.
    let mut values = KINDS.map(|_| vec![Vec::new(); comparison.rows.len()]);
    for _ in 0..rounds {
        for &index in comparison.kinds {
            let (kind, name) = KINDS[index];
            if name.contains("io_uring") && !Driver::IoUring.is_available() {
                continue;
            }
            let place = if line.starts_with("select") { " --one-processor" } else { "" };
            match processes::run(&format!("{line} --kind {kind}{place}")) {
                Ok(text) => {
                    for ((metric, ..), values) in comparison.rows.iter().zip(&mut values[index]) {
                        values.extend(value_of(&text, metric));
                    }
                }
                Err(reason) => notes.push(format!("{line}: {kind}: {reason}")),
            }
        }
    }
    for (row, (metric, what, unit)) in comparison.rows.iter().enumerate() {
        // Times are printed in nanoseconds, but for those that are a point of a distribution.
        let scale = if *unit == "us" && !metric.contains("_p") { 1e3 } else { 1.0 };
        let cell = |value: Option<f64>| value.map_or("-".to_owned(), |value| number(value / scale));
        let cells = values.iter_mut().map(|values| cell(median(&mut values[row])));
        rows.push([(*what).to_owned(), (*unit).to_owned()].into_iter().chain(cells).collect());
    }
}
