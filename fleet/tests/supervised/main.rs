//! A worker whose job keeps its OS thread for ever is named, and replaced by its supervisor, and the job is done by another one.
//!
//! Without a harness, since that has OS threads, and who forks may not.

use clients::folder::Folder;
use fleet::{Broker, Completion, NewJob, Sqlite, Worker};
use greenloop::processes::{Supervisor, SupervisorEvent};
use rustix::process::{Signal, getpid, kill_process};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

const HARD_LIMIT: Duration = Duration::from_millis(100);
const LEASE: Duration = Duration::from_millis(400);
/// After which a process that does not run is replaced: later than it is named.
const STUCK: Duration = Duration::from_secs(8);
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(60);

fn main() {
    greenloop::monkey::patch_all();
    let folder = Folder::new("fleet-supervised");
    let (file, told) = (folder.file("queue.db"), folder.file("told"));
    let broker = Sqlite::open(&file).unwrap();
    broker.push(&["one", "keeps its thread", "two"].map(NewJob::new)).unwrap();
    let kept = broker.take(3, Duration::from_millis(1)).unwrap()[1].id;
    let events = Rc::new(RefCell::new(Vec::new()));
    let ready = Rc::new(Cell::new(0));
    let (seen, count) = (events.clone(), ready.clone());
    let (start, watching) = (Instant::now(), Sqlite::open(&file).unwrap());
    // Those of before the fork do not run in the workers.
    greenloop::spawn(move || {
        while watching.status().unwrap().done < 3 || ready.get() < 3 {
            assert!(start.elapsed() < LIMIT, "{:?}", watching.status());
            greenloop::sleep(Duration::from_millis(10));
        }
        kill_process(getpid(), Signal::TERM).unwrap();
    });
    let supervisor = Supervisor::new().workers(2).stuck_after(STUCK).grace(Duration::from_secs(10));
    let supervisor = supervisor.on_event(move |event| {
        count.set(count.get() + u32::from(matches!(event, SupervisorEvent::Ready { .. })));
        seen.borrow_mut().push(event.clone());
    });
    let log = told.clone();
    let run = supervisor.run(move |process| {
        let log = log.clone();
        let worker = Worker::new(Sqlite::open(&file).map_err(std::io::Error::other)?)
            .lease(LEASE)
            .hard_limit(HARD_LIMIT)
            .on_blocked(move |blocked| {
                // One that others kept from running is told of too.
                let mut log = File::options().create(true).append(true).open(&log).unwrap();
                log.write_all(format!("{blocked}\n").as_bytes()).unwrap();
            });
        worker.serve(&process, |job| {
            // Who takes it first, beside the test.
            if job.payload == "keeps its thread" && job.attempt == 2 {
                loop {
                    std::hint::spin_loop();
                }
            }
            Ok(Completion::new().record(&job.payload))
        })
    });
    run.unwrap();
    let texts: BTreeSet<_> = broker.records(0, 9).unwrap().into_iter().map(|record| record.text).collect();
    assert_eq!(texts, BTreeSet::from(["keeps its thread", "one", "two"].map(str::to_owned)));
    assert_eq!(broker.status().unwrap().records, 3);
    let events = events.borrow();
    let stuck: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            SupervisorEvent::Stuck { pid } => Some(*pid),
            _ => None,
        })
        .collect();
    assert_eq!(stuck.len(), 1, "{events:?}");
    let started = events.iter().filter(|event| matches!(event, SupervisorEvent::Started { .. })).count();
    assert_eq!(started, 3, "{events:?}");
    // The jobs that ran beside it may have ended before.
    let told = fs::read_to_string(told).unwrap();
    let (stuck, kept) =
        (format!("worker {} of the queue ", stuck[0]), format!(": job {kept} keeps it, one of "));
    assert!(told.lines().any(|line| line.starts_with(&stuck) && line.contains(&kept)), "{told}");
}
