//! Calls in the world of a test in which things go wrong.

use std::os::fd::{BorrowedFd, RawFd};

use libc::{iovec, sockaddr, socklen_t, ssize_t};

use super::call::{Call, Count, Errno, Miss, errno_of, is_nonblocking, is_ready, time_limit};
use super::file::is_regular_file;
use super::slices;
use crate::hub::amid_faults::draw;
use crate::hub::faults::{Fault, Faults, Gate};
use crate::hub::no_unwind::Hindrance;
use crate::hub::waiter::{Waiter, WaitingOn, is_unwinding};
use crate::io::Interest;
use crate::io::faults::{
    Direction, FEW, HELD_BACK, Hindrance as InTheWay, PATIENCE, befall, hindrance, is_cut, is_refused,
    is_taken, moved, own_address_towards, way,
};
use crate::sys::clock::Time;
use crate::sys::socket::{self, Address};
use crate::threadpool::check_disk;

/// # Safety
///
/// `fd` stays open as long as the result lives, or is no descriptor; it is asked of, and read or written by the caller's own call.
unsafe fn borrowed<'a>(fd: RawFd) -> Option<BorrowedFd<'a>> {
    // SAFETY: the caller's contract; -1 is left out.
    (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
}

fn direction(interest: Interest) -> Direction {
    if interest.is_readable() { Direction::Read } else { Direction::Write }
}

impl Call {
    /// [`until_ready`](Call::until_ready) with what goes wrong.
    #[cold]
    pub(super) fn until_ready_amid_faults(
        self,
        faults: &Faults,
        what: Count,
        fd: RawFd,
        interest: Interest,
        mut attempt: impl FnMut() -> ssize_t,
    ) -> Result<ssize_t, Miss> {
        if is_regular_file(fd) {
            check_disk().map_err(|error| Miss::Failed(errno_of(&error)))?;
            return self.until_ready(fd, interest, attempt);
        }
        // SAFETY: the caller's call is about it.
        let Some(socket) = (unsafe { borrowed(fd) }) else { return self.until_ready(fd, interest, attempt) };
        let waits = !is_nonblocking(fd) && !is_unwinding();
        let is_stream = what != Count::Other && socket::is_stream(socket);
        let may_fail = is_stream && !is_nonblocking(fd);
        let mut among = Vec::with_capacity(3);
        among.extend(may_fail.then_some(Fault::Reset));
        among.extend((may_fail && interest.is_readable()).then_some(Fault::Short));
        among.extend(waits.then_some(Fault::Interruption));
        let fault = match is_stream {
            true => befall(socket, &among).map_err(|error| Miss::Failed(errno_of(&error)))?,
            false => draw(&among),
        };
        if fault == Some(Fault::Interruption) {
            return Err(Miss::Failed(libc::EINTR));
        }
        if !is_stream {
            return self.until_ready(fd, interest, attempt);
        }
        let mut most = if fault == Some(Fault::Short) { FEW } else { usize::MAX };
        if interest.is_readable() && waits {
            most = most.min(self.await_arrival(faults, fd, socket)?);
        }
        let count = self.until_ready(fd, interest, || {
            faults.set_most((most < usize::MAX).then_some(most));
            let count = attempt();
            faults.set_most(None);
            count
        })?;
        if what == Count::Moved {
            moved(self.hub, socket, direction(interest), count as usize);
        }
        Ok(count)
    }

    /// Waits until bytes have arrived, as the world has it. Returns how many at most.
    fn await_arrival(self, faults: &Faults, fd: RawFd, socket: BorrowedFd<'_>) -> Result<usize, Miss> {
        let deadline = time_limit(fd, Interest::READABLE).map(Time::after);
        while faults.holds_back() {
            while !is_ready(fd, libc::POLLIN) {
                match self.wait_for(fd, Interest::READABLE, deadline) {
                    Err(Miss::Late) => return Err(Miss::Failed(libc::EAGAIN)),
                    result => result?,
                }
            }
            let Some(way) = way(faults, socket, Direction::Read) else { break };
            match faults.gate(way, Time::now()) {
                Gate::Open(most) => return Ok(most),
                gate => match self.wait_behind(faults, gate, deadline) {
                    Ok(true) => {}
                    Ok(false) => return Err(Miss::Failed(libc::EAGAIN)),
                    Err(hindrance) => return Err(Miss::Failed(self.refuse(hindrance))),
                },
            }
        }
        Ok(usize::MAX)
    }

    /// Waits behind a gate that is not open; `false` if the deadline has passed.
    fn wait_behind(self, faults: &Faults, gate: Gate, deadline: Option<Time>) -> Result<bool, Hindrance> {
        let waiter = Waiter::new(WaitingOn::Other(HELD_BACK));
        let until = match gate {
            Gate::Until(time) => Some(deadline.map_or(time, |deadline| deadline.min(time))),
            _ => {
                faults.tell_of_end(waiter.wake());
                deadline
            }
        };
        waiter.park_in_call(until)?;
        Ok(deadline.is_none_or(|deadline| Time::now() < deadline))
    }

    /// How many of `length` bytes a receive may take now.
    pub(super) fn at_most(self, length: usize) -> usize {
        self.hub.faults_of_call().map_or(length, |faults| faults.most().min(length))
    }

    /// How many of `length` bytes a send takes.
    pub(super) fn few(self, fd: RawFd, length: usize) -> usize {
        if self.hub.faults_of_call().is_none() {
            return length;
        }
        // SAFETY: the caller's call is about it.
        let is_stream = unsafe { borrowed(fd) }.is_some_and(socket::is_stream);
        let is_short = is_stream && !is_nonblocking(fd) && draw(&[Fault::Short]).is_some();
        if is_short { length.min(FEW) } else { length }
    }

    /// The first of the slices that a receive may take now, if not all.
    pub(super) fn first_of(self, all: &[iovec]) -> Option<iovec> {
        let most = self.at_most(usize::MAX);
        let first = all.iter().find(|slice| slice.iov_len > 0).filter(|_| most < slices::length(all))?;
        Some(iovec { iov_base: first.iov_base, iov_len: first.iov_len.min(most) })
    }

    /// The first of the slices that a send takes, if not all.
    pub(super) fn few_of(self, fd: RawFd, all: &[iovec]) -> Option<iovec> {
        self.hub.faults_of_call()?;
        let whole = slices::length(all);
        let few = self.few(fd, whole);
        let first = all.iter().find(|slice| slice.iov_len > 0).filter(|_| few < whole)?;
        Some(iovec { iov_base: first.iov_base, iov_len: first.iov_len.min(few) })
    }

    /// What a call returns whose datagram is not to be sent, since it is lost or sent later. `name` is where to, or null.
    ///
    /// # Safety
    ///
    /// All slices must be valid for reads, and `name`, if not null, for reads of `length` bytes.
    pub(super) unsafe fn taken(
        self,
        fd: RawFd,
        all: &[iovec],
        name: *const sockaddr,
        length: socklen_t,
    ) -> Option<ssize_t> {
        self.hub.faults_of_call()?;
        // SAFETY: the caller's contract.
        unsafe { self.taken_amid_faults(fd, all, name, length) }
    }

    /// [`taken`](Call::taken) in a world with faults.
    ///
    /// # Safety
    ///
    /// As there.
    #[cold]
    unsafe fn taken_amid_faults(
        self,
        fd: RawFd,
        all: &[iovec],
        name: *const sockaddr,
        length: socklen_t,
    ) -> Option<ssize_t> {
        if is_nonblocking(fd) || length as usize > size_of::<libc::sockaddr_storage>() {
            return None;
        }
        // SAFETY: the caller's call is about it.
        let socket = unsafe { borrowed(fd) }?;
        let to = (!name.is_null()).then(|| {
            // SAFETY: the caller's contract.
            Address::of_bytes(unsafe { std::slice::from_raw_parts(name.cast::<u8>(), length as usize) })
        });
        socket::route(socket, to)?;
        let mut bytes = Vec::with_capacity(slices::length(all));
        for slice in all.iter().filter(|slice| slice.iov_len > 0) {
            // SAFETY: the caller's contract; it is not empty.
            bytes.extend_from_slice(unsafe {
                std::slice::from_raw_parts(slice.iov_base.cast::<u8>(), slice.iov_len)
            });
        }
        match is_taken(self.hub, socket, &bytes, to) {
            Ok(false) => None,
            Ok(true) => Some(bytes.len() as ssize_t),
            Err(_) => Some(-1),
        }
    }

    /// What is in the way of a connection: waited for, or why it fails. Of one that may not wait, what is only late is nothing.
    ///
    /// # Safety
    ///
    /// `address` must be valid for reads of `length` bytes.
    #[cold]
    pub(super) unsafe fn before_connect(
        self,
        faults: &Faults,
        fd: RawFd,
        address: *const sockaddr,
        length: socklen_t,
    ) -> Result<(), Errno> {
        if address.is_null() || length as usize > size_of::<libc::sockaddr_storage>() {
            return Ok(());
        }
        // SAFETY: the caller's contract.
        let bytes = unsafe { std::slice::from_raw_parts(address.cast::<u8>(), length as usize) };
        // SAFETY: the caller's call is about it.
        let Some(socket) = (unsafe { borrowed(fd) }).filter(|fd| socket::is_stream(*fd)) else {
            return Ok(());
        };
        let Ok(to) = Address::of_bytes(bytes).to_ip() else {
            let is_unix = Address::of_bytes(bytes).to_unix().is_ok();
            return if is_unix && is_refused() { Err(libc::ECONNREFUSED) } else { Ok(()) };
        };
        let mut gate = match hindrance(to) {
            None => None,
            Some(InTheWay::Refused) => return Err(libc::ECONNREFUSED),
            Some(InTheWay::Held(gate)) => Some(gate),
        };
        if let Some(own) = own_address_towards(to) {
            // One that is bound already keeps its address.
            let _bound = socket::connect_from(socket, own);
        }
        if is_nonblocking(fd) || is_unwinding() {
            return if gate == Some(Gate::Cut) { Err(libc::EHOSTUNREACH) } else { Ok(()) };
        }
        let own = Time::after(PATIENCE);
        let limit = time_limit(fd, Interest::WRITABLE).map(Time::after);
        let deadline = limit.map_or(own, |limit| limit.min(own));
        while let Some(held) = gate {
            match self.wait_behind(faults, held, Some(deadline)) {
                Ok(true) => {}
                Ok(false) if deadline == own => return Err(libc::ETIMEDOUT),
                Ok(false) => return Err(libc::EINPROGRESS),
                Err(hindrance) => return Err(self.refuse(hindrance)),
            }
            gate = match held {
                Gate::Cut if is_cut(faults, to) => Some(Gate::Cut),
                Gate::Cut => {
                    let latency = self.hub.latency(faults);
                    (!latency.is_zero()).then(|| Gate::Until(Time::after(latency)))
                }
                Gate::Until(time) if Time::now() < time => Some(held),
                _ => None,
            };
        }
        Ok(())
    }
}
