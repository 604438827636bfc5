//! Child processes, with std's names.
//!
//! [`Command`] and [`Child`] are [`std::process`]'s, but that waiting for a child, and for its pipes, lets other green threads
//! run. The pipes are greenloop's [`PipeReader`](crate::io::PipeReader) and [`PipeWriter`](crate::io::PipeWriter); the
//! child's ends of them block, as programs expect. What std has beside these is here under its own name, so that
//! `use greenloop::process` does for `use std::process`.
//!
//! ```
//! use greenloop::process::Command;
//! use greenloop::spawn;
//!
//! let lengths = ["a", "bc", "def"].map(|word| {
//!     spawn(move || Command::new("echo").arg(word).output().unwrap().stdout.len())
//! });
//! assert_eq!(lengths.map(|length| length.join().unwrap()), [2, 3, 4]);
//! ```
//!
//! [`fork`] splits the process itself.
//!
//! That a child has ended is heard from a descriptor of its own (a pidfd). There is no handler for SIGCHLD, and nobody else's
//! children are waited for. Starting a child blocks the OS thread until the program runs, for a millisecond or so: it stays on
//! the thread of its caller, because PR_SET_PDEATHSIG and the like concern that.

mod child;
mod command;
mod ending;
mod forked;
mod output;
mod reaper;

pub use std::process::{
    CommandArgs, CommandEnvs, ExitCode, ExitStatus, Output, Stdio, Termination, abort, exit, id,
};

pub use child::{Child, ChildStderr, ChildStdin, ChildStdout};
pub use command::Command;
pub use forked::wait_pid;

pub use crate::error::PartialOutput;
pub use crate::hub::fork::{Fork, fork};
