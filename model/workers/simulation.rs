//! Workers in simulated time.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::idle::Idle;
use crate::offers::Offers;
use crate::random::Random;
use crate::search::{Found, Search};

/// Nanoseconds since the beginning, or of a stretch.
pub type Nanoseconds = u64;

/// How long a worker looks for work before it sleeps: `SEARCH` of `src/hub/feed.rs`.
const SEARCH: Nanoseconds = 50_000;

/// What each step takes.
#[derive(Debug, Clone, Copy)]
pub struct Costs {
    /// To make a green thread and to queue it.
    pub spawn: Nanoseconds,
    /// To take one from the own queue, to begin it and to end it.
    pub begin: Nanoseconds,
    /// How long the own queue is locked to put one in or to take one out.
    pub own: Nanoseconds,
    /// How long the queue of another worker is locked to take some out: its memory comes from another processor.
    pub steal: Nanoseconds,
    /// From one look at all queues in vain to the next.
    pub look: Nanoseconds,
    /// A turn of spinning.
    pub turn: Nanoseconds,
    /// To wake another worker: a system call of who wakes it.
    pub call: Nanoseconds,
    /// From that call until the worker runs.
    pub wake: Nanoseconds,
}

impl Costs {
    /// Round figures, assumed and not measured one by one, where a worker that is woken runs after `wake`. A spawn and a beginning
    /// together are about what one worker was measured to take for a job that does nothing, some 100 ns.
    pub const fn assumed(wake: Nanoseconds) -> Costs {
        Costs { spawn: 50, begin: 40, own: 15, steal: 100, look: 200, turn: 25, call: 1_000, wake }
    }
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Workload {
    /// Green threads that are there at first, each on the worker of its number. Each spawns jobs that compute for so long, one after
    /// the other, and then lets its worker do others.
    pub spawners: Vec<Vec<Nanoseconds>>,
    /// Jobs that are spawned from outside: when, and for how long they compute.
    pub arrivals: Vec<(Nanoseconds, Nanoseconds)>,
}

/// What has come of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// When the last job ended.
    pub wall: Nanoseconds,
    /// Which part of the time of all workers the jobs took, until then.
    pub utilisation: f64,
    /// How long jobs waited from when they were spawned until they began: in the middle, and all but one in a hundred.
    pub waited: [Nanoseconds; 2],
    /// How often a worker took jobs from another one.
    pub steals: usize,
    /// How often a worker was woken.
    pub wakes: usize,
    /// How much of their time workers looked for work in vain.
    pub searched: Nanoseconds,
    /// When the last worker went to sleep.
    pub quiet: Nanoseconds,
    /// How many jobs were done.
    pub done: usize,
}

#[derive(Debug)]
struct Job {
    born: Nanoseconds,
    computes: Nanoseconds,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A job comes from outside.
    Arrive,
    /// A worker spawns its next job.
    Spawn(usize),
    /// A worker has nothing that is ready.
    Look(usize),
    /// A worker that was called runs.
    Wake(usize),
}

#[derive(Debug)]
struct Worker {
    search: Search<Job>,
    spawns: VecDeque<Nanoseconds>,
    /// It counts as one who looks for work.
    searches: bool,
    /// Until when it looks, once it does.
    until: Option<Nanoseconds>,
    /// It has waited for others to gather jobs, and looks for them now.
    has_paused: bool,
}

/// The state of one run.
#[derive(Debug)]
struct Simulation {
    costs: Costs,
    now: Nanoseconds,
    /// By time, then in the order in which they were made.
    events: BinaryHeap<Reverse<(Nanoseconds, u64, Event)>>,
    made: u64,
    workers: Vec<Worker>,
    offers: Vec<Offers<Job>>,
    outside: Offers<Job>,
    idle: Idle,
    /// Until when each queue is locked; the last one is what is outside.
    locked: Vec<Nanoseconds>,
    arrivals: VecDeque<(Nanoseconds, Nanoseconds)>,
    computed: Nanoseconds,
    waits: Vec<Nanoseconds>,
    outcome: Outcome,
}

