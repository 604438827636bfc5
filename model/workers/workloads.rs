//! The workloads: what is to be done, and how fast it could be at best.

use crate::simulation::{Costs, Nanoseconds, Workload, arrivals};

const MICROSECOND: Nanoseconds = 1_000;

/// One workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 1,000 jobs of 100 µs, spawned by one.
    Even,
    /// One job of 50 ms, and then 10,000 of 10 µs, spawned by one.
    Uneven,
    /// 100,000 jobs of 1 µs, spawned by one.
    Tiny,
    /// 100,000 jobs that do nothing, spawned by one.
    Empty,
    /// 100,000 jobs of 1 µs, spawned by all.
    Spread,
    /// A map of a million items that take 10 ns each, in sixteen parts for each worker, as `Workers::map` makes them.
    Map,
    /// 20,000 jobs of 20 µs, that come from outside and keep the workers busy for 70 % of their time.
    Requests,
}

impl Kind {
    /// All there are.
    pub const ALL: [Kind; 7] =
        [Kind::Even, Kind::Uneven, Kind::Tiny, Kind::Empty, Kind::Spread, Kind::Map, Kind::Requests];

    /// Its name in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Even => "even",
            Kind::Uneven => "uneven",
            Kind::Tiny => "tiny",
            Kind::Empty => "empty",
            Kind::Spread => "spread",
            Kind::Map => "map",
            Kind::Requests => "requests",
        }
    }

    /// What so many `workers` are to do.
    pub fn workload(self, workers: usize) -> Workload {
        let spawners = match self {
            Kind::Even => vec![vec![100 * MICROSECOND; 1_000]],
            Kind::Uneven => {
                let mut jobs = vec![10 * MICROSECOND; 10_001];
                jobs[0] = 50_000 * MICROSECOND;
                vec![jobs]
            }
            Kind::Tiny => vec![vec![MICROSECOND; 100_000]],
            Kind::Empty => vec![vec![0; 100_000]],
            Kind::Spread => vec![vec![MICROSECOND; 100_000 / workers]; workers],
            Kind::Map => {
                let parts = 16 * workers;
                vec![vec![10_000 * MICROSECOND / parts as u64; parts]]
            }
            Kind::Requests => {
                return Workload {
                    arrivals: arrivals(workers, 0.7, 20 * MICROSECOND, 20_000),
                    ..Workload::default()
                };
            }
        };
        Workload { spawners, ..Workload::default() }
    }

    /// How long it takes at best: that of who spawns, of the longest job, or of the jobs of the worker that has the most. The beginning of a
    /// job counts as part of it.
    pub fn ideal(self, workers: usize, costs: Costs) -> Nanoseconds {
        let workload = self.workload(workers);
        let begun = |computes: Nanoseconds| computes + costs.begin;
        let jobs = || workload.spawners.iter().flatten().copied();
        let spawning = workload.spawners.iter().map(Vec::len).max().unwrap_or(0) as u64 * costs.spawn;
        let longest = jobs().map(begun).max().unwrap_or(0);
        let spawned = jobs().count() as u64 * costs.spawn;
        let shared = (jobs().map(begun).sum::<u64>() + spawned).div_ceil(workers as u64);
        let arrived = workload.arrivals.last().map_or(0, |&(time, _)| time);
        let whole = jobs().all(|computes| Some(computes) == jobs().next());
        let rounds = if whole { jobs().count().div_ceil(workers) as u64 * longest } else { 0 };
        [spawning + longest.min(costs.begin), longest, shared, rounds, arrived].into_iter().max().unwrap_or(0)
    }
}
