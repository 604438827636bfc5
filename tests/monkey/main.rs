//! Unmodified blocking code under `patch_all`: std's own types, and C calls as a C library makes them.

#![expect(unsafe_code, reason = "C calls, as a C library makes them")]

#[macro_use]
mod said;
#[path = "../support/shared_library.rs"]
mod shared_library;
#[path = "../support/mod.rs"]
mod support;

mod coverage;
mod cplusplus;
mod differential;
mod early;
mod files;
mod handlers;
mod hosts;
mod identity;
mod interruption;
mod isolation;
mod library;
mod locks;
mod modes;
mod mutexes;
mod odd;
mod pause;
mod persistence;
mod posix_locks;
mod process;
mod record_locks;
mod select;
mod sigwait;
mod socket;
mod streams;
mod surplus;
mod time;
/// In the world of a test.
mod worlds;
mod worlds_faults;
mod worlds_random;
mod worlds_strangers;
mod worlds_threads;

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use greenloop::monkey::patch_all;
use support::within;

const LIMIT: Duration = Duration::from_secs(60);

/// Runs `run` on an OS thread of its own, patched.
fn patched<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    patch_all();
    within(LIMIT, run)
}

/// Runs `run` in a process of its own, in which nothing is patched: this program again, with the one test `name`, which calls
/// this. What it prints is returned here.
fn in_a_child(name: &str, run: impl FnOnce()) -> Vec<u8> {
    const MARK: &str = "GREENLOOP_TEST_CHILD";
    if std::env::var_os(MARK).is_some() {
        run();
        return Vec::new();
    }
    let mut child = support::this_program()
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    // Late, so that what it prints fills the pipe meanwhile.
    let mut printed = Vec::new();
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0]).expect("it prints something");
    std::thread::sleep(Duration::from_millis(100));
    stdout.read_to_end(&mut printed).expect("it prints text");
    assert!(child.wait().expect("its status").success(), "{}", String::from_utf8_lossy(&printed));
    printed
}

/// Runs `run` in a green thread while another one counts how often it could run, which it asserts to be more than once: the
/// OS thread was not stopped.
fn yields<T: 'static>(run: impl FnOnce() -> T + 'static) -> T {
    let turns = std::rc::Rc::new(std::cell::Cell::new(0));
    let count = turns.clone();
    let counter = greenloop::spawn(move || {
        loop {
            count.set(count.get() + 1);
            // At first as soon as it can: a wait may be short, and the machine slow.
            if count.get() < 10 {
                greenloop::yield_now();
            } else {
                greenloop::sleep(Duration::from_millis(1));
            }
        }
    });
    let value = greenloop::spawn(run).join().expect("no panic");
    counter.kill();
    assert!(turns.get() > 1, "the OS thread was stopped");
    value
}
