//! Child processes.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

use greenloop::monkey::patch_all;
use greenloop::{JoinHandle, joinall, spawn};

use crate::{in_a_child, patched, yields};

/// In a shell: says that it has begun, and waits until all have.
const START: &str = "printf b >&0; read line";

/// Lets `count` children go on once all have begun: one after another none would. Returns what they have as standard input, and the green
/// thread that waits for them.
fn starting_line(count: usize) -> (JoinHandle<()>, OwnedFd) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let line = spawn(move || ours.read_exact(&mut vec![0; count]).unwrap());
    (line, theirs.into())
}

#[test]
fn twenty_children_are_waited_for_at_once() {
    patched(|| {
        let (line, stdin) = starting_line(20);
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                let stdin = stdin.try_clone().unwrap();
                spawn(move || {
                    let script = format!("{START}; exit {number}");
                    Command::new("sh").args(["-c", &script]).stdin(stdin).status().unwrap().code()
                })
            })
            .collect();
        joinall(&tasks);
        line.join().unwrap();
        for (number, task) in (0..).zip(tasks) {
            assert_eq!(task.join().unwrap(), Some(number));
        }
    });
}

#[test]
fn output_of_children_is_read_at_once() {
    patched(|| {
        let (line, stdin) = starting_line(10);
        let tasks: Vec<_> = (0..10)
            .map(|number| {
                let stdin = stdin.try_clone().unwrap();
                spawn(move || {
                    let script = format!("{START}; echo out {number}; echo err {number} >&2");
                    Command::new("sh").args(["-c", &script]).stdin(stdin).output().unwrap()
                })
            })
            .collect();
        joinall(&tasks);
        line.join().unwrap();
        for (number, task) in (0..10).zip(tasks) {
            let output = task.join().unwrap();
            assert_eq!(output.stdout, format!("out {number}\n").into_bytes());
            assert_eq!(output.stderr, format!("err {number}\n").into_bytes());
        }
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

unsafe extern "C" {
    fn wait3(status: *mut i32, options: i32, usage: *mut libc::rusage) -> i32;
}

/// Any child, so in a process that has no others.
#[test]
#[expect(clippy::zombie_processes, reason = "they are waited for by hand")]
fn whichever_child_ends_is_waited_for() {
    type Wait = fn(&mut i32, &mut libc::rusage) -> i32;
    const WAITS: [Wait; 3] = [
        // SAFETY: valid for writes, in each of these.
        |status, _| unsafe { libc::wait(status) },
        // SAFETY: as above.
        |status, usage| unsafe { wait3(status, 0, usage) },
        // SAFETY: as above.
        |status, usage| unsafe { libc::wait4(-1, status, 0, usage) },
    ];
    in_a_child("process::whichever_child_ends_is_waited_for", || {
        patch_all();
        for wait in WAITS {
            let child = Command::new("sh").args(["-c", "sleep 0.1; exit 3"]).spawn().unwrap();
            let waited = yields(move || {
                // SAFETY: zeros are numbers.
                let (mut status, mut usage) = (0, unsafe { std::mem::zeroed() });
                (wait(&mut status, &mut usage), libc::WEXITSTATUS(status))
            });
            assert_eq!(waited, (child.id() as i32, 3));
            // SAFETY: as above.
            let (mut status, mut usage) = (0, unsafe { std::mem::zeroed() });
            let none = spawn(move || {
                (wait(&mut status, &mut usage), std::io::Error::last_os_error().raw_os_error())
            });
            assert_eq!(none.join().unwrap(), (-1, Some(libc::ECHILD)));
        }
    });
}

#[test]
#[expect(clippy::zombie_processes, reason = "it is waited for by hand")]
fn a_child_tells_what_it_has_used() {
    patched(|| {
        let child = Command::new("sh").args(["-c", "sleep 0.1; exit 3"]).spawn().unwrap();
        let id = child.id() as i32;
        let usage = yields(move || {
            // SAFETY: zeros are numbers.
            let (mut status, mut usage) = (0, unsafe { std::mem::zeroed::<libc::rusage>() });
            // SAFETY: valid for writes.
            assert_eq!(unsafe { libc::wait4(id, &mut status, libc::WNOHANG, &mut usage) }, 0);
            // SAFETY: as above.
            assert_eq!(unsafe { libc::wait4(id, &mut status, 0, &mut usage) }, id);
            assert_eq!(libc::WEXITSTATUS(status), 3);
            usage
        });
        assert!(usage.ru_maxrss > 0);
        spawn(move || {
            // SAFETY: nothing is to be written.
            let none = unsafe { libc::wait4(id, std::ptr::null_mut(), 0, std::ptr::null_mut()) };
            assert_eq!((none, std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::ECHILD)));
            // SAFETY: as above.
            let odd = unsafe { libc::wait4(-1, std::ptr::null_mut(), 1 << 20, std::ptr::null_mut()) };
            assert_eq!((odd, std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EINVAL)));
        })
        .join()
        .unwrap();
    });
}
