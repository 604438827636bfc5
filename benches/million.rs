//! A thousand to a million green threads and timers at once, at default sysctls: what each costs, and that it costs about
//! the same however many there are.
//!
//!     cargo bench --bench million               two minutes; the million takes 5 GB
//!     cargo bench --bench million -- --short    some seconds, ten thousand at most
//!
//! Each size runs in processes of its own, up to five times; figures are medians, times nanoseconds of processor time for each
//! green thread or timer. *Create* is spawn and first run, up to the wait. A *sleep* is a green thread that begins, sleeps and
//! ends. How late sleeps end is measured with all deadlines within a second. What does not fit the memory is left out.

#[path = "support/processes.rs"]
mod processes;
mod support;
#[path = "support/table.rs"]
mod table;

use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use greenloop::event::Event;
use greenloop::hub::Hub;
use greenloop::{JoinHandle, Timeout, sleep, spawn, spawn_later, yield_now};
use processes::value_of;
use support::arguments::Arguments;
use support::clock::Stopwatch;
use support::green::Green;
use support::memory::status;
use support::output::Output;
use support::timers::durations;
use table::{median, number};

/// Memory that each parked green thread needs at most, page tables and all.
const BYTES_EACH: u64 = 5_200;

const LONG: Duration = Duration::from_secs(3600);

/// A table: for each size, a row of what these workloads print.
struct Table {
    first: &'static str,
    /// What runs, less `--tasks`.
    workloads: &'static [&'static str],
    /// A metric's name up to the dot, and the column's head.
    columns: &'static [(&'static str, &'static str)],
}

const TABLES: [Table; 2] = [
    Table {
        first: "green threads",
        workloads: &["parked", "switch --iters 2000000"],
        columns: &[
            ("create", "create ns"),
            ("wake", "wake ns"),
            ("join", "join ns"),
            ("create_again", "create again ns"),
            ("switch_cpu", "yield ns"),
            ("resident", "resident B"),
            ("page_tables", "page tables B"),
            ("maps", "mappings, all"),
        ],
    },
    Table {
        first: "timers",
        workloads: &["armed", "timers --max-ms 1000"],
        columns: &[
            ("arm", "limit: set ns"),
            ("cancel", "lift ns"),
            ("later", "spawn later ns"),
            ("fire", "its start ns"),
            ("sleep", "sleep ns"),
            ("timers_late_p50", "half later us"),
            ("timers_late_p99", "1 % later us"),
        ],
    },
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output::new("greenloop");
    let tasks = arguments.get("tasks", 1_000);
    match arguments.measure.as_str() {
        "" if arguments.has("short") => return all(&[1_000, 10_000], 1),
        "" if arguments.has("bench") => return all(&[1_000, 10_000, 100_000, 1_000_000], 5),
        "" => println!("nothing to do: cargo bench runs this with --bench, --short makes it quick"),
        "parked" => parked(&output, tasks),
        "armed" => armed(&output, tasks),
        _ => support::run::<Green>(&output, &arguments),
    }
    ExitCode::SUCCESS
}

