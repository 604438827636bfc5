//! Reading all that a child writes.

use std::io;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use super::child::Child;
use super::command::Command;
use crate::error::PartialOutput;
use crate::io::PipeReader;
use crate::sys::clock::Time;
use crate::task::scope;

/// What a pipe holds at most by default.
const PIPE: usize = 64 * 1024;

impl Command {
    /// Runs the process to its end and returns its exit status and all that it wrote.
    ///
    /// The calling green thread yields. A kill or an enclosing [`with_timeout`](crate::with_timeout) kills the process too, since
    /// no handle on it is left.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Command::spawn) and [`Child::wait_with_output`].
    ///
    /// # Examples
    ///
    /// ```
    /// let output = greenloop::process::Command::new("echo").arg("hello").output()?;
    /// assert_eq!(output.stdout, b"hello\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias("check_output", "run", "getoutput", "getstatusoutput", "CompletedProcess"))]
    pub fn output(&mut self) -> io::Result<Output> {
        self.output_until(None)
    }

    /// Like [`output`](Command::output), but takes at most `timeout`. Then the process is killed, and the call returns even if
    /// others, perhaps children of the process, still hold its pipes open.
    ///
    /// # Errors
    ///
    /// As [`output`](Command::output). When the time is over, an error of kind `TimedOut` that holds a
    /// [`PartialOutput`](crate::error::PartialOutput): what the process had written by then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Command, PartialOutput};
    /// use std::time::Duration;
    ///
    /// let endless = Command::new("sh").args(["-c", "echo begun; exec sleep 1000"]).output_timeout(Duration::from_millis(500));
    /// let error = endless.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    /// assert_eq!(error.downcast::<PartialOutput>()?.stdout, b"begun\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn output_timeout(&mut self, timeout: Duration) -> io::Result<Output> {
        self.output_until(Some(Time::after(timeout)))
    }

    /// Like [`output_timeout`](Command::output_timeout), but waits until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`output_timeout`](Command::output_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// let late = greenloop::process::Command::new("sleep").arg("1000").output_deadline(std::time::Instant::now());
    /// assert_eq!(late.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    /// ```
    pub fn output_deadline(&mut self, deadline: Instant) -> io::Result<Output> {
        self.output_until(Some(Time::from_instant(deadline)))
    }

    fn output_until(&mut self, deadline: Option<Time>) -> io::Result<Output> {
        let mut child = self.spawn_for_output()?;
        let output = child.output_until(deadline);
        if output.is_err() {
            // One that was killed ends at once, and then it is known to be gone. The error that counts is the first.
            let _ = child.kill();
            let _ = child.wait();
        }
        output
    }

    /// A child whose streams are pipes where nothing else was set.
    fn spawn_for_output(&mut self) -> io::Result<Child> {
        let [stdin, stdout, stderr] = self.set;
        if !stdin {
            self.inner.stdin(Stdio::null());
        }
        if !stdout {
            self.inner.stdout(Stdio::piped());
        }
        if !stderr {
            self.inner.stderr(Stdio::piped());
        }
        let child = self.inner.spawn();
        // As it is when nothing is set.
        if !stdin {
            self.inner.stdin(Stdio::inherit());
        }
        if !stdout {
            self.inner.stdout(Stdio::inherit());
        }
        if !stderr {
            self.inner.stderr(Stdio::inherit());
        }
        Ok(Child::new(child?, true))
    }
}

impl Child {
    /// Reads standard output and standard error to their ends, waits until the process has ended, and returns all of it.
    ///
    /// Drops [`stdin`](Child::stdin) first. To feed the child meanwhile, take it out and write to it in another green thread.
    /// The calling green thread yields. A kill or an enclosing [`with_timeout`](crate::with_timeout) loses what was read,
    /// and leaves the process alone.
    ///
    /// # Errors
    ///
    /// As [`wait`](Child::wait), and those of reading from the pipes.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Command, Stdio};
    /// use std::io::Write;
    ///
    /// let mut child = Command::new("tr").args(["a-z", "A-Z"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    /// let mut stdin = child.stdin.take().unwrap();
    /// let writer = greenloop::spawn(move || stdin.write_all(b"hello"));
    /// assert_eq!(child.wait_with_output()?.stdout, b"HELLO");
    /// writer.join().unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "communicate")]
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        self.output_until(None)
    }

    /// Like [`wait_with_output`](Child::wait_with_output), but waits at most `timeout`.
    ///
    /// When the time is over it returns, even if another process still holds a pipe open. The process runs on: [`kill`](Child::kill)
    /// it, or go on with it.
    ///
    /// # Errors
    ///
    /// As [`wait_with_output`](Child::wait_with_output). When the time is over, an error of kind `TimedOut` that holds a
    /// [`PartialOutput`]: what had come by then. A later call returns what comes after that.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Command, PartialOutput, Stdio};
    /// use std::time::Duration;
    ///
    /// let mut child = Command::new("sh").args(["-c", "echo one; read go; echo two"])
    ///     .stdin(Stdio::piped())
    ///     .stdout(Stdio::piped())
    ///     .spawn()?;
    /// let stdin = child.stdin.take(); // or it would be dropped, and `read` end
    /// let error = child.wait_with_output_timeout(Duration::from_millis(500)).unwrap_err();
    /// assert_eq!(error.downcast::<PartialOutput>()?.stdout, b"one\n");
    /// drop(stdin);
    /// assert_eq!(child.wait_with_output()?.stdout, b"two\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "communicate")]
    pub fn wait_with_output_timeout(&mut self, timeout: Duration) -> io::Result<Output> {
        self.output_until(Some(Time::after(timeout)))
    }

    /// Like [`wait_with_output_timeout`](Child::wait_with_output_timeout), but waits until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`wait_with_output_timeout`](Child::wait_with_output_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// let mut child = greenloop::process::Command::new("sleep").arg("1000").spawn()?;
    /// let error = child.wait_with_output_deadline(Instant::now()).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    /// child.kill()?;
    /// child.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_with_output_deadline(&mut self, deadline: Instant) -> io::Result<Output> {
        self.output_until(Some(Time::from_instant(deadline)))
    }

    fn output_until(&mut self, deadline: Option<Time>) -> io::Result<Output> {
        drop(self.stdin.take());
        let Collected { stdout, stderr, result } =
            collect(self.stdout.as_ref(), self.stderr.as_ref(), deadline);
        let status = match result {
            Ok(()) => self.wait_until(deadline)?,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => None,
            Err(error) => return Err(error),
        };
        match status {
            Some(status) => Ok(Output { status, stdout, stderr }),
            None => Err(PartialOutput { stdout, stderr }.into()),
        }
    }
}

/// What came from a child's pipes, and how the reading ended.
#[derive(Debug)]
struct Collected {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// An error of kind `TimedOut` when the deadline has passed.
    result: io::Result<()>,
}

/// Reads both pipes to their ends, or until the deadline. Another process may hold one open longer than the child lives.
fn collect(stdout: Option<&PipeReader>, stderr: Option<&PipeReader>, deadline: Option<Time>) -> Collected {
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