/// Has so many `workers` do it.
///
/// # Panics
///
/// If a job is left undone: then a worker has overslept it.
pub fn run(workers: usize, costs: Costs, workload: Workload) -> Outcome {
    let jobs = workload.spawners.iter().map(Vec::len).sum::<usize>() + workload.arrivals.len();
    let mut simulation = Simulation::new(workers, costs, workload);
    while let Some(Reverse((now, _, event))) = simulation.events.pop() {
        simulation.now = now;
        match event {
            Event::Arrive => simulation.arrive(),
            Event::Spawn(worker) => simulation.spawn(worker),
            Event::Look(worker) => simulation.look(worker),
            Event::Wake(worker) => {
                simulation.workers[worker].searches = simulation.idle.end_sleep(worker);
                simulation.look(worker);
            }
        }
    }
    let outcome = simulation.end(workers);
    assert_eq!(outcome.done, jobs, "a job is left, and all sleep");
    outcome
}

impl Simulation {
    fn new(workers: usize, costs: Costs, workload: Workload) -> Simulation {
        assert!(workload.spawners.len() <= workers, "a worker for each that spawns");
        let idle = Idle::new();
        let nothing = Outcome {
            wall: 0,
            utilisation: 0.0,
            waited: [0; 2],
            steals: 0,
            wakes: 0,
            searched: 0,
            quiet: 0,
            done: 0,
        };
        let mut simulation = Simulation {
            costs,
            now: 0,
            events: BinaryHeap::new(),
            made: 0,
            workers: Vec::new(),
            offers: (0..workers).map(|_| Offers::new()).collect(),
            outside: Offers::new(),
            idle,
            locked: vec![0; workers + 1],
            arrivals: workload.arrivals.into(),
            computed: 0,
            waits: Vec::new(),
            outcome: nothing,
        };
        let mut spawners = workload.spawners.into_iter();
        for worker in 0..workers {
            let spawns = spawners.next();
            if spawns.is_some() {
                simulation.at(0, Event::Spawn(worker));
            } else {
                simulation.idle.begin_sleep(worker, false);
            }
            let spawns = spawns.unwrap_or_default().into();
            simulation.workers.push(Worker {
                search: Search::new(worker),
                spawns,
                searches: false,
                until: None,
                has_paused: false,
            });
        }
        simulation.await_arrival();
        simulation
    }

    fn at(&mut self, time: Nanoseconds, event: Event) {
        self.made += 1;
        self.events.push(Reverse((time, self.made, event)));
    }

    fn await_arrival(&mut self) {
        if let Some(&(time, _)) = self.arrivals.front() {
            self.at(time, Event::Arrive);
        }
    }

    /// When who locks the queue at `time`, for so long, has unlocked it.
    fn lock(&mut self, queue: usize, time: Nanoseconds, length: Nanoseconds) -> Nanoseconds {
        let end = time.max(self.locked[queue]) + length;
        self.locked[queue] = end;
        end
    }

    fn arrive(&mut self) {
        if let Some((_, computes)) = self.arrivals.pop_front() {
            let outside = self.offers.len();
            let end = self.lock(outside, self.now, self.costs.own);
            self.outside.push(Job { born: self.now, computes }).expect("open");
            self.call(end, self.outside.count());
        }
        self.await_arrival();
    }

    fn spawn(&mut self, worker: usize) {
        let Some(computes) = self.workers[worker].spawns.pop_front() else { return self.look(worker) };
        let mut end = self.lock(worker, self.now + self.costs.spawn - self.costs.own, self.costs.own);
        self.offers[worker].push(Job { born: self.now, computes }).expect("open");
        end = self.call(end, self.offers[worker].count());
        self.at(end, Event::Spawn(worker));
    }

    /// `Crew::call`: has those woken who sleep, unless enough look. Returns when the caller goes on.
    fn call(&mut self, time: Nanoseconds, waiting: usize) -> Nanoseconds {
        let mut end = time;
        while let Some(called) = self.idle.call(waiting) {
            self.outcome.wakes += 1;
            end += self.costs.call;
            self.at(end + self.costs.wake, Event::Wake(called));
        }
        end
    }

