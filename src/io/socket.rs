//! What is done with a socket, as data: each operation names its system call, its direction, and what a result says about
//! the readiness that is left.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::{Direction, Operation};
use crate::sys::socket::{self, Address, Taking};
use crate::sys::uring::{Done, Entry};

/// What a transfer that moved fewer bytes than it could says about the socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Short {
    /// That it can move no more now: a stream of TCP, which stops early for nothing else.
    Exhausted,
    /// Nothing: a datagram ends where it ends, a peek leaves what it saw, and a Unix stream stops early at descriptors
    /// that were sent along.
    Usual,
}

impl Short {
    #[inline]
    fn exhausts(self, count: usize, length: usize) -> bool {
        // Zero is the end of the stream, which can be read again and again.
        self == Short::Exhausted && 0 < count && count < length
    }
}

/// Receives bytes of a stream, or one datagram.
#[derive(Debug)]
pub(crate) struct Receive<'a> {
    pub(crate) buffer: &'a mut [u8],
    pub(crate) taking: Taking,
    pub(crate) short: Short,
}

impl Operation for Receive<'_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Read;

    #[inline]
    fn attempt(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        socket::receive(fd, self.buffer, self.taking)
    }

    const MOVES_BYTES: bool = true;

    fn shorten(&mut self, most: usize) {
        let buffer = mem::take(&mut self.buffer);
        let length = buffer.len().min(most);
        self.buffer = &mut buffer[..length];
    }

    fn moved(&self, &count: &usize) -> usize {
        if self.taking == Taking::Consume { count } else { 0 }
    }

    #[inline]
    fn drained(&self, &count: &usize) -> bool {
        self.short.exhausts(count, self.buffer.len())
    }

    /// Of a stream of TCP alone: other sockets end in ways of their own, and a datagram must not be cut. A peek takes nothing.
    #[inline]
    fn entry<'fd>(&self, fd: BorrowedFd<'fd>) -> Option<Entry<'fd>> {
        let may = self.taking == Taking::Consume && self.short == Short::Exhausted && !self.buffer.is_empty();
        may.then(|| Entry::receive(fd, self.buffer.len()))
    }

    #[inline]
    fn complete(&mut self, done: Done, entry: Entry<'_>) -> io::Result<(usize, bool)> {
        let count = done.received(self.buffer);
        Ok((count, self.short.exhausts(count, entry.length())))
    }
}

/// Receives bytes of a stream into several buffers, one after the other.
#[derive(Debug)]
pub(crate) struct ReceiveVectored<'a, 'b> {
    pub(crate) buffers: &'a mut [IoSliceMut<'b>],
    pub(crate) short: Short,
    /// How many bytes, if not all that the buffers take.
    pub(crate) most: Option<usize>,
}

impl Operation for ReceiveVectored<'_, '_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let Some(most) = self.most else { return socket::receive_vectored(fd, self.buffers) };
        match self.buffers.iter_mut().find(|buffer| !buffer.is_empty()) {
            Some(buffer) => {
                let length = buffer.len().min(most);
                socket::receive(fd, &mut buffer[..length], Taking::Consume)
            }
            None => Ok(0),
        }
    }

    const MOVES_BYTES: bool = true;

    fn shorten(&mut self, most: usize) {
        self.most = Some(self.most.map_or(most, |other| other.min(most)));
    }

    fn moved(&self, &count: &usize) -> usize {
        count
    }

    fn drained(&self, &count: &usize) -> bool {
        self.most.is_none()
            && self.short.exhausts(count, self.buffers.iter().map(|buffer| buffer.len()).sum())
    }
}

/// Sends bytes of a stream, or one datagram to the connected peer.
#[derive(Debug)]
pub(crate) struct Send<'a> {
    pub(crate) buffer: &'a [u8],
    pub(crate) short: Short,
}

impl Operation for Send<'_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Write;

    #[inline]
    fn attempt(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        socket::send(fd, self.buffer)
    }

    const MOVES_BYTES: bool = true;

    fn shorten(&mut self, most: usize) {
        self.buffer = &self.buffer[..self.buffer.len().min(most)];
    }

    fn moved(&self, &count: &usize) -> usize {
        count
    }

    fn sending(&self) -> Option<(&[u8], Option<Address>, usize)> {
        Some((self.buffer, None, self.buffer.len()))
    }

    #[inline]
    fn drained(&self, &count: &usize) -> bool {
        self.short.exhausts(count, self.buffer.len())
    }

    /// Of a stream of TCP alone, which may take any part of it.
    fn entry<'fd>(&self, fd: BorrowedFd<'fd>) -> Option<Entry<'fd>> {
        (self.short == Short::Exhausted).then(|| Entry::send(fd, self.buffer))
    }

    fn complete(&mut self, done: Done, entry: Entry<'_>) -> io::Result<(usize, bool)> {
        let count = done.count();
        Ok((count, self.short.exhausts(count, entry.length())))
    }
}

