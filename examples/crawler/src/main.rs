//! A web crawler: ordinary blocking crates (ureq, rustls), all on one OS thread.
//!
//! ```text
//! cargo run --release --example crawler                     # a demonstration on a site of its own
//! cargo run --release --example crawler -- --help           # a tool: URLs, depth, limits, formats
//! cargo run --release --example crawler -- -d 2 --same-host --format csv http://127.0.0.1:8000/
//! ```
//!
//! There ureq is told to use greenloop's streams. With the feature `monkey` it is left as it comes, on std's, which one
//! line in `main` makes yield; `--no-patch` leaves that line out, and shows what it saves:
//!
//! ```text
//! cargo run --release --features monkey --example crawler
//! cargo run --release --features monkey --example crawler -- --no-patch
//! ```
//!
//! The demonstration exits with 0 if the URLs that failed are exactly those that its site has planned to fail.
//!
//! Expected output:
//!
//!     One after another:
//!     GET: http://127.0.0.1:[..]/python
//!     48954 bytes received from http://127.0.0.1:[..]/python.
//!     GET: http://127.0.0.1:[..]/yahoo
//!     491871 bytes received from http://127.0.0.1:[..]/yahoo.
//!     GET: http://127.0.0.1:[..]/github
//!     51595 bytes received from http://127.0.0.1:[..]/github.
//!     This took [..] ms.
//!
//!     Together:
//!     GET: http://127.0.0.1:[..]/python
//!     GET: http://127.0.0.1:[..]/yahoo
//!     GET: http://127.0.0.1:[..]/github
//!     48954 bytes received from http://127.0.0.1:[..]/python.
//!     51595 bytes received from http://127.0.0.1:[..]/github.
//!     491871 bytes received from http://127.0.0.1:[..]/yahoo.
//!     This took [..] ms.
//!
//!     The graph behind http://127.0.0.1:[..]/graph/0, 32 fetches at a time:
//!     214 URLs: 207 fetched (5 redirected, 1 cut short), 2 skipped, 5 failed; 1710705 bytes in [..] ms
//!     redirected, as planned:
//!       /moved/301 (602 bytes of /graph/101)
//!       /moved/302 (2493 bytes of /graph/102)
//!       /moved/303 (4016 bytes of /graph/103)
//!       /moved/307 (1824 bytes of /graph/107)
//!       /moved/308 (1822 bytes of /graph/108)
//!     cut short, as planned:
//!       /endless (1048576 bytes of /endless)
//!     skipped, as planned:
//!       /private/diary: forbidden by robots.txt
//!       /private/keys: forbidden by robots.txt
//!     failed, as planned:
//!       /broken: 500 Internal Server Error
//!       /closed-early: the server closed the connection early
//!       /loop/a: redirect loop at http://127.0.0.1:[..]/loop/a
//!       /missing: 404 Not Found
//!       /slow: timed out after 2s

#![expect(unreachable_pub, reason = "a program has no interface to keep narrow")]

#[cfg_attr(feature = "monkey", path = "patched_agent.rs")]
mod agent;
mod buffers;
mod charset;
mod crawl;
mod demo;
#[allow(dead_code, reason = "shared with the package `fleet`")]
mod fetch;
mod frontier;
mod links;
mod options;
mod progress;
mod report;
mod robots;
mod server;
mod site;
#[path = "../../tool/mod.rs"]
mod tool;
#[cfg(not(feature = "monkey"))]
mod transport;
mod urls;

