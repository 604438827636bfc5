use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use greenloop::process::{PartialOutput, Stdio};
use greenloop::{sleep, spawn};

use crate::support::{each_driver, within};
use crate::{LIMIT, LONG, shell};

/// More than a pipe holds.
const MUCH: usize = 1_000_000;

each_driver! {
    /// Case 148: neither pipe may fill up while the other one is read.
    fn much_on_both_pipes() {
        let script = format!("head -c {MUCH} /dev/zero >&2; head -c {MUCH} /dev/zero; exit 7");
        let output = shell(&script).output().unwrap();
        assert_eq!(output.status.code(), Some(7));
        assert_eq!((output.stdout.len(), output.stderr.len()), (MUCH, MUCH));
        let script = format!("head -c {MUCH} /dev/zero; head -c {MUCH} /dev/zero >&2");
        let output = shell(&script).output().unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (MUCH, MUCH));
    }

    fn much_in_and_much_out() {
        let mut child = shell("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = spawn(move || stdin.write_all(&[7; MUCH]));
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.stdout, [7; MUCH]);
        writer.join().unwrap().unwrap();
    }

    /// Case 149.
    fn what_came_in_time_is_kept_and_the_rest_comes_later() {
        let mut child = shell("echo one; echo error >&2; read line; echo two")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut partial = PartialOutput { stdout: Vec::new(), stderr: Vec::new() };
        while partial.stdout != b"one\n" || partial.stderr != b"error\n" {
            let error = child.wait_with_output_timeout(Duration::from_millis(20)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            let more = error.downcast::<PartialOutput>().unwrap();
            partial.stdout.extend(more.stdout);
            partial.stderr.extend(more.stderr);
        }
        drop(stdin);
        let output = child.wait_with_output_timeout(LONG).unwrap();
        assert_eq!((&*output.stdout, &*output.stderr), (&b"two\n"[..], &b""[..]));
        assert!(output.status.success());
    }
}

/// Case 149: the child of the child goes on, and ends when the test hangs up.
#[test]
fn a_time_limit_does_not_wait_for_a_childs_children() {
    within(LIMIT, || {
        let (input, mut hold) = greenloop::io::pipe().unwrap();
        let start = Instant::now();
        let mut command = shell("exec 3<&0; echo begun; cat <&3 & wait");
        let late = command.stdin(input).output_timeout(Duration::from_secs(1)).unwrap_err();
        assert!(start.elapsed() < LIMIT / 2);
        assert_eq!(late.downcast::<PartialOutput>().unwrap().stdout, b"begun\n");
        drop(command);
        // It still reads.
        hold.write_all(b"x").unwrap();
    });
}

#[test]
fn an_endless_writer_is_stopped_in_time() {
    within(LIMIT, || {
        let late = shell("while :; do echo y; done").output_timeout(Duration::from_secs(1)).unwrap_err();
        let partial = late.downcast::<PartialOutput>().unwrap();
        assert!(partial.stdout.starts_with(b"y\ny\n"));
    });
}

#[test]
fn what_is_set_stays_set_and_what_is_not_comes_back() {
    within(LIMIT, || {
        let (mut reader, writer) = greenloop::io::pipe().unwrap();
        let mut command = shell("echo out; echo err >&2; cat");
        command.stdout(writer);
        let output = command.output().unwrap();
        assert_eq!((&*output.stdout, &*output.stderr), (&b""[..], &b"err\n"[..]));
        drop(command);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "out\n");
        let mut command = shell("true");
        command.output().unwrap();
        let child = command.spawn().unwrap();
        assert!(child.stdout.is_none() && child.stderr.is_none() && child.stdin.is_none());
        assert!(child.wait_with_output().unwrap().status.success());
    });
}

#[test]
fn a_reader_in_a_green_thread_lets_others_run() {
    within(LIMIT, || {
        let mut child = shell("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let reader = spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text)
        });
        for _ in 0..3 {
            sleep(Duration::from_millis(1));
            child.stdin.as_mut().unwrap().write_all(b"line\n").unwrap();
        }
        assert!(!reader.is_finished());
        assert!(child.wait().unwrap().success());
        assert_eq!(reader.join().unwrap().unwrap(), "line\nline\nline\n");
    });
}

/// As of std's child: the pipes go where the code is that uses them, and the rest is dropped or kept.
#[test]
fn the_pipes_are_moved_out_of_a_child() {
    within(LIMIT, || {
        let piped = || {
            let mut command = shell("cat");
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
        };
        let child = piped();
        let (mut stdin, mut stdout) = (child.stdin.unwrap(), child.stdout.unwrap());
        stdin.write_all(b"hello").unwrap();
        drop(stdin);
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        let greenloop::process::Child { stdin, stdout, .. } = piped();
        drop(stdin);
        assert_eq!(stdout.unwrap().read(&mut [0]).unwrap(), 0);
    });
}
