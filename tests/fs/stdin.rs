use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::process::Stdio;
use std::time::Duration;

use greenloop::io::stdin;
use greenloop::process::Command;
use greenloop::{sleep, spawn, with_timeout};

use crate::support::{this_program, within};
use crate::{Folder, LIMIT, is_nonblocking};

/// Set in a child to the name of what it is to do.
const ROLE: &str = "GREENLOOP_TEST_STDIN";

/// This test binary again, with `role` to play and `input` to read; what it wrote to standard error.
fn play(role: &str, input: impl Into<Stdio>) -> String {
    let mut command = Command::from(this_program());
    command.args(["stdin::a_role_is_played", "--exact", "--nocapture"]).env(ROLE, role).stdin(input);
    let output = command.output_timeout(LIMIT).unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_role_is_played() {
    let role = std::env::var(ROLE).unwrap_or_default();
    let before = is_nonblocking(stdin());
    match &*role {
        "lines" => {
            let ticker = spawn(|| {
                loop {
                    sleep(Duration::from_millis(1));
                }
            });
            for line in stdin().lines() {
                eprintln!("[{}]", line.unwrap());
            }
            assert!(!ticker.is_finished());
            ticker.kill();
        }
        "mixed" => {
            let mut line = String::new();
            assert_eq!(stdin().read_line(&mut line).unwrap(), line.len());
            let mut rest = String::new();
            stdin().lock().read_to_string(&mut rest).unwrap();
            eprintln!("{line:?} {rest:?} {}", stdin().read(&mut [0]).unwrap());
        }
        "late" => {
            let mut line = String::new();
            let early = with_timeout(Duration::from_millis(5), || stdin().read_line(&mut line).unwrap());
            assert!(early.is_err());
            eprintln!("waiting");
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    spawn(|| {
                        let mut line = String::new();
                        stdin().read_line(&mut line).unwrap();
                        line
                    })
                })
                .collect();
            for reader in readers {
                eprint!("{}", reader.join().unwrap());
            }
        }
        _ => return,
    }
    assert_eq!(is_nonblocking(stdin()), before);
}

#[test]
fn lines_come_from_a_pipe_a_file_and_nowhere() {
    within(LIMIT, || {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"one\ntwo\n\nfour").unwrap();
        drop(writer);
        assert_eq!(play("lines", reader), "[one]\n[two]\n[]\n[four]\n");
        let folder = Folder::new();
        std::fs::write(folder.join("input"), "one\ntwo\n").unwrap();
        assert_eq!(play("lines", File::open(folder.join("input")).unwrap()), "[one]\n[two]\n");
        assert_eq!(play("lines", Stdio::null()), "");
        assert_eq!(play("mixed", File::open(folder.join("input")).unwrap()), "\"one\\n\" \"two\\n\" 0\n");
    });
}

#[test]
fn readers_wait_their_turn_and_a_time_limit_loses_nothing() {
    within(LIMIT, || {
        let mut command = Command::from(this_program());
        command.args(["stdin::a_role_is_played", "--exact", "--nocapture"]).env(ROLE, "late");
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
        assert_eq!(said.next().unwrap().unwrap(), "waiting");
        let mut input = child.stdin.take().unwrap();
        for word in ["first", "second", "third"] {
            writeln!(input, "{word}").unwrap();
            assert_eq!(said.next().unwrap().unwrap(), word);
        }
        assert!(child.wait().unwrap().success());
    });
}
