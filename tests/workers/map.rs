use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{until, within};
use crate::{Gate, LIMIT, workers};

#[test]
fn results_come_in_the_order_of_the_items() {
    within(LIMIT, || {
        let workers = workers(3);
        for count in [0, 1, 2, 191, 192, 193, 1_000] {
            let squares: Vec<u64> =
                workers.map(0..count, |number| number * number).into_iter().flatten().collect();
            assert_eq!(squares, (0..count).map(|number| number * number).collect::<Vec<_>>());
        }
        assert!(workers.imap(0..1_000_u64, |number| number).flatten().eq(0..1_000));
        let mut any: Vec<u64> = workers.imap_unordered(0..1_000_u64, |number| number).flatten().collect();
        any.sort_unstable();
        assert!(any.into_iter().eq(0..1_000));
    });
}

#[test]
fn an_item_that_panics_is_an_error_of_its_own() {
    within(LIMIT, || {
        let workers = workers(2);
        let fail = |number: u32| {
            if number == 5 {
                std::panic::resume_unwind(Box::new(number));
            }
            number
        };
        let results = workers.map(0..10, fail);
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 9);
        let error = results.into_iter().nth(5).unwrap().unwrap_err();
        assert_eq!(error.into_panic().downcast_ref(), Some(&5_u32));
        assert_eq!(workers.imap(0..10, fail).filter(Result::is_err).count(), 1);
    });
}

#[test]
fn an_iterator_runs_no_further_ahead_than_it_may() {
    within(LIMIT, || {
        let workers = workers(2);
        let begun = Arc::new(AtomicUsize::new(0));
        let counts = begun.clone();
        let mut results = workers
            .imap(0_u64.., move |number| {
                counts.fetch_add(1, Ordering::SeqCst);
                number
            })
            .maxsize(4);
        assert_eq!(results.next().unwrap().unwrap(), 0);
        assert!(begun.load(Ordering::SeqCst) <= 5);
        assert_eq!(results.flatten().take(100).last(), Some(100));
    });
}

#[test]
fn a_part_whose_items_all_wait_is_killed_at_once() {
    within(LIMIT, || {
        let workers = workers(1);
        let begun = Arc::new(AtomicUsize::new(0));
        let mapping = std::thread::spawn({
            let (workers, begun) = (workers.clone(), begun.clone());
            move || {
                workers.map(0..1_280, move |_: u32| {
                    begun.fetch_add(1, Ordering::SeqCst);
                    greenloop::sleep(Duration::MAX);
                })
            }
        });
        until(|| begun.load(Ordering::SeqCst) == 64);
        // The others would be killed one after another, each time after twice as long.
        workers.stop(Duration::ZERO);
        let results = mapping.join().unwrap();
        assert_eq!(results.len(), 1_280);
        assert!(results.into_iter().all(|result| result.unwrap_err().is_killed()));
        assert_eq!(begun.load(Ordering::SeqCst), 64);
    });
}

#[test]
fn what_is_stopped_is_an_error_for_each_item() {
    within(LIMIT, || {
        let workers = workers(1);
        let gate = Gate::on(&workers, 0);
        let stopper = workers.clone();
        let stopping = greenloop::spawn(move || stopper.stop(Duration::ZERO));
        let results = workers.map(0..100, |number: u32| number);
        gate.open();
        stopping.join().unwrap();
        assert_eq!(results.len(), 100);
        assert!(results.into_iter().all(|result| result.unwrap_err().is_killed()));
    });
}

/// Says that it has fewer items than it has, and then more.
struct Liar(u32);

impl Iterator for Liar {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.0 = self.0.checked_sub(1)?;
        Some(self.0)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.0 > 500 { (100, Some(100)) } else { (1_000, Some(1_000)) }
    }
}

#[test]
fn an_iterator_that_does_not_know_its_size_loses_nothing() {
    within(LIMIT, || {
        let workers = workers(2);
        let odd: Vec<u32> =
            workers.map((0..2_000).filter(|n| n % 2 == 1), |n| n).into_iter().flatten().collect();
        assert_eq!(odd, (0..1_000).map(|n| 2 * n + 1).collect::<Vec<_>>());
        let all: Vec<u32> = workers.map(Liar(1_000), |n| n).into_iter().flatten().collect();
        assert_eq!(all, (0..1_000).rev().collect::<Vec<_>>());
    });
}

#[test]
fn results_are_dropped_once_also_when_nobody_takes_them() {
    within(LIMIT, || {
        let workers = workers(2);
        let count = Arc::new(());
        let results = workers.map(0..1_000, {
            let count = count.clone();
            move |_: u32| count.clone()
        });
        assert_eq!(Arc::strong_count(&count), 1_001);
        drop(results);
        assert_eq!(Arc::strong_count(&count), 1);
        // The caller has gone before the results come.
        let gate = Gate::on(&workers, 0);
        let other = Gate::on(&workers, 1);
        let made = {
            let count = count.clone();
            move |_: u32| count.clone()
        };
        let mapping = greenloop::spawn({
            let workers = workers.clone();
            move || drop(workers.map(0..1_000, made))
        });
        greenloop::yield_now();
        mapping.kill();
        assert!(mapping.join().unwrap_err().is_killed());
        gate.open();
        other.open();
        until(|| Arc::strong_count(&count) == 1);
    });
}
