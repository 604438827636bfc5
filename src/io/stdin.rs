//! The process's standard input.

use std::fmt;
use std::io::{self, BufRead, BufReader, Lines, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{LazyLock, PoisonError};

use super::file::AnyFile;
use crate::sync::{Mutex, MutexGuard};
use crate::sys::descriptor;

static FILE: LazyLock<AnyFile<io::Stdin>> = LazyLock::new(|| AnyFile::new(io::stdin()));
static SHARED: LazyLock<Mutex<BufReader<Descriptor>>> =
    LazyLock::new(|| Mutex::new(BufReader::new(Descriptor)));

/// Returns the standard input of the process: [`std::io::stdin`], whose reads let other green threads run while they wait.
///
/// A pipe or a terminal is waited for like any descriptor, and a regular file is read on another OS thread. The open file stays
/// in the mode in which it came, since other processes may read from it too: a terminal still blocks for the shell.
///
/// There is one buffer for the process. It is not std's: what one of the two has read ahead, the other does not see.
///
/// # Examples
///
/// ```
/// for line in greenloop::io::stdin().lines() {
///     assert!(!line?.ends_with('\n'));
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn stdin() -> Stdin {
    Stdin { shared: &SHARED, file: &FILE }
}

/// A handle on the standard input: see [`stdin`].
///
/// Each method locks the buffer for as long as it runs. A green thread of any hub that finds it locked yields until it is free, in
/// order of arrival. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait for the lock, or for input, by
/// unwinding. Input that was read by then but not returned stays in the buffer.
pub struct Stdin {
    shared: &'static Mutex<BufReader<Descriptor>>,
    file: &'static AnyFile<io::Stdin>,
}

/// The standard input, locked: see [`Stdin::lock`]. It implements [`Read`] and [`BufRead`].
pub struct StdinLock<'a> {
    inner: MutexGuard<'a, BufReader<Descriptor>>,
    file: &'static AnyFile<io::Stdin>,
}

/// Reads past the buffer. A process that was started without a standard input reads the end of it.
struct Descriptor;

impl Read for Descriptor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match FILE.read(buffer) {
            Err(error) if descriptor::is_bad_descriptor(&error) => Ok(0),
            result => result,
        }
    }
}

impl Stdin {
    /// Locks the buffer until the guard is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::BufRead;
    ///
    /// let mut input = greenloop::io::stdin().lock();
    /// let mut word = Vec::new();
    /// let count = input.read_until(b' ', &mut word)?;
    /// assert_eq!(word.len(), count);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn lock(&self) -> StdinLock<'static> {
        // A reader that panicked has left the buffer as it was.
        StdinLock { inner: self.shared.lock().unwrap_or_else(PoisonError::into_inner), file: self.file }
    }

    /// Appends the next line to `buf`, with its line feed if it has one. Returns the number of bytes, which is 0 at the end.
    ///
    /// # Errors
    ///
    /// Those of read(2); `InvalidData` if the line is not UTF-8.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut line = String::new();
    /// let count = greenloop::io::stdin().read_line(&mut line)?;
    /// assert_eq!(line.len(), count);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn read_line(&self, buf: &mut String) -> io::Result<usize> {
        self.lock().read_line(buf)
    }

    /// Returns an iterator over the lines that are left, without their line feeds. It keeps the buffer locked.
    ///
    /// # Examples
    ///
    /// ```
    /// let lines: Result<Vec<String>, _> = greenloop::io::stdin().lines().collect();
    /// assert!(lines?.iter().all(|line| !line.ends_with('\n')));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn lines(self) -> Lines<StdinLock<'static>> {
        self.lock().lines()
    }
}

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.lock().read(buffer)
    }
}

impl Read for &Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.lock().read(buffer)
    }
}

impl Read for StdinLock<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl BufRead for StdinLock<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
    }
}

/// What both handles have word for word in common.
macro_rules! handle {
    ($Handle:ty, $name:literal) => {
        impl AsFd for $Handle {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.file.as_fd()
            }
        }

        impl AsRawFd for $Handle {
            fn as_raw_fd(&self) -> RawFd {
                self.file.as_fd().as_raw_fd()
            }
        }

        impl fmt::Debug for $Handle {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.debug_struct($name).finish_non_exhaustive()
            }
        }
    };
}

handle!(Stdin, "Stdin");
handle!(StdinLock<'_>, "StdinLock");
