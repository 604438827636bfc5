//! Waiting for descriptors, on each driver.

#[path = "../support/mod.rs"]
mod support;

/// Descriptors that are not open.
mod closed;
/// Kill, time limits, unwinding: a wait that ends early hands on what it would have got.
mod interruption;
/// `greenloop::io::pipe` as std's pipes are used.
mod pipe;
/// Who comes first is served first.
mod turns;
/// `wait_fd` and its two short forms, on every kind of descriptor.
mod wait;

use std::io::PipeWriter;
use std::os::fd::{AsRawFd, RawFd};

use greenloop::io::PipeReader;
use support::{put, read_byte, readable, settle};

/// Repeats an attempt for which the next open file must get a number that has just been given back. Other tests of this
/// process may be faster.
fn until_the_number_is_free(mut attempt: impl FnMut() -> Option<()>) {
    assert!((0..1_000).any(|_| attempt().is_some()), "the number never came again");
}

/// As [`readable`], if the reader gets this number.
fn readable_as(number: RawFd) -> Option<(PipeReader, PipeWriter)> {
    Some(readable()).filter(|(reader, _)| reader.as_raw_fd() == number)
}
