//! Waiting for file descriptors, pipes, and the standard input.
//!
//! The types here and in [`net`](crate::net) have std's names and signatures. They block the calling green thread only: each
//! operation is tried first, and if it would block, the green thread yields until the kernel reports the descriptor as ready. They
//! implement std's [`Read`](std::io::Read) and [`Write`](std::io::Write), so everything that takes these works on them.
//!
//! These rules hold for every operation that may wait:
//!
//! * It yields only if it has to wait, or after a number of operations that did not wait, so that other green threads get a turn.
//! * Several green threads may read from, or write to, one object: they take turns in the order of arrival. A reader
//!   and a writer do not wait for each other.
//! * A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding, with nothing read or written by
//!   the interrupted call; the readiness goes to the next in line.
//! * A timeout of the object's own gives std's error, of kind [`WouldBlock`](std::io::ErrorKind::WouldBlock).
//! * While a green thread unwinds, an operation that would have to wait fails with [`Unwinding`](crate::error::Unwinding) in
//!   an error of kind [`Other`](std::io::ErrorKind::Other), and does not yield.
//! * A signal never interrupts it.
//!
//! For any other descriptor there are [`wait_readable`], [`wait_writable`] and [`wait_fd`].

pub(crate) mod faults;
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
pub(crate) use wait::park_until_readable;
pub use wait::{wait_fd, wait_readable, wait_writable};
pub(crate) use watches::{Watches, give_soon};
