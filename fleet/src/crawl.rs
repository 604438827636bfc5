//! A crawl: each page is a job, and its links are the jobs that follow from it.

use crate::crew::Crew;
use crate::fetch::{AGENT, FetchError, Fetcher, most_fetches};
use crate::links::links;
use crate::options::{Crawl, Place, Work};
use crate::robots::{AGAIN, RobotsCache};
use crate::tool::{complain, say};
use crate::urls::shown;
use fleet::{Backoff, Broker, BrokerError, Completion, Failure, Happening, Job, NewJob, Worker};
use greenloop::signal::{SIGINT, SIGTERM, Signals};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::error::Error;
use std::io::{IsTerminal, Write, stderr};
use std::os::unix::process::parent_id;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use url::Url;

/// How much of a page is read.
const MAX_BYTES: u64 = 10 << 20;
/// What is longer is no link: it would be kept for long.
const MAX_URL: usize = 2_000;
/// How many links of one page are followed.
const MAX_LINKS: usize = 2_000;
/// How long a server may ask to be left alone between two requests, beyond which it is.
const MAX_DELAY: Duration = Duration::from_secs(60);
/// How often the records that have come are printed, and it is looked how many pages are known.
const LOOK: Duration = Duration::from_millis(200);
/// How long a process that begins waits before it asks again for a broker that is away.
const PAUSE: Duration = Duration::from_secs(1);
/// How many records one look gets.
const RECORDS: usize = 1_000;

/// What a job of a crawl is.
#[derive(Debug, Deserialize, Serialize)]
struct Page {
    url: Url,
    depth: u32,
}

/// What is recorded of a page.
#[derive(Debug, Serialize)]
struct Report {
    url: String,
    depth: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    /// Why it was left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<String>,
}

/// The job of a page, of which there is one for each URL.
pub fn job(url: Url, depth: u32, delay: Duration) -> NewJob {
    let lane = url.origin().ascii_serialization();
    let unique = url.as_str().to_owned();
    // A page is numbers and text, which JSON has.
    let payload = serde_json::to_string(&Page { url, depth }).unwrap_or_default();
    let job = NewJob::new(payload).unique(unique);
    // Of a host one page at a time. Engines count whole milliseconds.
    if delay.is_zero() { job } else { job.exclusive_lane(lane, delay + Duration::from_millis(1)) }
}

/// A payload to print.
pub fn shown_payload(payload: &str) -> String {
    serde_json::from_str(payload).map_or_else(|_| payload.to_owned(), |page: Page| shown(&page.url))
}

