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

/// How many are kept for good.
const KEPT: usize = 1024;

/// What each leaves with its allocator, which has a cache for each thread.
const CACHED: [usize; 7] = [1000; 7];

/// So many isolated green threads at once, each with something in its own variables, and in its allocator's.
fn burst(count: usize, keys: &'static [libc::pthread_key_t]) {
    let event = Arc::new(Event::new());
    let began = Rc::new(Cell::new(0));
    let tasks: Vec<_> = (0..count)
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
                for &key in keys {
                    // SAFETY: a key.
                    assert!(unsafe { libc::pthread_getspecific(key) }.is_null());
                    // SAFETY: as above; nobody looks at the value.
                    assert_eq!(unsafe { libc::pthread_setspecific(key, (&raw const key).cast()) }, 0);
                }
                began.set(began.get() + 1);
                event.wait();
                number
            })
        })
        .collect();
    while began.get() < count {
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

fn until(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(20), "{} bytes", resident_bytes());
        sleep(Duration::from_millis(2));
    }
}

/// Each takes two pages at least, beside what its allocator has cached. What was taken down leaves nothing behind.
fn come_and_go(count: usize, keys: &'static [libc::pthread_key_t]) {
    burst(count, keys);
    let (most, maps, files) = (resident_bytes(), mappings(), open_files());
    let goal = most - (count - KEPT - 100) * 2 * 4096;
    until(|| resident_bytes() < goal);
    burst(count, keys);
    let again = resident_bytes();
    assert!(again < most + most / 10, "{again} after {most}");
    // An allocator may have some for each of several arenas.
    assert!(mappings() < maps + 100, "{} after {maps}", mappings());
    assert_eq!(open_files(), files);
}

#[test]
fn variables_that_are_of_no_use_any_more_are_taken_down() {
    in_a_child("surplus::variables_that_are_of_no_use_any_more_are_taken_down", || {
        println!("begins");
        patched(|| {
            let threads = os_threads();
            come_and_go(3000, &[]);
            // One that has been joined is there for a moment more.
            until(|| os_threads() <= threads);
        });
    });
}

/// The C library allocates memory for values of many keys, for each 32 by itself.
#[test]
fn so_are_those_with_values_under_many_keys() {
    in_a_child("surplus::so_are_those_with_values_under_many_keys", || {
        println!("begins");
        let make_key = |_| {
            let mut key = 0;
            // SAFETY: a place for a key, whose values have no destructor.
            assert_eq!(unsafe { libc::pthread_key_create(&mut key, None) }, 0);
            key
        };
        let keys: Vec<_> = (0..900).map(make_key).step_by(32).collect();
        patched(|| come_and_go(2000, keys.leak()));
    });
}
