//! What every test binary uses: a bound in time, a count of what is left over, a seeded generator, a child process.

#![allow(dead_code, reason = "each test binary takes what it needs")]

pub(crate) mod conveyor;
pub(crate) mod hammer;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

/// Held for reading by each bounded test, for writing by one that counts what the whole process has open.
static ALONE: RwLock<()> = RwLock::new(());

/// Runs `run` on a fresh OS thread, hence with a fresh hub, and returns its value; its panic becomes the caller's.
///
/// # Panics
///
/// Panics if `run` has not returned when `limit` has passed. Its thread is then left behind.
pub(crate) fn within<T: Send + 'static>(limit: Duration, run: impl FnOnce() -> T + Send + 'static) -> T {
    let _together = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    bounded(limit, run)
}

/// Runs `run` as [`within`] does, with no other bounded test beside it, and then asserts that the process has the files
/// open that it had before. A first run, uncounted, opens what the process keeps for good.
pub(crate) fn leaves_nothing_open(limit: Duration, run: impl Fn() + Send + Sync + 'static) {
    let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    let run = Arc::new(run);
    let again = Arc::clone(&run);
    bounded(limit, move || run());
    let before = open_files();
    bounded(limit, move || again());
    assert_eq!(open_files(), before, "files left open, or closed that were not its own");
}

fn bounded<T: Send + 'static>(limit: Duration, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, finished) = channel();
    let name = thread::current().name().unwrap_or("test").to_owned();
    let runner = thread::Builder::new().name(name).spawn(move || {
        let value = run();
        let _ = sender.send(());
        value
    });
    let runner = runner.expect("an OS thread for the test");
    match finished.recv_timeout(limit) {
        // Disconnected: `run` panicked, and dropped the sender while it unwound.
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {
            runner.join().unwrap_or_else(|panic| resume_unwind(panic))
        }
        Err(RecvTimeoutError::Timeout) => panic!("still running after {limit:?}"),
    }
}

/// Has the errors that no one can receive collected here, for the whole process: for a test that is a child process.
pub(crate) fn collect_uncaught() -> Arc<Mutex<Vec<String>>> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    greenloop::hub::set_uncaught_hook(Some(Arc::new(move |uncaught| {
        log.lock().unwrap().push(uncaught.to_string());
    })));
    told
}

/// Spawns, and lets it run until it waits.
pub(crate) fn spawn_parked<T: 'static>(run: impl FnOnce() -> T + 'static) -> greenloop::JoinHandle<T> {
    let task = greenloop::spawn(run);
    greenloop::idle();
    assert!(!task.is_finished(), "it was to wait");
    task
}

/// Keeps the OS thread until `deadline` is past, so that the hub finds all that was due before at once.
pub(crate) fn block_past(deadline: Instant) {
    thread::sleep(deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
}

/// Two deadlines of which the first is due before the second, and both after everybody has parked, on a busy machine too.
pub(crate) fn two_deadlines() -> (Instant, Instant) {
    let first = Instant::now() + Duration::from_millis(250);
    (first, first + Duration::from_millis(5))
}

/// An OS thread that ends while a green thread of its waits; that one never runs again.
pub(crate) fn end_with_one_parked(wait: impl FnOnce() + Send + 'static) {
    thread::spawn(|| drop(spawn_parked(wait))).join().unwrap();
}

/// Every open file descriptor of this process with what it refers to.
pub(crate) fn open_files() -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    let files = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        // The descriptor of this very listing is gone or shows its own directory.
        let target = fs::read_link(entry.path()).ok()?;
        let listing = target.starts_with("/proc") && target.ends_with("fd");
        (!listing).then(|| (entry.file_name().to_string_lossy().into_owned(), target))
    });
    files.collect()
}

/// Resident memory of this process, in bytes.
pub(crate) fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
    let pages: usize =
        statm.split(' ').nth(1).and_then(|field| field.parse().ok()).expect("statm's second field");
    pages * 4096
}

/// Numbers that look random and are the same in every run: xorshift64*.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.max(1))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number from 0 up to `end`, not included.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        // The high half of the product: no modulo, whose low bits are the weak ones.
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}

/// Set in a child to the name of the test whose scenario it is to run.
const SCENARIO: &str = "GREENLOOP_TEST_SCENARIO";

