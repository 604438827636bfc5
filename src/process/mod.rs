//! Child processes, with std's names.
//!
//! [`Command`] and [`Child`] have the methods of [`std::process`], except that waiting for a child, or for its pipes, lets other green
//! threads run. The pipes are greenloop's [`PipeReader`](crate::io::PipeReader) and [`PipeWriter`](crate::io::PipeWriter); the ends that
//! the child gets are in blocking mode, as programs expect. The other items of `std::process` are here too, so you can replace
//! `use std::process` by `use greenloop::process`.
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
//! The end of a child is noticed by a descriptor of its own (a pidfd). There is no handler for SIGCHLD, and children that other code
//! started are left to it. Starting a child blocks the OS thread until the program runs, for a millisecond or so. It happens on the
//! thread of the caller, because settings such as PR_SET_PDEATHSIG concern that thread.

mod child;
mod command;
mod end_watch;
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
