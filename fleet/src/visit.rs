//! What is done with a page: robots.txt is asked, it is fetched, what is said of it is a record, and its links are the jobs that follow.

use crate::Shared;
use crate::archive::{Archive, Place};
use crate::budget::Budgets;
use crate::fetch::{AGENT, Answer, FetchError, Fetcher};
use crate::links::links;
use crate::options::Work;
use crate::robots::{AGAIN, HOLDS, RobotsCache, Shelf};
use crate::urls::shown;
use fleet::{Backoff, Completion, Failure, Job, NewJob, Priority};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};
use url::Url;

/// How much of a page is read.
const MAX_BYTES: u64 = 10 << 20;
/// What is longer is no link: it would be kept for long.
const MAX_URL: usize = 2_000;
/// How many links of one page are followed.
const MAX_LINKS: usize = 2_000;
/// Which part of a lease must be left for a request to be sent: it takes a while until it is.
const LEFT: u32 = 4;
/// How long links that there is no room for are left alone, the first time and the last.
const PUT_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(300));

/// What a job of a crawl is.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Task {
    Page(Page),
    Found(Found),
    Seed { seed: Url },
}

/// A page to fetch.
#[derive(Debug, Deserialize, Serialize)]
struct Page {
    url: Url,
    depth: u32,
}

/// Pages that were found while too many waited.
#[derive(Debug, Deserialize, Serialize)]
struct Found {
    found: Vec<Url>,
    depth: u32,
    /// How often there was no room for them.
    times: u32,
}

/// What is recorded of a page.
#[derive(Debug, Default, Serialize)]
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
    /// Where the answer is.
    #[serde(skip_serializing_if = "Option::is_none")]
    warc: Option<Place>,
    /// Why it was left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<String>,
}

/// The job of a page, of which there is one for each URL.
pub fn job(url: Url, depth: u32, delay: Duration) -> NewJob {
    let lane = url.host_str().unwrap_or_default().to_owned();
    let unique = url.as_str().to_owned();
    let job = new_job(&Task::Page(Page { url, depth })).unique(unique);
    // Of a host one page at a time. Engines count whole milliseconds.
    if delay.is_zero() { job } else { job.exclusive_lane(lane, delay + Duration::from_millis(1)) }
}

/// The job that asks the server of a page that is crawled first for its pace, which that page is to keep too.
pub fn introduction(seed: Url) -> NewJob {
    let unique = format!("seed {seed}");
    new_job(&Task::Seed { seed }).unique(unique)
}

fn new_job(task: &Task) -> NewJob {
    // It is numbers and text, which JSON has.
    NewJob::new(serde_json::to_string(task).unwrap_or_default())
}

