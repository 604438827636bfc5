//! Child processes: a scenario of this test program, or another program.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::bounds::together;

/// Set in a child to the name of the test whose scenario it is to run.
const SCENARIO: &str = "GREENLOOP_TEST_SCENARIO";

/// Where the kernel cannot run this program: what does, by name.
const EMULATOR: &str = "GREENLOOP_TEST_EMULATOR";

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
    let child = finish(this_program().args([test, "--exact", "--nocapture"]).env(SCENARIO, test), limit);
    assert!(child.stdout.contains("running 1 test"), "no test is called {test}: {child:?}");
    Some(child)
}

/// This test binary once more.
pub(crate) fn this_program() -> Command {
    let program = std::env::current_exe().expect("the test binary's path");
    let Some(emulator) = std::env::var_os(EMULATOR) else { return Command::new(program) };
    let mut command = Command::new(emulator);
    command.arg(program);
    command
}

/// Runs `command` to its end. This is a bounded test of its own: it goes beside [`within`], not inside.
///
/// # Panics
///
/// Panics, having killed the process and those that it has forked, if it still runs when `limit` has passed.
pub(crate) fn finish(command: &mut Command, limit: Duration) -> Finished {
    let _together = together();
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

/// Whether the arguments choose a test, as std's harness understands them: by words that its name contains, and after `--skip` by one that
/// it does not.
pub(crate) fn is_chosen(arguments: &[String], name: &str) -> bool {
    let (mut words, mut skipped) = (Vec::new(), Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--skip" => skipped.extend(rest.next()),
            option if option.starts_with('-') => {}
            _ => words.push(argument),
        }
    }
    let contains = |word: &&String| name.contains(word.as_str());
    (words.is_empty() || words.iter().any(contains)) && !skipped.iter().any(contains)
}
