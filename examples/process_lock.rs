//! A lock between a hundred processes, each of which prints its line in three pieces: under the lock, all lines are whole.
//!
//! Run it with `cargo run --example process_lock`.
//!
//! Expected output:
//!
//!     without a lock: hello hello world world 0 1
//!     under the lock, 100 whole lines of 100 processes
//!     hello world 0, hello world 1, hello world 2, ... hello world 99
//!     the next one learns that the lock's holder was killed: true

use std::error::Error;
use std::io::{Read, Write};
use std::time::Duration;

use greenloop::io::{PipeWriter, pipe};
use greenloop::process::Process;
use greenloop::processes::Manager;
use greenloop::{sleep, yield_now};
use tool::say;

mod tool;

fn main() -> Result<(), Box<dyn Error>> {
    tool::takes_no_arguments(include_str!("process_lock.rs"));
    let manager = Manager::new()?;
    without(&manager)?;
    with(&manager)?;
    killed(&manager)
}

/// Prints a line in three pieces, with something to do between them.
fn print(mut printer: &PipeWriter, number: usize, between: impl Fn()) {
    for piece in ["hello ", "world ", &format!("{number}\n")] {
        printer.write_all(piece.as_bytes()).expect("the parent reads");
        between();
    }
}

/// Two at once, the second of which begins when the first has printed a piece, and so on, so that it is seen what may happen.
fn without(manager: &Manager) -> Result<(), Box<dyn Error>> {
    let (mut reader, printer) = pipe()?;
    let barrier = manager.barrier(2)?;
    let start = |number: usize| {
        let (barrier, printer) = (barrier.clone(), &printer);
        let take_turns = move || {
            barrier.wait().expect("the manager runs");
        };
        Process::start(move || {
            if number == 1 {
                take_turns();
            }
            print(printer, number, || {
                take_turns();
                take_turns();
            });
            if number == 0 {
                take_turns();
            }
        })
    };
    let children = [start(0)?, start(1)?];
    children.into_iter().try_for_each(Process::join)?;
    drop(printer);
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    say!("without a lock: {}", text.replace('\n', " ").trim_end());
    Ok(())
}

fn with(manager: &Manager) -> Result<(), Box<dyn Error>> {
    let (mut reader, printer) = pipe()?;
    let lock = manager.lock()?;
    let mut children = Vec::new();
    for number in 0..100 {
        let (lock, printer) = (lock.clone(), &printer);
        children.push(Process::start(move || {
            let _guard = lock.lock().expect("the manager runs");
            print(printer, number, yield_now);
        })?);
    }
    children.into_iter().try_for_each(Process::join)?;
    drop(printer);
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    let mut lines: Vec<&str> = text.lines().collect();
    // They came in the order in which the processes did.
    lines.sort_by_key(|line| line.rsplit(' ').next().and_then(|number| number.parse::<u32>().ok()));
    let whole = (0..100).filter(|number| lines.contains(&&*format!("hello world {number}"))).count();
    say!("under the lock, {whole} whole lines of 100 processes");
    say!("{}, ... {}", lines[..3].join(", "), lines[99]);
    Ok(())
}

fn killed(manager: &Manager) -> Result<(), Box<dyn Error>> {
    let (lock, held) = (manager.lock()?, manager.event()?);
    let theirs = (lock.clone(), held.clone());
    let child = Process::start(move || {
        let _guard = theirs.0.lock().expect("the manager runs");
        theirs.1.set().expect("the manager runs");
        sleep(Duration::from_secs(1000));
    })?;
    held.wait()?;
    child.kill()?;
    child.wait()?;
    let guard = lock.lock()?;
    say!("the next one learns that the lock's holder was killed: {}", guard.owner_died());
    // What the lock guards is in order again.
    lock.clear_poison()?;
    Ok(())
}
