//! Those of one process who wait for a lock between processes: the first of them stands in the other processes' way.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, TryLockError, TryLockResult};
use std::time::Duration;

use super::holder::Holders;
use crate::hub::in_world::looking;
use crate::sync::{Mutex, MutexGuard};
use crate::sys::clock::Time;
use crate::sys::identity;
use crate::sys::lock::Lock;
use crate::task;

/// How long one that comes again leaves the others, who were told, to take it.
const COURTESY: Duration = Duration::from_micros(50);

/// In [`Line::here`]: others were told that they can have it.
const COURTEOUS: u64 = 1;
const ONE: u64 = 2;

pub(super) struct Line {
    /// How many stand in it, or are to give others a moment.
    here: AtomicU64,
    current: Lock<Current>,
}

/// In the child of a fork this is the parent's, until it is looked at.
struct Current {
    process: u64,
    first: Arc<Mutex<Holders>>,
}

impl Line {
    pub(super) fn new() -> Line {
        let current = Current { process: identity::own(), first: Arc::default() };
        Line { here: AtomicU64::new(0), current: Lock::new(current) }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        // Relaxed: a hint; those in line have an order of their own.
        self.here.load(Ordering::Relaxed) == 0
    }

    /// Others were told that they can have the lock: who comes next leaves them a moment.
    pub(super) fn note_told(&self) {
        // Relaxed: a hint.
        self.here.fetch_or(COURTEOUS, Ordering::Relaxed);
    }

    /// Runs `take` if nobody else is first.
    pub(super) fn try_first<T>(&self, take: impl FnOnce(&mut Holders) -> Option<T>) -> Option<T> {
        let line = self.of_this_process();
        let mut holders = whoever_unwound(line.try_lock())?;
        take(&mut holders)
    }

    /// Runs `take` when this is the first.
    pub(super) fn first<T>(&self, deadline: Time, take: impl FnOnce(&mut Holders) -> Option<T>) -> Option<T> {
        let line = self.of_this_process();
        let _standing = Standing::begin(&self.here);
        let mut holders = wait_for_turn(&line, deadline)?;
        // Relaxed: a hint.
        if self.here.fetch_and(!COURTEOUS, Ordering::Relaxed) & COURTEOUS != 0 && deadline == Time::NEVER {
            let _looking = looking();
            task::sleep(COURTESY);
        }
        take(&mut holders)
    }

    /// Another one than the parent's, where that has left its own in the middle.
    fn of_this_process(&self) -> Arc<Mutex<Holders>> {
        let own = identity::own();
        let mut current = self.current.lock();
        if current.process != own {
            let parents = mem::replace(&mut *current, Current { process: own, first: Arc::default() });
            // Whoever stands there stands in the parent.
            if Arc::strong_count(&parents.first) > 1 {
                mem::forget(parents);
            }
            // Relaxed: this is the first to use the line, and those before were the parent's.
            self.here.store(0, Ordering::Relaxed);
        }
        Arc::clone(&current.first)
    }
}

fn wait_for_turn(line: &Mutex<Holders>, deadline: Time) -> Option<MutexGuard<'_, Holders>> {
    let locked = if deadline == Time::NEVER {
        line.lock().map_err(TryLockError::Poisoned)
    } else {
        line.lock_timeout(Time::now().until(deadline))
    };
    whoever_unwound(locked)
}

/// What is guarded is whole, whoever has unwound.
fn whoever_unwound<'a>(locked: TryLockResult<MutexGuard<'a, Holders>>) -> Option<MutexGuard<'a, Holders>> {
    match locked {
        Ok(holders) => Some(holders),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// One that stands in the line.
struct Standing<'a>(&'a AtomicU64);

impl Standing<'_> {
    fn begin(here: &AtomicU64) -> Standing<'_> {
        // Relaxed: a hint, as in `is_empty`.
        here.fetch_add(ONE, Ordering::Relaxed);
        Standing(here)
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        // Relaxed: as above.
        self.0.fetch_sub(ONE, Ordering::Relaxed);
    }
}
