//! std's own tests of its sockets, processes, pipes, files, threads, thread-local variables, locks and channels, under `patch_all`: each
//! runs in an isolated green thread, and OS threads are at its other side.
//!
//! Each test has a hub of its own; with `GREENLOOP_STANDARD=one` they have one in common, at once, so that none may stop it. All else is
//! libtest's: its arguments, and what it prints. `RUSTC_BOOTSTRAP=standard` is needed, for std's tests use what is not stable.
//!
//! Not run are std's tests of what is private: `std/src/sys` (but those of processes), `std/src/sync/mpmc/tests.rs`, and
//! `std/src/os/unix/net/ucred/tests.rs`, which std itself does not compile. `std/tests/switch-stdout.rs` changes what the others print to.

#![feature(
    assert_matches,
    cfg_target_thread_local,
    core_io_borrowed_buf,
    custom_test_frameworks,
    dirfd,
    fs_set_times,
    internal_output_capture,
    io_error_more,
    io_error_uncategorized,
    lock_value_accessors,
    macro_metavar_expr_concat,
    mapped_lock_guards,
    mpmc_channel,
    nonpoison_condvar,
    nonpoison_mutex,
    nonpoison_rwlock,
    once_cell_try,
    oneshot_channel,
    peer_credentials_unix_socket,
    read_buf,
    read_buf_at,
    reentrant_lock,
    std_internals,
    sync_nonpoison,
    sync_poison_mod,
    tcp_deferaccept,
    tcp_linger,
    tcp_quickack,
    test,
    thread_sleep_until,
    unix_file_vectored_at,
    unix_mkfifo,
    unix_socket_ancillary_data,
    unix_socket_peek
)]
#![test_runner(crate::run)]
#![allow(unused, unexpected_cfgs, internal_features, static_mut_refs, stable_features, reason = "std's own")]

extern crate test;

use greenloop::channel;
use test::{DynTestFn, StaticTestFn, TestDescAndFn};

// Names of std's, as its own tests call them.
pub use std::*;

include!(concat!(env!("OUT_DIR"), "/tests.rs"));

/// What is private in std.
pub mod of_std {
    pub fn current_os_id() -> i32 {
        // SAFETY: no arguments.
        unsafe { libc::gettid() }
    }
}

pub mod os {
    pub use std::os::*;
    pub mod net {
        pub mod linux_ext {
            pub mod tcp {
                pub use std::os::linux::net::TcpStreamExt;
            }
        }
    }
}

/// What a test says.
type Said = Result<(), String>;

/// A test that waits for its green thread, and where it is to tell what it has said.
type Job = (fn() -> Said, std::sync::mpsc::Sender<thread::Result<Said>>);

/// Starts a hub on an OS thread of its own, which runs each test that it is sent in a green thread, all at once.
fn one_hub() -> channel::Sender<Job> {
    let (jobs, arriving) = channel::unbounded::<Job>();
    thread::spawn(move || {
        for (test, told) in arriving {
            greenloop::spawn(move || told.send(panic::catch_unwind(test)));
        }
    });
    jobs
}

/// Runs a test in a green thread: of `hub`, or of the calling OS thread's own.
fn run_green(test: fn() -> Said, hub: Option<&channel::Sender<Job>>) -> Said {
    let said = match hub {
        None => greenloop::spawn(move || panic::catch_unwind(test)).join().expect("it catches what unwinds"),
        Some(hub) => {
            let (told, said) = std::sync::mpsc::channel();
            hub.send((test, told)).expect("the hub lives");
            said.recv().expect("the test ends")
        }
    };
    said.unwrap_or_else(|payload| panic::resume_unwind(payload))
}

/// Tests that ask for an OS thread of their own: they count on waking within 5 ms.
const IN_TIME: &str = "stress_recv_timeout_two_threads";

/// Runs the tests by libtest's rules.
pub fn run(tests: &[&TestDescAndFn]) {
    // Two of them start this program again.
    let arguments: Vec<String> = env::args().collect();
    if env::var_os("I_AM_THE_CHILD").is_some() {
        return pipe_of_a_child::whole_program();
    }
    if arguments.get(1).is_some_and(|argument| argument == "child") {
        return;
    }
    let coverage = greenloop::monkey::patch_all();
    assert!(coverage.is_complete() && coverage.has_identities(), "{coverage}");
    let hub = env::var("GREENLOOP_STANDARD").is_ok_and(|hubs| hubs == "one").then(one_hub);
    let has_one_hub = hub.is_some();
    let in_green_threads = tests.iter().map(|given| {
        let StaticTestFn(test) = given.testfn else { unreachable!("all are functions") };
        let hub = hub.clone();
        let run = DynTestFn(Box::new(move || run_green(test, hub.as_ref())));
        let mut desc = given.desc.clone();
        if has_one_hub && desc.name.as_slice().ends_with(IN_TIME) {
            desc.ignore = true;
            desc.ignore_message = Some("it is to wake within 5 ms");
        }
        TestDescAndFn { desc, testfn: run }
    });
    test::test_main(&arguments, in_green_threads.collect(), None);
}
