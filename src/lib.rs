//! Green threads with their own stacks, and a hub that switches whenever one of them would block: plain blocking code, a
//! hundred thousand of it at once on one OS thread, and no `async` anywhere.
//!
//! ```
//! use greenloop::{joinall, sleep, spawn};
//! use std::time::{Duration, Instant};
//!
//! let start = Instant::now();
//! let sleepers: Vec<_> = (0..10_000).map(|_| spawn(|| sleep(Duration::from_millis(100)))).collect();
//! joinall(&sleepers);
//! println!("10000 sleeps of 100 ms: {:?}", start.elapsed());
//! assert!(start.elapsed() < Duration::from_secs(10)); // and not 1000 seconds
//! ```
//!
//! It prints `10000 sleeps of 100 ms: 113.2ms`, or thereabouts.
//!
//! # The model
//!
//! Each OS thread has one [hub], made when it is first needed. A green thread runs until it waits: on a socket, a lock,
//! a channel, a timer, another green thread. Then the hub switches to the next that is ready, and when nobody is, it blocks
//! in the kernel. A green thread that computes is never interrupted, and one that has started never changes its OS thread:
//! so [`spawn`] takes closures that are not `Send`, and `Rc`, `RefCell` and thread-locals work as they do in one thread.
//!
//! This is Python's gevent for Rust, and the names are gevent's where the thing is gevent's ([`spawn`], [`joinall`],
//! [`killall`], [`iwait`]) and std's where it is std's ([`JoinHandle`], [`Builder`], [`scope`]).
//!
//! # The rooms
//!
//! | module | holds |
//! |---|---|
//! | the root | green threads: [`spawn`], [`JoinHandle`], [`scope`], [`sleep`], [`with_timeout`], [`greenlet_local!`], [`block_on`] |
//! | [`greenlet`] | explicit coroutines: [`Greenlet`](greenlet::Greenlet) with `switch` and `throw`, [`Generator`](greenlet::Generator) |
//! | [`hub`] | the run loop's settings and its end |
//! | [`sync`], [`event`], [`channel`], [`queue`] | locks, events, results, channels, queues: between green threads, hubs and plain OS threads |
//! | [`mod@select`] | the first of several: [`select!`] over channels, times and descriptors; `poll`, and a `Selector` as Python's |
//! | [`io`] | waiting for any descriptor; pipes, the standard input |
//! | [`fs`] | files and folders |
//! | [`net`] | sockets of TCP, UDP and Unix, names |
//! | [`pool`] | green threads that belong together, or of which a number run at a time |
//! | [`process`] | child processes |
//! | [`signal`] | signals |
//! | [`server`] | servers of connections and of datagrams |
//! | [`threadpool`] | blocking work, and work for all processors, on other OS threads |
//! | [`monkey`] | std's and C's blocking calls, made cooperative (cargo feature `monkey`) |
//! | [`error`] | every error type |
//! | [`guide`] | for those who come from gevent, or from OS threads |
//! | [`design`] | how it works, and why |
//!
//! # What can go wrong
//!
//! - **A blocking call that greenloop does not know**, in C or in `std::net`, stops every green thread of its OS thread until
//!   it returns. The feature `monkey` makes most of them known.
//! - **A stack is small**: 128 KiB by default, 512 KiB in debug builds. One that needs more ends the process with a line that
//!   names it, also where C code does; give it more with [`Builder::stack_size`], or all with
//!   [`set_default_stack_size`](greenlet::set_default_stack_size).
//! - **A guard of std held across a wait**: `std::sync::Mutex` knows only OS threads. A second green thread that locks it
//!   stops the OS thread, and the first with it, for ever. A `RefCell` borrowed across a wait panics in the next.
//! - **Waiting in a destructor while unwinding**: IO that would have to wait fails with
//!   [`Unwinding`](error::Unwinding), and a sleep returns at once, so that other green threads do not run while
//!   `std::thread::panicking()` is true.
//! - **Destructors of thread-locals**: while an OS thread ends, nothing waits on it, is spawned or switched to. IO that would have to wait
//!   fails with [`ThreadEnds`](error::ThreadEnds), other waits panic, and green threads that are still parked leak: see
//!   [`Config::abort_if_parked`](hub::Config::abort_if_parked).
//! - **`panic = "abort"`** makes every panic, every kill and every time limit end the process: greenloop needs unwinding, and does not
//!   compile without. If your program has none of the three, set the environment variable `GREENLOOP_PANIC_ABORT=1` when you build it.
//! - **The end of `main`** ends the process, whoever still runs: [`joinall`] or [`Hub::join`](hub::Hub::join) before.
//!
//! # Platforms
//!
//! Linux on x86_64 and the other processors of corosensei. From Linux 6.13 on, guarded stacks need no memory mappings of
//! their own; before, `vm.max_map_count` bounds them.
//!
#![cfg_attr(
    not(feature = "monkey"),
    doc = "[`monkey`]: https://docs.rs/greenloop/latest/greenloop/monkey/index.html"
)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(all(panic = "abort", not(greenloop_panic_abort)))]
compile_error!(
    "greenloop needs `panic = \"unwind\"`, which is the default: a panic, a kill and a time limit end a green thread by unwinding its \
     stack, and with `panic = \"abort\"` each would end the process. If your program has none of the three, set the environment \
     variable GREENLOOP_PANIC_ABORT=1 when you build it"
);

pub mod channel;
#[doc = include_str!("design.md")]
pub mod design {}
pub mod error;
pub mod event;
#[expect(unsafe_code, reason = "stacks and the switch between them")]
mod fiber;
pub mod fs;
pub mod greenlet;
pub mod guide;
pub mod hub;
pub mod io;
#[cfg(feature = "monkey")]
#[expect(unsafe_code, reason = "the C library's interface, from the other side")]
pub mod monkey;
pub mod net;
pub mod pool;
pub mod process;
pub mod queue;
pub mod select;
pub mod server;
pub mod signal;
pub mod sync;
#[expect(unsafe_code, reason = "the kernel's interface")]
mod sys;
mod task;
pub mod threadpool;

pub use error::{Elapsed, GreenletExit, JoinError, LoopExit, TimedOut};
pub use task::{
    AlreadyStarted, Builder, Interval, IterWait, JoinHandle, Link, LocalKey, Notice, Outcome, Scope,
    ScopedJoinHandle, Subscription, TaskId, Timeout, Waitable, block_on, idle, iwait, joinall,
    joinall_timeout, killall, killall_timeout, scope, sleep, spawn, spawn_later, try_joinall, wait, wait_any,
    wait_timeout, with_timeout, yield_now,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
