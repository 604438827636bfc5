//! Many sleeps at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::clock::{Stopwatch, now};
use super::output::Output;
use super::runtime::Runtime;

/// `tasks` tasks sleep once each, uniform in 0..`max_milliseconds`; several rounds, of which the last is reported.
pub(crate) fn sleeps<R: Runtime>(output: &Output, tasks: usize, max_milliseconds: usize, rounds: usize) {
    for round in 1..=rounds {
        let late: Arc<Vec<AtomicU64>> = Arc::new((0..tasks).map(|_| AtomicU64::new(0)).collect());
        let last_deadline = Arc::new(AtomicU64::new(0));
        let durations = durations(tasks, max_milliseconds);
        let clock = Stopwatch::start();
        let handles: Vec<_> = durations
            .into_iter()
            .enumerate()
            .map(|(number, duration)| {
                let (late, last_deadline) = (late.clone(), last_deadline.clone());
                R::spawn(move || {
                    let deadline = now() + duration.as_nanos() as u64;
                    // Relaxed, twice: read after the joins.
                    last_deadline.fetch_max(deadline, Ordering::Relaxed);
                    R::sleep(duration);
                    late[number].store(now().saturating_sub(deadline).max(1), Ordering::Relaxed);
                })
            })
            .collect();
        handles.into_iter().for_each(R::join);
        let end = now();
        let processor = clock.stop().processor / tasks as f64;
        if round < rounds {
            output.metric(&format!("timers_cold_cpu.N={tasks}"), processor, "ns");
            continue;
        }
        let over = end as f64 - last_deadline.load(Ordering::SeqCst) as f64;
        output.metric(&format!("timers_over.N={tasks}"), over / 1e6, "ms");
        output.metric(&format!("timers_cpu.N={tasks}"), processor, "ns");
        let mut late: Vec<_> = late.iter().map(|late| late.load(Ordering::SeqCst)).collect();
        late.sort_unstable();
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
            let index = (late.len() as f64 * share).ceil() as usize;
            let microseconds = late[index.clamp(1, late.len()) - 1] as f64 / 1e3;
            output.metric(&format!("timers_late_{name}.N={tasks}"), microseconds, "us");
        }
    }
}

/// Whole microseconds from xorshift64* with a fixed seed: the same for every peer.
pub(crate) fn durations(count: usize, max_milliseconds: usize) -> Vec<Duration> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    };
    (0..count).map(|_| Duration::from_micros(next() % (max_milliseconds as u64 * 1000))).collect()
}
