//! Synchronization primitives. A wait parks the calling green thread alone, and the hub runs the others.
//!
//! - [`Mutex`]: mutual exclusion, with std's interface. You may hold its guard across anything that yields.
//! - [`ReentrantLock`]: a lock that its holder may lock again. gevent's `RLock`.
//! - [`RwLock`]: many readers or one writer, with std's interface. No writer waits for ever.
//! - [`Condvar`]: waits until something has changed, and releases a mutex meanwhile.
//! - [`Semaphore`], [`BoundedSemaphore`]: a number of permits. gevent's, with a guard for each permit.
//! - [`Barrier`]: lets a number of green threads wait for one another.
//! - [`WaitGroup`]: waits until all that hold a clone of it have ended. crossbeam's.
//! - [`Once`], [`OnceLock`], [`LazyLock`]: something that is done once, by the first that asks, even if it has to wait.
//!
//! They work between green threads of one hub, between hubs on several OS threads, and with plain OS threads, which get a hub of
//! their own when they first wait. If there is nothing to wait for, nothing yields. A mutex then costs what std's does, and the
//! others cost up to twice that.
//!
//! # Order, kills and ends
//!
//! All of them serve waiters in the order of their arrival. Only a [`Semaphore`] lets a newcomer overtake a waiter, once.
//!
//! A kill or a time limit loses nothing. If a green thread is killed after a lock, a permit or a notification was given to it but
//! before it runs, that goes to the next waiter.
//!
//! The end of an OS thread loses nothing either. Its green threads that still wait are passed over. What was given to one of them
//! that had not run yet goes to the next waiter. But what a green thread already holds stays held: if the guard of a mutex is in
//! a green thread that is parked when its OS thread ends, the mutex is never unlocked.
//!
//! # Examples
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
mod wait_group;

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
pub use wait_group::WaitGroup;

#[doc(no_inline)]
pub use crate::error::TimedOut;
// The results of locking are std's own types.
#[doc(no_inline)]
pub use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