    /// `Crew::end_search`, likewise.
    fn end_search(&mut self, worker: usize, time: Nanoseconds) -> Nanoseconds {
        let was_last = self.idle.end_search();
        match self.offers[worker].count() {
            0 if was_last && self.has_offers() => self.call(time, 1),
            0 => time,
            waiting => self.call(time, waiting),
        }
    }

    fn has_offers(&self) -> bool {
        !self.outside.is_empty() || self.offers.iter().any(|offers| !offers.is_empty())
    }

    /// `HubState::block` of a hub that is fed, one look at a time.
    fn look(&mut self, worker: usize) {
        let has_none = self.offers[worker].looks_empty() && self.outside.looks_empty();
        let this = &mut self.workers[worker];
        let turns = if has_none && !std::mem::take(&mut this.has_paused) { this.search.pause() } else { 0 };
        if turns > 0 {
            this.has_paused = true;
            return self.at(self.now + self.costs.turn * u64::from(turns), Event::Look(worker));
        }
        let victim = Cell::new(self.offers.len());
        let others = |other: usize| {
            victim.set(other);
            (other != worker).then(|| &self.offers[other])
        };
        let count = self.offers.len();
        let search = &mut self.workers[worker].search;
        let found = search.next(&self.offers[worker], &self.outside, count, others);
        match found {
            Some((job, Found::Own)) => {
                let end = self.lock(worker, self.now, self.costs.own);
                self.begin(worker, end, job);
            }
            Some((job, Found::Outside)) => {
                let end = self.lock(count, self.now, self.costs.steal);
                self.begin(worker, end, job);
            }
            Some((job, Found::Elsewhere)) => {
                self.outcome.steals += 1;
                let end = self.lock(victim.get(), self.now, self.costs.steal);
                self.begin(worker, end, job);
            }
            None => self.find_nothing(worker),
        }
    }

    fn begin(&mut self, worker: usize, time: Nanoseconds, job: Job) {
        let this = &mut self.workers[worker];
        this.until = None;
        let mut time = time;
        if std::mem::take(&mut this.searches) {
            time = self.end_search(worker, time);
        }
        let start = time + self.costs.begin - self.costs.own;
        self.waits.push(start - job.born);
        self.computed += job.computes;
        self.outcome.done += 1;
        let end = start + job.computes;
        self.outcome.wall = self.outcome.wall.max(end);
        self.at(end, Event::Look(worker));
    }

    fn find_nothing(&mut self, worker: usize) {
        let look = self.costs.look;
        let count = self.offers.len();
        let this = &mut self.workers[worker];
        this.searches = this.searches || self.idle.begin_search(count);
        let until = *this.until.get_or_insert(self.now + SEARCH);
        if this.searches && self.now < until {
            self.outcome.searched += look;
            return self.at(self.now + look, Event::Look(worker));
        }
        this.until = None;
        self.idle.begin_sleep(worker, std::mem::take(&mut this.searches));
        if self.has_offers() {
            self.workers[worker].searches = self.idle.end_sleep(worker);
            return self.at(self.now, Event::Look(worker));
        }
        self.outcome.quiet = self.now;
    }

    fn end(mut self, workers: usize) -> Outcome {
        self.waits.sort_unstable();
        let waited = |part: usize| self.waits.get(self.waits.len() * part / 100).copied().unwrap_or(0);
        self.outcome.waited = [waited(50), waited(99)];
        self.outcome.utilisation =
            self.computed as f64 / (workers as f64 * self.outcome.wall as f64).max(1.0);
        self.outcome
    }
}

/// Jobs that come from outside, one after the other and knowing nothing of each other, so that `load` of the time of all `workers` is taken by
/// jobs that compute for `mean` on average.
pub fn arrivals(
    workers: usize,
    load: f64,
    mean: Nanoseconds,
    count: usize,
) -> Vec<(Nanoseconds, Nanoseconds)> {
    let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
    let gap = mean as f64 / (load * workers as f64);
    let mut time = 0.0;
    (0..count)
        .map(|_| {
            time += random.exponential(gap);
            (time as Nanoseconds, random.exponential(mean as f64) as Nanoseconds)
        })
        .collect()
}
