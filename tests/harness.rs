//! The test support tested: a bound that is not kept, a file left open, a scenario that fails and a test that would not run in many orders are
//! all noticed.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use support::{Random, is_chosen, leaves_nothing_open, run_child, within};
#[cfg(feature = "monkey")]
use support::{finish, in_any_order, this_program};

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

/// How each test of a file runs that has something to order: in any order, once and why, with each driver; or alone, for who spawns nobody
/// has no order. `None` is none of them.
fn ways(text: &str) -> Vec<(String, Option<String>)> {
    let items: Vec<&str> = text.split("\n}\n").collect();
    let name = |item: &str| Some(item.split_once("\nfn ")?.1.split(['(', '<']).next()?.to_owned());
    let own = |item: &str| {
        if item.contains("in_any_order(LIMIT") || item.contains("in_a_world(LIMIT") {
            return Some("in any order".to_owned());
        }
        let why = item.split_once("once(LeftOut::")?.1;
        Some(why.split(',').next()?.to_owned())
    };
    let is_test = |item: &str| item.contains("#[test]");
    let helpers: Vec<(String, String)> = items
        .iter()
        .filter(|item| !is_test(item))
        .filter_map(|item| Some((name(item)?, own(item)?)))
        .collect();
    let way = |item: &str| {
        let helped = |(helper, _): &&(String, String)| {
            item.contains(&format!(" {helper}(")) || item.contains(&format!(" {helper}::<"))
        };
        let alone = || (!item.contains("spawn")).then(|| "alone".to_owned());
        own(item).or_else(|| helpers.iter().find(helped).map(|(_, way)| way.clone())).or_else(alone)
    };
    let mut ways: Vec<_> =
        items.iter().filter(|item| is_test(item)).filter_map(|item| Some((name(item)?, way(item)))).collect();
    let with_drivers = text.split_once("each_driver! {").map_or("", |(_, functions)| functions);
    let functions = with_drivers.split("\n    fn ").skip(1);
    ways.extend(functions.map(|function| {
        (function.split('(').next().unwrap_or("").to_owned(), Some("with each driver".to_owned()))
    }));
    ways
}

#[test]
fn a_test_that_waits_runs_in_any_order_or_says_why_not() {
    // Beside nobody who counts the files that are open.
    within(LIMIT, || {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let folders = ["sync", "channel", "queue", "select", "pool"];
        let files = folders.iter().flat_map(|folder| fs::read_dir(tests.join(folder)).unwrap());
        let files = files.map(|file| file.unwrap().path()).chain([tests.join("event.rs")]);
        let (mut counts, mut lost, mut found) = (BTreeMap::<String, usize>::new(), Vec::new(), 0);
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            found += text.matches("#[test]").count();
            for (test, way) in ways(&text) {
                match way {
                    Some(way) => *counts.entry(way).or_default() += 1,
                    None => lost.push(format!("{}: {test}", file.display())),
                }
            }
        }
        println!("{counts:?}");
        assert!(lost.is_empty(), "neither in any order nor left out: {lost:#?}");
        let drivers = counts.remove("with each driver").unwrap();
        assert_eq!(
            counts.values().sum::<usize>(),
            found,
            "a test was not seen, beside {drivers} with each driver"
        );
    });
}

#[test]
fn ways_of_tests_are_told_apart() {
    let text = "\nfn hammer() {\n in_any_order(LIMIT, x)\n}\n#[test]\nfn a() {\n hammer(1);\n}\n#[test]\nfn b() {\n once(LeftOut::HubOrder, LIMIT, x)\n}\n\
        #[test]\nfn c() {\n spawn(x)\n}\n#[test]\nfn d() {\n x\n}\neach_driver! {\n    fn e() {\n    }\n}\n";
    let ways = ways(text);
    let ways: Vec<_> = ways.iter().map(|(name, way)| (name.as_str(), way.as_deref())).collect();
    let expected = [
        ("a", Some("in any order")),
        ("b", Some("HubOrder")),
        ("c", None),
        ("d", Some("alone")),
        ("e", Some("with each driver")),
    ];
    assert_eq!(ways, expected);
}

/// It fails in one order of two, which is not the order of arrival.
#[test]
#[cfg(feature = "monkey")]
fn an_order_that_fails_is_told_and_can_be_seen_again() {
    const MARK: &str = "GREENLOOP_TEST_CHILD";
    let race = || {
        in_any_order(LIMIT, || {
            let order = std::sync::Arc::new(Mutex::new(Vec::new()));
            let tasks = [1, 2].map(|number| {
                let order = order.clone();
                greenloop::spawn(move || {
                    greenloop::yield_now();
                    order.lock().unwrap().push(number);
                })
            });
            tasks.into_iter().for_each(|task| task.join().unwrap());
            assert_eq!(*order.lock().unwrap(), [1, 2], "the second was first");
        });
    };
    if std::env::var_os(MARK).is_some() {
        return race();
    }
    race();
    let run = |schedule: &str, value: &str| {
        let name = "an_order_that_fails_is_told_and_can_be_seen_again";
        let mut program = this_program();
        let program =
            program.args([name, "--exact", "--nocapture"]).env(MARK, "1").env("GREENLOOP_SEEDS", "100");
        let child = finish(program.env(schedule, value), LIMIT);
        assert_eq!(child.status.code(), Some(101), "{child:?}");
        child.stderr
    };
    let told = run("GREENLOOP_SEED", "3");
    let (_, schedule) = told.split_once("GREENLOOP_SCHEDULE=").expect("a schedule");
    let schedule = schedule.lines().next().unwrap();
    assert!(told.contains("runs of harness::"), "{told}");
    let again = run("GREENLOOP_SCHEDULE", schedule);
    assert!(again.contains("the second was first") && again.contains("It failed after 1 runs"), "{again}");
}
