//! Jobs for more than one process, and more than one machine: an existing engine keeps them, and green threads do them.
//!
//! A [`Broker`] is where jobs are: a file of SQLite for the processes of one machine, or a server for those of many. All state that must
//! outlive a process is there, and all times are its clock's. Whoever takes a job has it for a *lease*. Until that ends, nobody else is
//! given it; a worker that lives renews it, so a job may take as long as it likes, and what a dead worker held is taken over one lease
//! later. Each delivery has a *token* of its own. Who has lost a lease can settle nothing any more.
//!
//! What a job leads to is one commit: that it is done, its result, its record, and the jobs that follow from it. So a job may run twice,
//! after a crash, but its record is there once.
//!
//! ```
//! use fleet::{Broker, Completion, NewJob, Sqlite};
//! use std::time::Duration;
//!
//! let broker = Sqlite::in_memory()?;
//! broker.push(&[NewJob::new("7 times 6")])?;
//! let job = broker.take(1, Duration::from_secs(10))?.remove(0);
//! assert_eq!((job.payload.as_str(), job.attempt), ("7 times 6", 1));
//! assert!(broker.done(&job.lease(), Completion::new().record("42"))?);
//! assert_eq!(broker.records(0, 10)?[0].text, "42");
//! # Ok::<(), fleet::BrokerError>(())
//! ```
//!
//! The clients are the unmodified blocking crates. They yield after [`greenloop::monkey::patch_all`], and stop the OS thread without it.

mod address;
mod broker;
mod error;
mod job;
mod postgresql;
mod redis;
mod sqlite;
mod tls;
mod turns;
mod worker;

pub use address::open;
pub use broker::Broker;
pub use error::BrokerError;
pub use job::{
    Completion, DeadJob, Job, LONGEST_CALL, LONGEST_TEXT, Lane, Lease, NewJob, Priority, Record, Settlement,
    Status, Verdict, fingerprint,
};
pub use postgresql::Postgres;
pub use redis::Redis;
pub use sqlite::Sqlite;
pub use worker::{Backoff, Blocked, Count, Counts, Failure, Happening, IntoBroker, Stopper, Worker};

/// Has what the README shows be compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
