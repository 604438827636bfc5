//! Channels and the mutex: what it costs to hand something over.

use std::hint::black_box;
use std::sync::Arc;

use super::clock::Stopwatch;
use super::output::Output;
use super::runtime::Runtime;

/// Two tasks with a channel of one each way, `iterations` round trips; then a stream through a channel of 128.
pub(crate) fn channel<R: Runtime>(output: &Output, iterations: usize) {
    let iterations = iterations as u64;
    round_trips::<R>(iterations / 10);
    output.metric("chan_pingpong", round_trips::<R>(iterations) / (2 * iterations) as f64, "ns");
    let (sender, receiver) = R::channel(128);
    let messages = iterations * 2;
    let clock = Stopwatch::start();
    let source = R::spawn(move || (0..messages).for_each(|number| R::send(&sender, number)));
    let sink = R::spawn(move || (0..messages).for_each(|number| assert_eq!(R::receive(&receiver), number)));
    R::join(source);
    R::join(sink);
    output.metric("chan_stream", clock.stop().wall / messages as f64, "ns");
}

fn round_trips<R: Runtime>(count: u64) -> f64 {
    let (there, arrives_there) = R::channel(1);
    let (back, arrives_back) = R::channel(1);
    let clock = Stopwatch::start();
    let caller = R::spawn(move || {
        for number in 0..count {
            R::send(&there, number);
            assert_eq!(R::receive(&arrives_back), number);
        }
    });
    let responder = R::spawn(move || (0..count).for_each(|_| R::send(&back, R::receive(&arrives_there))));
    R::join(caller);
    R::join(responder);
    clock.stop().wall
}

/// Lock and unlock alone; then `tasks` tasks that yield while they hold the lock.
pub(crate) fn mutex<R: Runtime>(output: &Output, tasks: usize, iterations: usize) {
    let mutex = Arc::new(R::mutex());
    let clock = Stopwatch::start();
    for _ in 0..iterations {
        R::with_lock(&mutex, |value| *value = black_box(*value + 1));
    }
    output.metric("mutex_uncontended", clock.stop().wall / iterations as f64, "ns");
    let turns = (iterations / tasks).max(1);
    let clock = Stopwatch::start();
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            let mutex = mutex.clone();
            R::spawn(move || {
                for _ in 0..turns {
                    R::with_lock(&mutex, |value| {
                        *value += 1;
                        R::yield_now();
                    });
                }
            })
        })
        .collect();
    handles.into_iter().for_each(R::join);
    let total = turns * tasks;
    output.metric(&format!("mutex_contended.K={tasks}"), clock.stop().wall / total as f64, "ns");
    R::with_lock(&mutex, |value| assert_eq!(*value, (iterations + total) as u64));
}
