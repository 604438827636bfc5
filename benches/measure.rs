//! One measure of green threads at default settings, for comparing with other runtimes.
//!
//! `measure <what> [--option value]…` prints lines `metric peer value unit`; the peer is PEER_NAME, or greenloop. A
//! measure that does not exist prints `unsupported <peer> <what>` and ends with 69. With `--spin-us` the hub spins for so many
//! microseconds, at the longest, before it sleeps; with `--timer-slack-us` its timers may be so many microseconds late.
//!
//!     cargo bench --bench measure -- switch --tasks 100 --iters 1000000
//!     cargo bench --bench measure -- echo --port 7000
//!     cargo bench --bench measure -- http --port 7000 --workers 2
//!     cargo bench --bench measure -- cores --workers 2
//!     cargo bench --bench measure -- timers --tasks 10000 --timer-slack-us 1000
//!     cargo bench --bench measure -- world_turns --tasks 10 --iters 1000000
//!     cargo bench --bench measure -- --short

#[path = "support/calls.rs"]
mod calls;
#[path = "support/choosing.rs"]
mod choosing;
#[path = "support/cores.rs"]
mod cores;
#[path = "support/slow_server.rs"]
mod slow_server;
mod support;
#[path = "support/worlds.rs"]
mod worlds;

use std::time::Duration;

use greenloop::hub::{Config, configure};
use slow_server::{SlowServer, serve};
use support::arguments::Arguments;
use support::green::Green;
use support::output::Output;

/// A little of each measure that ends by itself: some seconds.
const SHORT: [&str; 25] = [
    "info",
    "switch --tasks 2 --iters 200000",
    "switch --tasks 1000 --iters 200000",
    "switch --tasks 100 --iters 200000 --depth 4",
    "pingpong --iters 200000",
    "spawn --batch 1 --iters 20000",
    "mem --tasks 1000",
    "mem --tasks 100 --deep-kb 16",
    "chan --iters 20000",
    "mutex --tasks 16 --iters 20000",
    "timers --tasks 1000 --max-ms 100",
    "roundtrips --connections 100 --iters 10000",
    "file_read --tasks 16 --iters 800",
    "file_write --tasks 16 --iters 800",
    "file_sync --tasks 16 --iters 32",
    "file_whole --tasks 16 --iters 256 --cold",
    "unblock --tasks 16 --iters 1600",
    "names --rate 1000 --iters 100",
    "children --tasks 100 --rounds 1",
    "select --channels 10 --iters 2000",
    "cores --workers 2 --part 20",
    "world_turns --iters 100000",
    "world_schedules --iters 1000",
    "world_timers --tasks 10000",
    "world_sleeps --tasks 1000",
];

fn main() {
    let arguments = Arguments::parse();
    let output = Output::new("greenloop");
    match arguments.measure.as_str() {
        "slow-server" => serve(Duration::from_millis(arguments.get("delay-ms", 100))),
        "" if arguments.has("short") => {
            SHORT.iter().for_each(|line| run(&output, line));
            let server = SlowServer::start();
            run(&output, &format!("crawl --urls 100 --concurrency 100 --port {}", server.port));
        }
        "" => run(&output, "info"),
        _ => {
            let spin = Duration::from_micros(arguments.get("spin-us", 0));
            let slack = Duration::from_micros(arguments.get("timer-slack-us", 0));
            configure(Config::new().spin(spin).timer_slack(slack)).expect("no hub yet");
            measure(&output, &arguments);
        }
    }
}

/// One line of a command line.
fn run(output: &Output, line: &str) {
    measure(output, &Arguments::from(line.split_whitespace().map(str::to_owned)));
}

fn measure(output: &Output, arguments: &Arguments) {
    let special = cores::run(output, arguments)
        || worlds::run(output, arguments)
        || calls::run::<Green>(output, arguments)
        || choosing::run::<Green>(output, arguments);
    if !special {
        support::run::<Green>(output, arguments);
    }
}
