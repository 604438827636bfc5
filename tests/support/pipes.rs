//! Pipes of greenloop's to read from, and what tests do with them.

use std::io::{PipeWriter, Read, Write};

use greenloop::io::PipeReader;

/// A pipe of greenloop's to read from and one of std's to write to: its writes here never have to wait.
pub(crate) fn readable() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    (reader.into(), writer)
}

/// Waits for one byte.
pub(crate) fn read_byte(mut reader: &PipeReader) -> u8 {
    let mut byte = [0];
    reader.read_exact(&mut byte).expect("a byte");
    byte[0]
}

/// Writes `bytes`, for which there is room.
pub(crate) fn put(mut writer: &PipeWriter, bytes: &[u8]) {
    writer.write_all(bytes).expect("room in the pipe");
}