/// Both tables, for the sizes that fit.
fn all(sizes: &[usize], rounds: usize) -> ExitCode {
    let available = memory_available();
    let (fit, too_large): (Vec<usize>, Vec<usize>) =
        sizes.iter().partition(|&&size| size as u64 * BYTES_EACH < available);
    let mut failures = Vec::new();
    for table in &TABLES {
        let rows: Vec<_> = fit.iter().map(|&size| row(table, size, rounds, &mut failures)).collect();
        let head: Vec<_> =
            [table.first].into_iter().chain(table.columns.iter().map(|&(_, head)| head)).collect();
        table::print(&head, &rows);
        println!();
    }
    let map_limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
    println!("A process may have {} mappings (vm.max_map_count).", map_limit.trim());
    for size in too_large {
        let needed = number((size as u64 * BYTES_EACH) as f64 / 1e9);
        println!("Left out: {size} need {needed} GB, {} GB are available.", number(available as f64 / 1e9));
    }
    failures.iter().for_each(|failure| println!("{failure}"));
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn row(table: &Table, size: usize, rounds: usize, failures: &mut Vec<String>) -> Vec<String> {
    // A million take seconds, and vary little.
    let rounds = if size < 1_000_000 { rounds } else { 1 };
    let mut values = vec![Vec::new(); table.columns.len()];
    for workload in table.workloads {
        for _ in 0..rounds {
            match processes::run(&format!("{workload} --tasks {size}")) {
                Ok(text) => {
                    for ((metric, _), values) in table.columns.iter().zip(&mut values) {
                        values.extend(value_of(&text, metric));
                    }
                }
                Err(reason) => failures.push(format!("{size} {workload}: {reason}")),
            }
        }
    }
    let cells = values.iter_mut().map(|values| median(values).map_or("-".to_owned(), number));
    [number(size as f64)].into_iter().chain(cells).collect()
}

/// So many green threads wait for one event, are woken and joined; and are made once more.
fn parked(output: &Output, tasks: usize) {
    // What is not per green thread.
    spawn(|| ()).join().unwrap();
    let mut handles = Vec::with_capacity(tasks);
    let [resident, page_tables] = ["VmRSS", "VmPTE"].map(status);
    let print = |name, value: f64, unit| output.metric(&format!("{name}.N={tasks}"), value, unit);
    let each = |clock: &Stopwatch| clock.stop().processor / tasks as f64;
    for create in ["create", "create_again"] {
        let (event, awake) = (Rc::new(Event::new()), Rc::new(Cell::new(0)));
        let clock = Stopwatch::start();
        handles.extend((0..tasks).map(|_| {
            let (event, awake) = (event.clone(), awake.clone());
            spawn(move || {
                event.wait();
                awake.set(awake.get() + 1);
            })
        }));
        // Until each waits.
        greenloop::idle();
        print(create, each(&clock), "ns");
        if create == "create" {
            let per_task = |name, before| (status(name) - before) as f64 / tasks as f64;
            print("resident", per_task("VmRSS", resident), "B");
            print("page_tables", per_task("VmPTE", page_tables), "B");
            let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux has /proc");
            print("maps", maps.lines().count() as f64, "");
        }
        let clock = Stopwatch::start();
        event.set();
        while awake.get() < tasks {
            yield_now();
        }
        let woken = each(&clock);
        let clock = Stopwatch::start();
        handles.drain(..).for_each(|handle: JoinHandle<()>| handle.join().unwrap());
        if create == "create" {
            print("wake", woken, "ns");
            print("join", each(&clock), "ns");
        }
    }
}

/// So many time limits are set and lifted; so many green threads are to begin later, and do; so many sleep.
fn armed(output: &Output, tasks: usize) {
    let print = |name, value: f64| output.metric(&format!("{name}.N={tasks}"), value, "ns");
    let each = |clock: Stopwatch| clock.stop().processor / tasks as f64;
    // A thousand a millisecond, however many there are: else the few would cost what it costs to wake up.
    let delays = durations(tasks, tasks / 1_000);
    let mut limits: Vec<_> = delays.iter().map(|&delay| Timeout::new(LONG + delay)).collect();
    let clock = Stopwatch::start();
    limits.iter_mut().for_each(|limit| limit.start().unwrap());
    print("arm", each(clock));
    let clock = Stopwatch::start();
    limits.iter_mut().for_each(Timeout::cancel);
    print("cancel", each(clock));

    let begun = Rc::new(Cell::new(0));
    let clock = Stopwatch::start();
    for &delay in &delays {
        let begun = begun.clone();
        drop(spawn_later(delay, move || begun.set(begun.get() + 1)));
    }
    print("later", each(clock));
    let clock = Stopwatch::start();
    Hub::current().join();
    assert_eq!(begun.get(), tasks);
    print("fire", each(clock));

    let clock = Stopwatch::start();
    let sleepers: Vec<_> = delays.into_iter().map(|delay| spawn(move || sleep(delay))).collect();
    sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
    print("sleep", each(clock));
}

/// Bytes that the kernel would give without swapping.
fn memory_available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").expect("Linux has /proc");
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kibibytes.expect("a size in kB") * 1024
}
