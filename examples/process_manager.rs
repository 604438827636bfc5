//! A dict and a list that ten processes write into, kept by a manager; and one of them that is killed in the middle of its work.
//!
//! Run it with `cargo run --example process_manager`.
//!
//! Expected output:
//!
//!     the dict has 10 keys, and the value of each is their parent: true
//!     the list was 0, 1, 2, 3, 4, and has 10 more items, one of each child: true
//!     1,000 additions of ten processes at once: 1000
//!     jobs that were done though a worker was killed in the middle of one: a, b, c
//!     when the manager is gone: the manager has ended

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use greenloop::process::{Process, StartError, id, parent};
use greenloop::processes::Manager;
use greenloop::processes::manager::{Dict, List, Value};
use greenloop::sleep;
use tool::say;

mod tool;

fn main() -> Result<(), Box<dyn Error>> {
    tool::takes_no_arguments(include_str!("process_manager.rs"));
    let manager = Manager::new()?;
    dict_and_list(&manager)?;
    additions(&manager)?;
    killed(&manager)?;
    let value = manager.value(1)?;
    drop(manager);
    if let Err(error) = value.get() {
        say!("when the manager is gone: {error}");
    }
    Ok(())
}

/// Runs `run` in ten processes, and waits for all: each gets what `give` makes for it.
fn in_ten<A>(give: impl Fn() -> A, run: impl Fn(A)) -> Result<(), Box<dyn Error>> {
    let start = |_| {
        let given = give();
        Process::start(|| run(given))
    };
    let children: Vec<Process<()>> = (0..10).map(start).collect::<Result<_, StartError>>()?;
    Ok(children.into_iter().try_for_each(Process::join)?)
}

fn dict_and_list(manager: &Manager) -> Result<(), Box<dyn Error>> {
    let dict = manager.dict::<u32, u32>()?;
    let list = manager.list(0..5)?;
    // A handle that a closure owns goes to its process, which has a connection of its own.
    let write = |(dict, list): (Dict<u32, u32>, List<u32>)| {
        let parent = parent().map_or(0, |parent| parent.id());
        dict.insert(&id(), &parent).expect("the manager runs");
        list.push(&id()).expect("the manager runs");
    };
    in_ten(|| (dict.clone(), list.clone()), write)?;
    let items = dict.items()?;
    let are_ours = items.iter().all(|(_, parent)| *parent == id());
    say!("the dict has {} keys, and the value of each is their parent: {are_ours}", items.len());
    let (before, more) = (list.slice(0..5)?, list.slice(5..usize::MAX)?);
    let before: Vec<String> = before.iter().map(u32::to_string).collect();
    let are_children = more.iter().collect::<BTreeSet<_>>() == items.iter().map(|(child, _)| child).collect();
    let count = more.len();
    say!("the list was {}, and has {count} more items, one of each child: {are_children}", before.join(", "));
    Ok(())
}

fn additions(manager: &Manager) -> Result<(), Box<dyn Error>> {
    let total = manager.value(0_u32)?;
    // To get and to set are two calls, between which others come. This is one step.
    let add = |total: Value<u32>| {
        for _ in 0..100 {
            total.update(|before| before + 1).expect("the manager runs");
        }
    };
    in_ten(|| total.clone(), add)?;
    say!("1,000 additions of ten processes at once: {}", total.get()?);
    Ok(())
}

fn killed(manager: &Manager) -> Result<(), Box<dyn Error>> {
    let jobs = manager.joinable_queue::<String>(0)?;
    ["a", "b", "c"].into_iter().try_for_each(|job| jobs.put(&job.to_owned()))?;
    let (theirs, begun) = (jobs.clone(), manager.event()?);
    let tell = begun.clone();
    let worker = Process::start(move || {
        let _job = theirs.lease().expect("the manager runs");
        tell.set().expect("the manager runs");
        sleep(Duration::from_secs(1000));
    })?;
    begun.wait()?;
    worker.kill()?;
    worker.wait()?;
    // What it had leased is the next one's.
    let mut done = Vec::new();
    while jobs.unfinished()? > 0 {
        let job = jobs.lease()?;
        done.push(job.clone());
        job.done()?;
    }
    done.sort();
    say!("jobs that were done though a worker was killed in the middle of one: {}", done.join(", "));
    Ok(())
}
