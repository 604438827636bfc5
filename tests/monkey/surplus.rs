//! Thread-local variables that were of use in a burst of green threads only.

use std::cell::Cell;
use std::fs;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use greenloop::event::Event;
use greenloop::{sleep, spawn, yield_now};

use crate::support::{open_files, resident_bytes};
use crate::{in_a_child, patched};

const COUNT: usize = 3000;

/// How many are kept for good.
const KEPT: usize = 1024;

/// What each leaves with its allocator, which has a cache for each thread.
const CACHED: [usize; 7] = [1000; 7];

/// So many isolated green threads at once, each with something in its own variables, and in its allocator's.
fn burst() {
    let event = Arc::new(Event::new());
    let began = Rc::new(Cell::new(0));
    let tasks: Vec<_> = (0..COUNT)
        .map(|number| {
            let (event, began) = (event.clone(), began.clone());
            spawn(move || {
                let cached = CACHED.map(|size| {
                    // SAFETY: takes no pointers.
                    let memory = unsafe { libc::malloc(size) };
                    // SAFETY: it was just allocated, and is as large.
                    unsafe { memory.cast::<u8>().write_bytes(number as u8, size) };
                    black_box(memory)
                });
                // SAFETY: allocated above.
                cached.into_iter().for_each(|memory| unsafe { libc::free(memory) });
                began.set(began.get() + 1);
                event.wait();
                number
            })
        })
        .collect();
    while began.get() < COUNT {
        yield_now();
    }
    event.set();
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.join().unwrap(), number);
    }
}

fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

fn os_threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// Each takes two pages at least, beside what its allocator has cached. What was taken down leaves nothing behind.
#[test]
fn variables_that_are_of_no_use_any_more_are_taken_down() {
    in_a_child("surplus::variables_that_are_of_no_use_any_more_are_taken_down", || {
        println!("begins");
        patched(|| {
            let threads = os_threads();
            burst();
            let (most, maps, files) = (resident_bytes(), mappings(), open_files());
            let goal = most - (COUNT - KEPT - 100) * 2 * 4096;
            let until = |is_so: &dyn Fn() -> bool| {
                let start = Instant::now();
                while !is_so() {
                    assert!(start.elapsed() < Duration::from_secs(20), "{} of {most}", resident_bytes());
                    sleep(Duration::from_millis(20));
                }
            };
            until(&|| resident_bytes() < goal);
            burst();
            let again = resident_bytes();
            assert!(again < most + most / 10, "{again} after {most}");
            // An allocator may have some for each of several arenas.
            assert!(mappings() < maps + 100, "{} after {maps}", mappings());
            assert_eq!(open_files(), files);
            // One that has been joined is there for a moment more.
            until(&|| os_threads() <= threads);
        });
    });
}
