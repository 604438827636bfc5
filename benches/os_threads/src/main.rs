//! Green threads beside OS threads: the same workloads on this machine, in one run.
//!
//!     cargo bench --bench os_threads               some minutes
//!     cargo bench --bench os_threads -- --short    some seconds
//!     cargo bench --bench os_threads -- --chart ../cost.svg
//!
//! The last draws what a task costs among how many, instead of the table.
//!
//! Every figure is the median of several rounds, green and OS in turn, each in a process of its own. OS threads use
//! std's primitives and default stacks. Switches, channels and sleeps run on one processor, the rest on all. The memory
//! of an OS thread is the process's part only: the kernel's own, 16 KiB of stack and more, comes on top.

mod chart;
#[path = "../../support/operating_system.rs"]
mod operating_system;
#[path = "../../support/processes.rs"]
mod processes;
#[path = "../../support/slow_server.rs"]
mod slow_server;
#[path = "../../support/mod.rs"]
mod support;
#[path = "../../support/table.rs"]
mod table;

use std::process::ExitCode;

use chart::{Chart, Line};
use operating_system::OperatingSystem;
use processes::value_of;
use slow_server::{SlowServer, serve};
use support::arguments::Arguments;
use support::green::Green;
use support::output::Output;
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

/// What is drawn: the cost of one of so many tasks.
struct Curve {
    title: &'static str,
    numbers: &'static str,
    unit: &'static str,
    /// Workload and the option that takes the number.
    workload: &'static str,
    /// The sum of these.
    metrics: &'static [&'static str],
    one_processor: bool,
    /// Numbers of green and of OS threads, as far as the limits of a default system let them go.
    numbers_of: [&'static [usize]; 2],
}

const GREEN_NUMBERS: &[usize] = &[10, 100, 1_000, 10_000, 100_000];
/// Three times as many are the most that the mappings of a process allow by default, and take minutes.
const OS_NUMBERS: &[usize] = &[10, 100, 1_000, 10_000];
/// Of the 20,000 open files that are common, each connection takes two here.
const CONNECTIONS: &[usize] = &[10, 100, 1_000, 3_000, 9_000];

const CURVES: [Curve; 4] = [
    Curve {
        title: "Switch: a yield among so many that are ready",
        numbers: "ready tasks",
        unit: "ns of processor time",
        workload: "switch --iters 200000 --tasks",
        metrics: &["switch_cpu"],
        one_processor: true,
        // Ten thousand that yield until the last of them has begun take a minute.
        numbers_of: [GREEN_NUMBERS, &[10, 100, 1_000, 3_000]],
    },
    Curve {
        title: "Spawn and join, so many at a time",
        numbers: "live tasks",
        unit: "ns of processor time",
        workload: "spawn --iters 30000 --batch",
        metrics: &["spawn_cpu"],
        one_processor: false,
        numbers_of: [GREEN_NUMBERS, OS_NUMBERS],
    },
    Curve {
        title: "Memory of a task that waits, the kernel's own left out",
        numbers: "waiting tasks",
        unit: "bytes",
        workload: "mem --tasks",
        metrics: &["mem_rss", "mem_pte"],
        one_processor: false,
        numbers_of: [GREEN_NUMBERS, OS_NUMBERS],
    },
    Curve {
        title: "TCP echo: a round trip of 64 bytes, both ends",
        numbers: "connections, two tasks each",
        unit: "ns of processor time",
        workload: "roundtrips --iters 30000 --connections",
        metrics: &["roundtrip_cpu"],
        one_processor: false,
        numbers_of: [CONNECTIONS, CONNECTIONS],
    },
];

const KINDS: [&str; 2] = ["green", "os"];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match (arguments.measure.as_str(), arguments.get("kind", String::new()).as_str()) {
        ("slow-server", _) => serve(std::time::Duration::from_millis(100)),
        ("", _) if arguments.has("chart") => return draw(&arguments.get("chart", String::new())),
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
                        values.extend(value_of(&text, metric));
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

/// Runs the workloads of all curves, and writes the picture.
fn draw(path: &str) -> ExitCode {
    let mut notes = Vec::new();
    let charts = CURVES.map(|curve| {
        let kinds = ["green threads", "OS threads"].into_iter().zip(KINDS).zip(curve.numbers_of);
        let lines = kinds.map(|((name, kind), numbers)| Line {
            name,
            points: numbers.iter().filter_map(|&number| point(&curve, kind, number, &mut notes)).collect(),
        });
        Chart { lines: lines.collect(), title: curve.title, numbers: curve.numbers, unit: curve.unit }
    });
    for chart in &charts {
        println!("{}, in {}", chart.title, chart.unit);
        for line in &chart.lines {
            let costs = line.points.iter().map(|&(at, cost)| format!("{}: {}", number(at), number(cost)));
            println!("    {}  {}", line.name, costs.collect::<Vec<_>>().join("  "));
        }
    }
    if let Err(error) = chart::write(path, &charts) {
        notes.push(format!("{path}: {error}"));
    }
    notes.iter().for_each(|note| println!("{note}"));
    if notes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The number, and the median cost there.
fn point(curve: &Curve, kind: &str, number: usize, notes: &mut Vec<String>) -> Option<(f64, f64)> {
    let line = format!("{} {number}", curve.workload);
    let mut values = Vec::new();
    for _ in 0..3 {
        match run(&line, kind, curve.one_processor, None) {
            Ok(text) => values.push(curve.metrics.iter().filter_map(|metric| value_of(&text, metric)).sum()),
            Err(reason) => notes.push(format!("{line}: {kind}: {reason}")),
        }
    }
    Some((number as f64, median(&mut values)?))
}

/// Runs one workload for one kind of thread in a process of its own; what it printed, or why it failed.
fn run(line: &str, kind: &str, one_processor: bool, server: Option<&SlowServer>) -> Result<String, String> {
    let mut line = format!("{line} --kind {kind}");
    if one_processor {
        line += " --one-processor";
    }
    if let Some(server) = server {
        line += &format!(" --port {}", server.port);
    }
    processes::run(&line)
}
