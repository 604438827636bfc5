//! Child processes: programs, with std's names, and closures, with Python's.
//!
//! # Programs
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
//! # Closures
//!
//! [`Process`] runs a closure in a process of its own, and brings back its value. A [`channel()`] or a [`pipe`] takes messages from process
//! to process: values that are [`Wire`], or of a format of your own by a [`Codec`], with files and sockets in them. All this is in one
//! program: nothing has to be registered, and no data is kept in shared memory.
//!
//! ```
//! use greenloop::process::{Process, channel};
//!
//! let (sender, receiver) = channel::<(u32, u64)>()?;
//! let children = (1..=3_u32).map(|number| {
//!     let sender = sender.clone();
//!     Process::start(move || sender.send(&(number, (1..=u64::from(number)).product())).is_ok())
//! });
//! let children: Vec<_> = children.collect::<Result<_, _>>()?;
//! drop(sender);
//! let mut products: Vec<_> = receiver.iter().collect::<Result<_, _>>()?;
//! products.sort();
//! assert_eq!(products, [(1, 1), (2, 2), (3, 6)]);
//! for child in children {
//!     assert!(child.join()?);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A process is forked where that is safe, which is when no other OS threads are there, and refused otherwise. A [`Zygote`] that was started
//! at the top of `main` starts processes at any time, and in less than a millisecond however large this one is: a fork of a process with a
//! million parked green threads takes a third of a second. A plain [`fork`] splits the process itself.
//!
//! **A process that is killed, at whatever moment, takes nothing with it but itself.** No lock is shared, and no memory but that in which a large
//! message travels; a message is in a channel whole or not at all, and stays there when its sender is gone; a channel ends when its last
//! sender does.
//!
//! # How a child is waited for
//!
//! The end of a child is noticed by a descriptor of its own (a pidfd). There is no handler for SIGCHLD, and children that other code
//! started are left to it. Starting a child blocks the OS thread until the program runs, for a millisecond or so. It happens on the
//! thread of the caller, because settings such as PR_SET_PDEATHSIG concern that thread.

mod active;
mod body;
mod born;
mod builder;
mod channel;
mod child;
mod command;
mod contents;
mod duplex;
mod early;
mod end_watch;
mod family;
mod forked;
mod handle;
mod handover;
mod line;
mod nursery;
mod output;
mod reaper;
mod receiver;
mod report;
mod sender;
mod wire;
mod wire_macro;
mod wire_types;
mod zygote;

pub use std::process::{
    CommandArgs, CommandEnvs, ExitCode, ExitStatus, Output, Stdio, Termination, abort, exit, id,
};

pub use active::{ActiveChild, active_children};
pub use builder::ProcessBuilder;
pub use channel::{channel, channel_with};
pub use child::{Child, ChildStderr, ChildStdin, ChildStdout};
pub use command::Command;
pub use duplex::{Pipe, pipe, pipe_with};
pub use family::{Current, Parent, current, parent};
pub use forked::wait_pid;
pub use handle::Process;
pub use receiver::{Iter, Receiver};
pub use sender::Sender;
pub use wire::{Codec, Incoming, Outgoing, Plain, Wire};
pub use zygote::Zygote;

pub(crate) use body::last_place;
pub(crate) use handover::names_of;
pub(crate) use line::{Kind, Limit, Line, Packet};
pub(crate) use nursery::{Birth, Nursery};

pub use crate::error::{PartialOutput, ProcessError, StartError};
pub use crate::hub::fork::{Fork, fork};