use clap::Parser;
use crawl::{Plan, Watch};
use fetch::Fetcher;
use greenloop::channel::{self, Receiver};
use greenloop::signal::{SIGINT, SIGTERM, Signals};
use options::{Format, Options};
use progress::Progress;
use report::{Outcome, Summary};
use std::cell::Cell;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::time::Instant;
use tool::complain;
use ureq::tls::RootCerts;
use urls::shown;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    #[cfg(feature = "monkey")]
    if arguments.iter().all(|argument| argument != "--no-patch") {
        greenloop::monkey::patch_all();
    }
    if arguments.iter().all(|argument| cfg!(feature = "monkey") && argument == "--no-patch") {
        return match demo::run(arguments.is_empty()) {
            Ok(as_planned) => ExitCode::from(u8::from(!as_planned)),
            Err(error) => failure(1, &error),
        };
    }
    let options = Options::parse();
    let roots = match roots(&options) {
        Ok(roots) => roots,
        Err(error) => return failure(2, &error),
    };
    match run(&options, roots) {
        Ok(code) => ExitCode::from(code),
        // Whoever reads the results has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => failure(1, &format!("cannot write the results: {error}")),
    }
}

fn failure(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    complain!("{error}");
    ExitCode::from(code)
}

/// The certificate authorities to trust.
fn roots(options: &Options) -> Result<RootCerts, String> {
    let Some(path) = &options.ca_file else { return Ok(RootCerts::WebPki) };
    let pem = std::fs::read(path).map_err(|error| error.to_string());
    let roots = pem.and_then(|pem| fetch::read_roots(&pem));
    roots.map_err(|error| format!("cannot use --ca-file {}: {error}", path.display()))
}

/// Crawls as the options say, prints the results, and returns the exit code.
fn run(options: &Options, roots: RootCerts) -> io::Result<u8> {
    let wanted = options.concurrency.into();
    let plan = Plan {
        starts: options.urls.clone(),
        concurrency: fetch::most_fetches(wanted, 1),
        depth: options.depth,
        same_host: options.same_host,
        max_bytes: options.max_bytes,
        max_delay: options.max_delay,
    };
    if plan.concurrency < wanted {
        complain!("{} fetches at a time, not {wanted}: no more files may be open", plan.concurrency);
    }
    let fetcher = Fetcher::new(options.timeout, plan.concurrency, roots);
    let stop = first_signal()?;
    let progress = Progress::new();
    let (started, failed) = (Instant::now(), Cell::new(0));
    let watch = Watch {
        stop: &stop,
        on_record: &|record, done, known| {
            if let (Outcome::Failed, Some(reason)) = (record.outcome, &record.reason) {
                failed.set(failed.get() + 1);
                progress.aside(|| complain!("{}: {reason}", shown(&record.url)));
            } else if let Format::Text = options.format {
                progress.aside(|| writeln!(io::stdout(), "{record}"))?;
            }
            progress.update(done, known, failed.get());
            Ok(())
        },
        on_delay: &|url, delay| {
            let server = url.origin().ascii_serialization();
            progress.aside(|| complain!("{server} asks for {delay:?} between requests"));
        },
    };
    let crawled = crawl::crawl(&plan, &fetcher, &watch);
    progress.finish();
    let crawled = crawled?;
    let summary = Summary::of(&crawled, started.elapsed());
    if crawled.stopped_by.is_some() {
        complain!("stopped with {} known URLs unvisited", summary.unvisited);
    }
    match options.format {
        Format::Text => writeln!(io::stdout(), "{summary}")?,
        Format::Json => report::write_json(io::stdout().lock(), &crawled.records, &summary)?,
        Format::Csv => report::write_csv(io::stdout().lock(), &crawled.records)?,
    }
    // As shells tell of a program that a signal has ended.
    let ended_by = crawled.stopped_by.map(|signal| 128 + signal as u8);
    Ok(ended_by.unwrap_or(u8::from(summary.failed > 0)))
}

/// Gives the first SIGINT or SIGTERM that comes; the next one ends the program at once.
fn first_signal() -> io::Result<Receiver<i32>> {
    let (sender, first) = channel::bounded(1);
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    greenloop::spawn(move || {
        if let Some(signal) = signals.next() {
            drop(signals);
            let _ = sender.send(signal);
        }
    });
    Ok(first)
}
