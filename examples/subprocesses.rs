//! Child processes: many at once in the time of one, a pipeline, and a time limit that keeps what came before it.
//!
//! Run it with `cargo run --example subprocesses`.
//!
//! Expected output:
//!
//!     20 processes that take 500 ms each: done in less than 5 s: true
//!     a pipeline of two counts the words: 4
//!     ticks while a child slept: more than 3: true
//!     stopped after a second, it had written: "one\ntwo\n"
//!     the child said goodbye and ended with exit status: 3

use std::cell::Cell;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloop::process::{Command, PartialOutput, Stdio};
use greenloop::{sleep, spawn, try_joinall};
use tool::say;

mod tool;

fn main() -> Result<(), Box<dyn Error>> {
    tool::takes_no_arguments(include_str!("subprocesses.rs"));
    many_at_once()?;
    pipeline()?;
    others_run_meanwhile()?;
    time_limit()?;
    conversation()
}

/// Each green thread waits for a process of its own.
fn many_at_once() -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let sleepers = (0..20).map(|_| spawn(|| Command::new("sleep").arg("0.5").status()));
    let statuses = try_joinall(sleepers)?;
    assert!(statuses.into_iter().all(|status| status.is_ok_and(|status| status.success())));
    let soon = start.elapsed() < Duration::from_secs(5);
    say!("20 processes that take 500 ms each: done in less than 5 s: {soon}");
    Ok(())
}

/// One child's output is the next one's input, as in a shell: `echo these are four words | wc -w`.
fn pipeline() -> Result<(), Box<dyn Error>> {
    let mut echo = Command::new("echo").arg("these are four words").stdout(Stdio::piped()).spawn()?;
    let words = echo.stdout.take().ok_or("no pipe")?;
    let count = Command::new("wc").arg("-w").stdin(words).output()?;
    echo.wait()?;
    say!("a pipeline of two counts the words: {}", String::from_utf8(count.stdout)?.trim());
    Ok(())
}

/// Waiting for a child stops nobody else.
fn others_run_meanwhile() -> Result<(), Box<dyn Error>> {
    let ticks = Rc::new(Cell::new(0));
    let ticker = spawn({
        let ticks = Rc::clone(&ticks);
        move || {
            loop {
                sleep(Duration::from_millis(10));
                ticks.set(ticks.get() + 1);
            }
        }
    });
    Command::new("sleep").arg("0.3").status()?;
    ticker.kill();
    say!("ticks while a child slept: more than 3: {}", ticks.get() > 3);
    Ok(())
}

/// The child is killed, and a child of its own that goes on holds nobody up.
fn time_limit() -> Result<(), Box<dyn Error>> {
    let limit = Duration::from_secs(1);
    let slow =
        Command::new("sh").args(["-c", "echo one; echo two; sleep 3; echo three"]).output_timeout(limit);
    let partial = slow.unwrap_err().downcast::<PartialOutput>()?;
    say!("stopped after a second, it had written: {:?}", String::from_utf8(partial.stdout)?);
    Ok(())
}

/// Lines to a child and back.
fn conversation() -> Result<(), Box<dyn Error>> {
    let script = "while read line && [ \"$line\" != stop ]; do echo \"$line!\"; done; echo goodbye; exit 3";
    let mut child =
        Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().ok_or("no pipe")?;
    let mut answers = BufReader::new(child.stdout.take().ok_or("no pipe")?).lines();
    writeln!(stdin, "hello")?;
    assert_eq!(answers.next().ok_or("no answer")??, "hello!");
    writeln!(stdin, "stop")?;
    let last = answers.next().ok_or("no answer")??;
    say!("the child said {last} and ended with {}", child.wait()?);
    Ok(())
}
