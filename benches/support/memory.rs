//! Memory of the process, and what a parked task takes of it.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::output::Output;
use super::runtime::Runtime;

/// A line of /proc/self/status, in bytes: `VmRSS`, `VmHWM`, `VmPTE`, `VmSize`.
pub(crate) fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kibibytes = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kibibytes.expect("a size in kB") * 1024
}

/// `tasks` tasks parked on one event; with `deep_kibibytes` each has used that much of its stack before.
pub(crate) fn parked<R: Runtime>(output: &Output, tasks: usize, deep_kibibytes: usize) {
    let parked = Arc::new(AtomicUsize::new(0));
    let event = Arc::new(R::event());
    let mut handles = Vec::with_capacity(tasks);
    // The first task may set up what is not per task.
    R::join(R::spawn(|| ()));
    let names = ["VmRSS", "VmPTE", "VmSize"];
    let before = names.map(status);
    for _ in 0..tasks {
        let (event, parked) = (event.clone(), parked.clone());
        handles.push(R::spawn(move || {
            if deep_kibibytes > 0 {
                black_box(dig(deep_kibibytes));
            }
            parked.fetch_add(1, Ordering::SeqCst);
            R::wait(&event);
        }));
    }
    while parked.load(Ordering::SeqCst) < tasks {
        R::sleep(Duration::from_millis(1));
    }
    R::sleep(Duration::from_millis(50));
    let after = names.map(status);
    let [resident, tables, size] =
        std::array::from_fn(|index| after[index].saturating_sub(before[index]) as f64 / tasks as f64);
    if deep_kibibytes > 0 {
        output.metric(&format!("mem_deep{deep_kibibytes}_rss.N={tasks}"), resident, "B");
    } else {
        output.metric(&format!("mem_rss.N={tasks}"), resident, "B");
        output.metric(&format!("mem_pte.N={tasks}"), tables, "B");
        output.metric(&format!("mem_vsz.N={tasks}"), size, "B");
    }
    R::set(&event);
    handles.into_iter().for_each(R::join);
}

/// Touches that many KiB of the stack and returns.
#[inline(never)]
fn dig(kibibytes: usize) -> u8 {
    let frame = black_box([1u8; 2048]);
    if kibibytes > 2 {
        black_box(dig(kibibytes - 2).wrapping_add(frame[kibibytes]))
    } else {
        frame[kibibytes]
    }
}
