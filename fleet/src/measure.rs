//! What a page costs a process that crawls, and what a host costs that waits for its turn.

use crate::crawl::fetch_all;
use crate::demo_site::{Manners, SILENCE, Site};
use crate::fetch::{Fetcher, most_fetches};
use crate::meter::{metered, time_of};
use crate::options::{Measure, Pace, Place, Work};
use crate::redis_server::RedisServer;
use crate::robots::{RobotsCache, Shelf};
use crate::scratch::Folder;
use crate::tool::say;
use crate::visit::{job, server};
use fleet::{Broker, Completion};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::time::ClockId;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};
use url::Url;

/// Longer than a run, so that nothing is taken over.
const LEASE: Duration = Duration::from_secs(60);
/// How long a host waits.
const DELAY: Duration = Duration::from_secs(3_600);
/// How many jobs one call has.
const BATCH: usize = 500;
/// What a server wants that has much to say.
const RULES: usize = 20;

pub fn run(measure: &Measure) -> Result<(), Box<dyn Error>> {
    let folder = Folder::new()?;
    let redis = RedisServer::start(&folder.path)?;
    let (_server, site) = start_site(measure)?;
    pages(measure, &redis, &site)?;
    hosts_of_engine(measure, &redis)?;
    hosts_of_process(measure)?;
    fetches(measure, &site)
}

fn row(what: &str, goal: &str, measured: String) {
    say!("| {what:<66} | {goal:>10} | {measured:>10} |");
}

/// Serves the site, in a process of its own, until whoever began it ends.
pub fn serve(measure: &Measure) -> Result<(), Box<dyn Error>> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let site = Site::start(measure.pages, 1, Manners::perfect(measure.length))?;
    say!("{}", site.url(0)?);
    loop {
        greenloop::sleep(DELAY);
    }
}

/// A process that is killed when this goes.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

