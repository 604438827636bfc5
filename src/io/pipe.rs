//! Pipes, with std's names.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Source;
use super::operation::{ReadBytes, ReadSlices, WriteBytes, WriteSlices};
use crate::sys::clock::Time;
use crate::sys::descriptor;

/// Makes a pipe: what is written to the writer can be read from the reader.
///
/// The reader meets the end of the stream when no writer is left, copies made by `try_clone` or given to child processes
/// included. Green threads of any hub, OS threads and other processes may hold the ends.
///
/// # Errors
///
/// What pipe(2) says, for instance that the process has no file descriptor left.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
///
/// let (mut reader, mut writer) = greenloop::io::pipe()?;
/// let sum = greenloop::spawn(move || {
///     let mut text = String::new();
///     reader.read_to_string(&mut text).map(|_| text)
/// });
/// writer.write_all(b"one, ")?;
/// greenloop::yield_now();
/// writer.write_all(b"two")?;
/// drop(writer);
/// assert_eq!(sum.join().unwrap()?, "one, two");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = descriptor::pipe()?;
    Ok((
        PipeReader { end: PipeEnd::new(reader, Origin::Made) },
        PipeWriter { end: PipeEnd::new(writer, Origin::Made) },
    ))
}

/// The end of a pipe to read from, as [`std::io::PipeReader`] is for threads.
///
/// A read waits until there is something, and yields to other green threads meanwhile; see [`io`](crate::io) for what that
/// means. It is shared by reference, and [`Read`] works on `&PipeReader` too.
///
/// Made by [`pipe`], or from any descriptor that can be read from, which is then in nonblocking mode until it is given back
/// or dropped.
#[doc(alias("make_nonblocking", "nb_read", "FileObject", "FileObjectPosix"))]
pub struct PipeReader {
    end: PipeEnd,
}

/// The end of a pipe to write to, as [`std::io::PipeWriter`] is for threads.
///
/// A write waits until there is room for some of it, and yields to other green threads meanwhile; see [`io`](crate::io) for
/// what that means. If no reader is left it fails with [`BrokenPipe`](io::ErrorKind::BrokenPipe). It is shared by reference,
/// and [`Write`] works on `&PipeWriter` too.
///
/// Made by [`pipe`], or from any descriptor that can be written to, which is then in nonblocking mode until it is given back
/// or dropped.
#[doc(alias("make_nonblocking", "nb_write", "FileObject", "FileObjectPosix"))]
pub struct PipeWriter {
    end: PipeEnd,
}

impl PipeReader {
    /// Makes a second reader of the same pipe. Whoever is first gets the bytes.
    ///
    /// # Errors
    ///
    /// What fcntl(2) says, for instance that the process has no file descriptor left.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    ///
    /// let (mut reader, mut writer) = greenloop::io::pipe()?;
    /// let mut other = reader.try_clone()?;
    /// writer.write_all(b"ab")?;
    /// let (mut one, mut two) = ([0], [0]);
    /// reader.read_exact(&mut one)?;
    /// other.read_exact(&mut two)?;
    /// assert_eq!((&one, &two), (b"a", b"b"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_clone(&self) -> io::Result<PipeReader> {
        self.end.try_clone().map(|end| PipeReader { end })
    }

    /// A read that waits until `deadline` at most, with an error of kind `TimedOut` then.
    pub(crate) fn read_until(&self, buffer: &mut [u8], deadline: Option<Time>) -> io::Result<usize> {
        self.end.source.run_until(ReadBytes { buffer, lent: self.end.is_lent() }, deadline)
    }
}

impl PipeWriter {
    /// Makes a second writer to the same pipe. The reader meets the end of the stream when both are gone.
    ///
    /// # Errors
    ///
    /// What fcntl(2) says, for instance that the process has no file descriptor left.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    ///
    /// let (mut reader, mut writer) = greenloop::io::pipe()?;
    /// let mut other = writer.try_clone()?;
    /// writer.write_all(b"a")?;
    /// other.write_all(b"b")?;
    /// drop((writer, other));
    /// assert_eq!(std::io::read_to_string(&mut reader)?, "ab");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_clone(&self) -> io::Result<PipeWriter> {
        self.end.try_clone().map(|end| PipeWriter { end })
    }
}

impl Read for &PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let lent = self.end.is_lent();
        self.end.source.run(ReadBytes { buffer, lent })
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let lent = self.end.is_lent();
        self.end.source.run(ReadSlices { buffers, lent })
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }
}

impl Write for &PipeWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let lent = self.end.is_lent();
        self.end.source.run(WriteBytes { buffer, lent })
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let lent = self.end.is_lent();
        self.end.source.run(WriteSlices { buffers, lent })
    }

    /// Of no effect: nothing is kept back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for PipeWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&*self).write(buffer)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(buffers)
    }

    /// Of no effect: nothing is kept back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What both ends are: a source that knows in which mode the rest of the world wants the open file.
