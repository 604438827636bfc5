//! The proof: a crawl to which everything happens that may happen, beside the same crawl left in peace.

use crate::Shared;
use crate::crew::Crew;
use crate::demo_site::{Manners, Site};
use crate::options::{Pace, Place, Prove};
use crate::proxy::Proxy;
use crate::redis_server::RedisServer;
use crate::scratch::Folder;
use crate::tool::say;
use crate::visit::job;
use greenloop::signal::{SIGINT, SIGTERM, Signals};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use std::error::Error;
use std::time::{Duration, Instant};

/// How often it is looked how far it is.
const LOOK: Duration = Duration::from_millis(50);
/// How many files are enough.
const FILES: u64 = 1 << 16;

/// What happens besides kills, each after its share of the pages, in hundredths.
const HAPPENINGS: [(u64, Happening); 3] =
    [(25, Happening::Restart(Signal::TERM)), (45, Happening::Cut), (65, Happening::Restart(Signal::KILL))];

#[derive(Clone, Copy)]
enum Happening {
    Restart(Signal),
    Cut,
}

pub fn run(prove: &Prove) -> Result<(), Box<dyn Error>> {
    let signals = Signals::new([SIGTERM, SIGINT])?;
    allow_files()?;
    let folder = Folder::new()?;
    let mut redis = RedisServer::start(&folder.path)?;
    say!(
        "A site of {} pages on {} hosts, where 3 of 100 requests fail, and {:?} from a request to the next one of a host; \
         {} processes, each with {} fetches at a time.",
        prove.pages,
        prove.hosts,
        prove.delay,
        prove.processes,
        prove.concurrency
    );
    let peaceful = Trial::start(prove, &redis, "peace")?.run(&mut redis, &signals, false)?;
    let disturbed = Trial::start(prove, &redis, "trouble")?.run(&mut redis, &signals, true)?;
    say!("It took {:.2} times as long as in peace.", disturbed.div_duration_f64(peaceful));
    Ok(())
}

/// Who fetches, and who serves, need a file for each connection: as many as the system lets this user have.
fn allow_files() -> rustix::io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(FILES).min(FILES);
    let current = limit.current.map(|current| current.max(most));
    setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum })
}

/// One crawl.
struct Trial<'a> {
    prove: &'a Prove,
    name: &'a str,
    site: Site,
    proxy: Proxy,
    broker: Shared,
    pace: Pace,
}

impl Trial<'_> {
    fn start<'a>(prove: &'a Prove, redis: &RedisServer, name: &'a str) -> Result<Trial<'a>, Box<dyn Error>> {
        let pace = Pace::of_demo(prove.concurrency, prove.delay, prove.lease);
        let site = Site::start(prove.pages, prove.hosts, Manners::USUAL)?;
        // Who counts asks the server itself, whatever happens to the network.
        let place = Place { broker: Some(redis.url()), queue: name.to_owned() };
        Ok(Trial { prove, name, site, proxy: Proxy::start(redis.port)?, broker: place.open()?, pace })
    }

    /// Returns how long it took.
    fn run(
        self,
        redis: &mut RedisServer,
        signals: &Signals,
        disturbed: bool,
    ) -> Result<Duration, Box<dyn Error>> {
        let place =
            Place { broker: Some(format!("redis://{}/", self.proxy.address)), queue: self.name.to_owned() };
        let start = Instant::now();
        self.broker.push(&[job(self.site.url(0)?, 0, self.pace.delay)])?;
        let mut crew = Crew::start(self.prove.processes, &place, &self.pace, u64::MAX, &self.site.servers())?;
        let (mut next, mut victims) = (start + self.prove.kill, 0..);
        let mut happenings = HAPPENINGS.into_iter().peekable();
        while crew.tend()? {
            if signals.next_timeout(LOOK).is_some() {
                return Err("it was stopped".into());
            }
            if !disturbed {
                continue;
            }
            if Instant::now() >= next {
                crew.kill(victims.next().unwrap_or_default())?;
                // The new one is to have some time, however slow the machine is.
                next = Instant::now() + self.prove.kill;
            }
            // The server may be away just now.
            let done = self.broker.status().map_or(0, |status| status.done);
            if let Some((_, happening)) =
                happenings.next_if(|(share, _)| done * 100 >= share * u64::from(self.prove.pages))
            {
                self.disturb(redis, happening, done)?;
            }
        }
        let took = start.elapsed();
        if disturbed && happenings.peek().is_some() {
            return Err("it was over before all had happened".into());
        }
        self.report(took, crew.killed)?;
        self.broker.purge()?;
        Ok(took)
    }

    fn disturb(
        &self,
        redis: &mut RedisServer,
        happening: Happening,
        done: u64,
    ) -> Result<(), Box<dyn Error>> {
        match happening {
            Happening::Restart(signal) => {
                let how = if signal == Signal::KILL { "killed" } else { "stopped" };
                say!("Redis is {how}, and started again, when {done} pages are done.");
                redis.restart(signal)
            }
            Happening::Cut => {
                say!("The network is cut for {:?}, when {done} pages are done.", self.prove.cut);
                self.proxy.cut(self.prove.cut);
                Ok(())
            }
        }
    }

    fn report(&self, took: Duration, killed: u32) -> Result<(), Box<dyn Error>> {
        let ((requests, faults), closest) = (self.site.visits(), self.site.closest().unwrap_or_default());
        say!(
            "In {}, {killed} processes killed by kill -9: {requests} requests, {faults} of which failed; as the server saw \
             it, no two of a host within {:.4} s.",
            self.name,
            closest.as_secs_f64()
        );
        self.site.is_recorded_once(&self.broker)?;
        if closest < self.prove.delay {
            return Err(format!("a host was asked again after {closest:?}").into());
        }
        say!("Every page was recorded exactly once: {} in {:.1} s.", self.prove.pages, took.as_secs_f64());
        Ok(())
    }
}
