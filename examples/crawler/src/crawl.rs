//! The crawl: one green thread keeps the frontier, and a fixed number of workers fetch what it hands out.

use crate::fetch::{FetchError, Fetcher};
use crate::frontier::Frontier;
use crate::links::links;
use crate::report::{Outcome, Record};
use crate::robots::RobotsCache;
use greenloop::channel::{self, Receiver, Sender};
use std::collections::HashSet;
use std::io;
use std::time::Instant;
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
}

/// What has become of a URL, and the links of its page.
struct Visit {
    record: Record,
    links: Vec<Url>,
}

/// Crawls, and returns a record of every URL, in order of depth and URL.
///
/// `on_record` sees each record when its fetch has ended, and how many URLs are done and known by then. Its error
/// ends the crawl.
pub fn crawl(
    plan: &Plan,
    fetcher: &Fetcher,
    mut on_record: impl FnMut(&Record, usize, usize) -> io::Result<()>,
) -> io::Result<Vec<Record>> {
    let robots = RobotsCache::default();
    let visitor = &Visitor { plan, fetcher, robots, hosts: hosts(&plan.starts) };
    let (mut frontier, mut records) = (Frontier::new(plan.depth), Vec::new());
    greenloop::scope(|scope| -> io::Result<()> {
        // When this closure drops its two ends, the workers find nothing more to do, and return.
        let (jobs, queue) = channel::unbounded::<Url>();
        let (results, visits) = channel::unbounded::<Visit>();
        for _ in 0..plan.concurrency {
            let (queue, results) = (queue.clone(), results.clone());
            scope.spawn(move || visitor.work(&queue, &results));
        }
        let hand_out = |urls: Vec<Url>| {
            for url in urls {
                let _ = jobs.send(url);
            }
        };
        hand_out(frontier.discover(plan.starts.iter().cloned(), 0));
        while records.len() < frontier.len() {
            let Ok(Visit { record, links }) = visits.recv() else { break };
            hand_out(frontier.complete(&record.url, links));
            on_record(&record, records.len() + 1, frontier.len())?;
            records.push(record);
        }
        Ok(())
    })?;
    for record in &mut records {
        record.depth = frontier.depth(&record.url);
    }
    records.sort_by(|a, b| (a.depth, &a.url).cmp(&(b.depth, &b.url)));
    Ok(records)
}

/// What the workers share.
struct Visitor<'a> {
    plan: &'a Plan,
    fetcher: &'a Fetcher,
    robots: RobotsCache,
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
            if !self.robots.admits(self.fetcher, &url)? {
                record.skip("forbidden by robots.txt");
                return Ok(Vec::new());
            }
            let answer = self.fetcher.get(&url, self.plan.max_bytes)?;
            record.status = Some(answer.status.as_u16());
            if !answer.status.is_redirection() {
                record.bytes = answer.body.len() as u64;
                record.truncated = answer.truncated;
                return match answer.status.is_success() {
                    true if answer.is_html => Ok(links(&url, &answer.body)),
                    true => Ok(Vec::new()),
                    false => Err(FetchError::Status(answer.status)),
                };
            }
            let target = answer.location.ok_or(FetchError::NoLocation(answer.status))?;
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
