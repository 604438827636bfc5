//! The demo: a crawl whose processes are killed one after another, and a count of what has come of it.

use crate::crawl::job;
use crate::crew::Crew;
use crate::demo_site;
use crate::options::{Demo, Pace, Place};
use crate::tool::say;
use crate::{Shared, tool};
use greenloop::signal::{SIGINT, SIGTERM, Signals};
use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use url::Url;

/// How soon the pages of a process that was killed are fetched by others.
const LEASE: Duration = Duration::from_secs(2);
/// How often it is looked whether all is done.
const LOOK: Duration = Duration::from_millis(50);
/// How long a server may take to begin.
const BEGINNING: Duration = Duration::from_secs(10);
/// How many records one look gets.
const RECORDS: usize = 1_000;

pub fn run(demo: &Demo) -> Result<(), Box<dyn Error>> {
    let signals = Signals::new([SIGTERM, SIGINT])?;
    let folder = Folder::new()?;
    let mut server = None;
    let address = match (&demo.redis, &demo.postgres) {
        (Some(url), _) if url.is_empty() => server.insert(Redis::start(&folder)?).url.clone(),
        (Some(url), _) | (None, Some(url)) => url.clone(),
        (None, None) => folder.0.join("queue.db").to_string_lossy().into_owned(),
    };
    // A queue of its own, whatever else there is.
    let queue = format!("demo_{}", std::process::id());
    let place = Place { broker: Some(address), queue };
    let broker = place.open()?;
    let (site, visits) = demo_site::start(demo.pages)?;
    say!(
        "A site of {} pages at http://{site}, where 3 of 100 requests fail; {} processes, each with {} fetches at a time.",
        demo.pages,
        demo.processes,
        demo.concurrency
    );
    // A demo of this number may have been killed.
    broker.purge()?;
    let outcome = crawl(demo, &place, &broker, site, &signals)
        .and_then(|took| Ok((took.as_secs_f64(), count(&broker, site, demo.pages)?)));
    say!("{} requests, {} of which failed.", visits.requests.get(), visits.faults.get());
    let purged = broker.purge().map_err(Box::from).and_then(|()| forget(demo, &place.queue));
    let (seconds, recorded) = outcome?;
    purged?;
    say!("Every page was recorded exactly once: {recorded} in {seconds:.1} s.");
    Ok(())
}

/// Removes what a purge leaves on a server of the user's, so that a queue of the same name goes on with its numbers.
fn forget(demo: &Demo, queue: &str) -> Result<(), Box<dyn Error>> {
    if let Some(url) = &demo.postgres {
        let mut client = postgres::Client::connect(url, postgres::NoTls)?;
        client.batch_execute(&format!("drop schema fleet_{queue} cascade"))?;
    }
    if let Some(url) = demo.redis.as_deref().filter(|url| !url.is_empty()) {
        let mut connection = redis::Client::open(url)?.get_connection()?;
        redis::cmd("DEL").arg(format!("fleet:{{{queue}}}:next")).exec(&mut connection)?;
    }
    Ok(())
}

/// Crawls until all is done, and returns how long it took.
fn crawl(
    demo: &Demo,
    place: &Place,
    broker: &Shared,
    site: SocketAddr,
    signals: &Signals,
) -> Result<Duration, Box<dyn Error>> {
    let pace = Pace {
        concurrency: demo.concurrency,
        delay: Duration::ZERO,
        timeout: Duration::from_secs(10),
        lease: LEASE,
        attempts: 50,
    };
    let start = Instant::now();
    broker.push(&[job(page(site, 0)?, 0, pace.delay)])?;
    let hosts = HashSet::from([site.ip().to_string()]);
    let mut crew = Crew::start(demo.processes, place, &pace, u64::MAX, &hosts)?;
    let (mut next, mut victims) = (start + demo.kill, 0..);
    // Those that find nothing to do end by themselves.
    while crew.tend()? {
        if signals.next_timeout(LOOK).is_some() {
            return Err("it was stopped".into());
        }
        if crew.killed < demo.kills && Instant::now() >= next {
            crew.kill(victims.next().unwrap_or_default())?;
            // The new one is to have some time, however slow the machine is.
            next = Instant::now() + demo.kill;
            let status = broker.status()?;
            let (killed, left) = (crew.killed, status.ready + status.later + status.leased);
            say!("kill -9, {killed} so far: {} pages are done, {left} more are known", status.done);
        }
    }
    Ok(start.elapsed())
}

fn page(site: SocketAddr, page: u32) -> Result<Url, url::ParseError> {
    Url::parse(&format!("http://{site}{}", demo_site::path(page)))
}

/// How many pages were recorded: an error, if it is not each of them, and once.
fn count(broker: &Shared, site: SocketAddr, pages: u32) -> Result<u32, Box<dyn Error>> {
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    let mut after = 0;
    loop {
        let records = broker.records(after, RECORDS)?;
        let Some(last) = records.last() else { break };
        after = last.number;
        for record in &records {
            let report: serde_json::Value = serde_json::from_str(&record.text)?;
            *times.entry(report["url"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    let mut wrong = Vec::new();
    for number in 0..pages {
        let url = page(site, number)?;
        match times.remove(url.as_str()).unwrap_or(0) {
            1 => {}
            others => wrong.push(format!("{url} was recorded {others} times")),
        }
    }
    wrong.extend(times.into_keys().map(|url| format!("{url} was recorded, and there is no such page")));
    wrong.extend(
        broker.dead_jobs(RECORDS)?.into_iter().map(|dead| format!("{}: {}", dead.payload, dead.error)),
    );
    match wrong.first() {
        None => Ok(pages),
        Some(first) => Err(format!("{} pages are wrong, such as: {first}", wrong.len()).into()),
    }
}

/// A new folder, which goes with this.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder, Box<dyn Error>> {
        let path = std::env::temp_dir().join(format!("fleet-demo-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(tool::failed_to(format_args!("make {}", path.display())))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server of Redis, which writes what it acknowledges.
struct Redis {
    child: Child,
    url: String,
}

impl Redis {
    fn start(folder: &Folder) -> Result<Redis, Box<dyn Error>> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        // It ends with this process, also if that is killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "redis-server"])
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "yes"])
            .arg("--dir")
            .arg(&folder.0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start setpriv, of util-linux: {error}"))?;
        let mut redis = Redis { child, url: format!("redis://127.0.0.1:{port}/") };
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = redis.child.try_wait()? {
                return Err(format!(
                    "cannot start redis-server ({status}); on Debian: apt-get install redis-server"
                )
                .into());
            }
            if start.elapsed() > BEGINNING {
                return Err("redis-server does not begin".into());
            }
            sleep(LOOK);
        }
        Ok(redis)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}
