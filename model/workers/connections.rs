//! How a server's connections are spread.

use crate::balance::least;
use crate::random::Random;

/// How many connections a worker has on average.
const EACH: usize = 32;

/// The most connections of one worker beside the average, where each of `ends` connections that end, at random, is followed by a new one: the
/// mean over time, and the largest.
pub fn spread(workers: usize, ends: usize) -> [f64; 2] {
    let mut random = Random::new(0x2545_f491_4f6c_dd1d);
    let mut counts = vec![0_usize; workers];
    // By number, the worker of each.
    let mut open: Vec<usize> = Vec::new();
    for turn in 0..workers * EACH {
        let worker = least(counts.iter().copied(), turn);
        counts[worker] += 1;
        open.push(worker);
    }
    let (mut sum, mut largest) = (0.0, 0.0_f64);
    for turn in 0..ends {
        // Now and then several end before a new one comes.
        let gone = 1 + (random.unit() * 4.0) as usize;
        let gone: Vec<usize> = (0..gone)
            .map(|_| {
                let worker = open.swap_remove((random.unit() * open.len() as f64) as usize);
                counts[worker] -= 1;
                worker
            })
            .collect();
        for _ in gone {
            let worker = least(counts.iter().copied(), turn);
            counts[worker] += 1;
            open.push(worker);
        }
        let most = counts.iter().copied().max().unwrap_or(0) as f64 / EACH as f64;
        sum += most;
        largest = largest.max(most);
    }
    [sum / ends as f64, largest]
}
