//! Stacks, and the switch between them.

pub(crate) mod overflow;
pub(crate) mod stack;
