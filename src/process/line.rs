//! One end of a line between processes: packets out and in, each whole or not at all.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::contents::Contents;
use super::wire::Outgoing;
use crate::io::{Direction, Operation, Pauses, Source};
use crate::sys::carrier::{Carrier, Kept, Source as Beside};
use crate::sys::clock::Time;
use crate::sys::heirloom::Heirloom;
use crate::sys::lock::Lock;
use crate::sys::{descriptor, packet};

/// What more than this goes beside the packet, in memory of its own.
pub(super) const LARGEST: usize = 128 * 1024;
/// Version and kind in one byte, and the number of descriptors in another.
const HEADER: usize = 2;

/// What is in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One message.
    One = 0x10,
    /// Many, each with its length before it.
    Batch,
    /// The length of one message, which is in the first descriptor.
    Large,
}

/// A packet that has come, with what was beside it.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) is_batch: bool,
    pub(crate) bytes: Contents,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// How long to wait.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    Now,
    Until(Option<Time>),
}

/// One end.
#[derive(Debug)]
pub(crate) struct Line {
    source: Source<Heirloom>,
    /// Where packets are received. Never held over a wait.
    scratch: Lock<Vec<u8>>,
    /// Whether the other end was closed before all that was sent there had been received.
    left_unread: AtomicBool,
    /// In which the last message was that was too large for a packet.
    spare: Lock<Option<Kept>>,
}

impl Line {
    pub(crate) fn pair() -> io::Result<(Line, Line)> {
        let (left, right) = packet::pair()?;
        Ok((Line::from(left), Line::from(right)))
    }

    pub(super) fn name(&self) -> u64 {
        self.source.get_ref().name()
    }

    /// Whether this process was not given it.
    pub(super) fn is_abandoned(&self) -> bool {
        self.source.get_ref().is_abandoned()
    }

    /// Another end of the same socket.
    pub(super) fn try_clone(&self) -> io::Result<Line> {
        Ok(Line::from(self.as_fd().try_clone_to_owned()?))
    }

    /// Sends one message, which is in the socket when this returns `Ok`, and else is not.
    ///
    /// # Errors
    ///
    /// Those of sendmsg(2): `BrokenPipe` if nobody can receive it any more. `InvalidInput` for too many descriptors.
    pub(crate) fn send(&self, kind: Kind, message: &Outgoing<'_>, limit: Limit) -> io::Result<()> {
        let Outgoing { bytes, descriptors, .. } = message;
        let length = message.total();
        // What a message borrows is longer than that.
        if length <= LARGEST {
            match self.send_packet(kind, bytes, descriptors, limit) {
                Err(error) if packet::is_too_large(&error) && kind == Kind::One => {}
                sent => return sent,
            }
        }
        let spare = self.spare.lock().take().filter(|spare| spare.is_free_for(length));
        let Some(spare) = spare else {
            let carrier = Carrier::new(length)?;
            self.send_beside(&carrier, message, limit)?;
            self.keep(carrier.keep());
            return Ok(());
        };
        let sent = self.send_beside(&spare, message, limit);
        if sent.is_ok() || spare.take_back().is_ok() {
            self.keep(Some(spare));
        }
        sent
    }

    fn send_beside(&self, carrier: &Carrier, message: &Outgoing<'_>, limit: Limit) -> io::Result<()> {
        carrier.fill(message.pieces())?;
        let length = (message.total() as u64).to_le_bytes();
        let mut all = vec![carrier.as_fd()];
        all.extend(&message.descriptors);
        self.send_packet(Kind::Large, &length, &all, limit)
    }

    fn keep(&self, carrier: Option<Kept>) {
        let before = std::mem::replace(&mut *self.spare.lock(), carrier);
        drop(before);
    }

    fn send_packet(
        &self,
        kind: Kind,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        limit: Limit,
    ) -> io::Result<()> {
        let header = [kind as u8, descriptors.len() as u8];
        let deadline = match limit {
            Limit::Now => Some(Time::now()),
            Limit::Until(deadline) => deadline,
        };
        let mut pauses = Pauses::until(deadline.unwrap_or(Time::NEVER));
        loop {
            let mut operation = Send { header, bytes, descriptors };
            let sent = match limit {
                Limit::Now => operation.attempt(self.as_fd()),
                Limit::Until(deadline) => self.source.run_until(operation, deadline),
            };
            match sent {
                // The kernel tells nobody when there are fewer.
                Err(error) if packet::is_too_many_on_the_way(&error) => match pauses.pause() {
                    true => {}
                    false => return Err(io::ErrorKind::TimedOut.into()),
                },
                // Told once, before the error that stays.
                Err(error) if self.note_reset(&error) => {}
                sent => return sent,
            }
        }
    }

    /// Whether the other end was closed before all that was sent there had been received.
    pub(crate) fn left_unread(&self) -> bool {
        // Relaxed: it orders nothing.
        self.left_unread.load(Ordering::Relaxed)
    }

