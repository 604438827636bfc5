//! Waiting for file descriptors, pipes, and the standard input.
//!
//! The types here and in [`net`](crate::net) have std's names and signatures. They block the calling green thread only:
//! each operation is tried first, and if it would block, the green thread yields until the hub hears that the descriptor is
//! ready. Everything that std's [`Read`](std::io::Read) and [`Write`](std::io::Write) are good for works on them.
//!
//! What every operation that may wait has in common:
//!
//! * It yields only if it has to wait, or when the calling green thread has done so much without waiting that others
//!   must get their turn.
//! * Several green threads may read from, or write to, one object: they take turns in the order in which they came. A reader
//!   and a writer do not wait for each other.
//! * A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding, with nothing read or written by
//!   the interrupted call; the readiness goes to the next in line.
//! * A timeout of the object's own gives std's error, of kind [`WouldBlock`](std::io::ErrorKind::WouldBlock).
//! * While a green thread unwinds, an operation that would have to wait fails with [`Unwinding`](crate::error::Unwinding) in
//!   an error of kind [`Other`](std::io::ErrorKind::Other), and does not yield.
//! * Interruptions by signals are not seen.
//!
//! For descriptors of other origin there are [`wait_readable`], [`wait_writable`] and [`wait_fd`].

mod file;
mod home;
pub(crate) mod operation;
mod pauses;
mod pipe;
pub(crate) mod socket;
pub(crate) mod source;
mod stdin;
mod wait;
mod watches;

pub use crate::sys::readiness::Interest;
pub(crate) use file::{AnyFile, performer};
pub(crate) use operation::{Direction, Operation};
pub(crate) use pauses::Pauses;
pub use pipe::{PipeReader, PipeWriter, pipe};
pub(crate) use source::Source;
pub use stdin::{Stdin, StdinLock, stdin};
pub use wait::{wait_fd, wait_readable, wait_writable};
pub(crate) use watches::{Watches, give_soon};
