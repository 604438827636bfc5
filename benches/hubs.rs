//! Channels and locks between green threads of one hub, between hubs on two OS threads, and std's between two OS threads.
//!
//!     cargo bench --bench hubs
//!     cargo bench --bench hubs -- --short
//!
//! Each figure is the median of several rounds in processes of their own: nanoseconds of wall time. Between hubs each side
//! is the main greenlet of an OS thread, and every wait that ends there is a wake-up across processors, as it is between OS threads. Hubs
//! that spin look for letters for a while before they sleep.

#[path = "support/operating_system.rs"]
mod operating_system;
#[path = "support/processes.rs"]
mod processes;
mod support;
#[path = "support/table.rs"]
mod table;

use std::process::ExitCode;
use std::time::Duration;

use greenloop::hub::{Config, configure};
use operating_system::OperatingSystem;
use processes::value_of;
use support::arguments::Arguments;
use support::green::Green;
use support::output::Output;
use support::runtime::Runtime;
use table::{median, number};

const KINDS: [&str; 4] = ["hub", "hubs", "spinning", "os"];

/// How long a hub of the kind "spinning" looks for letters before it sleeps.
const SPIN: Duration = Duration::from_micros(100);

struct Workload {
    full: &'static str,
    short: &'static str,
    /// The metric's name up to the dot, and what it is.
    rows: [(&'static str, &'static str); 2],
}

const WORKLOADS: [Workload; 2] = [
    Workload {
        full: "chan --iters 100000",
        short: "chan --iters 2000",
        rows: [
            ("chan_pingpong", "channel ping-pong, a message"),
            ("chan_stream", "channel of 128, a message"),
        ],
    },
    Workload {
        full: "mutex --tasks 2 --iters 1000000",
        short: "mutex --tasks 2 --iters 20000",
        rows: [("mutex_uncontended", "mutex, alone"), ("mutex_contended", "mutex, two that yield inside")],
    },
];

/// OS threads as in [`OperatingSystem`], each with a hub of its own, and the primitives of [`Green`].
struct Hubs<const SPINS: bool>;

impl<const SPINS: bool> Runtime for Hubs<SPINS> {
    type Handle = <OperatingSystem as Runtime>::Handle;
    fn spawn<F: FnOnce() + Send + 'static>(body: F) -> Self::Handle {
        OperatingSystem::spawn(move || {
            if SPINS {
                configure(Config::new().spin(SPIN)).expect("no hub yet");
            }
            body();
        })
    }
    fn join(handle: Self::Handle) {
        OperatingSystem::join(handle);
    }
    fn yield_now() {
        Green::yield_now();
    }
    fn sleep(duration: Duration) {
        Green::sleep(duration);
    }

    type Event = <Green as Runtime>::Event;
    fn event() -> Self::Event {
        Green::event()
    }
    fn wait(event: &Self::Event) {
        Green::wait(event);
    }
    fn set(event: &Self::Event) {
        Green::set(event);
    }

    type Sender = <Green as Runtime>::Sender;
    type Receiver = <Green as Runtime>::Receiver;
    fn channel(capacity: usize) -> (Self::Sender, Self::Receiver) {
        Green::channel(capacity)
    }
    fn send(sender: &Self::Sender, value: u64) {
        Green::send(sender, value);
    }
    fn receive(receiver: &Self::Receiver) -> u64 {
        Green::receive(receiver)
    }

    type Mutex = <Green as Runtime>::Mutex;
    fn mutex() -> Self::Mutex {
        Green::mutex()
    }
    fn with_lock(mutex: &Self::Mutex, body: impl FnOnce(&mut u64)) {
        Green::with_lock(mutex, body);
    }

    type Listener = <Green as Runtime>::Listener;
    type Stream = <Green as Runtime>::Stream;
    fn listen(port: u16) -> Self::Listener {
        Green::listen(port)
    }
    fn port(listener: &Self::Listener) -> u16 {
        Green::port(listener)
    }
    fn accept(listener: &Self::Listener) -> Self::Stream {
        Green::accept(listener)
    }
    fn connect(port: u16) -> Self::Stream {
        Green::connect(port)
    }

    fn info(output: &Output) {
        Green::info(output);
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match (arguments.measure.as_str(), arguments.get("kind", String::new()).as_str()) {
        ("", _) if arguments.has("short") || arguments.has("bench") => {
            return compare(arguments.has("short"));
        }
        ("", _) => println!("nothing to do: cargo bench runs this with --bench, --short makes it quick"),
        (_, "os") => support::run::<OperatingSystem>(&Output::new("os"), &arguments),
        (_, "hubs") => support::run::<Hubs<false>>(&Output::new("hubs"), &arguments),
        (_, "spinning") => support::run::<Hubs<true>>(&Output::new("spinning"), &arguments),
        _ => support::run::<Green>(&Output::new("hub"), &arguments),
    }
    ExitCode::SUCCESS
}

fn compare(short: bool) -> ExitCode {
    let mut rows = Vec::new();
    let mut failed = false;
    for workload in WORKLOADS {
        let (line, rounds) = if short { (workload.short, 1) } else { (workload.full, 5) };
        // For each row, for each kind, the value of each round.
        let mut values = workload.rows.map(|_| KINDS.map(|_| Vec::new()));
        for (kind, name) in (0..rounds).flat_map(|_| KINDS.iter().enumerate()) {
            match processes::run(&format!("{line} --kind {name}")) {
                Ok(text) => {
                    let found = workload.rows.iter().map(|(metric, _)| value_of(&text, metric));
                    values.iter_mut().zip(found).for_each(|(values, value)| values[kind].extend(value));
                }
                Err(reason) => {
                    println!("{line}: {name}: {reason}");
                    failed = true;
                }
            }
        }
        for ((_, what), mut values) in workload.rows.into_iter().zip(values) {
            let cells = values.each_mut().map(|values| median(values).map_or("-".to_owned(), number));
            rows.push([vec![what.to_owned()], cells.to_vec()].concat());
        }
    }
    table::print(&["ns", "one hub", "two hubs", "two that spin", "two OS threads, std's"], &rows);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
