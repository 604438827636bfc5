//! Green threads with their own stacks, and a hub that switches to the next one whenever one of them would block: plain blocking
//! code, a hundred thousand of it at once on one OS thread, and no `async` anywhere.
//!
//! ```
//! use greenloop::net::{TcpListener, TcpStream};
//! use std::io::{Read, Write};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! greenloop::spawn(move || {
//!     for mut stream in listener.incoming().flatten() {
//!         greenloop::spawn(move || -> std::io::Result<()> {
//!             let mut question = String::new();
//!             stream.read_to_string(&mut question)?; // waits, while all others run
//!             stream.write_all(question.to_uppercase().as_bytes())
//!         });
//!     }
//! });
//!
//! let clients: Vec<_> = (0..100).map(|number| {
//!     greenloop::spawn(move || -> std::io::Result<String> {
//!         let mut stream = TcpStream::connect(address)?;
//!         write!(stream, "client {number}")?;
//!         stream.shutdown(std::net::Shutdown::Write)?;
//!         std::io::read_to_string(stream)
//!     })
//! }).collect();
//! for (number, client) in clients.into_iter().enumerate() {
//!     assert_eq!(client.join().unwrap()?, format!("CLIENT {number}"));
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! The server, its hundred connections and the hundred clients are one OS thread. The types of [`net`], [`io`], [`fs`] and [`process`]
//! have std's names and signatures.
//!
//! # The model
//!
//! Each OS thread has one [hub], which is made when it is first needed. A green thread runs until it waits: for a socket, a lock,
//! a channel, a timer, another green thread. Then the hub switches to the next one that is ready. When none is ready, the hub blocks
//! in the kernel. Stacks are guarded and pooled, and an overflow names its green thread.
//!
//! A green thread that computes is never interrupted. One that has started never changes its OS thread, so [`spawn`] takes closures
//! that are not `Send`, and the green threads of one OS thread can share an `Rc<RefCell<T>>`. They share thread-local variables too,
//! which is not always what you want: see [below](#what-can-go-wrong).
//!
//! To use all processors, make [`Workers`](workers::Workers): a hub for each, and what you spawn there begins on whichever has time. Locks,
//! channels and queues work between hubs, and one server can use all of them.
//!
//! This is Python's gevent for Rust. Names are gevent's where gevent has the thing ([`spawn`], [`joinall`], [`killall`], [`iwait`]) and
//! std's where std has it ([`JoinHandle`], [`Builder`], [`scope`]).
//!
//! # Modules
//!
//! | module | holds |
//! |---|---|
//! | the root | green threads: [`spawn`], [`JoinHandle`] (`join`, `kill`, `link`), [`joinall`], [`wait`], [`scope`], [`sleep`], [`sleep_with_slack`], [`Interval`], [`with_timeout`], [`greenlet_local!`], [`block_on`] |
//! | [`greenlet`] | explicit coroutines, by the rules of Python's greenlet: [`Greenlet`](greenlet::Greenlet) with `switch` and `throw`, [`Generator`](greenlet::Generator), [`settrace`](greenlet::settrace) |
//! | [`inspect`] | who is there, what each waits on, who waits for one another, how much each hub does: as text and as JSON |
//! | [`hub`] | settings of the run loop, its end, deadlock reports, the hook for panics that no one can receive |
//! | [`sync`] | [`Mutex`](sync::Mutex), [`RwLock`](sync::RwLock), [`Condvar`](sync::Condvar), [`Barrier`](sync::Barrier), [`Once`](sync::Once) and others of std's; [`Semaphore`](sync::Semaphore), [`WaitGroup`](sync::WaitGroup) |
//! | [`event`] | [`Event`](event::Event), [`AsyncResult`](event::AsyncResult) |
//! | [`channel`] | channels with a limit, without one, and rendezvous |
//! | [`queue`] | [`Queue`](queue::Queue), [`LifoQueue`](queue::LifoQueue), [`PriorityQueue`](queue::PriorityQueue), [`JoinableQueue`](queue::JoinableQueue) |
//! | [`mod@select`] | the first of several: [`select!`] over channels, times and descriptors; `poll`, and a `Selector` as Python's |
//! | [`io`] | waiting for any descriptor, on epoll, poll(2) or io_uring; pipes, the standard input |
//! | [`fs`] | files and folders |
//! | [`net`] | sockets of TCP, UDP and Unix; name look-ups |
//! | [`pool`] | [`Group`](pool::Group) and [`Pool`](pool::Pool): green threads that belong together, or of which a number run at a time |
//! | [`process`] | child processes; [`Process`](process::Process), which runs a closure in one; channels and pipes between processes; `fork` |
//! | [`processes`] | [`ProcessPool`](processes::ProcessPool): a function called in several processes, which may be killed; [`Supervisor`](processes::Supervisor) of pre-fork servers; memory and a lock that processes [share](processes::shared) |
//! | [`signal`] | signals, whose handlers are green threads; Ctrl-C in main |
//! | [`server`] | servers of connections and of datagrams: a green thread each, a limit, a graceful stop, TLS by a wrapper |
//! | [`testing`] | tests of code that waits: an hour passes in a millisecond, and orders are searched for bugs |
//! | [`threadpool`] | blocking work, and work for all processors, on other OS threads |
//! | [`workers`] | all processors: a hub on each, jobs for whoever has time, scopes, maps, state in parts, one server on all |
//! | [`monkey`] | std's and C's blocking calls, made cooperative (cargo feature `monkey`) |
//! | [`error`] | every error type |
//! | [`guide`] | for those who come from gevent, asyncio, multiprocessing, other Python, or OS threads |
//! | [`design`] | how it works, and why |
//!
//! # Which one do I need
//!
//! | you want | use |
//! |---|---|
//! | the value of a green thread | [`JoinHandle::join`]; of the first of several, [`wait_any`]; of all, [`joinall`] or [`try_joinall`] |
//! | to wait until any number of others are done, of which you have no handles | a [`WaitGroup`](sync::WaitGroup) |
//! | to hand over values one by one, and to learn when the other side is gone | a [`channel`] |
//! | the same, in an order of yours, with `peek`, or with a count of what is done | a [`Queue`](queue::Queue), [`PriorityQueue`](queue::PriorityQueue) or [`LifoQueue`](queue::LifoQueue) |
//! | one value, once, for all that wait for it | an [`AsyncResult`](event::AsyncResult) |
//! | to tell all that wait that something has happened | an [`Event`](event::Event) |
//! | to wait until data under a lock is as you want it | a [`Condvar`](sync::Condvar) with a [`Mutex`](sync::Mutex) |
//! | a limit on how many do something at a time | a [`Semaphore`](sync::Semaphore), or a [`Pool`](pool::Pool) of green threads |
//! | the first of several events | [`select!`] for channels, times and descriptors, [`wait_any`] for everything else |
//! | green threads that borrow from the caller | [`scope`]; with a limit, [`pool::scope`] |
//! | reports of panics that name the green thread | [`install_panic_hook`](hub::install_panic_hook) |
//! | a time limit | [`with_timeout`] around any code, or the `_timeout` form of one call |
//! | to call code that blocks, or computes for long | [`unblock`](threadpool::unblock) |
//! | to use all processors | [`Workers`](workers::Workers) |
//! | values from a function that pauses after each | a [`Generator`](greenlet::Generator) |
//!
//! # What can go wrong
//!
//! - **Deadlock: a std guard held across a wait.** `std::sync::Mutex` blocks the whole OS thread. If a green thread waits while it
//!   holds such a guard, and another green thread of the same hub locks the mutex, neither runs again. Use [`sync::Mutex`]. A
//!   `RefCell` that is borrowed across a wait makes the next borrower panic.
//! - **A blocking call that greenloop does not know**, in C or in `std::net`, stops every green thread of its OS thread until
//!   it returns. Use the types of this crate, [`unblock`](threadpool::unblock), or the feature `monkey`, which makes most such calls
//!   known.
//! - **Scopes in thread-local variables.** All green threads of an OS thread share its thread-local variables. A crate that keeps a
//!   *current* something there, such as the span of `tracing`, mixes them up if you wait inside of the scope: the log line of one
//!   request carries the span of another. Leave the scope before each wait, keep the value in a [`greenlet_local!`], or, with the feature
//!   `monkey` (on x86_64 and aarch64), give all green threads thread-local variables of their own, as `monkey::patch_all` does, or one by
//!   `Builder::isolated`.
//! - **Small stacks**: 128 KiB by default, 512 KiB in debug builds. A green thread that needs more ends the process with a line that
//!   names it, also if C code needs it. Give it more with [`Builder::stack_size`], or all with
//!   [`set_default_stack_size`](greenlet::set_default_stack_size).
//! - **Waiting in a destructor while unwinding.** IO that would have to wait fails with [`Unwinding`](error::Unwinding), and a sleep
//!   returns at once, so that other green threads do not run while `std::thread::panicking()` is true.
//! - **Destructors of thread-locals**: while an OS thread ends, nothing waits on it, is spawned or switched to. IO that would have to
//!   wait fails with [`ThreadEnds`](error::ThreadEnds), other waits panic, and green threads that are still parked leak: see
//!   [`Config::abort_if_parked`](hub::Config::abort_if_parked).
//! - **`panic = "abort"`** would make every panic, every kill and every time limit end the process. greenloop needs unwinding, and does
//!   not compile without it. If your program has none of the three, set the environment variable `GREENLOOP_PANIC_ABORT=1` when you
//!   build it.
//! - **The end of `main`** ends the process, even if green threads still run. Call [`joinall`] or [`Hub::join`](hub::Hub::join) before.
//!
//! # Platforms
//!
//! Linux on x86_64, on aarch64, where its own tests run under an emulator, and untested on the other processors of corosensei. From Linux
//! 6.13 on, guarded stacks need no memory mappings of their own; on older kernels `vm.max_map_count` limits their number.
//!
#![cfg_attr(
    not(feature = "monkey"),
    doc = "[`monkey`]: https://docs.rs/greenloop/latest/greenloop/monkey/index.html"
)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![debugger_visualizer(gdb_script_file = "../debugger/greenloop.py")]

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
pub mod inspect;
pub mod io;
#[cfg(feature = "monkey")]
#[expect(unsafe_code, reason = "the C library's interface, from the other side")]
pub mod monkey;
pub mod net;
pub mod pool;
pub mod process;
pub mod processes;
pub mod queue;
pub mod select;
pub mod server;
pub mod signal;
pub mod sync;
#[expect(unsafe_code, reason = "the kernel's interface")]
mod sys;
mod task;
pub mod testing;
pub mod threadpool;
pub mod workers;

pub use error::{Elapsed, GreenletExit, JoinError, LoopExit, TimedOut};
pub use task::{
    AlreadyStarted, Builder, Current, Interval, IterWait, JoinHandle, Link, LocalKey, Notice, Outcome, Scope,
    ScopedJoinHandle, Subscription, TaskId, Timeout, Waitable, block_on, current, idle, iwait, joinall,
    joinall_timeout, killall, killall_timeout, scope, sleep, sleep_with_slack, spawn, spawn_later,
    try_joinall, wait, wait_any, wait_timeout, with_timeout, yield_now,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