/// How a child process ended and what it said.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `scenario` in a process of its own: this test binary again, with the calling test alone.
///
/// In that child the call runs the scenario and returns `None`, and the test must return too; in the parent it returns
/// how the child ended. The closure stands in the test function itself, since its type tells the test's name.
///
/// ```ignore
/// let Some(child) = run_child(Duration::from_secs(10), || std::process::abort()) else { return };
/// assert!(!child.status.success());
/// ```
pub(crate) fn run_child<S: FnOnce()>(limit: Duration, scenario: S) -> Option<Finished> {
    let closure = std::any::type_name::<S>();
    let (_crate_name, path) = closure.split_once("::").expect("a closure has a path");
    let test = path.trim_end_matches("::{{closure}}");
    if std::env::var(SCENARIO).as_deref() == Ok(test) {
        scenario();
        return None;
    }
    let mut command = Command::new(std::env::current_exe().expect("the test binary's path"));
    command.args([test, "--exact", "--nocapture"]).env(SCENARIO, test);
    let child = finish(&mut command, limit);
    assert!(child.stdout.contains("running 1 test"), "no test is called {test}: {child:?}");
    Some(child)
}

/// Runs `command` to its end. This is a bounded test of its own: it goes beside [`within`], not inside.
///
/// # Panics
///
/// Panics, having killed the process and those that it has forked, if it still runs when `limit` has passed.
pub(crate) fn finish(command: &mut Command, limit: Duration) -> Finished {
    let _together = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let deadline = Instant::now() + limit;
    // In a group of its own, since whoever has its pipes open keeps their readers waiting.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let status = wait(&mut child, deadline);
    let finished = |status| Finished {
        status,
        stdout: stdout.join().expect("the reader of a pipe"),
        stderr: stderr.join().expect("the reader of a pipe"),
    };
    match status {
        Some(status) => finished(status),
        None => {
            let group = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL)
                .expect("a group to kill");
            let status = child.wait().expect("a child to wait for");
            panic!("still running after {limit:?}: {command:?} {:?}", finished(status));
        }
    }
}

/// The program of an example, of whatever package. `cargo test` builds the examples beside the tests: `PROFILE/deps/TEST-HASH` is
/// this program.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test binary's path");
    let profile = test.parent().and_then(Path::parent).expect("two folders up");
    let program = profile.join("examples").join(name);
    assert!(
        program.exists(),
        "{name} is not built: `cargo test` builds the examples of the packages it tests, `cargo build --examples` those of all"
    );
    program
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    let mut pipe = pipe.expect("a piped child");
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe to read");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait().expect("a child to wait for") {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Makes each of the functions a module of three tests, `epoll`, `poll` and `io_uring`: the body runs as in [`within`], on a hub
/// that has that driver.
#[allow(unused_macros, reason = "each test binary takes what it needs")]
macro_rules! each_driver {
    ($($(#[$attribute:meta])* fn $name:ident() $body:block)*) => {
        $($(#[$attribute])* mod $name {
            use super::*;

            fn body() $body

            #[test]
            fn epoll() {
                $crate::support::with_driver(greenloop::hub::Driver::Epoll, body);
            }

            #[test]
            fn poll() {
                $crate::support::with_driver(greenloop::hub::Driver::Poll, body);
            }

            #[test]
            fn io_uring() {
                $crate::support::with_driver(greenloop::hub::Driver::IoUring, body);
            }
        })*
    };
}
#[allow(unused_imports, reason = "each test binary takes what it needs")]
pub(crate) use each_driver;

/// Longer than any test that uses a driver takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs `run` as [`within`] does, on a hub with this driver, if there is such a driver.
pub(crate) fn with_driver(driver: greenloop::hub::Driver, run: impl FnOnce() + Send + 'static) {
    {
        // It opens a file for a moment: not while another test counts them.
        let _together = ALONE.read().unwrap_or_else(PoisonError::into_inner);
        if !driver.is_available() {
            return println!("there is no {driver:?} here");
        }
    }
    within(LIMIT, move || {
        greenloop::hub::configure(greenloop::hub::Config::new().driver(driver)).expect("a fresh hub");
        run();
    });
}