struct PipeEnd {
    source: Source<Lease>,
}

/// A descriptor in nonblocking mode, and what it takes to give it back.
struct Lease {
    /// `None` when it has been given back.
    fd: Option<OwnedFd>,
    origin: Origin,
    /// Common to all clones: whether one has been given back while others stayed. The mode belongs to the open file that
    /// they share, so from then on it is a blocking one under greenloop's hands.
    lent: Arc<AtomicBool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Made here; the rest of the world expects it to block, as std's do.
    Made,
    /// It came in blocking mode.
    Blocking,
    /// It came in nonblocking mode.
    Nonblocking,
}

impl PipeEnd {
    fn new(fd: OwnedFd, origin: Origin) -> PipeEnd {
        PipeEnd { source: Source::new(Lease { fd: Some(fd), origin, lent: Arc::default() }) }
    }

    fn adopt(fd: OwnedFd) -> PipeEnd {
        // These calls do not fail on an open descriptor.
        let nonblocking = descriptor::is_nonblocking(fd.as_fd());
        let _ = descriptor::set_nonblocking(fd.as_fd(), true);
        PipeEnd::new(fd, if nonblocking { Origin::Nonblocking } else { Origin::Blocking })
    }

    fn try_clone(&self) -> io::Result<PipeEnd> {
        let Lease { origin, lent, .. } = self.source.get_ref();
        let fd = Some(self.as_fd().try_clone_to_owned()?);
        let lease = Lease { fd, origin: *origin, lent: lent.clone() };
        Ok(PipeEnd { source: self.source.sibling(lease)? })
    }

    #[inline]
    fn is_lent(&self) -> bool {
        // Relaxed: in the thread that lends, the store comes before; others may miss it by a moment in any case.
        self.source.get_ref().lent.load(Ordering::Relaxed)
    }

    fn give_back(self) -> OwnedFd {
        let mut lease = self.source.into_inner();
        let fd = lease.fd.take().expect("it is given back once");
        if lease.origin != Origin::Nonblocking {
            if Arc::strong_count(&lease.lent) > 1 {
                // Relaxed: see `is_lent`.
                lease.lent.store(true, Ordering::Relaxed);
            }
            // Does not fail on an open descriptor.
            let _ = descriptor::set_nonblocking(fd.as_fd(), false);
        }
        fd
    }
}

impl AsFd for PipeEnd {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.get_ref().as_fd()
    }
}

impl AsFd for Lease {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("it has not been given back").as_fd()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The last clone of a file that others may have open too, such as a terminal, leaves it as it came.
        if let Some(fd) = &self.fd
            && self.origin == Origin::Blocking
            && Arc::strong_count(&self.lent) == 1
        {
            // Does not fail on an open descriptor.
            let _ = descriptor::set_nonblocking(fd.as_fd(), false);
        }
    }
}

/// What the two ends have word for word in common: how they become and come from other types.
macro_rules! end_of_pipe {
    ($PipeEnd:ident) => {
        impl fmt::Debug for $PipeEnd {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.debug_struct(stringify!($PipeEnd)).field("fd", &self.as_raw_fd()).finish()
            }
        }

        impl AsFd for $PipeEnd {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.end.as_fd()
            }
        }

        impl AsRawFd for $PipeEnd {
            fn as_raw_fd(&self) -> RawFd {
                self.end.as_fd().as_raw_fd()
            }
        }

        /// In the mode in which it came; blocking if it was made by [`pipe`].
        impl From<$PipeEnd> for OwnedFd {
            fn from(end: $PipeEnd) -> OwnedFd {
                end.end.give_back()
            }
        }

        /// In the mode in which it came; blocking if it was made by [`pipe`].
        impl IntoRawFd for $PipeEnd {
            fn into_raw_fd(self) -> RawFd {
                OwnedFd::from(self).into_raw_fd()
            }
        }

        /// In blocking mode, as programs expect it.
        impl From<$PipeEnd> for Stdio {
            fn from(end: $PipeEnd) -> Stdio {
                OwnedFd::from(end).into()
            }
        }

        /// In the mode in which it came; blocking if it was made by [`pipe`].
        impl From<$PipeEnd> for io::$PipeEnd {
            fn from(end: $PipeEnd) -> io::$PipeEnd {
                OwnedFd::from(end).into()
            }
        }

        /// Puts the open file into nonblocking mode, until the end is given back or dropped.
        impl From<OwnedFd> for $PipeEnd {
            fn from(fd: OwnedFd) -> $PipeEnd {
                $PipeEnd { end: PipeEnd::adopt(fd) }
            }
        }

        /// Puts the open file into nonblocking mode, until the end is given back or dropped.
        impl From<io::$PipeEnd> for $PipeEnd {
            fn from(end: io::$PipeEnd) -> $PipeEnd {
                OwnedFd::from(end).into()
            }
        }
    };
}

end_of_pipe!(PipeReader);
end_of_pipe!(PipeWriter);
