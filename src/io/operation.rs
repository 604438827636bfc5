//! What can be done with a descriptor, each thing once and as data.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

pub(crate) use crate::hub::reactor::Direction;
use crate::sys::descriptor;
use crate::sys::socket::Address;
use crate::sys::uring::{Done, Entry};

/// One operation: its buffers, its flags, and how to try it.
///
/// This is its readiness face, and if it has one its completion face. Waiting, deadlines, turns and retries are
/// [`Source::run`](super::Source::run)'s.
pub(crate) trait Operation {
    /// What it gives.
    type Output;

    /// Which readiness it needs.
    const DIRECTION: Direction;

    /// Makes the system call, which does not block: `WouldBlock` if it cannot be done now. It is tried again then, and after
    /// `Interrupted` at once; any other error ends it.
    fn attempt(&mut self, fd: BorrowedFd<'_>) -> io::Result<Self::Output>;

    /// Whether `output` shows that the next attempt would block: the kernel had less than was asked for. That saves the
    /// call that would say so.
    ///
    /// It must be certain: if something is left, nobody hears of it until more comes. So it is `false` for everything
    /// with bounds of its own, such as datagrams, packet pipes, lines of a terminal, descriptors passed over a Unix socket,
    /// and for a peek. The end of the stream is taken care of.
    fn drained(&self, output: &Self::Output) -> bool;

    /// Whether it moves bytes of a stream, and so may be [shortened](Operation::shorten): for a world in which connections fail.
    const MOVES_BYTES: bool = false;

    /// Has it move so many bytes at most, and at least one.
    fn shorten(&mut self, _most: usize) {}

    /// What it sends, where to if not where the socket is connected to, and what it gives when it is sent: for a world in which datagrams
    /// are lost.
    fn sending(&self) -> Option<(&[u8], Option<Address>, Self::Output)> {
        None
    }

    /// How many bytes it has moved: a peek none.
    fn moved(&self, _: &Self::Output) -> usize {
        0
    }

    /// The same for the kernel to do as a whole when an attempt would block, instead of a wait and another attempt. `None` if it is
    /// not to be done so.
    #[inline]
    fn entry<'fd>(&self, _: BorrowedFd<'fd>) -> Option<Entry<'fd>> {
        None
    }

    /// What it gives when the kernel has done [`entry`](Operation::entry), and whether that shows that the next attempt would block:
    /// see [`drained`](Operation::drained).
    fn complete(&mut self, _: Done, _: Entry<'_>) -> io::Result<(Self::Output, bool)> {
        unreachable!("it has no completion face")
    }
}

/// One that its caller keeps.
impl<O: Operation> Operation for &mut O {
    type Output = O::Output;
    const DIRECTION: Direction = O::DIRECTION;
    const MOVES_BYTES: bool = O::MOVES_BYTES;

    fn attempt(&mut self, fd: BorrowedFd<'_>) -> io::Result<O::Output> {
        (**self).attempt(fd)
    }

    fn drained(&self, output: &O::Output) -> bool {
        (**self).drained(output)
    }

    fn entry<'fd>(&self, fd: BorrowedFd<'fd>) -> Option<Entry<'fd>> {
        (**self).entry(fd)
    }

    fn complete(&mut self, done: Done, entry: Entry<'_>) -> io::Result<(O::Output, bool)> {
        (**self).complete(done, entry)
    }
}

/// Reads from any descriptor that is read in order.
#[derive(Debug)]
pub(crate) struct ReadBytes<'a> {
    pub(crate) buffer: &'a mut [u8],
    /// Whether the open file is in blocking mode, because others need it so.
    pub(crate) lent: bool,
}

impl Operation for ReadBytes<'_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Read;

    #[inline]
    fn attempt(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        if self.lent { descriptor::read_now(fd, self.buffer) } else { descriptor::read(fd, self.buffer) }
    }

    /// The writer may have put a pipe into packet mode.
    #[inline]
    fn drained(&self, _: &usize) -> bool {
        false
    }
}

/// [`ReadBytes`] into several buffers.
#[derive(Debug)]
pub(crate) struct ReadSlices<'a, 'b> {
    pub(crate) buffers: &'a mut [IoSliceMut<'b>],
    /// As in [`ReadBytes`].
    pub(crate) lent: bool,
}

impl Operation for ReadSlices<'_, '_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        if !self.lent {
            return descriptor::read_vectored(fd, self.buffers);
        }
        match self.buffers.iter_mut().find(|buffer| !buffer.is_empty()) {
            Some(buffer) => descriptor::read_now(fd, buffer),
            None => Ok(0),
        }
    }

    /// As in [`ReadBytes`].
    fn drained(&self, _: &usize) -> bool {
        false
    }
}

/// Writes to any descriptor that is written in order.
#[derive(Debug)]
pub(crate) struct WriteBytes<'a> {
    pub(crate) buffer: &'a [u8],
    /// As in [`ReadBytes`].
    pub(crate) lent: bool,
}

impl Operation for WriteBytes<'_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Write;

    #[inline]
    fn attempt(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        if self.lent { descriptor::write_now(fd, self.buffer) } else { descriptor::write(fd, self.buffer) }
    }

    /// It is not known of which kind the descriptor is.
    #[inline]
    fn drained(&self, _: &usize) -> bool {
        false
    }
}

/// [`WriteBytes`] from several buffers.
#[derive(Debug)]
pub(crate) struct WriteSlices<'a, 'b> {
    pub(crate) buffers: &'a [IoSlice<'b>],
    /// As in [`ReadBytes`].
    pub(crate) lent: bool,
}

impl Operation for WriteSlices<'_, '_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Write;

    fn attempt(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        if !self.lent {
            return descriptor::write_vectored(fd, self.buffers);
        }
        match self.buffers.iter().find(|buffer| !buffer.is_empty()) {
            Some(buffer) => descriptor::write_now(fd, buffer),
            None => Ok(0),
        }
    }

    /// As in [`WriteBytes`].
    fn drained(&self, _: &usize) -> bool {
        false
    }
}
