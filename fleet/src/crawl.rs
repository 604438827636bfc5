//! A crawl: each page is a job, and its links are the jobs that follow from it.

use crate::crew::Crew;
use crate::fetch::most_fetches;
use crate::options::{Crawl, Place, Work};
use crate::robots::AGAIN;
use crate::tool::{complain, say};
use crate::visit::{Room, Visitor, introduction, server, shown_payload};
use crate::{Shared, tool};
use fleet::{Backoff, Broker, BrokerError, Happening, Worker};
use greenloop::signal::{SIGINT, SIGTERM, Signals};
use rustix::process::{Signal, set_parent_process_death_signal};
use std::cell::RefCell;
use std::collections::HashSet;
use std::error::Error;
use std::ffi::OsString;
use std::fmt::Arguments;
use std::fs;
use std::io::{IsTerminal, Write, stderr};
use std::os::unix::process::parent_id;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the records that have come are printed, and it is looked how many pages are known.
const LOOK: Duration = Duration::from_millis(200);
/// How long a process that begins waits before it asks again for a broker that is away.
const PAUSE: Duration = Duration::from_secs(1);
/// How many records one look gets.
const RECORDS: usize = 1_000;

/// Crawls by processes of their own, and prints the records.
pub fn run(crawl: &Crawl) -> Result<(), Box<dyn Error>> {
    let broker = crawl.place.open()?;
    let signals = Signals::new([SIGTERM, SIGINT])?;
    if let Some(folder) = &crawl.pace.warc {
        fs::create_dir_all(folder).map_err(tool::failed_to(format_args!("make {}", folder.display())))?;
    }
    // What is known already is not crawled again, and what has failed lies among the dead.
    let before = last_record(&*broker)?;
    broker.push(&crawl.seeds.iter().map(|seed| introduction(seed.clone())).collect::<Vec<_>>())?;
    let servers: HashSet<_> = crawl.seeds.iter().filter_map(server).collect();
    let mut crew = Crew::start(crawl.workers, &crawl.place, &crawl.pace, crawl.max_pages, &servers)?;
    let (mut printed, mut is_away, mut line) = (before, false, Line::new(before));
    loop {
        let is_over = signals.next_timeout(LOOK).is_some_and(|_| crew.stop()) || !crew.tend()?;
        line.clear();
        let looked = print(&*broker, &mut printed).and_then(|()| line.show(&*broker));
        // Once each time that it goes away: it may come back.
        if let Err(error) = &looked
            && !is_away
        {
            complain!("{error}");
        }
        is_away = looked.is_err();
        if is_over {
            break;
        }
    }
    crew.wait()?;
    line.clear();
    print(&*broker, &mut printed)?;
    let status = broker.status()?;
    complain!(
        "{} pages are recorded, {} failed, {} are left",
        status.records,
        status.dead,
        status.ready + status.later + status.leased
    );
    Ok(())
}

/// The number of the last record there is.
fn last_record(broker: &dyn Broker) -> Result<u64, BrokerError> {
    let mut last = 0;
    while let Some(record) = broker.records(last, RECORDS)?.last() {
        last = record.number;
    }
    Ok(last)
}

/// Prints the records after that of this number, which becomes the last one's.
pub fn print(broker: &dyn Broker, after: &mut u64) -> Result<(), BrokerError> {
    loop {
        let records = broker.records(*after, RECORDS)?;
        records.iter().for_each(|record| say!("{}", record.text));
        match records.last() {
            Some(last) => *after = last.number,
            None => return Ok(()),
        }
    }
}

/// A line that tells a person how far it is, on a terminal.
struct Line {
    is_seen: bool,
    last: Instant,
    records: u64,
    /// Of pages a second.
    rate: f64,
}

impl Line {
    fn new(records: u64) -> Line {
        Line { is_seen: stderr().is_terminal(), last: Instant::now(), records, rate: 0.0 }
    }

    fn show(&mut self, broker: &dyn Broker) -> Result<(), BrokerError> {
        if !self.is_seen {
            return Ok(());
        }
        let status = broker.status()?;
        let passed = self.last.elapsed();
        if passed >= PAUSE {
            self.rate = status.records.saturating_sub(self.records) as f64 / passed.as_secs_f64();
            (self.last, self.records) = (Instant::now(), status.records);
        }
        let (pages, rate, waiting) = (status.records, self.rate, status.ready + status.later);
        let (fetched, failed) = (status.leased, status.dead);
        self.write(format_args!(
            "{pages} pages, {rate:.0} a second, {fetched} being fetched, {waiting} waiting, {failed} failed"
        ));
        Ok(())
    }

