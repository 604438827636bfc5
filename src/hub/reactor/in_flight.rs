//! What the kernel does for a hub just now.

use std::io;

use super::super::wake::Wake;
use crate::sys::uring::{Begun, Done};

/// An operation that was begun.
#[derive(Debug)]
pub(super) struct InFlight {
    /// Who waits for its end.
    pub(super) whom: Wake,
    /// What the kernel knows it by.
    pub(super) begun: Begun,
    /// How far it has come.
    pub(super) progress: Progress,
}

#[derive(Debug)]
pub(super) enum Progress {
    /// The kernel has it.
    UnderWay,
    /// What the kernel has said.
    Done(io::Result<Done>),
    /// Who began it has heard of it.
    Told,
}
