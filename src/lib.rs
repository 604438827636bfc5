//! Green threads with their own stacks, and a hub that switches whenever one of them would block.

#[expect(unsafe_code, reason = "the kernel's interface")]
mod sys;

pub mod error;
#[expect(unsafe_code, reason = "stacks are raw memory, and switching them is machine code")]
mod greenlet;
mod hub;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
