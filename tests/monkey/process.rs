//! Child processes.

use std::process::Command;
use std::time::{Duration, Instant};

use greenloop::{joinall, spawn};

use crate::patched;

#[test]
fn twenty_children_are_waited_for_at_once() {
    patched(|| {
        let start = Instant::now();
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                spawn(move || {
                    let script = format!("sleep 0.3; exit {number}");
                    Command::new("sh").args(["-c", &script]).status().unwrap().code()
                })
            })
            .collect();
        joinall(&tasks);
        for (number, task) in (0..).zip(tasks) {
            assert_eq!(task.join().unwrap(), Some(number));
        }
        assert!(start.elapsed() < Duration::from_secs(5), "one after another takes six seconds");
    });
}

#[test]
fn output_of_children_is_read_at_once() {
    patched(|| {
        let start = Instant::now();
        let tasks: Vec<_> = (0..10)
            .map(|number| {
                spawn(move || {
                    let script = format!("sleep 0.3; echo out {number}; echo err {number} >&2");
                    Command::new("sh").args(["-c", &script]).output().unwrap()
                })
            })
            .collect();
        joinall(&tasks);
        for (number, task) in (0..10).zip(tasks) {
            let output = task.join().unwrap();
            assert_eq!(output.stdout, format!("out {number}\n").into_bytes());
            assert_eq!(output.stderr, format!("err {number}\n").into_bytes());
        }
        assert!(start.elapsed() < Duration::from_millis(2900), "one after another takes three seconds");
    });
}

/// Conformance 151.
#[test]
#[expect(clippy::zombie_processes, reason = "it is waited for by hand")]
fn a_child_is_waited_for_once() {
    patched(|| {
        spawn(|| {
            let child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
            let id = child.id() as i32;
            let mut status = 0;
            // SAFETY: `status` is valid for writes.
            assert_eq!(unsafe { libc::waitpid(id, &mut status, 0) }, id);
            assert_eq!(libc::WEXITSTATUS(status), 3);
            // SAFETY: as above.
            assert_eq!(unsafe { libc::waitpid(id, &mut status, 0) }, -1);
            assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ECHILD));
        })
        .join()
        .unwrap();
    });
}
