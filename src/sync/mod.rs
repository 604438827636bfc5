//! Primitives that park the green thread that must wait, and let the hub go on with the others.
//!
//! - [`Mutex`]: mutual exclusion, std's face; its guard may be held across anything that yields.
//! - [`ReentrantLock`]: the same, and its holder may lock it again. gevent's `RLock`.
//! - [`RwLock`]: many readers or one writer, std's face; no writer waits for ever.
//! - [`Condvar`]: waiting, with a mutex released meanwhile, until something has changed.
//! - [`Semaphore`], [`BoundedSemaphore`]: a number of permits, gevent's face with a guard for each permit.
//! - [`Barrier`]: a number of them wait for one another.
//! - [`Once`], [`OnceLock`], [`LazyLock`]: what is done once, by who comes first, also if that takes a wait.
//!
//! They hold between green threads of one hub, between hubs on several OS threads, and with plain OS threads, which get a
//! hub of their own when they first wait. Where nobody has to wait nothing yields; a mutex costs what std's does then,
//! the others up to twice that.
//!
//! All of them serve in order of arrival; only a [`Semaphore`] lets a newcomer overtake a waiter, once. A kill or a time limit loses
//! nothing: if a green thread is killed after a lock, a permit or a notification was given to it but before it runs, that goes to
//! the next waiter.
//!
//! The end of an OS thread loses nothing either. Its green threads that still wait are passed over, and what was given to one of
//! them that had not run yet goes to the next waiter. What a green thread already holds stays held: a mutex whose guard is in a
//! green thread that was parked when its OS thread ended is never unlocked.
//!
//! ```
//! use std::sync::Arc;
//! use greenloop::sync::{Condvar, Mutex};
//! use greenloop::{spawn, yield_now};
//!
//! let shared = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
//! let consumer = spawn({
//!     let shared = Arc::clone(&shared);
//!     move || {
//!         let (items, filled) = &*shared;
//!         let mut items = filled.wait_while(items.lock().unwrap(), |items| items.is_empty()).unwrap();
//!         items.pop()
//!     }
//! });
//! yield_now();
//! shared.0.lock().unwrap().push("work");
//! shared.1.notify_one();
//! assert_eq!(consumer.join().unwrap(), Some("work"));
//! ```

mod barrier;
mod bounded_semaphore;
mod condvar;
mod lazy_lock;
mod mutex;
mod once;
mod once_lock;
mod poison;
mod raw_mutex;
mod reentrant_lock;
mod rwlock;
mod semaphore;

pub use barrier::{Barrier, BarrierWaitResult};
pub use bounded_semaphore::BoundedSemaphore;
pub use condvar::{Condvar, WaitTimeoutResult};
pub use lazy_lock::LazyLock;
pub use mutex::{Mutex, MutexGuard};
pub use once::{Once, OnceState};
pub use once_lock::OnceLock;
pub use reentrant_lock::{ReentrantLock, ReentrantLockGuard};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{Semaphore, SemaphorePermit};

#[doc(no_inline)]
pub use crate::error::TimedOut;
// The results of locking are std's own types.
#[doc(no_inline)]
pub use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
