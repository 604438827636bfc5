//! In the place of `src/sys/lock.rs` where others stand on it: a lock that does not spin, for that has no end in some orders.
//! The real one has a model of its own.

use loom::sync::{Mutex, MutexGuard};

#[derive(Debug)]
pub(crate) struct Lock<T>(Mutex<T>);

pub(crate) type LockGuard<'a, T> = MutexGuard<'a, T>;

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Lock<T> {
        Lock(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> LockGuard<'_, T> {
        self.0.lock().unwrap()
    }
}
