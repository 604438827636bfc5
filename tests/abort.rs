//! What ends the process, in child processes: a green thread that overflows its stack, and faults that are none.

mod support;

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use greenloop::greenlet::{Greenlet, main};
use greenloop::{Builder, spawn, yield_now};
use support::{Finished, run_child};

const LIMIT: Duration = Duration::from_secs(60);
const SIGABRT: i32 = 6;

/// Uses up whatever stack it runs on.
#[expect(unconditional_recursion, reason = "that is its purpose")]
fn overflow(depth: usize) -> usize {
    black_box([depth; 64]);
    overflow(depth + 1) + black_box(1)
}

/// The child has printed the place of the spawn to standard output.
fn assert_overflow(child: &Finished, name: &str, kib: usize) {
    assert_eq!(child.status.signal(), Some(SIGABRT), "{child:?}");
    let place = child.stdout.lines().find(|line| line.starts_with(file!())).expect("the place");
    let expected = format!(
        "\ngreen thread '{name}' has overflowed its stack ({kib} KiB, spawned at {place})\n\
         fatal runtime error: stack overflow, aborting\n"
    );
    assert_eq!(child.stderr, expected);
}

#[test]
fn an_overflow_names_the_green_thread_its_size_and_its_place() {
    let Some(child) = run_child(LIMIT, || {
        let greedy = Builder::new().name("greedy").stack_size(40_000).spawn(|| overflow(0)).unwrap();
        println!("\n{}", greedy.spawned_at());
        drop(greedy.join());
    }) else {
        return;
    };
    assert_overflow(&child, "greedy", 64);
}

#[test]
fn an_overflow_of_one_without_a_name_or_a_size_of_its_own_tells_its_place() {
    let Some(child) = run_child(LIMIT, || {
        let greedy = spawn(|| overflow(0));
        println!("\n{}", greedy.spawned_at());
        drop(greedy.join());
    }) else {
        return;
    };
    assert_overflow(&child, "<unnamed>", if cfg!(debug_assertions) { 512 } else { 128 });
}

#[test]
fn the_one_that_overflows_is_named_among_many() {
    let Some(child) = run_child(LIMIT, || {
        let tasks: Vec<_> = (0..100)
            .map(|number| {
                let run = move || {
                    yield_now();
                    if number == 42 { overflow(0) } else { number }
                };
                Builder::new().name(format!("number {number}")).spawn(run).unwrap()
            })
            .collect();
        tasks.into_iter().for_each(|task| drop(task.join()));
    }) else {
        return;
    };
    assert_eq!(child.status.signal(), Some(SIGABRT), "{child:?}");
    assert!(child.stderr.starts_with("\ngreen thread 'number 42' has overflowed its stack ("), "{child:?}");
}

#[test]
fn a_greenlet_may_overflow_too() {
    let Some(child) = run_child(LIMIT, || {
        let greenlet = Greenlet::with_stack_size(100_000, |depth: usize| overflow(depth)).unwrap();
        drop(greenlet.switch(0));
    }) else {
        return;
    };
    assert_eq!(child.status.signal(), Some(SIGABRT), "{child:?}");
    assert!(child.stderr.contains("has overflowed its stack (128 KiB"), "{child:?}");
}

#[test]
fn the_end_of_a_chain_may_overflow_too() {
    let Some(child) = run_child(LIMIT, || {
        let resumer = Builder::new().name("resumer").stack_size(40_000).spawn(|| {
            let greedy = Greenlet::with_stack_size(100_000, |depth: usize| overflow(depth)).unwrap();
            let between = Greenlet::new(move |depth| greedy.switch(depth).unwrap());
            between.switch(0).unwrap()
        });
        drop(resumer.unwrap().join());
    }) else {
        return;
    };
    assert_eq!(child.status.signal(), Some(SIGABRT), "{child:?}");
    assert!(child.stderr.contains("green thread '<unnamed>' has overflowed its stack (128 KiB"), "{child:?}");
}

#[test]
fn one_in_between_may_overflow_when_it_goes_on() {
    let Some(child) = run_child(LIMIT, || {
        let last = Greenlet::new(|value: usize| main().switch(value).unwrap());
        let between = Greenlet::with_stack_size(100_000, move |depth| {
            last.switch(depth).unwrap();
            overflow(depth)
        });
        let between = between.unwrap();
        // Main goes on, past the one in between.
        assert_eq!(between.switch(1).unwrap(), 1);
        drop(between.switch(2));
    }) else {
        return;
    };
    assert_eq!(child.status.signal(), Some(SIGABRT), "{child:?}");
    assert!(child.stderr.contains("has overflowed its stack (128 KiB"), "{child:?}");
}

#[test]
fn an_overflow_of_an_os_thread_is_reported_as_ever() {
    let Some(child) = run_child(LIMIT, || {
        spawn(|| ()).join().unwrap();
        black_box(overflow(0));
    }) else {
        return;
    };
    if child.stderr.contains("AddressSanitizer") {
        return;
    }
    assert_eq!(child.status.signal(), Some(SIGABRT), "{child:?}");
    assert!(child.stderr.starts_with("\nthread '"), "{child:?}");
    assert!(child.stderr.contains(" has overflowed its stack\n"), "{child:?}");
}
