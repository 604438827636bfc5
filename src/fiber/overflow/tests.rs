use std::hint;

use corosensei::{Coroutine, Yielder};

use super::*;
use crate::fiber::stack::{SizeClass, Stack};
use crate::sys::signal::tests::{in_child, overflow};

const SIGABRT: i32 = 6;
const SIGSEGV: i32 = 11;

fn overflow_a_coroutine() {
    let stack = Stack::allocate(SizeClass::fitting(100_000).unwrap()).unwrap();
    let run = |_: &Yielder<(), ()>, ()| assert_ne!(overflow(0), 0);
    Coroutine::with_stack(stack, run).resume(());
}

#[test]
fn the_report_names_the_green_thread_its_size_and_its_place() {
    let ended = in_child(|| {
        static PLACE: &Location<'static> = Location::caller();
        // SAFETY: passes on what is static.
        unsafe { set_describe(|tell| tell(Some("greedy"), PLACE)) };
        eprintln!("{PLACE}");
        overflow_a_coroutine();
    });
    ended.assert_signal(SIGABRT);
    let (place, report) = ended.stderr.split_once('\n').unwrap();
    assert!(place.starts_with("src/fiber/overflow/tests.rs:"));
    assert_eq!(
        report,
        format!(
            "\ngreen thread 'greedy' has overflowed its stack (128 KiB, spawned at {place})\n\
             fatal runtime error: stack overflow, aborting\n"
        )
    );
}

#[test]
fn the_report_of_one_without_a_name_says_so() {
    let ended = in_child(|| {
        // SAFETY: passes on what is static.
        unsafe { set_describe(|tell| tell(None, Location::caller())) };
        overflow_a_coroutine();
    });
    ended.assert_signal(SIGABRT);
    assert!(ended.stderr.contains("green thread '<unnamed>' has overflowed its stack (128 KiB, spawned at "));
}

#[test]
fn an_overflow_that_nobody_can_describe_is_reported() {
    let ended = in_child(|| {
        // SAFETY: does nothing.
        unsafe { set_describe(|_| ()) };
        overflow_a_coroutine();
    });
    ended.assert_signal(SIGABRT);
    assert_eq!(
        ended.stderr,
        "\ngreen thread '<unnamed>' has overflowed its stack (128 KiB)\n\
         fatal runtime error: stack overflow, aborting\n"
    );
}

#[test]
fn an_overflow_on_another_thread_is_reported() {
    let ended = in_child(|| {
        let thread = std::thread::spawn(|| {
            signal::ensure_alternate_stack().unwrap();
            overflow_a_coroutine();
        });
        thread.join().unwrap();
    });
    ended.assert_signal(SIGABRT);
    assert!(ended.stderr.contains("has overflowed its stack (128 KiB)"));
}

#[test]
fn another_fault_ends_the_process_as_ever() {
    let ended = in_child(|| {
        let stack = Stack::allocate(SizeClass::default_now()).unwrap();
        let run = |_: &Yielder<(), ()>, ()| {
            let nowhere = hint::black_box(8 as *const u8);
            // SAFETY: none; the fault is the purpose.
            hint::black_box(unsafe { nowhere.read_volatile() });
        };
        Coroutine::with_stack(stack, run).resume(());
    });
    if !ended.by_sanitizer() {
        ended.assert_signal(SIGSEGV);
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn an_overflow_of_the_threads_own_stack_stays_std_s() {
    let ended = in_child(|| {
        drop(Stack::allocate(SizeClass::default_now()).unwrap());
        hint::black_box(overflow(0));
    });
    if ended.by_sanitizer() {
        return;
    }
    ended.assert_signal(SIGABRT);
    assert!(ended.stderr.starts_with("\nthread '"), "{}", ended.stderr);
    assert!(ended.stderr.contains("has overflowed its stack\n"), "{}", ended.stderr);
}

#[test]
fn all_of_a_guard_and_nothing_else_is_an_overflow() {
    let (start, slot, guard) = (1 << 20, 160 << 10, 96 << 10);
    let end = start + 4 * slot;
    watch(start..end, slot, guard);
    assert_eq!(guarded_stack(start - 1), None);
    for low in (start..end).step_by(slot) {
        assert_eq!(guarded_stack(low), Some(slot - guard));
        assert_eq!(guarded_stack(low + guard - 1), Some(slot - guard));
        assert_eq!(guarded_stack(low + guard), None);
        assert_eq!(guarded_stack(low + slot - 1), None);
    }
    assert_eq!(guarded_stack(end), None);
}

#[test]
fn numbers_are_decimal() {
    let mut digits = [0; DIGITS];
    assert_eq!(&*decimal(0, &mut digits), b"0");
    assert_eq!(&*decimal(1_048_576, &mut digits), b"1048576");
    assert_eq!(&*decimal(usize::MAX, &mut digits), usize::MAX.to_string().as_bytes());
}
