//! `submit` and `map` on three workers: a pool of processes beside one of OS threads, as Python's `ProcessPoolExecutor` and
//! `ThreadPoolExecutor`.
//!
//! Run it with `cargo run --example process_executor`.
//!
//! Expected output:
//!
//!     processes: Single task return: 103
//!     processes: Multiple task returns: 101, 103, 105
//!     processes: the name of a worker: action
//!     processes: a panic is an error: the job panicked: seven is not slept
//!     threads: Single task return: 103
//!     threads: Multiple task returns: 101, 103, 105

use std::error::Error;
use std::time::Duration;

use greenloop::process::current;
use greenloop::processes::ProcessPool;
use greenloop::sleep;
use greenloop::threadpool::ThreadPool;
use tool::say;

mod tool;

/// What is slept for each unit: the Python program sleeps seconds.
const UNIT: Duration = Duration::from_millis(10);

fn main() -> Result<(), Box<dyn Error>> {
    tool::takes_no_arguments(include_str!("process_executor.rs"));
    // Before the threads: a process that has others is not forked.
    processes()?;
    threads()
}

fn action(units: u32) -> (u32, String) {
    if units == 7 {
        // Without the line that a panic prints.
        std::panic::resume_unwind(Box::new("seven is not slept"));
    }
    sleep(UNIT * units);
    (units + 100, current().name().to_owned())
}

fn processes() -> Result<(), Box<dyn Error>> {
    let pool = ProcessPool::builder(3).name("action").build(action)?;
    let (value, name) = pool.submit(3).join()?;
    say!("processes: Single task return: {value}");
    let values: Vec<_> =
        pool.imap([1, 3, 5]).map(|result| result.map(|(value, _)| value)).collect::<Result<_, _>>()?;
    say!("processes: Multiple task returns: {}", listed(&values));
    say!("processes: the name of a worker: {name}");
    if let Err(error) = pool.apply(7) {
        say!("processes: a panic is an error: {error}");
    }
    pool.close();
    pool.join();
    Ok(())
}

fn threads() -> Result<(), Box<dyn Error>> {
    let pool = ThreadPool::new(3);
    let (value, _) = pool.spawn(|| action(3)).join()?;
    say!("threads: Single task return: {value}");
    let values: Vec<_> = pool.imap([1, 3, 5], |units| action(units).0).collect::<Result<_, _>>()?;
    say!("threads: Multiple task returns: {}", listed(&values));
    Ok(())
}

fn listed(values: &[u32]) -> String {
    values.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}
