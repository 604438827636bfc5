//! Green threads beside OS threads: the same workloads on this machine, in one run.
//!
//!     cargo bench --bench os_threads               some minutes
//!     cargo bench --bench os_threads -- --short    some seconds
//!
//! Every figure is the median of several rounds, green and OS in turn, each in a process of its own. OS threads use
//! std's primitives and default stacks. Switches, channels and sleeps run on one processor, the rest on all. The memory
//! of an OS thread is the process's part only: the kernel's own, 16 KiB of stack and more, comes on top.

#[path = "support/operating_system.rs"]
mod operating_system;
mod support;
#[path = "support/table.rs"]
mod table;

use std::process::{Command, ExitCode};

use operating_system::OperatingSystem;
use support::arguments::Arguments;
use support::green::Green;
use support::output::Output;
use support::slow_server::{SlowServer, serve};
use table::{median, number};

/// One run of a workload, and the rows that its lines make.
struct Comparison {
    full: &'static str,
    short: &'static str,
    one_processor: bool,
    /// The metric's name up to the dot, what it is, and its unit.
    rows: &'static [(&'static str, &'static str, &'static str)],
}

const COMPARISONS: [Comparison; 12] = [
    Comparison {
        full: "switch --tasks 2 --iters 2000000",
        short: "switch --tasks 2 --iters 100000",
        one_processor: true,
        rows: &[("switch", "yield, 2 ready", "ns")],
    },
    Comparison {
        full: "switch --tasks 1000 --iters 2000000",
        short: "switch --tasks 100 --iters 100000",
        one_processor: true,
        rows: &[("switch", "yield, many ready", "ns")],
    },
    Comparison {
        full: "spawn --batch 1 --iters 100000",
        short: "spawn --batch 1 --iters 5000",
        one_processor: false,
        rows: &[("spawn", "spawn and join, one at a time", "ns")],
    },
    Comparison {
        full: "spawn --batch 1000 --iters 100000",
        short: "spawn --batch 100 --iters 5000",
        one_processor: false,
        rows: &[("spawn", "spawn and join, in batches", "ns")],
    },
    Comparison {
        full: "mem --tasks 10000",
        short: "mem --tasks 1000",
        one_processor: false,
        rows: &[
            ("mem_rss", "parked: resident memory", "B"),
            ("mem_pte", "parked: page tables", "B"),
            ("mem_vsz", "parked: address space", "B"),
        ],
    },
    Comparison {
        full: "chan --iters 500000",
        short: "chan --iters 20000",
        one_processor: true,
        rows: &[
            ("chan_pingpong", "channel ping-pong, a message", "ns"),
            ("chan_stream", "channel of 128, a message", "ns"),
        ],
    },
    Comparison {
        full: "timers --tasks 1000 --max-ms 500 --rounds 2",
        short: "timers --tasks 1000 --max-ms 100 --rounds 2",
        one_processor: true,
        rows: &[
            ("timers_cpu", "1,000 sleeps: processor time of each", "ns"),
            ("timers_late_p50", "1,000 sleeps: half are later by", "us"),
            ("timers_late_p99", "1,000 sleeps: one in 100 is later by", "us"),
        ],
    },
    Comparison {
        full: "roundtrips --connections 1 --iters 100000",
        short: "roundtrips --connections 1 --iters 5000",
        one_processor: false,
        rows: &[("roundtrip", "TCP echo, 1 connection: a round trip", "ns")],
    },
    Comparison {
        full: "roundtrips --connections 100 --iters 200000",
        short: "roundtrips --connections 100 --iters 20000",
        one_processor: false,
        rows: &[
            ("roundtrip", "TCP echo, 100 connections: a round trip", "ns"),
            ("roundtrip_cpu", "TCP echo, 100: processor time of it", "ns"),
        ],
    },
    Comparison {
        full: "roundtrips --connections 1000 --iters 200000",
        short: "roundtrips --connections 1000 --iters 20000",
        one_processor: false,
        rows: &[
            ("roundtrip", "TCP echo, 1,000 connections: a round trip", "ns"),
            ("roundtrip_cpu", "TCP echo, 1,000: processor time of it", "ns"),
        ],
    },
    Comparison {
        full: "mutex --tasks 16 --iters 500000",
        short: "mutex --tasks 16 --iters 20000",
        one_processor: true,
        rows: &[
            ("mutex_uncontended", "mutex, lock and unlock", "ns"),
            ("mutex_contended", "mutex, 16 that yield inside, a turn", "ns"),
        ],
    },
    Comparison {
        full: "crawl --urls 1000 --concurrency 1000",
        short: "crawl --urls 1000 --concurrency 1000",
        one_processor: false,
        rows: &[
            ("crawl_wall", "1,000 URLs of 100 ms, at once: wall", "ms"),
            ("crawl_cpu", "1,000 URLs: processor time", "ms"),
            ("crawl_peak_rss", "1,000 URLs: peak resident memory", "MiB"),
        ],
    },
];

