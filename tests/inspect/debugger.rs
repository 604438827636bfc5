//! The debuggers' commands for green threads, run by gdb and lldb.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, process};

use greenloop::channel::unbounded;
use greenloop::{Builder, sleep, yield_now};

use crate::support::finish;
use crate::{LIMIT, LONG};

/// Says that the test below is the process that gdb looks at.
const DEBUGGEE: &str = "GREENLOOP_TEST_DEBUGGEE";

#[inline(never)]
fn waits_for_a_value() {
    let (_sender, receiver) = unbounded::<u32>();
    assert!(receiver.recv().is_err());
}

#[inline(never)]
fn waits_below(depth: usize) -> usize {
    if depth == 0 {
        sleep(LONG);
        return 0;
    }
    std::hint::black_box(waits_below(depth - 1)) + 1
}

/// No test but where it is asked for: waits in two ways, and aborts.
#[test]
fn debuggee() {
    if env::var_os(DEBUGGEE).is_none() {
        return;
    }
    let _receiver = Builder::new().name("the receiver").spawn(waits_for_a_value).unwrap();
    let _sleeper = Builder::new().name("the sleeper").spawn(|| waits_below(5)).unwrap();
    yield_now();
    let _unnamed = greenloop::spawn(|| sleep(LONG));
    yield_now();
    process::abort();
}

fn gdb(program: &Path, arguments: &[&str], commands: &[&str]) -> String {
    let mut command = Command::new("gdb");
    command.args(["-batch", "-nx", "-iex", "set debuginfod enabled off"]);
    command.args(["-iex", "set auto-load safe-path /", "-iex", "set print thread-events off"]);
    // Where there is no debugging information, the program has no script in it.
    if !cfg!(debug_assertions) {
        command.args(["-x", concat!(env!("CARGO_MANIFEST_DIR"), "/debugger/greenloop.py")]);
    }
    command.args(commands.iter().flat_map(|command| ["-ex", command]));
    command.arg("--args").arg(program).args(arguments);
    let finished = finish(command.env(DEBUGGEE, "1"), LIMIT);
    finished.stdout + &finished.stderr
}

/// What `greenloop ps` says.
fn assert_listed(text: &str) {
    let line = |name: &str| {
        text.lines()
            .find(|line| line.ends_with(&format!("'{name}'")))
            .unwrap_or_else(|| panic!("{name}: {text}"))
    };
    let receiver = line("the receiver");
    assert!(receiver.contains("parked") && receiver.contains("Receiver::recv"), "{receiver}");
    assert!(receiver.contains("tests/inspect/debugger.rs:"), "{receiver}");
    assert!(line("the sleeper").contains("a sleep"), "{text}");
    assert!(line("main").contains("running") || line("main").contains("parked"), "{text}");
    assert!(line("<unnamed>").contains("a sleep"), "{text}");
    assert!(text.contains("there is no green thread 77"), "{text}");
}

/// What `greenloop ps` and `bt` say.
fn assert_told(text: &str) {
    assert_listed(text);
    assert_eq!(text.matches("debugger::waits_below").count(), 6, "{text}");
    assert_eq!(text.matches("debugger::waits_for_a_value").count(), 1, "{text}");
}

/// Debian's lldb looks for its part in Python in the wrong place.
fn pythons_path() -> OsString {
    let versions = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let llvm = versions
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("llvm-")));
    let folders = llvm.flat_map(|path| fs::read_dir(path.join("lib")).into_iter().flatten().flatten());
    let packages = folders.map(|folder| folder.path().join("dist-packages"));
    env::join_paths(packages.filter(|path| path.join("lldb").exists())).unwrap()
}

#[test]
fn lldb_lists_green_threads_of_a_process() {
    if cfg!(any(address_sanitizer, thread_sanitizer)) {
        println!("left out: not for sanitizers");
        return;
    }
    let lldb = |commands: &[&str]| {
        let mut command = Command::new("lldb");
        command.args(["--batch", "--no-lldbinit"]).env(DEBUGGEE, "1").env("PYTHONPATH", pythons_path());
        command.args(commands.iter().flat_map(|command| ["--one-line", command]));
        command.arg("--").arg(env::current_exe().unwrap());
        finish(command.args(["--exact", "debugger::debuggee", "--test-threads", "1"]), LIMIT)
    };
    if Command::new("lldb").arg("--version").output().is_err() {
        println!("left out: there is no lldb");
        return;
    }
    if !lldb(&["script print('with' + ' Python')"]).stdout.contains("\nwith Python") {
        println!("left out: this lldb has no Python");
        return;
    }
    let script = concat!("command script import ", env!("CARGO_MANIFEST_DIR"), "/debugger/greenloop.py");
    let finished = lldb(&[script, "run", "greenloop ps", "greenloop bt 77"]);
    let text = finished.stdout + &finished.stderr;
    if text.contains("Operation not permitted") {
        println!("left out: nobody may trace here");
        return;
    }
    assert_listed(&text);
}

#[test]
fn it_shows_green_threads_of_a_process_and_of_a_core_file() {
    if cfg!(any(address_sanitizer, thread_sanitizer)) || !cfg!(target_arch = "x86_64") {
        println!("left out: not for sanitizers, nor for other processors than x86_64");
        return;
    }
    if Command::new("gdb").arg("--version").output().is_err() {
        println!("left out: there is no gdb");
        return;
    }
    let program = env::current_exe().unwrap();
    let test = ["--exact", "debugger::debuggee", "--test-threads", "1"];
    let shows = ["greenloop ps", "greenloop bt all", "greenloop bt 77"];
    let text = gdb(&program, &test, &[&["run"][..], &shows[..]].concat());
    if text.contains("ptrace: Operation not permitted") {
        println!("left out: nobody may trace here");
    } else {
        assert_told(&text);
    }

    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("core-{}", process::id()));
    fs::create_dir_all(&folder).unwrap();
    let mut dying = Command::new("sh");
    dying.args(["-c", "ulimit -c unlimited && exec \"$0\" \"$@\""]).arg(&program).args(test);
    let status = finish(dying.current_dir(&folder).env(DEBUGGEE, "1"), LIMIT).status;
    // Where the kernel leaves it, and whether at all, is the machine's affair.
    let text = fs::read_dir(&folder).unwrap().next().map(|core| {
        let load = format!("core-file {}", core.unwrap().path().display());
        gdb(&program, &[], &[&[&*load][..], &shows[..]].concat())
    });
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(status.signal(), Some(6), "{status}");
    match text {
        Some(text) => assert_told(&text),
        None => println!("left out: the kernel leaves no core file in the working folder"),
    }
}
