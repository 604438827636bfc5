//! A channel and processes: a child puts beside its parent, and three take an item each, change it, and put it back.
//!
//! Run it with `cargo run --example process_queue`.
//!
//! Expected output:
//!
//!     Get to: 11
//!     Get to: 22
//!     three processes, two seconds of work for each: done in less than 5 s: true
//!     back again: 111, 221, 331

use std::error::Error;
use std::time::{Duration, Instant};

use greenloop::process::{Process, channel};
use greenloop::sleep;
use tool::say;

mod tool;

fn main() -> Result<(), Box<dyn Error>> {
    tool::takes_no_arguments(include_str!("process_queue.rs"));
    parent_and_child()?;
    three_at_once()
}

fn parent_and_child() -> Result<(), Box<dyn Error>> {
    let (sender, receiver) = channel::<String>()?;
    sender.send(&"11".to_owned())?;
    // The child gets this end: it is closed here when the child is there.
    let child = Process::start(move || sender.send(&"22".to_owned()).is_ok())?;
    for item in &receiver {
        say!("Get to: {}", item?);
    }
    // It ended because the last sender was the child's.
    assert!(child.join()?);
    Ok(())
}

fn three_at_once() -> Result<(), Box<dyn Error>> {
    let (jobs, items) = channel::<String>()?;
    let (results, changed) = channel::<String>()?;
    jobs.send_all(&["11".to_owned(), "22".to_owned(), "33".to_owned()])?;
    drop(jobs);
    let begin = Instant::now();
    // What is sent together is received together, so each gets an item from here.
    for item in &items {
        let (item, results) = (item?, results.clone());
        drop(Process::start(move || {
            sleep(Duration::from_secs(2));
            results.send(&(item + "1")).is_ok()
        })?);
    }
    drop(results);
    let mut changed: Vec<String> = changed.iter().collect::<Result<_, _>>()?;
    say!(
        "three processes, two seconds of work for each: done in less than 5 s: {}",
        begin.elapsed().as_secs() < 5
    );
    changed.sort();
    say!("back again: {}", changed.join(", "));
    Ok(())
}
