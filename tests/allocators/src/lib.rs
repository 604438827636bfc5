//! Allocators whose locks are the C library's, under patched green threads: each test of this package has one for its own.

#[cfg(feature = "monkey")]
mod work;

#[cfg(feature = "monkey")]
pub use work::{MANY, SOME, under};
