//! In the place of time: a deadline, whenever that is.

#[derive(Clone, Copy)]
pub(crate) struct Time;
