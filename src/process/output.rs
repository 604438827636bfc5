//! Reading all that a child writes.

use std::io;

use crate::io::PipeReader;
use crate::sys::clock::Time;
use crate::task::scope;

/// What a pipe holds at most by default.
const PIPE: usize = 64 * 1024;

/// What came from a child's pipes, and how the reading ended.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    /// An error of kind `TimedOut` when the deadline has passed.
    pub(super) result: io::Result<()>,
}

/// Reads both pipes to their ends, or until the deadline. Another process may hold one open longer than the child lives.
pub(super) fn collect(
    stdout: Option<&PipeReader>,
    stderr: Option<&PipeReader>,
    deadline: Option<Time>,
) -> Collected {
    let (mut from_stdout, mut from_stderr) = (Vec::new(), Vec::new());
    let result = match (stdout, stderr) {
        (Some(stdout), Some(stderr)) => scope(|scope| {
            let beside = scope.spawn(|| drain(stderr, &mut from_stderr, deadline));
            drain(stdout, &mut from_stdout, deadline)?;
            // What can go wrong is that there is no stack for it.
            beside.join().map_err(|error| io::Error::other(error.to_string()))?
        }),
        (Some(stdout), None) => drain(stdout, &mut from_stdout, deadline),
        (None, Some(stderr)) => drain(stderr, &mut from_stderr, deadline),
        (None, None) => Ok(()),
    };
    Collected { stdout: from_stdout, stderr: from_stderr, result }
}

fn drain(pipe: &PipeReader, output: &mut Vec<u8>, deadline: Option<Time>) -> io::Result<()> {
    let mut chunk = vec![0; PIPE];
    loop {
        match pipe.read_until(&mut chunk, deadline)? {
            0 => return Ok(()),
            count => output.extend_from_slice(&chunk[..count]),
        }
        // One who writes without end never lets a read wait.
        if deadline.is_some_and(|deadline| deadline <= Time::now()) {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}