/// Which server it is of, but for the scheme: a host, and a port that is not the usual one.
pub fn server(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// A payload to print.
pub fn shown_payload(payload: &str) -> String {
    match serde_json::from_str(payload) {
        Ok(Task::Page(Page { url, .. }) | Task::Seed { seed: url }) => shown(&url),
        Ok(Task::Found(Found { found, .. })) => format!("{} links", found.len()),
        Err(_) => payload.to_owned(),
    }
}

/// How much room there is for more pages, as it was at the last look, but for what has come since.
pub struct Room {
    pages: Cell<u64>,
    is_crowded: Cell<bool>,
}

impl Room {
    pub fn of(pages: u64) -> Room {
        Room { pages: Cell::new(pages), is_crowded: Cell::new(false) }
    }

    pub fn set(&self, pages: u64, is_crowded: bool) {
        self.pages.set(pages);
        self.is_crowded.set(is_crowded);
    }
}

/// What robots.txt says, for all processes.
struct RobotsShelf(Shared);

impl Shelf for RobotsShelf {
    fn find(&self, server: &str) -> Option<String> {
        self.0.kept(&format!("robots:{server}")).ok().flatten()
    }

    fn put(&self, server: &str, text: &str) {
        // Others read it themselves.
        let _ = self.0.keep(&format!("robots:{server}"), text, HOLDS);
    }
}

pub struct Visitor {
    fetcher: Fetcher,
    robots: RobotsCache<'static>,
    budgets: Budgets,
    archive: Option<Archive>,
    servers: HashSet<String>,
    delay: Duration,
    max_delay: Duration,
    timeout: Duration,
    lease: Duration,
    room: Rc<Room>,
}

impl Visitor {
    pub fn new(broker: Shared, work: &Work, concurrency: usize, room: Rc<Room>) -> Visitor {
        let pace = &work.pace;
        // For as long as the process.
        let shelf = Box::leak(Box::new(RobotsShelf(broker.clone())));
        Visitor {
            fetcher: Fetcher::new(pace.timeout, concurrency, ureq::tls::RootCerts::WebPki),
            robots: RobotsCache::new(pace.max_delay, &|_, _| {}, shelf),
            budgets: Budgets::new(broker, pace.host_failures),
            archive: pace.warc.clone().map(Archive::new),
            servers: work.server.iter().cloned().collect(),
            delay: pace.delay,
            max_delay: pace.max_delay,
            timeout: pace.timeout,
            lease: pace.lease,
            room,
        }
    }

    pub fn visit(&self, job: &Job) -> Result<Completion, Failure> {
        let task = serde_json::from_str(&job.payload).map_err(|error| Failure::dead(error.to_string()))?;
        match task {
            Task::Found(Found { found, depth, times }) => {
                Ok(Completion::new().jobs(self.follow(found, depth, times)))
            }
            Task::Seed { seed } => self.with_budget(job, &seed, || {
                let delay = self.delay_of(&seed).map_err(failure)?;
                Ok(Ok(Completion::new().jobs([self::job(seed.clone(), 0, delay)])))
            }),
            Task::Page(page) => self.with_budget(job, &page.url, || self.fetch(job, &page)),
        }
    }

    /// Does what asks the server of `url` something, unless that has failed too often. What fails within what `visit` returns is not its fault.
    fn with_budget(
        &self,
        job: &Job,
        url: &Url,
        visit: impl FnOnce() -> Result<Result<Completion, Failure>, Failure>,
    ) -> Result<Completion, Failure> {
        let server = url.origin().ascii_serialization();
        if let Some(objection) = self.budgets.objection(&server) {
            return Err(Failure::dead(objection));
        }
        let visited = visit();
        match &visited {
            Err(failure) if failure.is_final() || *failure == Failure::given_back() => {}
            // It was killed, and to tell others would fail, too, and take the connection with it.
            Err(_) if job.lease_left().is_zero() => {}
            Err(_) => self.budgets.failed(&server),
            Ok(_) => self.budgets.answered(&server),
        }
        visited?
    }

    fn fetch(&self, job: &Job, page: &Page) -> Result<Result<Completion, Failure>, Failure> {
        let mut report = Report { url: shown(&page.url), depth: page.depth, ..Report::default() };
        // Its own rules say so, or that it cannot be asked now.
        if let Some(objection) = self.robots.objection(&self.fetcher, &page.url).map_err(failure)? {
            report.skipped = Some(objection);
            return Ok(completion(&report));
        }
        // Another process may fetch of this host soon. The lease is renewed when a third of it has passed.
        if job.lease_left() < self.lease / LEFT {
            return Err(Failure::given_back());
        }
        let answer = self.fetcher.get(&page.url, MAX_BYTES).map_err(failure)?;
        if answer.status.is_server_error() {
            return Err(Failure::retry(answer.status.to_string()));
        }
        (report.status, report.bytes) = (Some(answer.status.as_u16()), Some(answer.bytes()));
        report.media_type = Some(bounded(&answer.media_type));
        if let Some(archive) = &self.archive {
            match archive.write(&page.url, &answer) {
                Ok(place) => report.warc = Some(place),
                Err(error) => return Ok(Err(Failure::retry(format!("cannot write WARC: {error}")))),
            }
        }
        let mut found = self.links(page, &answer, &mut report)?;
        drop(answer);
        report.links = Some(found.len());
        found.retain(|url| {
            url.as_str().len() <= MAX_URL && server(url).is_some_and(|server| self.servers.contains(&server))
        });
        let followers = self.follow(found, page.depth.saturating_add(1), 0);
        Ok(completion(&report).map(|completion| completion.jobs(followers)))
    }

    fn links(&self, page: &Page, answer: &Answer<'_>, report: &mut Report) -> Result<Vec<Url>, Failure> {
        match &answer.location {
            Some(Ok(target)) if answer.status.is_redirection() => {
                report.location = Some(bounded(&shown(target)));
                Ok(vec![target.clone()])
            }
            _ if answer.status.is_success() && answer.is_html() => {
                Ok(links(&page.url, &answer.media_type, answer.body().map_err(failure)?))
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The jobs of pages that were found, as far as there is room.
    fn follow(&self, mut found: Vec<Url>, depth: u32, times: u32) -> Vec<NewJob> {
        let room = self.room.pages.get();
        found.truncate(usize::try_from(room).unwrap_or(usize::MAX).min(MAX_LINKS));
        if !found.is_empty() && self.room.is_crowded.get() {
            let times = times.saturating_add(1);
            let delay = Backoff::full_jitter(PUT_OFF.0, PUT_OFF.1).delay(times);
            let later = new_job(&Task::Found(Found { found, depth, times })).later(delay);
            // Those whose time has come are not to be counted as pages that wait.
            return vec![later.priority(Priority::High)];
        }
        // Some of them are known already: the next look tells.
        self.room.pages.set(room - found.len() as u64);
        let start = Instant::now();
        let job = |url| {
            // What says nothing of its pace now, as it fails or others took the time, is asked when its turn has come.
            let asked = (start.elapsed() < self.timeout).then(|| self.delay_of(&url).ok()).flatten();
            self::job(url, depth, asked.unwrap_or(self.delay))
        };
        found.into_iter().map(job).collect()
    }

    /// What is to lie between two requests to the server of `url`. One that asks for more than is waited is left alone, which takes no time.
    fn delay_of(&self, url: &Url) -> Result<Duration, FetchError> {
        let asked = self.robots.delay(&self.fetcher, url)?;
        Ok(asked.filter(|asked| *asked <= self.max_delay).unwrap_or_default().max(self.delay))
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
