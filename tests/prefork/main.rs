//! What processes have in common. A program of its own, for the harness has OS threads, and a child of a fork would find locked what those
//! hold.
//!
//! Each test runs in a process of its own, in a process group of its own, of which nobody may be left at its end.

#![expect(unsafe_code, reason = "fork has no safe form")]

#[path = "../support/mod.rs"]
mod support;

/// Children of tests.
mod children;
/// New workers in the places of others, and new programs.
mod reloaded;
/// Memory, values, arrays and locks.
mod shared;
/// A supervisor in a process of its own, and clients of its workers.
mod site;
/// Supervisors, their workers, and clients of these.
mod supervised;

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::WaitOptions;

/// How long a test may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Most wait most of the time.
const AT_ONCE: usize = 3;
/// Before the name of the test that a process is to run.
const ONE: &str = "--one";

type Test = (&'static str, fn());

/// Names functions and hands them out.
macro_rules! tests {
    ($module:ident: $($name:ident)*) => {
        &[$((concat!(stringify!($module), "::", stringify!($name)), $module::$name as fn())),*]
    };
}

fn tests() -> impl Iterator<Item = &'static Test> {
    let shared: &[Test] = tests!(shared:
        values_and_arrays_are_the_same_in_all_processes
        memory_is_in_pages_zeroed_and_bounded
        a_descriptor_is_enough_and_its_end_deletes_nothing
        nothing_is_left_when_all_are_killed
        a_lock_excludes_between_processes_and_within_one
        a_wait_stops_nobody_else
        a_wait_ends_by_its_time_a_kill_and_a_limit
        who_holds_it_and_is_killed_leaves_it
        who_returns_from_main_leaves_it
        who_is_killed_before_it_rings_leaves_nobody_waiting
        who_waits_and_is_killed_takes_nothing_along
        a_number_that_was_given_again_is_not_the_holder
        a_stopped_holder_keeps_it
        a_child_does_not_hold_what_its_parent_holds
        a_child_does_not_stand_in_its_parents_line
        who_comes_back_at_once_lets_others_in
        nothing_acknowledged_is_lost_by_random_kills
    );
    let supervised: &[Test] = tests!(supervised:
        it_serves_and_ends_when_it_is_told_to
        what_was_begun_is_finished_in_the_time_that_there_is
        a_second_signal_ends_it_at_once
        a_worker_that_ends_is_replaced
        workers_that_never_start_are_an_error
        a_hub_that_does_not_run_is_seen
        a_start_does_not_count_as_stuck
        all_that_were_stopped_together_go_on
        there_are_more_and_less_on_request
        a_worker_that_has_served_enough_is_replaced
        workers_end_when_their_supervisor_is_killed
        clients_go_on_while_workers_are_killed_and_reloaded
    );
    let reloaded: &[Test] = tests!(reloaded:
        a_reload_waits_for_the_new_ones
        reloads_in_a_row_leave_those_that_serve
        a_reload_that_fails_leaves_those_of_before
        a_new_program_gets_the_listener
        a_new_program_that_fails_changes_nothing
        a_new_program_that_cannot_begin_says_why
    );
    shared.iter().chain(supervised).chain(reloaded)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [one, name, ..] = &arguments[..]
        && one == ONE
    {
        let (_, test) = tests().find(|test| test.0 == name).expect("a test of that name");
        test();
        return ExitCode::SUCCESS;
    }
    let chosen = |test: &&Test| support::is_chosen(&arguments, test.0);
    // Who is left of a test comes here.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("this process");
    // What is aborted on purpose leaves no core file.
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(rustix::process::Resource::Core, none).expect("a lower limit");
    let chosen: Vec<_> = tests().filter(chosen).collect();
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((name, _)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = run(name) {
                        failed.fetch_add(1, Ordering::Relaxed);
                        println!("test {name} FAILED: {why}");
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    println!("{} passed, {failed} failed", chosen.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one in a process of its own.
fn run(name: &str) -> Result<(), String> {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.args([ONE, name]).stdin(Stdio::null()).process_group(0);
    let mut child = command.spawn().expect("this program");
    let group = rustix::process::Pid::from_child(&child);
    let deadline = Instant::now() + LIMIT;
    let status: Option<ExitStatus> = loop {
        match child.try_wait().expect("a child") {
            None if Instant::now() < deadline => thread::sleep(Duration::from_millis(2)),
            ended => break ended,
        }
    };
    if status.is_none() {
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).expect("a group");
        child.wait().expect("a child");
    }
    // Orphans are this process's children, see `main`, and have a moment to end.
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut is_left = false;
    while let Ok(ended) = rustix::process::waitpgid(group, WaitOptions::NOHANG) {
        if ended.is_none() && Instant::now() > deadline {
            is_left = true;
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).expect("a group");
        }
        thread::sleep(Duration::from_millis(1));
    }
    let _ = io::stdout().flush();
    match status {
        None => Err(format!("still running after {LIMIT:?}")),
        Some(status) if !status.success() => Err(status.to_string()),
        Some(_) if is_left => Err("a process is left".to_owned()),
        Some(_) => Ok(()),
    }
}
