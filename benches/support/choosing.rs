//! One that waits for several channels at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use greenloop::channel::{Receiver, Sender, bounded};
use greenloop::select;
use greenloop::select::Select;

use crate::support::arguments::Arguments;
use crate::support::clock::{Spent, Stopwatch};
use crate::support::green::Green;
use crate::support::output::Output;
use crate::support::runtime::Runtime;

/// A kind of thread, with channels that one can choose from.
pub(crate) trait Choosing: Runtime {
    type Source: Send + 'static;
    type Sink: Send + 'static;
    fn source_and_sink(capacity: usize) -> (Self::Source, Self::Sink);
    /// `false` if the other end is gone.
    fn put(source: &Self::Source, value: u64) -> bool;
    /// `None` if the other end is gone.
    fn get(sink: &Self::Sink) -> Option<u64>;
    /// Gives `each` so many values, whichever comes first: of two by the macro, of more by a list.
    fn choose(sinks: &[Self::Sink], times: usize, each: impl FnMut(u64));
}

impl Choosing for Green {
    type Source = Sender<u64>;
    type Sink = Receiver<u64>;
    fn source_and_sink(capacity: usize) -> (Self::Source, Self::Sink) {
        bounded(capacity)
    }
    fn put(source: &Self::Source, value: u64) -> bool {
        source.send(value).is_ok()
    }
    fn get(sink: &Self::Sink) -> Option<u64> {
        sink.recv().ok()
    }
    fn choose(sinks: &[Self::Sink], times: usize, mut each: impl FnMut(u64)) {
        if let [one, other] = sinks {
            for _ in 0..times {
                select! {
                    recv(one) -> value => each(value.unwrap()),
                    recv(other) -> value => each(value.unwrap()),
                }
            }
            return;
        }
        let mut select = Select::new();
        for sink in sinks {
            select.recv(sink);
        }
        for _ in 0..times {
            let operation = select.select();
            let sink = &sinks[operation.index()];
            each(operation.recv(sink).unwrap());
        }
    }
}

/// Runs the measure that the command line names, if it is this one.
pub(crate) fn run<R: Choosing>(output: &Output, arguments: &Arguments) -> bool {
    if arguments.measure == "select" {
        select::<R>(output, arguments.get("channels", 10), arguments.get("iters", 100_000));
        return true;
    }
    false
}

/// One that chooses among `channels` channels: first nothing is there until it waits, for each value is asked for at one of them;
/// then there always is something in all.
fn select<R: Choosing>(output: &Output, channels: usize, iterations: usize) {
    let mut asks = Vec::new();
    let mut sinks = Vec::new();
    let mut handles = Vec::new();
    for _ in 0..channels {
        let (ask, asked) = R::source_and_sink(1);
        let (source, sink) = R::source_and_sink(1);
        asks.push(ask);
        sinks.push(sink);
        handles.push(R::spawn(move || {
            while let Some(value) = R::get(&asked) {
                R::put(&source, value);
            }
        }));
    }
    let clock = Stopwatch::start();
    let chooser = R::spawn(move || {
        let mut order = Order::new(channels);
        R::put(&asks[order.next()], 0);
        R::choose(&sinks, iterations, |value| {
            R::put(&asks[order.next()], value + 1);
        });
    });
    R::join(chooser);
    report(output, "select_wait", channels, clock.stop(), iterations);
    handles.into_iter().for_each(R::join);

    let ended = Arc::new(AtomicBool::new(false));
    let (sources, sinks): (Vec<_>, Vec<_>) = (0..channels).map(|_| R::source_and_sink(16)).unzip();
    let begin = |source| {
        let ended = ended.clone();
        R::spawn(move || while !ended.load(Ordering::SeqCst) && R::put(&source, 1) {})
    };
    let handles: Vec<_> = sources.into_iter().map(begin).collect();
    let clock = Stopwatch::start();
    let chooser = R::spawn(move || {
        let mut sum = 0;
        R::choose(&sinks, iterations, |value| sum += value);
        assert_eq!(sum, iterations as u64);
    });
    R::join(chooser);
    report(output, "select_ready", channels, clock.stop(), iterations);
    ended.store(true, Ordering::SeqCst);
    handles.into_iter().for_each(R::join);
}

/// Two lines: wall and processor time of each choice, with what those do who send.
pub(crate) fn report(output: &Output, metric: &str, channels: usize, spent: Spent, total: usize) {
    output.metric(&format!("{metric}.N={channels}"), spent.wall / total as f64, "ns");
    output.metric(&format!("{metric}_cpu.N={channels}"), spent.processor / total as f64, "ns");
}

/// Which channel is next: each as often, in no order that a processor learns.
pub(crate) struct Order {
    state: u64,
    channels: u64,
}

impl Order {
    pub(crate) fn new(channels: usize) -> Order {
        Order { state: 0x9E37_79B9_7F4A_7C15, channels: channels as u64 }
    }

    pub(crate) fn next(&mut self) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state % self.channels) as usize
    }
}
