//! Waiting for descriptors, on each driver.

#[path = "../support/mod.rs"]
mod support;

/// Descriptors that are not open.
mod closed;
/// Who comes first is served first, and nobody who is always served keeps others waiting.
mod fairness;
/// Kill, time limits, unwinding: a wait that ends early hands on what it would have got.
mod interruption;
/// `greenloop::io::pipe` as std's pipes are used.
mod pipe;
/// `wait_fd` and its two short forms, on every kind of descriptor.
mod wait;

use std::io::{PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, RawFd};

use greenloop::io::PipeReader;
use support::settle;

/// A pipe of greenloop's to read from and one of std's to write to: its writes here never have to wait.
fn readable() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    (reader.into(), writer)
}

/// Waits for one byte.
fn read_byte(mut reader: &PipeReader) -> u8 {
    let mut byte = [0];
    reader.read_exact(&mut byte).expect("a byte");
    byte[0]
}

/// Repeats an attempt for which the next open file must get a number that has just been given back. Other tests of this
/// process may be faster.
fn until_the_number_is_free(mut attempt: impl FnMut() -> Option<()>) {
    assert!((0..1_000).any(|_| attempt().is_some()), "the number never came again");
}

fn put(mut writer: &PipeWriter, bytes: &[u8]) {
    writer.write_all(bytes).expect("room in the pipe");
}

/// As [`readable`], if the reader gets this number.
fn readable_as(number: RawFd) -> Option<(PipeReader, PipeWriter)> {
    Some(readable()).filter(|(reader, _)| reader.as_raw_fd() == number)
}
