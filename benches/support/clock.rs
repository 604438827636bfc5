//! Clocks, in nanoseconds.

use rustix::time::{ClockId, clock_gettime};

/// The monotonic clock.
#[inline]
pub(crate) fn now() -> u64 {
    read(ClockId::Monotonic)
}

/// Processor time of the whole process, user and system.
#[inline]
pub(crate) fn processor() -> u64 {
    read(ClockId::ProcessCPUTime)
}

#[inline]
fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What a stretch of a program took.
pub(crate) struct Stopwatch {
    wall: u64,
    processor: u64,
}

/// Wall and processor time in nanoseconds.
#[derive(Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) wall: f64,
    pub(crate) processor: f64,
}

impl Stopwatch {
    pub(crate) fn start() -> Stopwatch {
        let processor = processor();
        Stopwatch { wall: now(), processor }
    }

    pub(crate) fn stop(&self) -> Spent {
        let wall = now();
        Spent { wall: (wall - self.wall) as f64, processor: (processor() - self.processor) as f64 }
    }
}
