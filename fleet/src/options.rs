//! The command line.

use crate::Shared;
use clap::{Args, Parser, Subcommand};
use fleet::BrokerError;
use std::path::PathBuf;
use std::time::Duration;
use url::{ParseError, Url};

/// In which a worker's process is told where the broker is: arguments can be seen by everybody.
pub const BROKER: &str = "FLEET_BROKER";
/// For a lease that is renewed each third of it, on a machine that has other work.
const SHORTEST_LEASE: Duration = Duration::from_millis(100);

/// Crawls by many processes and machines, over SQLite, Redis or PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "fleet", version)]
pub struct Options {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Crawl: pages become lines of JSON on standard output. The same command again goes on where it was stopped
    Crawl(Crawl),
    /// Serve a site, crawl it by processes of which one is killed each second, and count what was recorded
    Demo(Demo),
    /// Crawl a site twice: in peace, and while processes are killed, Redis is restarted, and the network is cut. Needs redis-server
    Prove(Prove),
    /// Count what a page costs a process that crawls, and what a host does that waits. Needs redis-server
    Measure(Measure),
    /// Count the jobs of a queue
    Status(Place),
    /// Print all records, also those of crawls that were stopped
    Records(Place),
    /// Print the jobs that have failed for good, and why: the oldest thousand
    Dead(Place),
    /// Have all jobs that have failed for good tried again
    RequeueDead(Place),
    /// Remove all jobs, records and keys of a queue
    Purge(Place),
    /// What `crawl` starts
    #[command(hide = true)]
    Worker(Work),
    /// What `measure` crawls
    #[command(hide = true)]
    Site(Measure),
}

/// Which queue of which broker.
#[derive(Args, Debug)]
pub struct Place {
    /// A file, redis://HOST, or postgres://USER@HOST/DATABASE; or set FLEET_BROKER, which others cannot see
    #[arg(long, value_name = "ADDRESS")]
    pub broker: Option<String>,
    /// The name of the queue
    #[arg(long, value_name = "NAME", default_value = "crawl")]
    pub queue: String,
}

impl Place {
    pub fn address(&self) -> String {
        let from_environment = || std::env::var(BROKER).ok();
        self.broker.clone().or_else(from_environment).unwrap_or_else(|| "fleet.db".to_owned())
    }

    pub fn open(&self) -> Result<Shared, BrokerError> {
        fleet::open(&self.address(), &self.queue)
    }
}

#[derive(Args, Debug)]
pub struct Crawl {
    /// Where to start: http and https URLs. The crawl stays on their hosts, and on the usual ports and those that are named
    #[arg(value_name = "URL", required = true, value_parser = parse_url)]
    pub seeds: Vec<Url>,
    #[command(flatten)]
    pub place: Place,
    /// How many processes fetch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub workers: u16,
    /// Find about this many pages, and no more: further links are forgotten, also if it is more the next time
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub max_pages: u64,
    #[command(flatten)]
    pub pace: Pace,
}

/// How a process works.
#[derive(Args, Clone, Debug)]
pub struct Pace {
    /// Most fetches at the same time in each process
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// Seconds from one fetch from a host to the next, of all processes together
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    pub delay: Duration,
    /// Longest time for one page, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = parse_seconds)]
    pub timeout: Duration,
    /// Seconds after which the pages of a process that died are fetched by others
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_lease)]
    pub lease: Duration,
    /// Most attempts at a page that fails by no fault of its own
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub attempts: u32,
    /// Longest delay that a server may ask for, in seconds: the pages of one that asks for more are left alone
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_seconds)]
    pub max_delay: Duration,
    /// After so many failures of one server in a row its pages are given up, for ten minutes
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub host_failures: u32,
    /// While so many pages wait, links are put off: they are kept as they were found, a page's together
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub max_waiting: u64,
    /// Write what servers answer to files of this folder, WARC/1.0 compressed by gzip
    #[arg(long, value_name = "FOLDER")]
    pub warc: Option<PathBuf>,
}

impl Pace {
    /// As it is without options, for a site of the program's own.
    pub fn of_demo(concurrency: u16, delay: Duration, lease: Duration) -> Pace {
        Pace {
            concurrency,
            delay,
            lease,
            timeout: Duration::from_secs(10),
            attempts: 100,
            max_delay: Duration::from_secs(60),
            host_failures: 30,
            max_waiting: 1_000_000,
            warc: None,
        }
    }
}

#[derive(Args, Debug)]
pub struct Work {
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub pace: Pace,
    #[arg(long)]
    pub max_pages: u64,
    /// The process that began it.
    #[arg(long)]
    pub parent: u32,
    /// To which servers the crawl may go.
    #[arg(long)]
    pub server: Vec<String>,
}

#[derive(Args, Debug)]
pub struct Demo {
    /// Use a server of Redis: this one, or one that the demo starts
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "", conflicts_with = "postgres")]
    pub redis: Option<String>,
    /// Use this database of PostgreSQL
    #[arg(long, value_name = "URL")]
    pub postgres: Option<String>,
    /// How many pages the site has
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub pages: u32,
    /// How many processes fetch
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub processes: u16,
    /// Most fetches at the same time in each process
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// Seconds after which the next process is killed
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    pub kill: Duration,
    /// Most processes to kill
    #[arg(long, value_name = "N", default_value_t = u32::MAX, hide_default_value = true)]
    pub kills: u32,
}

#[derive(Args, Debug)]
pub struct Prove {
    /// How many pages the site has
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub pages: u32,
    /// On how many hosts
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..65_000))]
    pub hosts: u16,
    /// Seconds from one fetch from a host to the next
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = parse_seconds)]
    pub delay: Duration,
    /// How many processes fetch
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub processes: u16,
    /// Most fetches at the same time in each process
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// Seconds after which the next process is killed
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    pub kill: Duration,
    /// Seconds after which the pages of a process that was killed are fetched by others
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_lease)]
    pub lease: Duration,
    /// For how many seconds the network is cut
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_seconds)]
    pub cut: Duration,
}

#[derive(Args, Debug)]
pub struct Measure {
    /// How many pages are fetched, twice
    #[arg(long, value_name = "N", default_value_t = 30_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub pages: u32,
    /// How long each is
    #[arg(long, value_name = "BYTES", default_value_t = 2_000)]
    pub length: usize,
    /// Most fetches at the same time
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// How many hosts wait
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub hosts: u32,
}

fn parse_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if crate::urls::is_http(&url) => Ok(url),
        Ok(_) | Err(ParseError::RelativeUrlWithoutBase) => Err("expected http:// or https://".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// One that ends before it is renewed has no page fetched.
fn parse_lease(text: &str) -> Result<Duration, String> {
    match parse_seconds(text)? {
        lease if lease < SHORTEST_LEASE => Err(format!("expected at least {SHORTEST_LEASE:?}")),
        lease => Ok(lease),
    }
}
