//! Processes that run closures, channels between them, and what is built of that. Each test has the number that the behaviour has in the
//! list of CPython's tests which it follows, where it is one of those.
//!
//! A process with other OS threads is not forked, so each test runs on the main thread of a child process, which is this program again. The
//! test harness would bring threads of its own, hence `harness = false`. A test has failed too if it leaves a child, a zombie or a
//! descriptor.

#![expect(unsafe_code, reason = "signals to raise and numbers of descriptors")]

#[path = "../support/mod.rs"]
mod support;

/// Hostile use.
mod attacks;
/// Buffers to receive into.
mod buffers;
/// Channels between processes.
mod channels;
/// Many jobs for one worker.
mod crowds;
/// Functions that a manager shares.
mod functions;
/// Bytes that no value has made.
mod hostile;
/// One job of a pool.
mod jobs;
/// Who may use a manager, and what becomes of bytes that nobody has meant.
mod manager_access;
/// What goes wrong between a manager and its clients, and whom that concerns.
mod manager_faults;
/// Locks and the like that a manager keeps.
mod manager_locks;
/// Things that a manager keeps for several processes.
mod managers;
/// Pools of processes.
mod pools;
/// As much as there may be, and too little.
mod shortage;
/// Starting, joining, killing.
mod start;
/// The zygote.
mod zygotes;

use std::fs;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::io::pipe;
use greenloop::process::{Process, active_children};
use greenloop::{sleep, spawn, with_timeout};
use support::open_files;

const LIMIT: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(3600);
const AT_ONCE: usize = 3;
/// What tells the child which test is its own.
const CHILD: &str = "--scenario";

/// A name, what the child does, and what its standard error has to hold.
type Test = (&'static str, fn(), &'static str);

/// The tests of a module: each function, and what is to be told on the standard error, if anything.
macro_rules! tests {
    ($($name:ident $(tells $text:literal)?,)*) => {
        pub(crate) const TESTS: &[crate::Test] =
            &[$((concat!(module_path!(), "::", stringify!($name)), $name, concat!("" $(, $text)?))),*];
    };
}
pub(crate) use tests;

/// The numbers of that list which no test here has in its name.
const ELSEWHERE: &[(u32, &str)] = &[
    (9, "a `Process` has been started, and there is nothing that could be started twice"),
    (13, "there is no closing: see `dropped_handles_leave_no_zombie`"),
    (24, "a `Receiver` has no `send`, and a `Sender` neither `recv` nor `poll`"),
    (59, "`prefork`: `a_number_that_was_given_again_is_not_the_holder`"),
    (62, "`prefork`: `memory_is_in_pages_zeroed_and_bounded`"),
    (63, "`prefork`: `nothing_is_left_when_all_are_killed`"),
    (64, "`prefork`: `a_descriptor_is_enough_and_its_end_deletes_nothing`"),
];

/// Each number has its test.
fn assert_none_is_missing(all: &[Test]) {
    let is_tested = |number: u32| {
        let begin = format!("::n{number:02}_");
        all.iter().any(|(name, ..)| name.contains(&begin))
    };
    let is_elsewhere = |number| ELSEWHERE.iter().any(|(known, _)| *known == number);
    let wrong: Vec<u32> = (1..=84).filter(|&number| is_tested(number) == is_elsewhere(number)).collect();
    assert_eq!(wrong, []);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let all = [
        attacks::TESTS,
        buffers::TESTS,
        channels::TESTS,
        crowds::TESTS,
        functions::TESTS,
        hostile::TESTS,
        jobs::TESTS,
        manager_access::TESTS,
        manager_faults::TESTS,
        manager_locks::TESTS,
        managers::TESTS,
        pools::TESTS,
        shortage::TESTS,
        start::TESTS,
        zygotes::TESTS,
    ]
    .concat();
    if let [CHILD, name] = &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        let (_, run, _) = all.iter().find(|(test, ..)| test == name).expect("a test");
        return leaves_nothing(run);
    }
    assert_none_is_missing(&all);
    let chosen: Vec<_> = all.iter().filter(|(name, ..)| support::is_chosen(&arguments, name)).collect();
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(test) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    failed.fetch_add(usize::from(!passes(test)), Ordering::Relaxed);
                }
            });
        }
    });
    let failed = failed.into_inner();
    println!("{} passed, {failed} failed", chosen.len() - failed);
    assert_eq!(failed, 0, "tests failed");
}

fn passes((name, _, tells): &Test) -> bool {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.args([CHILD, name]).env("RUST_BACKTRACE", "0");
    let passed = catch_unwind(AssertUnwindSafe(|| {
        let child = support::finish(&mut command, LIMIT);
        assert!(child.status.success() && child.stdout.is_empty(), "{child:?}");
        match tells.is_empty() {
            true => assert_eq!(child.stderr, ""),
            false => assert_eq!(child.stderr.matches(tells).count(), 1, "{child:?}"),
        }
    }));
    let name = name.split_once("::").map_or(*name, |(_, name)| name);
    println!("test {name} ... {}", if passed.is_ok() { "ok" } else { "FAILED" });
    passed.is_ok()
}

/// Runs `run`, and sees to it that no more is there than before.
fn leaves_nothing(run: &fn()) {
    // What a process has once. A wait for a descriptor, since the time of a sleep may be over before the hub has to look at any.
    let (mut reader, writer) = pipe().unwrap();
    assert!(with_timeout(Duration::from_millis(1), || reader.read(&mut [0])).is_err());
    drop((reader, writer));
    spawn(|| sleep(Duration::from_millis(1))).join().unwrap();
    Process::start(|| ()).unwrap().join().unwrap();
    let before = open_files();
    run();
    until("no child is left", || {
        active_children();
        fs::read_to_string("/proc/thread-self/children").unwrap().is_empty()
    });
    // What ends by itself has its time.
    let end = Instant::now() + Duration::from_secs(5);
    while open_files() != before && Instant::now() < end {
        sleep(Duration::from_millis(1));
    }
    assert_eq!(open_files(), before, "descriptors are left");
}

/// A number that the environment may say: see `tests/README.md`.
fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Waits until `condition` holds.
fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        sleep(Duration::from_millis(1));
    }
}

/// A process that lasts.
fn sleeper() -> Process<()> {
    Process::start(|| sleep(LONG)).unwrap()
}
