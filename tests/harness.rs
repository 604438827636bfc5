//! The test support tested: a bound that is not kept, a file left open and a scenario that fails are all noticed.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use support::{Random, is_chosen, leaves_nothing_open, run_child, within};

const LIMIT: Duration = Duration::from_secs(20);

fn message(run: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("a panic");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast::<&str>().expect("a panic with a text").to_string(),
    }
}

#[test]
fn a_value_and_a_panic_come_back() {
    assert_eq!(within(LIMIT, || 7), 7);
    assert_eq!(message(|| within(LIMIT, || panic!("inside"))), "inside");
}

#[test]
fn arguments_choose_as_in_the_standard_harness() {
    let chosen = |arguments: &str| {
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        ["one", "two", "twofold"].map(|name| is_chosen(&arguments, name))
    };
    assert_eq!(chosen(""), [true; 3]);
    assert_eq!(chosen("--nocapture"), [true; 3]);
    assert_eq!(chosen("two"), [false, true, true]);
    assert_eq!(chosen("one fold"), [true, false, true]);
    assert_eq!(chosen("--skip one"), [false, true, true]);
    assert_eq!(chosen("two --skip fold --skip one"), [false, true, false]);
}

#[test]
fn a_bound_that_is_not_kept_fails() {
    let (open, never) = channel::<()>();
    let never = Mutex::new(never);
    let text = message(|| {
        within(Duration::from_millis(20), move || {
            let _ = never.lock().unwrap().recv();
        })
    });
    assert_eq!(text, "still running after 20ms");
    drop(open);
}

#[test]
fn a_file_left_open_is_noticed() {
    let kept = std::sync::Arc::new(Mutex::new(Vec::new()));
    let keep = std::sync::Arc::clone(&kept);
    let text = message(|| {
        leaves_nothing_open(LIMIT, move || {
            keep.lock().unwrap().push(std::fs::File::open("/dev/null").unwrap())
        })
    });
    assert!(text.contains("files left open"), "{text}");
    leaves_nothing_open(LIMIT, || drop(std::fs::File::open("/dev/null").unwrap()));
}

#[test]
fn a_child_runs_its_scenario_alone() {
    let Some(child) = run_child(LIMIT, || {
        println!("said here");
        eprintln!("said there");
        std::process::exit(3);
    }) else {
        return;
    };
    assert_eq!(child.status.code(), Some(3));
    assert!(child.stdout.contains("said here"), "{child:?}");
    assert_eq!(child.stderr, "said there\n");
}

#[test]
fn a_child_that_does_not_end_is_killed() {
    let text = message(|| {
        // Only the parent comes back from `run_child` here, by its panic.
        run_child(Duration::from_millis(300), || {
            loop {
                std::thread::park();
            }
        });
    });
    assert!(text.starts_with("still running after 300ms"), "{text}");
}

#[test]
fn numbers_repeat_and_keep_their_range() {
    let mut one = Random::new(1);
    let mut other = Random::new(1);
    assert!((0..1000).all(|_| one.next() == other.next()));
    let mut seen = [false; 10];
    (0..1000).for_each(|_| seen[one.below(10)] = true);
    assert_eq!(seen, [true; 10]);
}