const KINDS: [&str; 2] = ["green", "os"];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match (arguments.measure.as_str(), arguments.get("kind", String::new()).as_str()) {
        ("slow-server", _) => serve(std::time::Duration::from_millis(100)),
        ("", _) if arguments.has("short") || arguments.has("bench") => {
            return compare_all(arguments.has("short"));
        }
        ("", _) => println!("nothing to do: cargo bench runs this with --bench, --short makes it quick"),
        (_, kind) => {
            if arguments.has("one-processor") {
                stay_on_one_processor();
            }
            match kind {
                "os" => support::run::<OperatingSystem>(&Output::new("os"), &arguments),
                _ => support::run::<Green>(&Output::new("green"), &arguments),
            }
        }
    }
    ExitCode::SUCCESS
}

fn stay_on_one_processor() {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let allowed = sched_getaffinity(None).expect("the own affinity");
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|&processor| allowed.is_set(processor)).expect("a processor"));
    sched_setaffinity(None, &one).expect("a processor of the allowed");
}

fn compare_all(short: bool) -> ExitCode {
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    for comparison in &COMPARISONS {
        compare(comparison, short, &mut rows, &mut notes);
    }
    table::print(&["", "unit", "green", "OS", "OS / green"], &rows);
    notes.iter().for_each(|note| println!("{note}"));
    if notes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one workload for both kinds, several times, and adds its rows to the table.
fn compare(comparison: &Comparison, short: bool, rows: &mut Vec<Vec<String>>, notes: &mut Vec<String>) {
    let (line, rounds) = if short { (comparison.short, 1) } else { (comparison.full, 3) };
    let server = line.starts_with("crawl").then(SlowServer::start);
    // For each kind, for each row, the value of each round.
    let mut values = KINDS.map(|_| vec![Vec::new(); comparison.rows.len()]);
    for _ in 0..rounds {
        for (kind, values) in KINDS.iter().zip(&mut values) {
            match run(line, kind, comparison.one_processor, server.as_ref()) {
                Ok(text) => {
                    for ((metric, ..), values) in comparison.rows.iter().zip(values) {
                        values.extend(text.lines().find_map(|line| value_of(line, metric)));
                    }
                }
                Err(reason) => notes.push(format!("{line}: {kind}: {reason}")),
            }
        }
    }
    let [mut green, mut system] = values;
    for (index, (_, what, unit)) in comparison.rows.iter().enumerate() {
        let [green, system] = [median(&mut green[index]), median(&mut system[index])];
        let cell = |value: Option<f64>| value.map_or("-".to_owned(), number);
        let ratio = green.zip(system).map(|(green, system)| system / green).filter(|ratio| ratio.is_finite());
        let what = what.replace("many", if short { "100" } else { "1,000" });
        rows.push(vec![what, (*unit).to_owned(), cell(green), cell(system), cell(ratio)]);
    }
}

/// Runs this program for one workload and one kind of thread; what it printed, or why it failed.
fn run(line: &str, kind: &str, one_processor: bool, server: Option<&SlowServer>) -> Result<String, String> {
    let mut command = Command::new(std::env::current_exe().expect("the program's own path"));
    command.args(line.split_whitespace()).args(["--kind", kind]).env_remove("PEER_NAME");
    if one_processor {
        command.arg("--one-processor");
    }
    if let Some(server) = server {
        command.args(["--port", &server.port.to_string()]);
    }
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().lines().next().unwrap_or("").to_owned();
    Err(format!("{}, {words}", output.status))
}

/// The value in a line `metric.N=… peer value unit`, if it is of that metric.
fn value_of(line: &str, metric: &str) -> Option<f64> {
    let mut words = line.split_whitespace();
    let name = words.next()?;
    if name.split('.').next() != Some(metric) {
        return None;
    }
    words.nth(1)?.parse().ok()
}
