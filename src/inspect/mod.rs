//! Seeing what green threads do: who is there, who waits on what, who waits for one another.
//!
//! All of it is off until you ask. Nothing of it costs anything while it is off, and nothing ever shows the contents of memory.
//!
//! | you want | use |
//! |---|---|
//! | everybody on this OS thread, at once | [`dump`](fn@dump) |
//! | everybody in the process, from anywhere | [`DumpOptions`] |
//! | the same whenever a signal comes, `kill -USR1` for instance | [`dump_on`], or `GREENLOOP_DUMP=USR1` in the environment |
//! | the calls in which each of them waits | [`DumpOptions::backtraces`] |
//! | since when each of them waits, and who has spawned it | [`keep_history`] |
//! | to look into a running program from a terminal | [`listen`](fn@listen), and the example `top` |
//! | what happened of late, as a file for <https://ui.perfetto.dev> | [`Recorder`] |
//! | how long green threads run at a stretch, and are ready before they do | [`time_slices`] |
//! | how much each hub has done, for programs and for Prometheus | [`metrics`](fn@metrics), [`serve_metrics`] |
//! | who blocks an OS thread, with all its green threads | [`detect`], or `GREENLOOP_BLOCK_MS=100` in the environment |
//! | that code under test lets others run | [`assert_switches`] |
//!
//! A [`Dump`] is text by its `Display`, and JSON by [`Dump::write_json`]. The text puts all together that were spawned at the same place
//! and wait on the same thing, so a million green threads that do three different things are three paragraphs.
//!
//! # From outside
//!
//! gdb shows the green threads of a process that it has stopped, and of a core file that the kernel has left, with commands that a program
//! with debugging information brings along. For any other, `source debugger/greenloop.py` from the library's package makes them known.
//!
//! ```text
//! $ gdb -iex 'add-auto-load-safe-path target/debug/program' target/debug/program core
//! (gdb) greenloop ps
//! OS thread 30423: 3 greenlets
//!            running                                      'main'
//!   1        parked       Receiver::recv               src/main.rs:37:56  'the receiver'
//!   2        parked       a sleep                      src/main.rs:38:55  'the sleeper'
//! (gdb) greenloop bt 1
//! ```
//!
//! `greenloop bt NUMBER` and `greenloop bt all` tell in which calls they wait, on x86_64. The commands read memory, and call nothing.
//!
//! Have the kernel write the core file, by `kill -ABRT` for instance, and not gdb's `gcore`: that writes the addresses that are kept for
//! stacks too, tens of gigabytes of zeros.
//!
//! # Examples
//!
//! What does everybody wait for?
//!
//! ```
//! use greenloop::{channel, inspect, spawn, yield_now};
//!
//! let (_sender, receiver) = channel::unbounded::<u32>();
//! let waiters: Vec<_> = (0..3)
//!     .map(|_| {
//!         let receiver = receiver.clone();
//!         spawn(move || receiver.recv())
//!     })
//!     .collect();
//! yield_now();
//! let text = inspect::dump().to_string();
//! assert!(text.contains("3 green threads, spawned at"));
//! assert!(text.contains("parked, waiting on Receiver::recv"));
//! # drop(_sender);
//! # greenloop::joinall(&waiters);
//! ```
//!
//! In a report of a deadlock, a hook may tell more than [`LoopExit`](crate::LoopExit) does:
//!
//! ```
//! use greenloop::{event::Event, hub::set_uncaught_hook, inspect};
//! use std::sync::Arc;
//!
//! set_uncaught_hook(Some(Arc::new(|uncaught| eprintln!("{uncaught}\n{}", inspect::dump()))));
//! assert!(std::panic::catch_unwind(|| Event::new().wait()).is_err());
//! ```

mod asking;
mod backtrace;
mod chrome;
mod codes;
mod cycles;
mod detector;
mod dump;
mod environment;
mod green_thread;
mod histogram;
mod history;
mod http;
mod hub_blocked;
mod json;
mod listen;
mod listening;
mod log;
mod metrics;
mod names;
mod occasion;
mod on_signal;
mod options;
mod perfetto;
mod prometheus;
mod recorder;
mod recording;
mod report;
mod ring;
mod story;
mod switches;
mod testify;
mod turns;
mod watcher;

pub use backtrace::{Backtrace, Frame};
pub use detector::{Detector, DetectorOptions, MemoryUse, allow_blocking, detect};
pub use dump::{Dump, HubDump, dump};
pub use green_thread::{GreenThread, Standing};
pub use histogram::Histogram;
pub use history::keep_history;
pub use http::{serve_metrics, serve_metrics_openly};
pub use hub_blocked::HubBlocked;
pub use listen::listen;
pub use listening::Listening;
pub use metrics::{HubMetrics, Metrics, PoolMetrics, metrics, time_slices};
pub use occasion::Occasion;
pub use on_signal::dump_on;
pub use options::DumpOptions;
pub use recorder::Recorder;
pub use recording::Recording;
pub use switches::assert_switches;
