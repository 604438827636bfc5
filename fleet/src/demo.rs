//! The demo: a crawl whose processes are killed one after another, and a count of what has come of it.

use crate::Shared;
use crate::crew::Crew;
use crate::demo_site::{Manners, Site};
use crate::options::{Demo, Pace, Place};
use crate::redis_server::RedisServer;
use crate::scratch::Folder;
use crate::tool::{complain, say};
use crate::visit::job;
use greenloop::signal::{SIGINT, SIGTERM, Signals};
use std::error::Error;
use std::time::{Duration, Instant};

/// How soon the pages of a process that was killed are fetched by others.
const LEASE: Duration = Duration::from_secs(2);
/// How often it is looked whether all is done.
const LOOK: Duration = Duration::from_millis(50);

pub fn run(demo: &Demo) -> Result<(), Box<dyn Error>> {
    let signals = Signals::new([SIGTERM, SIGINT])?;
    check(demo.redis.as_deref().filter(|url| !url.is_empty()), &["redis", "rediss"])?;
    check(demo.postgres.as_deref(), &["postgres", "postgresql"])?;
    let folder = Folder::new()?;
    let mut server = None;
    let address = match (&demo.redis, &demo.postgres) {
        (Some(url), _) if url.is_empty() => server.insert(RedisServer::start(&folder.path)?).url(),
        (Some(url), _) | (None, Some(url)) => url.clone(),
        (None, None) => folder.path.join("queue.db").to_string_lossy().into_owned(),
    };
    // A queue of its own, whatever else there is.
    let queue = format!("demo_{}", std::process::id());
    let place = Place { broker: Some(address), queue };
    let broker = place.open()?;
    let site = Site::start(demo.pages, 1, Manners::USUAL)?;
    say!(
        "A site of {} pages at {}, where 3 of 100 requests fail; {} processes, each with {} fetches at a time.",
        demo.pages,
        site.url(0)?,
        demo.processes,
        demo.concurrency
    );
    // A demo of this number may have been killed.
    broker.purge()?;
    let outcome = crawl(demo, &place, &broker, &site, &signals)
        .and_then(|took| site.is_recorded_once(&broker).map(|()| took));
    let (requests, faults) = site.visits();
    say!("{requests} requests, {faults} of which failed.");
    let purged = broker.purge();
    // A server may want it otherwise than this asks, such as encrypted.
    if let Err(error) = forget(demo, &place.queue) {
        complain!("the queue {} is left behind, empty: {error}", place.queue);
    }
    let took = outcome?;
    purged?;
    say!("Every page was recorded exactly once: {} in {:.1} s.", demo.pages, took.as_secs_f64());
    Ok(())
}

/// Anything else would be the name of a file. What it is is not told: there may be a password in it.
fn check(url: Option<&str>, schemes: &[&str]) -> Result<(), String> {
    let is_one = |url: &str| url.split_once("://").is_some_and(|(scheme, _)| schemes.contains(&scheme));
    match url {
        Some(url) if !is_one(url) => {
            Err(format!("a server is named by a URL: {}://…", schemes.join("://… or ")))
        }
        _ => Ok(()),
    }
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
    site: &Site,
    signals: &Signals,
) -> Result<Duration, Box<dyn Error>> {
    let pace = Pace::of_demo(demo.concurrency, Duration::ZERO, LEASE);
    let start = Instant::now();
    broker.push(&[job(site.url(0)?, 0, pace.delay)])?;
    let mut crew = Crew::start(demo.processes, place, &pace, u64::MAX, &site.servers())?;
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
