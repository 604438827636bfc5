//! Green threads with their own stacks, and a hub that switches whenever one of them would block.

pub mod channel;
pub mod error;
pub mod event;
pub mod greenlet;
pub mod hub;
pub mod io;
pub mod sync;
#[expect(unsafe_code, reason = "the kernel's interface")]
mod sys;
mod task;

pub use error::{Elapsed, GreenletExit, JoinError, LoopExit, TimedOut};
pub use task::{
    AlreadyStarted, Builder, IterWait, JoinHandle, Link, LocalKey, Notice, Outcome, Scope, ScopedJoinHandle,
    Subscription, TaskId, Timeout, Waitable, block_on, idle, iwait, joinall, joinall_timeout, killall,
    killall_timeout, scope, sleep, spawn, spawn_later, try_joinall, wait, wait_any, wait_timeout,
    with_timeout, yield_now,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
