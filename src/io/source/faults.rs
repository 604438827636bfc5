//! An operation in a world in which connections fail.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::{Limit, Source};
use crate::hub::faults::{Fault, Gate};
use crate::hub::hub;
use crate::hub::waiter::may_wait;
use crate::io::Interest;
use crate::io::faults::{FEW, befall, is_taken, moved, wait_behind, way};
use crate::io::operation::{Direction, Operation};
use crate::sys::clock::Time;
use crate::sys::{poll, socket};

/// Waits until there is something to read, and takes nothing.
struct Arrival;

impl Operation for Arrival {
    type Output = ();
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        match poll::check(fd, Interest::READABLE)?.is_none() {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => Ok(()),
        }
    }

    fn drained(&self, (): &()) -> bool {
        false
    }
}

impl<T: AsFd> Source<T> {
    /// Does what [`run_within`](Source::run_within) does, with what goes wrong.
    #[cold]
    #[inline(never)]
    pub(super) fn run_amid_faults<O: Operation>(
        &self,
        mut operation: O,
        limit: Limit,
    ) -> io::Result<O::Output> {
        let fd = self.inner.as_fd();
        if !O::MOVES_BYTES || !socket::is_stream(fd) {
            if let Some((bytes, to, output)) = operation.sending()
                && is_taken(hub(), fd, bytes, to)?
            {
                return Ok(output);
            }
            return self.run_unhindered(operation, limit, true);
        }
        let deadline = self.deadline(limit, O::DIRECTION);
        let limit = match limit {
            Limit::Timeout => Limit::TimeoutAt(deadline),
            limit => limit,
        };
        if befall(fd, &[Fault::Reset, Fault::Short])? == Some(Fault::Short) {
            operation.shorten(FEW);
        }
        if O::DIRECTION == Direction::Read && may_wait() {
            match self.await_arrival(limit, deadline)? {
                usize::MAX => {}
                most => operation.shorten(most),
            }
        }
        let output = self.run_unhindered(&mut operation, limit, true)?;
        moved(hub(), fd, O::DIRECTION, operation.moved(&output));
        Ok(output)
    }

    /// Waits until bytes have arrived, as the world has it. Returns how many at most.
    fn await_arrival(&self, limit: Limit, deadline: Option<Time>) -> io::Result<usize> {
        let fd = self.inner.as_fd();
        let hub = hub();
        while let Some(faults) = hub.faults() {
            if !faults.holds_back() {
                break;
            }
            self.run_unhindered(Arrival, limit, true)?;
            let Some(way) = way(faults, fd, Direction::Read) else { break };
            match faults.gate(way, Time::now()) {
                Gate::Open(most) => return Ok(most),
                gate if wait_behind(gate, deadline) => {}
                _ => return Err(limit.error()),
            }
        }
        Ok(usize::MAX)
    }
}
