//! The crawl: one green thread keeps the frontier, and a fixed number of workers fetch what it hands out.

use crate::fetch::{FetchError, Fetcher};
use crate::frontier::Frontier;
use crate::links::links;
use crate::report::{Outcome, Record};
use crate::robots::RobotsCache;
use greenloop::channel::{self, Receiver, Sender};
use greenloop::{ScopedJoinHandle, select};
use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};
use url::Url;

/// How many redirects of one URL are followed.
const MAX_REDIRECTS: usize = 10;

/// What to crawl and how far to go.
pub struct Plan {
    pub starts: Vec<Url>,
    pub concurrency: usize,
    pub depth: u32,
    pub same_host: bool,
    pub max_bytes: u64,
    pub max_delay: Duration,
}

/// What has come of a crawl.
pub struct Crawl {
    /// One of each URL that was visited, in order of depth and URL.
    pub records: Vec<Record>,
    /// How many more were known when it was stopped.
    pub unvisited: usize,
    /// The signal that stopped it.
    pub stopped_by: Option<i32>,
}

/// Who watches a crawl.
pub struct Watch<'a> {
    /// What comes here stops the crawl.
    pub stop: &'a Receiver<i32>,
    /// Sees each record when its fetch has ended, and how many URLs are done and known by then. Its error ends the crawl.
    pub on_record: &'a dyn Fn(&Record, usize, usize) -> io::Result<()>,
    /// Is told which servers ask for how much time between requests.
    pub on_delay: &'a dyn Fn(&Url, Duration),
}

/// What has become of a URL, and the links of its page.
struct Visit {
    record: Record,
    links: Vec<Url>,
}

/// Crawls until every URL within the plan is visited, or until it is stopped.
pub fn crawl(plan: &Plan, fetcher: &Fetcher, watch: &Watch<'_>) -> io::Result<Crawl> {
    let robots = RobotsCache::new(plan.max_delay, watch.on_delay, &());
    let visitor = &Visitor { plan, fetcher, robots, hosts: hosts(&plan.starts) };
    let (mut frontier, mut records, mut stopped_by) = (Frontier::new(plan.depth), Vec::new(), None);
    greenloop::scope(|scope| -> io::Result<()> {
        let (jobs, queue) = channel::unbounded::<Url>();
        let (results, visits) = channel::unbounded::<Visit>();
        let worker = |_| {
            let (queue, results) = (queue.clone(), results.clone());
            scope.spawn(move || visitor.work(&queue, &results))
        };
        let workers: Vec<_> = (0..plan.concurrency).map(worker).collect();
        let hand_out = |urls: Vec<Url>| {
            for url in urls {
                let _ = jobs.send(url);
            }
        };
        hand_out(frontier.discover(plan.starts.iter().cloned(), 0));
        let mut outcome = Ok(());
        while outcome.is_ok() && records.len() < frontier.len() {
            let visit = select! {
                recv(watch.stop) -> signal => {
                    stopped_by = signal.ok();
                    None
                }
                recv(visits) -> visit => visit.ok(),
            };
            let Some(Visit { record, links }) = visit else { break };
            hand_out(frontier.complete(&record.url, links));
            outcome = (watch.on_record)(&record, records.len() + 1, frontier.len());
            records.push(record);
        }
        // They wait for more to do, or fetch what nobody wants any more.
        workers.iter().for_each(ScopedJoinHandle::kill);
        outcome
    })?;
    for record in &mut records {
        record.depth = frontier.depth(&record.url);
    }
    records.sort_by(|a, b| (a.depth, &a.url).cmp(&(b.depth, &b.url)));
    Ok(Crawl { unvisited: frontier.len() - records.len(), records, stopped_by })
}

/// What the workers share.
struct Visitor<'a> {
    plan: &'a Plan,
    fetcher: &'a Fetcher,
    robots: RobotsCache<'a>,
    hosts: HashSet<String>,
}

impl Visitor<'_> {
    /// Visits the queue's URLs until it is at its end, or nobody wants the results.
    fn work(&self, queue: &Receiver<Url>, results: &Sender<Visit>) {
        while let Ok(url) = queue.recv() {
            if results.send(self.visit(url)).is_err() {
                break;
            }
        }
    }

    /// Fetches one URL, redirects included.
    fn visit(&self, url: Url) -> Visit {
        let mut record = Record::new(url);
        let started = Instant::now();
        let found = self.follow(&mut record);
        record.milliseconds = started.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        let links = found.unwrap_or_else(|error| {
            record.outcome = Outcome::Failed;
            record.reason = Some(error.to_string());
            Vec::new()
        });
        record.links = links.len();
        let followed = links.into_iter().filter(|link| self.may_leave_to(link)).collect();
        Visit { record, links: followed }
    }

    /// Follows the redirects of a record's URL to a page, and returns the links of the page.
    fn follow(&self, record: &mut Record) -> Result<Vec<Url>, FetchError> {
        let mut visited = HashSet::new();
        loop {
            let url = record.final_url.clone();
            if let Some(objection) = self.robots.objection(self.fetcher, &url)? {
                record.skip(&objection);
                return Ok(Vec::new());
            }
            let answer = self.fetcher.get(&url, self.plan.max_bytes)?;
            record.status = Some(answer.status.as_u16());
            if !answer.status.is_redirection() {
                record.bytes = answer.bytes();
                record.truncated = answer.truncated;
                return match answer.status.is_success() {
                    true if answer.is_html() => Ok(links(&url, &answer.media_type, answer.body()?)),
                    true => Ok(Vec::new()),
                    false => Err(FetchError::Status(answer.status)),
                };
            }
            let target = answer.location.ok_or(FetchError::NoLocation(answer.status))??;
            visited.insert(url);
            if visited.contains(&target) {
                return Err(FetchError::RedirectLoop(target));
            }
            if visited.len() > MAX_REDIRECTS {
                return Err(FetchError::TooManyRedirects(MAX_REDIRECTS));
            }
            record.redirects += 1;
            record.final_url = target;
            if !self.may_leave_to(&record.final_url) {
                record.skip("redirects to another host");
                return Ok(Vec::new());
            }
        }
    }

    /// Whether the crawl may go to a URL that it has found.
    fn may_leave_to(&self, url: &Url) -> bool {
        !self.plan.same_host || url.host_str().is_some_and(|host| self.hosts.contains(host))
    }
}

/// The hosts of the start URLs.
fn hosts(starts: &[Url]) -> HashSet<String> {
    starts.iter().filter_map(Url::host_str).map(str::to_owned).collect()
}
