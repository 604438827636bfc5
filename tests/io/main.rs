//! Waiting for descriptors, on both drivers.

#[path = "../support/mod.rs"]
mod support;

/// Who comes first is served first, and nobody who is always served keeps others waiting.
mod fairness;
/// Kill, time limits, unwinding: a wait that ends early hands on what it would have got.
mod interruption;
/// `greenloop::io::pipe` as std's pipes are used.
mod pipe;
/// `wait_fd` and its two short forms, on every kind of descriptor.
mod wait;

use std::io::{PipeWriter, Read, Write};

use greenloop::io::PipeReader;

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

/// Lets everybody else run until nobody is ready any more.
fn settle() {
    greenloop::idle();
}

fn put(mut writer: &PipeWriter, bytes: &[u8]) {
    writer.write_all(bytes).expect("room in the pipe");
}
