//! What lies below a stack: large enough for what C puts there.
#![expect(unsafe_code, reason = "what functions of C do with their frames")]

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::ptr;
use std::rc::Rc;

use greenloop::event::Event;
use greenloop::{Builder, yield_now};

use super::LIMIT;
use super::support::{Finished, run_child};

const SIGABRT: i32 = 6;

/// Does what a C function with a frame of `size` bytes does, built without `-fstack-clash-protection`: touches the lowest first.
#[inline(never)]
fn call_c(size: usize) {
    let top = 0_u8;
    // By a number, for the compiler knows how large `top` is.
    let lowest = black_box((&raw const top).expose_provenance() - size);
    let lowest = ptr::with_exposed_provenance_mut::<u8>(lowest);
    // SAFETY: none; what becomes of it is the question.
    unsafe { lowest.write_volatile(1) };
}

/// Calls such a function on one of several stacks of a size that nobody else has.
fn call_c_beside_others(stack: usize, frame: usize) {
    let event = Rc::new(Event::new());
    let parked: Vec<_> = (0..8)
        .map(|_| {
            let event = event.clone();
            Builder::new().stack_size(stack).spawn(move || event.wait()).unwrap()
        })
        .collect();
    yield_now();
    let calling = Builder::new().name("calling").stack_size(stack).spawn(move || call_c(frame)).unwrap();
    println!("went on: {:?} beside {}", calling.join(), parked.len());
}

#[track_caller]
fn assert_reported(child: &Finished, kib: usize) {
    assert_eq!(child.status.signal(), Some(SIGABRT), "{child:?}");
    let report = format!("\ngreen thread 'calling' has overflowed its stack ({kib} KiB, spawned at ");
    assert!(child.stderr.starts_with(&report), "{child:?}");
}

#[test]
fn an_overflow_by_a_frame_larger_than_its_stack_is_reported() {
    let Some(child) = run_child(LIMIT, || call_c_beside_others(60_000, 150_000)) else { return };
    assert_reported(&child, 64);
}

#[test]
fn an_overflow_by_a_frame_at_the_end_of_the_smallest_stack_is_reported() {
    let Some(child) = run_child(LIMIT, || call_c_beside_others(10_000, 135_000)) else { return };
    assert_reported(&child, 16);
}

#[test]
fn an_overflow_by_a_frame_of_a_megabyte_on_a_large_stack_is_reported() {
    let Some(child) = run_child(LIMIT, || call_c_beside_others(4_000_000, 5_200_000)) else { return };
    assert_reported(&child, 4096);
}
