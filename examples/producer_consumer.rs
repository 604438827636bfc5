//! A producer and two consumers with a queue between them that has room for two: who is faster waits for the other.
//!
//! Run it with `cargo run --example producer_consumer`. The producer waits until all jobs are done, which is more than
//! taken, and then shuts the queue down, which ends the consumers' loops.
//!
//! Expected output:
//!
//!     put job 1, 1 in the queue
//!     put job 2, 2 in the queue
//!     no room for job 3, the producer waits
//!     Ada begins job 1
//!     Ben begins job 2
//!     put job 3, 1 in the queue
//!     put job 4, 2 in the queue
//!     no room for job 5, the producer waits
//!     Ada has done job 1
//!     Ada begins job 3
//!     Ben has done job 2
//!     Ben begins job 4
//!     put job 5, 1 in the queue
//!     put job 6, 2 in the queue
//!     Ada has done job 3
//!     Ada begins job 5
//!     Ben has done job 4
//!     Ben begins job 6
//!     Ada has done job 5
//!     Ben has done job 6
//!     all jobs are done, 0 in the queue
//!     Ada has done [1, 3, 5], Ben has done [2, 4, 6]

use greenloop::queue::JoinableQueue;
use greenloop::{scope, yield_now};
use tool::say;

mod tool;

const JOBS: u32 = 6;
const ROOM: usize = 2;

fn main() {
    tool::takes_no_arguments(include_str!("producer_consumer.rs"));
    let jobs = JoinableQueue::bounded(ROOM);
    let results = scope(|scope| {
        let consumers = ["Ada", "Ben"].map(|name| scope.spawn(|| consume(name, &jobs)));
        produce(&jobs);
        jobs.join();
        say!("all jobs are done, {} in the queue", jobs.len());
        jobs.shutdown();
        consumers.map(|consumer| consumer.join().expect("a consumer does not panic"))
    });
    say!("Ada has done {:?}, Ben has done {:?}", results[0], results[1]);
}

fn produce(jobs: &JoinableQueue<u32>) {
    for job in 1..=JOBS {
        if jobs.is_full() {
            say!("no room for job {job}, the producer waits");
        }
        jobs.put(job).expect("nobody else shuts the queue down");
        say!("put job {job}, {} in the queue", jobs.len());
    }
}

/// Does jobs until the queue is shut down; returns which.
fn consume(name: &str, jobs: &JoinableQueue<u32>) -> Vec<u32> {
    let mut done = Vec::new();
    for job in jobs {
        say!("{name} begins job {job}");
        // The work, in which others run. By the clock, two that take almost the same time might end in either order.
        yield_now();
        say!("{name} has done job {job}");
        done.push(job);
        jobs.task_done();
    }
    done
}