/// Has the site be served, and returns its first page.
fn start_site(measure: &Measure) -> Result<(Server, Url), Box<dyn Error>> {
    let mut program = Command::new(std::env::current_exe()?);
    program.args(["site", "--pages", &measure.pages.to_string(), "--length", &measure.length.to_string()]);
    let mut server = Server(program.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
    let mut first = String::new();
    BufReader::new(server.0.stdout.take().ok_or("no output")?).read_line(&mut first)?;
    Ok((server, Url::parse(first.trim())?))
}

/// Crawls a site that answers at once, twice: as it is, and with a meter, which takes time itself.
fn pages(measure: &Measure, redis: &RedisServer, first: &Url) -> Result<(), Box<dyn Error>> {
    let crawl = |queue: &str, is_metered: bool| -> Result<_, Box<dyn Error>> {
        let place = Place { broker: Some(redis.url()), queue: queue.to_owned() };
        let pace = Pace::of_demo(measure.concurrency, Duration::ZERO, LEASE);
        let servers = server(first).into_iter().collect();
        let broker = place.open()?;
        let work = Work { place, pace, max_pages: u64::MAX, parent: 0, server: servers };
        broker.push(&[job(first.clone(), 0, Duration::ZERO)])?;
        let (start, before) = (Instant::now(), time_of(ClockId::ProcessCPUTime));
        let (fetched, calls) = match is_metered {
            true => metered(broker.clone(), |broker| fetch_all(broker, &work)),
            false => (fetch_all(broker.clone(), &work), Duration::ZERO),
        };
        fetched?;
        let (took, spent) = (start.elapsed(), time_of(ClockId::ProcessCPUTime) - before);
        let recorded = broker.status()?.records;
        if recorded != u64::from(measure.pages) {
            return Err(format!("{recorded} pages are recorded").into());
        }
        broker.purge()?;
        Ok((took, spent, calls))
    };
    let rate = |time: Duration| format!("{:.0}", f64::from(measure.pages) / time.as_secs_f64());
    let (took, spent, _) = crawl("pages", false)?;
    row("pages a second, while it shares the machine", "", rate(took));
    row("pages in a second of the processor's time", "3,000", rate(spent));
    let (_, spent, calls) = crawl("calls", true)?;
    let share = calls.div_duration_f64(spent);
    row("share of that in calls of Redis", "25 %", format!("{:.1} %", 100.0 * share));
    Ok(())
}

fn url(host: u32, page: u32) -> Result<Url, url::ParseError> {
    Url::parse(&format!("https://host-{host}.example/articles/{page}"))
}

/// Of hosts whose last page was fetched just now, and whose next one waits.
fn hosts_of_engine(measure: &Measure, redis: &RedisServer) -> Result<(), Box<dyn Error>> {
    let mut connection = redis::Client::open(redis.url())?.get_connection()?;
    let mut memory = || -> Result<u64, Box<dyn Error>> {
        let about: redis::InfoDict = redis::cmd("INFO").arg("memory").query(&mut connection)?;
        Ok(about.get("used_memory").ok_or("no used_memory")?)
    };
    let broker = fleet::Redis::open(&redis.url(), "hosts")?;
    let before = memory()?;
    let hosts: Vec<_> = (0..measure.hosts).collect();
    for hosts in hosts.chunks(BATCH) {
        let pages = hosts.iter().map(|host| Ok(job(url(*host, 1)?, 0, DELAY)));
        broker.push(&pages.collect::<Result<Vec<_>, url::ParseError>>()?)?;
        for (taken, host) in broker.take(BATCH, LEASE)?.iter().zip(hosts) {
            broker.done(&taken.lease(), Completion::new().jobs([job(url(*host, 2)?, 1, DELAY)]))?;
        }
    }
    let waiting = broker.status()?.ready;
    if waiting != u64::from(measure.hosts) {
        return Err(format!("{waiting} hosts wait").into());
    }
    let each = memory()?.saturating_sub(before) / waiting;
    row("bytes of Redis' memory for a host that waits for its turn", "12,288", each.to_string());
    Ok(())
}

/// What others have found out.
struct Known(String);

impl Shelf for Known {
    fn find(&self, _: &str) -> Option<String> {
        Some(self.0.clone())
    }

    fn put(&self, _: &str, _: &str) {}
}

/// Of hosts whose robots.txt is known.
fn hosts_of_process(measure: &Measure) -> Result<(), Box<dyn Error>> {
    let rules = (0..RULES).map(|rule| format!("Disallow: /not/this/folder/{rule}/\n")).collect::<String>();
    let shelf = Known(format!("User-agent: *\nCrawl-delay: 1\n{rules}"));
    let fetcher = Fetcher::new(LEASE, 1, ureq::tls::RootCerts::WebPki);
    let cache = RobotsCache::new(DELAY, &|_, _| {}, &shelf);
    let before = resident()?;
    for host in 0..measure.hosts {
        cache.delay(&fetcher, &url(host, 1)?)?;
    }
    let each = resident()?.saturating_sub(before) / u64::from(measure.hosts);
    row("bytes of a process's memory for a host that it knows, with 20 rules", "12,288", each.to_string());
    Ok(())
}

/// Of fetches whose servers have not answered yet.
fn fetches(measure: &Measure, site: &Url) -> Result<(), Box<dyn Error>> {
    let silence = site.join(SILENCE)?;
    let most = most_fetches(measure.hosts as usize, 1);
    let fetcher = Rc::new(Fetcher::new(DELAY, most, ureq::tls::RootCerts::WebPki));
    let before = resident()?;
    let fetches: Vec<_> = (0..most)
        .map(|_| {
            let (fetcher, silence) = (Rc::clone(&fetcher), silence.clone());
            greenloop::spawn(move || drop(fetcher.get(&silence, 0)))
        })
        .collect();
    // All of them have asked.
    greenloop::sleep(Duration::from_secs(5));
    let each = resident()?.saturating_sub(before) / most as u64;
    greenloop::killall(&fetches);
    row(&format!("bytes of it for a fetch that waits for its server, of {most}"), "", each.to_string());
    Ok(())
}

/// How many bytes of memory this process has.
fn resident() -> Result<u64, Box<dyn Error>> {
    let about = std::fs::read_to_string("/proc/self/status")?;
    let kilobytes = about.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
    Ok(1024 * kilobytes.ok_or("no VmRSS in /proc/self/status")?.parse::<u64>()?)
}