/// Sends bytes of a stream from several buffers, one after the other.
#[derive(Debug)]
pub(crate) struct SendVectored<'a, 'b> {
    pub(crate) buffers: &'a [IoSlice<'b>],
    pub(crate) short: Short,
    /// As for [`ReceiveVectored`].
    pub(crate) most: Option<usize>,
}

impl Operation for SendVectored<'_, '_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Write;

    fn attempt(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let Some(most) = self.most else { return socket::send_vectored(fd, self.buffers) };
        let first = self.buffers.iter().find(|buffer| !buffer.is_empty());
        first.map_or(Ok(0), |buffer| socket::send(fd, &buffer[..buffer.len().min(most)]))
    }

    const MOVES_BYTES: bool = true;

    fn shorten(&mut self, most: usize) {
        self.most = Some(self.most.map_or(most, |other| other.min(most)));
    }

    fn moved(&self, &count: &usize) -> usize {
        count
    }

    fn drained(&self, &count: &usize) -> bool {
        self.most.is_none()
            && self.short.exhausts(count, self.buffers.iter().map(|buffer| buffer.len()).sum())
    }
}

/// Receives one datagram, and whom it is from.
#[derive(Debug)]
pub(crate) struct ReceiveFrom<'a> {
    pub(crate) buffer: &'a mut [u8],
    pub(crate) taking: Taking,
}

impl Operation for ReceiveFrom<'_> {
    type Output = (usize, Address);
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, fd: BorrowedFd<'_>) -> io::Result<(usize, Address)> {
        socket::receive_from(fd, self.buffer, self.taking)
    }

    fn drained(&self, _: &(usize, Address)) -> bool {
        false
    }
}

/// Receives a datagram of a Unix socket, or nothing once the socket has been shut down: asked not to wait, the kernel says
/// then that it would.
#[derive(Debug)]
pub(crate) struct UntilShutDown<O>(pub(crate) O);

impl<O: Operation<Output: Default>> Operation for UntilShutDown<O> {
    type Output = O::Output;
    const DIRECTION: Direction = O::DIRECTION;

    fn attempt(&mut self, fd: BorrowedFd<'_>) -> io::Result<O::Output> {
        match self.0.attempt(fd) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && socket::is_shut_down(fd)? => {
                Ok(O::Output::default())
            }
            result => result,
        }
    }

    fn drained(&self, output: &O::Output) -> bool {
        self.0.drained(output)
    }
}

/// Sends one datagram to an address.
#[derive(Debug)]
pub(crate) struct SendTo<'a> {
    pub(crate) buffer: &'a [u8],
    pub(crate) address: Address,
}

impl Operation for SendTo<'_> {
    type Output = usize;
    const DIRECTION: Direction = Direction::Write;

    fn attempt(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        socket::send_to(fd, self.buffer, &self.address)
    }

    fn sending(&self) -> Option<(&[u8], Option<Address>, usize)> {
        Some((self.buffer, Some(self.address), self.buffer.len()))
    }

    fn drained(&self, _: &usize) -> bool {
        false
    }
}

/// Takes a connection from a listener that is O_NONBLOCK.
#[derive(Debug)]
pub(crate) struct Accept;

impl Operation for Accept {
    type Output = (OwnedFd, Address);
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, Address)> {
        socket::accept(fd)
    }

    fn drained(&self, _: &(OwnedFd, Address)) -> bool {
        false
    }

    fn entry<'fd>(&self, fd: BorrowedFd<'fd>) -> Option<Entry<'fd>> {
        Some(Entry::accept(fd))
    }

    fn complete(&mut self, done: Done, entry: Entry<'_>) -> io::Result<((OwnedFd, Address), bool)> {
        Ok(((done.opened()?, entry.into_address()), false))
    }
}

/// Connects a stream of IP that is O_NONBLOCK.
#[derive(Debug)]
pub(crate) struct Connect {
    address: Address,
    progress: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    /// Nothing has been done; the kernel is to begin it as a whole.
    Untouched,
    /// That is what it does, or has failed to do.
    Whole,
    /// [`socket::connect`] has begun it.
    Begun,
}

impl Connect {
    /// One that has been begun by [`socket::connect`], which tells how it ends too.
    pub(crate) fn begun(address: Address) -> Connect {
        Connect { address, progress: Progress::Begun }
    }

    /// One that has not been begun, for a driver that does it as a whole: an operation that has begun it cannot tell of its end.
    pub(crate) fn whole(address: Address) -> Connect {
        Connect { address, progress: Progress::Untouched }
    }
}

impl Operation for Connect {
    type Output = ();
    const DIRECTION: Direction = Direction::Write;

    fn attempt(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        if self.progress == Progress::Untouched {
            self.progress = Progress::Whole;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        socket::connect(fd, &self.address)
    }

    fn drained(&self, (): &()) -> bool {
        false
    }

    fn entry<'fd>(&self, fd: BorrowedFd<'fd>) -> Option<Entry<'fd>> {
        (self.progress != Progress::Begun).then(|| Entry::connect(fd, self.address))
    }

    fn complete(&mut self, _: Done, _: Entry<'_>) -> io::Result<((), bool)> {
        Ok(((), false))
    }
}