    /// Makes place for what is printed.
    fn clear(&self) {
        if self.is_seen {
            self.write(format_args!(""));
        }
    }

    fn write(&self, text: Arguments<'_>) {
        // To the beginning of the line, and what was there away. Nobody may be left to see it.
        let _ = write!(stderr(), "\r\x1b[K{text}");
    }
}

/// One process of a crawl.
pub fn work(work: &Work) -> Result<(), Box<dyn Error>> {
    // It ends with whoever began it, also if that is killed.
    set_parent_process_death_signal(Some(Signal::TERM))?;
    if parent_id() != work.parent {
        return Err("who began it has ended".into());
    }
    fetch_all(open(&work.place)?, work)
}

/// Fetches pages until none is left.
pub fn fetch_all(broker: Shared, work: &Work) -> Result<(), Box<dyn Error>> {
    let concurrency = most_fetches(work.pace.concurrency.into(), 2);
    let room = Rc::new(Room::of(work.max_pages));
    let looks = watch(Arc::clone(&broker), work, Rc::clone(&room));
    let visitor = Visitor::new(Arc::clone(&broker), work, concurrency, room);
    let complaints = Complaints::default();
    let worker = Worker::new(broker)
        .concurrency(concurrency)
        .lease(work.pace.lease)
        .attempts(work.pace.attempts)
        .backoff(Backoff::full_jitter(Duration::from_millis(500), Duration::from_secs(60)))
        .grace(work.pace.timeout)
        .until_idle()
        .stop_at_signals()
        .observer(move |happening| match happening {
            Happening::Dead { job, error } => complain!("{}: {error}", shown_payload(&job.payload)),
            Happening::Error(error) => complaints.tell(error),
            _ => {}
        });
    worker.run(move |job| visitor.visit(job))?;
    looks.kill();
    Ok(())
}

/// What is wrong with the broker, once in a while: it is asked often, and many of them say the same.
#[derive(Default)]
struct Complaints(RefCell<Option<(String, Instant)>>);

impl Complaints {
    fn tell(&self, error: &BrokerError) {
        let said = error.to_string();
        let mut last = self.0.borrow_mut();
        if !last.as_ref().is_some_and(|(last, when)| *last == said && when.elapsed() < AGAIN) {
            complain!("{said}");
            *last = Some((said, Instant::now()));
        }
    }
}

/// Waits for a broker that is away: who began this process has reached it.
fn open(place: &Place) -> Result<Shared, BrokerError> {
    let complaints = Complaints::default();
    loop {
        match place.open() {
            Err(error @ BrokerError::Unreachable(_)) => complaints.tell(&error),
            opened => return opened,
        }
        greenloop::sleep(PAUSE);
    }
}

/// Looks whether there is room for more pages.
fn watch(broker: Shared, work: &Work, room: Rc<Room>) -> greenloop::JoinHandle<()> {
    let (most, most_waiting) = (work.max_pages, work.pace.max_waiting);
    greenloop::spawn(move || {
        loop {
            if let Ok(status) = broker.status() {
                // Each page that is done has a record. To look again at links that were put off is a job that has none.
                let known = status.records + status.dead + status.leased + status.later + status.ready;
                // What was put off waits with the pages when its time has come: the more of it there is, the more may wait.
                let crowd = most_waiting.max(status.later / 16);
                room.set(most.saturating_sub(known), status.ready >= crowd);
            }
            greenloop::sleep(LOOK);
        }
    })
}

/// Where the workers of a crawl find what they work on.
pub fn arguments(
    place: &Place,
    pace: &crate::options::Pace,
    max_pages: u64,
    servers: &HashSet<String>,
) -> Vec<OsString> {
    let seconds = |duration: Duration| duration.as_secs_f64().to_string();
    let mut arguments = vec![OsString::from("worker")];
    if let Some(folder) = &pace.warc {
        arguments.extend(["--warc".into(), folder.into()]);
    }
    let mut add = |name: &str, value: String| arguments.extend([format!("--{name}").into(), value.into()]);
    add("queue", place.queue.clone());
    add("concurrency", pace.concurrency.to_string());
    add("delay", seconds(pace.delay));
    add("timeout", seconds(pace.timeout));
    add("lease", seconds(pace.lease));
    add("attempts", pace.attempts.to_string());
    add("max-delay", seconds(pace.max_delay));
    add("host-failures", pace.host_failures.to_string());
    add("max-waiting", pace.max_waiting.to_string());
    add("max-pages", max_pages.to_string());
    add("parent", std::process::id().to_string());
    servers.iter().for_each(|server| add("server", server.clone()));
    arguments
}