/// Crawls by processes of their own, and prints the records.
pub fn run(crawl: &Crawl) -> Result<(), Box<dyn Error>> {
    let broker = crawl.place.open()?;
    let signals = Signals::new([SIGTERM, SIGINT])?;
    // What is known already is not crawled again, and what has failed lies among the dead.
    let before = last_record(&*broker)?;
    broker
        .push(&crawl.seeds.iter().map(|seed| job(seed.clone(), 0, crawl.pace.delay)).collect::<Vec<_>>())?;
    let hosts: HashSet<_> = crawl.seeds.iter().filter_map(Url::host_str).map(str::to_owned).collect();
    let mut crew = Crew::start(crawl.workers, &crawl.place, &crawl.pace, crawl.max_pages, &hosts)?;
    let (mut printed, mut is_away) = (before, false);
    loop {
        let is_over = signals.next_timeout(LOOK).is_some_and(|_| crew.stop()) || !crew.tend()?;
        let looked = print(&*broker, &mut printed).and_then(|()| show(&*broker));
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
    print(&*broker, &mut printed)?;
    let status = broker.status()?;
    complain!(
        "{} pages are done, {} failed, {} are left",
        status.done,
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

/// Shows a person how far it is.
fn show(broker: &dyn Broker) -> Result<(), BrokerError> {
    if stderr().is_terminal() {
        let status = broker.status()?;
        let _ = write!(
            stderr(),
            "\r{} done, {} fetched, {} waiting, {} failed ",
            status.done,
            status.leased,
            status.ready + status.later,
            status.dead
        );
    }
    Ok(())
}

/// One process of a crawl.
pub fn work(work: &Work) -> Result<(), Box<dyn Error>> {
    // It ends with whoever began it, also if that is killed.
    set_parent_process_death_signal(Some(Signal::TERM))?;
    if parent_id() != work.parent {
        return Err("who began it has ended".into());
    }
    let broker = open(&work.place)?;
    let concurrency = most_fetches(work.pace.concurrency.into(), 2);
    let room = Rc::new(Cell::new(true));
    let looks = watch(Arc::clone(&broker), work.max_pages, Rc::clone(&room));
    let visitor = Visitor {
        fetcher: Fetcher::new(work.pace.timeout, concurrency, ureq::tls::RootCerts::WebPki),
        robots: RobotsCache::new(MAX_DELAY, &|_, _| {}),
        hosts: work.host.iter().cloned().collect(),
        delay: work.pace.delay,
        room,
    };
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
fn open(place: &Place) -> Result<Arc<dyn Broker>, BrokerError> {
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
fn watch(broker: Arc<dyn Broker>, most: u64, room: Rc<Cell<bool>>) -> greenloop::JoinHandle<()> {
    greenloop::spawn(move || {
        loop {
            if let Ok(status) = broker.status() {
                let known = status.done + status.dead + status.leased + status.later + status.ready;
                room.set(known < most);
            }
            greenloop::sleep(LOOK);
        }
    })
}

struct Visitor {
    fetcher: Fetcher,
    robots: RobotsCache<'static>,
    hosts: HashSet<String>,
    delay: Duration,
    room: Rc<Cell<bool>>,
}

impl Visitor {
    fn visit(&self, job: &Job) -> Result<Completion, Failure> {
        let page: Page =
            serde_json::from_str(&job.payload).map_err(|error| Failure::dead(error.to_string()))?;
        let mut report = Report {
            url: shown(&page.url),
            depth: page.depth,
            status: None,
            media_type: None,
            bytes: None,
            links: None,
            location: None,
            skipped: None,
        };
        // Its own rules say so, or that it cannot be asked now.
        if let Some(objection) = self.robots.objection(&self.fetcher, &page.url).map_err(failure)? {
            report.skipped = Some(objection);
            return completion(&report);
        }
        let answer = self.fetcher.get(&page.url, MAX_BYTES).map_err(failure)?;
        if answer.status.is_server_error() {
            return Err(Failure::retry(answer.status.to_string()));
        }
        (report.status, report.bytes) = (Some(answer.status.as_u16()), Some(answer.bytes()));
        report.media_type = Some(bounded(&answer.media_type));
        let mut found = match answer.location {
            Some(Ok(target)) if answer.status.is_redirection() => {
                report.location = Some(bounded(&shown(&target)));
                vec![target]
            }
            _ if answer.status.is_success() && answer.is_html() => {
                links(&page.url, &answer.media_type, answer.body().map_err(failure)?)
            }
            _ => Vec::new(),
        };
        report.links = Some(found.len());
        found.retain(|url| {
            url.as_str().len() <= MAX_URL && url.host_str().is_some_and(|host| self.hosts.contains(host))
        });
        found.truncate(if self.room.get() { MAX_LINKS } else { 0 });
        let next = found.into_iter().map(|url| {
            let delay = self.delay_of(&url);
            self::job(url, page.depth.saturating_add(1), delay)
        });
        Ok(completion(&report)?.jobs(next))
    }

    /// What is to lie between two requests to the server of `url`. One that asks for more than is waited is left alone, which takes no time.
    fn delay_of(&self, url: &Url) -> Duration {
        let asked = self.robots.delay(&self.fetcher, url).unwrap_or_default();
        asked.filter(|asked| *asked <= MAX_DELAY).unwrap_or_default().max(self.delay)
    }
}

/// As much of it as is kept.
fn bounded(text: &str) -> String {
    text.chars().take(MAX_URL).collect()
}

fn completion(report: &Report) -> Result<Completion, Failure> {
    Ok(Completion::new().record(serde_json::to_string(report)?))
}

/// What another attempt would not mend is given up.
fn failure(error: FetchError) -> Failure {
    match error {
        FetchError::TimedOut(_) | FetchError::ClosedEarly | FetchError::Exchange(_) => {
            Failure::retry(error.to_string())
        }
        // Before that nobody would ask for it.
        FetchError::Robots(why) => {
            Failure::retry_after(AGAIN, format!("cannot read robots.txt for {AGENT}: {why}"))
        }
        error => Failure::dead(error.to_string()),
    }
}

/// Where the workers of a crawl find what they work on.
pub fn arguments(
    place: &Place,
    pace: &crate::options::Pace,
    max_pages: u64,
    hosts: &HashSet<String>,
) -> Vec<String> {
    let seconds = |duration: Duration| duration.as_secs_f64().to_string();
    let mut arguments = vec!["worker".to_owned()];
    let mut add = |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
    add("queue", place.queue.clone());
    add("concurrency", pace.concurrency.to_string());
    add("delay", seconds(pace.delay));
    add("timeout", seconds(pace.timeout));
    add("lease", seconds(pace.lease));
    add("attempts", pace.attempts.to_string());
    add("max-pages", max_pages.to_string());
    add("parent", std::process::id().to_string());
    hosts.iter().for_each(|host| add("host", host.clone()));
    arguments
}
