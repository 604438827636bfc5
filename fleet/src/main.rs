//! Crawls by many processes, and what there is to see of a queue and to do about it.
//!
//! ```text
//! cargo run --release -p fleet -- demo               # a site of its own, and processes of which one is killed each second
//! cargo run --release -p fleet -- crawl --help
//! ```

#![expect(unreachable_pub, reason = "a program has no interface to keep narrow")]

#[path = "../../examples/crawler/src/patched_agent.rs"]
mod agent;
mod archive;
mod budget;
#[path = "../../examples/crawler/src/buffers.rs"]
mod buffers;
#[path = "../../examples/crawler/src/charset.rs"]
mod charset;
mod crawl;
mod crew;
mod demo;
mod demo_site;
#[allow(dead_code, reason = "shared with the example `crawler`")]
#[path = "../../examples/crawler/src/fetch.rs"]
mod fetch;
#[path = "../../examples/crawler/src/links.rs"]
mod links;
mod measure;
mod meter;
mod options;
mod prove;
mod proxy;
mod redis_server;
#[path = "../../examples/crawler/src/robots.rs"]
mod robots;
mod scratch;
#[allow(dead_code, reason = "shared with the example `crawler`")]
#[path = "../../examples/crawler/src/server.rs"]
mod server;
#[path = "../../examples/tool/mod.rs"]
mod tool;
#[path = "../../examples/crawler/src/urls.rs"]
mod urls;
mod visit;

use clap::Parser;
use fleet::Broker;
use options::{Command, Options};
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use tool::{complain, say};

fn main() -> ExitCode {
    greenloop::monkey::patch_all();
    let options = Options::parse();
    tool::run(|| run(options))
}

fn run(options: Options) -> Result<(), Box<dyn Error>> {
    match options.command {
        Command::Crawl(crawl) => crawl::run(&crawl),
        Command::Worker(worker) => crawl::work(&worker),
        Command::Demo(demo) => demo::run(&demo),
        Command::Prove(prove) => prove::run(&prove),
        Command::Measure(measure) => measure::run(&measure),
        Command::Site(site) => measure::serve(&site),
        Command::Status(place) => status(&*place.open()?),
        Command::Records(place) => Ok(crawl::print(&*place.open()?, &mut 0)?),
        Command::Dead(place) => dead(&*place.open()?),
        Command::RequeueDead(place) => {
            say!("{} to be tried again", place.open()?.requeue_dead()?);
            Ok(())
        }
        Command::Purge(place) => Ok(place.open()?.purge()?),
    }
}

fn status(broker: &dyn Broker) -> Result<(), Box<dyn Error>> {
    let status = broker.status()?;
    say!("ready {}", status.ready);
    say!("later {}", status.later);
    say!("leased {}", status.leased);
    say!("dead {}", status.dead);
    say!("done {}", status.done);
    say!("records {}", status.records);
    Ok(())
}

fn dead(broker: &dyn Broker) -> Result<(), Box<dyn Error>> {
    let dead = broker.dead_jobs(SHOWN)?;
    for job in &dead {
        say!("{} {} ({} attempts): {}", job.id, visit::shown_payload(&job.payload), job.attempts, job.error);
    }
    if dead.len() == SHOWN {
        let more = broker.status()?.dead.saturating_sub(SHOWN as u64);
        if more > 0 {
            complain!("{more} more have failed: these are the oldest");
        }
    }
    Ok(())
}

/// How many jobs that have failed are printed.
const SHOWN: usize = 1_000;

/// A broker as options name it.
type Shared = Arc<dyn Broker>;