    /// Ends the connection for both sides, as if both ends were closed. What has been sent can still be received.
    pub(crate) fn hang_up(&self) {
        // It fails if that has happened.
        let _ = packet::shut_down(self.as_fd());
    }

    /// The kernel says this once, before what has come and before the end.
    fn note_reset(&self, error: &io::Error) -> bool {
        let is_reset = error.kind() == io::ErrorKind::ConnectionReset;
        if is_reset {
            // Relaxed: as above.
            self.left_unread.store(true, Ordering::Relaxed);
        }
        is_reset
    }

    /// Receives one packet; `None` at the end.
    ///
    /// # Errors
    ///
    /// Those of recvmsg(2). `InvalidData` if the packet is none that [`send`](Line::send) sends, or came without a descriptor of its own:
    /// it is gone then, and the next is as good as ever.
    pub(crate) fn receive(&self, limit: Limit) -> io::Result<Option<Packet>> {
        loop {
            let mut operation = Receive { scratch: &self.scratch };
            let received = match limit {
                Limit::Now => operation.attempt(self.as_fd()),
                Limit::Until(deadline) => self.source.run_until(operation, deadline),
            };
            match received {
                Err(error) if self.note_reset(&error) => {}
                received => return received?.map_or(Ok(None), |raw| raw.check().map(Some)),
            }
        }
    }
}

impl From<OwnedFd> for Line {
    fn from(fd: OwnedFd) -> Line {
        Line {
            source: Source::new(Heirloom::new(fd)),
            scratch: Lock::new(Vec::new()),
            left_unread: AtomicBool::new(false),
            spare: Lock::new(None),
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.get_ref().as_fd()
    }
}

struct Send<'a> {
    header: [u8; HEADER],
    bytes: &'a [u8],
    descriptors: &'a [BorrowedFd<'a>],
}

impl Operation for Send<'_> {
    type Output = ();
    const DIRECTION: Direction = Direction::Write;

    fn attempt(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        packet::send(fd, &[IoSlice::new(&self.header), IoSlice::new(self.bytes)], self.descriptors)
    }

    fn drained(&self, (): &()) -> bool {
        false
    }
}

struct Receive<'a> {
    scratch: &'a Lock<Vec<u8>>,
}

/// What has come, as it is.
struct Raw {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    is_truncated: bool,
}

impl Operation for Receive<'_> {
    type Output = Option<Raw>;
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, fd: BorrowedFd<'_>) -> io::Result<Option<Raw>> {
        let mut scratch = self.scratch.lock();
        if scratch.is_empty() {
            // Zeros from the kernel, and pages only as they are written to.
            *scratch = vec![0; HEADER + LARGEST];
        }
        let received = packet::receive(fd, &mut scratch)?;
        let bytes = scratch[..received.length].to_vec();
        drop(scratch);
        let packet::Received { descriptors, is_truncated, .. } = received;
        Ok((!bytes.is_empty()).then_some(Raw { bytes, descriptors, is_truncated }))
    }

    fn drained(&self, _: &Option<Raw>) -> bool {
        false
    }
}

impl Raw {
    fn check(self) -> io::Result<Packet> {
        let Raw { mut bytes, mut descriptors, is_truncated } = self;
        let kind = match bytes[0] {
            kind if kind == Kind::One as u8 => Kind::One,
            kind if kind == Kind::Batch as u8 => Kind::Batch,
            kind if kind == Kind::Large as u8 => Kind::Large,
            _ => return Err(no_packet("it is of no known kind")),
        };
        if is_truncated || bytes.get(1).is_none_or(|count| usize::from(*count) != descriptors.len()) {
            return Err(no_packet("it came without a descriptor that belongs to it"));
        }
        let bytes = if kind == Kind::Large {
            let length = bytes[HEADER..].try_into().map_err(|_| no_packet("it tells no length"))?;
            if descriptors.is_empty() {
                return Err(no_packet("it has no memory with it"));
            }
            let beside = Beside::new(descriptors.remove(0), u64::from_le_bytes(length))?;
            Contents::beside(beside).ok_or(io::ErrorKind::OutOfMemory)?
        } else {
            bytes.drain(..HEADER);
            bytes.into()
        };
        Ok(Packet { is_batch: kind == Kind::Batch, bytes, descriptors })
    }
}

#[cold]
fn no_packet(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no packet of a channel: {why}"))
}

/// The error of an end that this process was not given.
pub(super) fn explain(error: io::Error, line: &Line) -> io::Error {
    if descriptor::is_bad_descriptor(&error) && line.is_abandoned() {
        let text = "this end belongs to the parent process: a child has the ends that its closure owns, or that were sent to it";
        return io::Error::new(io::ErrorKind::NotConnected, text);
    }
    error
}
