//! What is built of processes: a pool of them, a supervisor of servers, a manager of what they have in common, and memory that they share.
//!
//! A [`ProcessPool`] calls one function in several processes, on as many processors, with the words of Python's `Pool` and
//! `ProcessPoolExecutor`. Workers may be killed, crash or hang: another takes the place, and the job is tried again, or fails by name. The
//! pool never breaks.
//!
//! ```
//! use greenloop::processes::ProcessPool;
//!
//! let pool = ProcessPool::new(2, |number: u64| (1..=number).product::<u64>())?;
//! assert_eq!(pool.apply(5)?, 120);
//! let products: Vec<u64> = pool.imap(1..=4).collect::<Result<_, _>>()?;
//! assert_eq!(products, [1, 2, 6, 24]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Each worker has a socket of its own to the parent, where a green thread gives it one job after the other. Nothing is shared between
//! workers, no lock and no pipe, so one that is killed, at whatever moment, stops nobody. Workers are forked by a process that is made for
//! that with the pool, and has one OS thread, so they can be replaced whatever the parent has become.
//!
//! A [`Supervisor`] is a pre-fork server: processes that serve one listener, and are replaced when they end, hang, or have served enough,
//! and reloaded while clients go on.
//!
//! A [`Manager`] keeps dicts, lists, queues, locks and more for several processes, as Python's does. A process that is killed keeps nothing
//! of them: see [`manager`].
//!
//! [`shared`] has memory that processes share, values and arrays in it, and a lock that a process which is killed does not keep.
//!
//! # Which pool
//!
//! Rust computes on all processors in one process: a [`ThreadPool`](crate::threadpool::ThreadPool) takes closures that need not travel. A
//! process is for what may crash, leak or hang, for libraries that are not safe for threads, and for what is to be ended from outside.

mod builder;
mod crew;
mod hand;
mod job;
mod keeper;
mod link;
mod maker;
pub mod manager;
mod maps;
mod pool;
mod running;
pub mod shared;
mod stopping;
mod supervisor;
mod worker;

pub use builder::PoolBuilder;
pub use job::Job;
pub use manager::Manager;
pub use maps::Chunked;
pub use pool::ProcessPool;
pub use supervisor::{Reload, Supervisor, SupervisorEvent, Worker};

pub use crate::error::{ManagerError, SupervisorError, WorkError};
