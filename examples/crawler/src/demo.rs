//! The demonstration: a site and its crawler in one process, on one OS thread.

use crate::crawl::{Plan, Watch, crawl};
use crate::fetch::{Fetcher, most_fetches};
use crate::progress::Progress;
use crate::report::{Outcome, Record, Summary};
use crate::tool::say;
use crate::{server, site};
use greenloop::channel;
use greenloop::net::TcpListener;
use std::error::Error;
use std::time::{Duration, Instant};
use ureq::tls::RootCerts;
use url::Url;

const CONCURRENCY: usize = 32;
/// Shorter than the site's slow page takes, and much longer than any other page.
const TIMEOUT: Duration = Duration::from_secs(2);
/// More than any page of the site but the endless one.
const MAX_BYTES: u64 = 1 << 20;

/// Runs it, and tells whether everything came out as planned.
///
/// Unless fetches yield, the site has an OS thread to itself, since they stop this one.
pub fn run(fetches_yield: bool) -> Result<bool, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let base = Url::parse(&format!("http://{}/", listener.local_addr()?))?;
    let serve = move || server::serve(&listener, |stream| stream, site::respond);
    let server = if fetches_yield {
        Some(greenloop::spawn(serve))
    } else {
        std::thread::spawn(serve);
        None
    };
    let fetcher = Fetcher::new(TIMEOUT, CONCURRENCY, RootCerts::WebPki);
    three_pages(&fetcher, &base)?;
    let as_planned = graph(&fetcher, &base)?;
    if let Some(server) = server {
        server.kill();
    }
    Ok(as_planned)
}

/// Fetches the three pages one after another, and then together.
fn three_pages(fetcher: &Fetcher, base: &Url) -> Result<(), Box<dyn Error>> {
    let urls = site::CLASSIC.map(|(path, size, _)| base.join(path).map(|url| (url, size)));
    let urls = urls.into_iter().collect::<Result<Vec<_>, _>>()?;

    say!("One after another:");
    let started = Instant::now();
    for (url, size) in &urls {
        get(fetcher, url, *size)?;
    }
    say!("This took {} ms.\n", started.elapsed().as_millis());

    say!("Together:");
    let started = Instant::now();
    greenloop::scope(|scope| -> Result<(), Box<dyn Error>> {
        let start = |(url, size)| scope.spawn(move || get(fetcher, url, size));
        let fetches: Vec<_> = urls.iter().map(|(url, size)| start((url, *size))).collect();
        for fetch in fetches {
            fetch.join()??;
        }
        Ok(())
    })?;
    say!("This took {} ms.\n", started.elapsed().as_millis());
    Ok(())
}

/// Fetches one page, and says so.
fn get(fetcher: &Fetcher, url: &Url, size: usize) -> Result<(), String> {
    say!("GET: {url}");
    let answer = fetcher.get(url, MAX_BYTES).map_err(|error| format!("{url}: {error}"))?;
    say!("{} bytes received from {url}.", answer.bytes());
    if answer.bytes() == size as u64 { Ok(()) } else { Err(format!("{url}: expected {size} bytes")) }
}

/// Crawls the graph, and tells whether each URL fared as planned.
fn graph(fetcher: &Fetcher, base: &Url) -> Result<bool, Box<dyn Error>> {
    // The site has the other end of each connection.
    let concurrency = most_fetches(CONCURRENCY, 2);
    say!("The graph behind {}, {concurrency} fetches at a time:", base.join(site::START)?);
    let plan = Plan {
        starts: vec![base.join(site::START)?],
        concurrency,
        depth: u32::MAX,
        same_host: true,
        max_bytes: MAX_BYTES,
        max_delay: Duration::ZERO,
    };
    let (started, progress) = (Instant::now(), Progress::new());
    let watch = Watch {
        stop: &channel::never(),
        on_record: &|_, done, known| {
            progress.update(done, known, 0);
            Ok(())
        },
        on_delay: &|_, _| (),
    };
    let crawled = crawl(&plan, fetcher, &watch);
    progress.finish();
    let crawled = crawled?;
    say!("{}", Summary::of(&crawled, started.elapsed()));

    let records = &crawled.records;
    let failed = |record: &Record| record.outcome == Outcome::Failed;
    let skipped = |record: &Record| record.outcome == Outcome::Skipped;
    let redirected = |record: &Record| record.outcome == Outcome::Fetched && record.redirects > 0;
    let plain = records.iter().filter(|record| record.url.path().starts_with("/graph/"));
    let checks = [
        plain.filter(|record| record.bytes > 0).count() as u64 == site::PAGES,
        tell("redirected", records, redirected, &site::REDIRECTS),
        tell("cut short", records, |record| record.truncated, &[site::ENDLESS]),
        tell("skipped", records, skipped, &site::FORBIDDEN),
        tell("failed", records, failed, &site::FAILURES),
    ];
    Ok(checks.into_iter().all(|as_planned| as_planned))
}

/// Lists the records of one kind, and whether they are the planned ones.
fn tell(kind: &str, records: &[Record], is_of_kind: impl Fn(&Record) -> bool, planned: &[&str]) -> bool {
    let mut found: Vec<&Record> = records.iter().filter(|record| is_of_kind(record)).collect();
    found.sort_by_key(|record| record.url.path());
    let as_planned = found.iter().map(|record| record.url.path()).eq(planned.iter().copied());
    say!("{kind}, {}:", if as_planned { "as planned" } else { "NOT as planned" });
    for record in found {
        match &record.reason {
            Some(reason) => say!("  {}: {reason}", record.url.path()),
            None => {
                say!("  {} ({} bytes of {})", record.url.path(), record.bytes, record.final_url.path())
            }
        }
    }
    as_planned
}
