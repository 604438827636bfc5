use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::inspect::{DumpOptions, detect};
use greenloop::{Builder, killall, sleep, spawn, yield_now};

use crate::LIMIT;
use crate::support::run_child;

/// How long it goes on.
const LASTS: Duration = Duration::from_millis(600);

/// Allocates and frees all the time, for some milliseconds: a signal comes in the middle of that.
#[inline(never)]
fn allocates(rounds: u32) -> usize {
    let mut trees = Vec::new();
    for round in 0..rounds {
        let tree: BTreeMap<u32, String> = (0..20).map(|key| (key, format!("{key} of {round}"))).collect();
        trees.push(tree);
        if trees.len() > 8 {
            trees.clear();
        }
    }
    black_box(trees.len())
}

/// Near the end of a small stack.
#[inline(never)]
fn dives(depth: u32) -> usize {
    let room = [0_u8; 512];
    let below = if depth == 0 { allocates(200) } else { dives(depth - 1) };
    black_box(&room);
    below + 1
}

/// One hub, which begins, works and ends; how much it has done.
fn works(seed: u64) -> u64 {
    let done = Arc::new(AtomicU64::new(0));
    let count = {
        let done = done.clone();
        move || {
            done.fetch_add(1, Ordering::SeqCst);
        }
    };
    let mut tasks = Vec::new();
    for number in 0..6 {
        let count = count.clone();
        let builder = Builder::new()
            .name(if (number + seed).is_multiple_of(2) { "even" } else { "odd" })
            .stack_size(32 * 1024);
        #[cfg(feature = "monkey")]
        let builder = builder.isolated((number + seed).is_multiple_of(3));
        let task = builder.spawn(move || {
            allocates(100 + 50 * number as u32);
            yield_now();
            dives(8);
            sleep(Duration::from_micros(100));
            count();
        });
        tasks.push(task.unwrap());
    }
    let parked: Vec<_> = (0..10).map(|_| spawn(|| sleep(crate::LONG))).collect();
    greenloop::joinall(&tasks);
    killall(&parked);
    done.load(Ordering::SeqCst)
}

#[test]
fn everything_goes_on_as_ever() {
    let Some(child) = run_child(LIMIT, || {
        let reports = Arc::new(AtomicU64::new(0));
        let count = reports.clone();
        let report = move |blocked: &greenloop::inspect::HubBlocked| {
            black_box(blocked.backtrace().map(|backtrace| format!("{backtrace:?}").len()));
            count.fetch_add(1, Ordering::SeqCst);
        };
        let limit = Duration::from_millis(1);
        let detector = detect(limit).most_per_minute(u32::MAX).on_report(report).start().unwrap();
        let end = Instant::now() + LASTS;
        let goes_on = {
            let reports = reports.clone();
            move || Instant::now() < end || reports.load(Ordering::SeqCst) == 0
        };
        let hubs = |seed| {
            let goes_on = goes_on.clone();
            move || {
                let mut done = (0, 0);
                while goes_on() {
                    done.0 += 6;
                    done.1 += thread::spawn(move || works(seed)).join().unwrap();
                }
                done
            }
        };
        let threads: Vec<_> = (0..3).map(|seed| thread::spawn(hubs(seed))).collect();
        let dumps = thread::spawn(move || {
            while Instant::now() < end {
                let mut options = DumpOptions::new();
                let dump = options.all_hubs(true).backtraces(true).patience(Duration::from_millis(20)).take();
                black_box(dump.to_string());
            }
        });
        // Too fast a machine has nobody who keeps a hub for long.
        let until_told = move || {
            while reports.load(Ordering::SeqCst) == 0 {
                allocates(1);
            }
        };
        spawn(until_told).join().unwrap();
        for thread in threads {
            let (expected, done) = thread.join().unwrap();
            assert_eq!(done, expected);
        }
        dumps.join().unwrap();
        detector.stop();
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}
