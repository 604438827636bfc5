//! What the benches share: the workloads, written once over the trait [`Runtime`](runtime::Runtime), and its two
//! implementations: [`green`], and `operating_system`, which `os_threads` and `hubs.rs` declare. Other files too are declared
//! by the benches that need them.
//!
//! A workload prints lines `metric peer value unit`. `measure.rs` runs one for green threads; `os_threads` runs each
//! for both kinds in processes of their own and makes a table of the lines, `million.rs` for many sizes.

pub(crate) mod arguments;
pub(crate) mod clock;
pub(crate) mod green;
pub(crate) mod memory;
pub(crate) mod network;
pub(crate) mod output;
pub(crate) mod passing;
pub(crate) mod runtime;
pub(crate) mod scheduling;
pub(crate) mod timers;

use arguments::Arguments;
use output::Output;
use runtime::Runtime;

/// Runs the measure that the command line names.
pub(crate) fn run<R: Runtime>(output: &Output, arguments: &Arguments) {
    raise_open_files();
    let get = |key, default: usize| arguments.get(key, default);
    match arguments.measure.as_str() {
        "info" => R::info(output),
        "switch" => {
            scheduling::switch::<R>(output, get("tasks", 100), get("iters", 1_000_000), get("depth", 0))
        }
        "pingpong" => scheduling::pingpong::<R>(output, get("iters", 1_000_000)),
        "spawn" => scheduling::spawn::<R>(output, get("batch", 1), get("iters", 100_000)),
        "mem" => memory::parked::<R>(output, get("tasks", 10_000), get("deep-kb", 0)),
        "chan" => passing::channel::<R>(output, get("iters", 200_000)),
        "mutex" => passing::mutex::<R>(output, get("tasks", 16), get("iters", 200_000)),
        "timers" => {
            timers::sleeps::<R>(output, get("tasks", 100_000), get("max-ms", 1_000), get("rounds", 1));
        }
        "echo" => network::echo::<R>(arguments.port()),
        "http" => network::http::<R>(arguments.port()),
        "crawl" => {
            network::crawl::<R>(output, arguments.port(), get("urls", 1_000), get("concurrency", 1_000))
        }
        "roundtrips" => network::round_trips::<R>(output, get("connections", 100), get("iters", 100_000)),
        other => output.unsupported(other),
    }
}

/// Lifts the soft limit of open files to the hard one, for the thousands of connections.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the soft limit may rise to the hard one");
}
