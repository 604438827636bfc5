//! A call that may yield, and what all of them have in common: the try, the wait, the retry.
//!
//! What a descriptor is, is its owner's affair: it is never made O_NONBLOCK but for the instant of a `connect` or an `accept` that has
//! found a connection, for which the kernel has no other way. Whether its owner did that, and what time limits he gave it, is asked only
//! when a call would wait.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use libc::{c_int, c_short, ssize_t};

use super::interruption::{Side, is_connected, side};
use super::parts::{Parts, patched};
use crate::hub::HubRef;
use crate::hub::no_unwind::{Hindrance, hub_of_greenlet};
use crate::hub::waiter::{Waiter, WaitingOn, is_unwinding};
use crate::io::Interest;
use crate::sys::clock::Time;
use crate::sys::errno::Kept;
use crate::sys::mode::Nonblocking;
pub(super) use crate::sys::mode::is_nonblocking;
use crate::sys::original;

/// A number from errno(3).
pub(super) type Errno = c_int;

/// After how many failed calls in a row a call fails that has only said EAGAIN so far.
const HONEST_REFUSALS: u32 = 4;

/// A call from a greenlet's code, of a part that is patched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) hub: HubRef,
}

/// Why a wait did not end with what was waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Miss {
    /// The deadline has passed.
    Late,
    /// It is of a kind that never makes anybody wait, as the kernel sees it: a regular file.
    Unwaitable,
    /// The call fails with this.
    Failed(Errno),
}

/// What the result of a call counts, if it is none that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Count {
    /// Bytes that it has moved.
    Moved,
    /// Bytes that it has seen, and that stay.
    Peeked,
    /// Messages, or nothing: a descriptor.
    Other,
}

/// What a try said that did not go through.
enum Declined {
    /// It would have to wait.
    WouldBlock,
    Failed(Errno),
}

impl Call {
    /// `None` if the call is the C library's alone: nothing of `part` is patched, or there is no hub, or its own code calls.
    #[inline]
    pub(super) fn enter(part: Parts) -> Option<Call> {
        if !patched().contains(part) {
            return None;
        }
        Some(Call { hub: hub_of_greenlet()? })
    }

    /// Whether the next call that could wait fails, for a kill or a time limit.
    #[inline]
    pub(super) fn is_interrupted(self) -> bool {
        self.hub.hindrance().is_some()
    }

    /// Lets others run if [`is_interrupted`](Call::is_interrupted): for a call that does what it is asked to all the same.
    #[inline]
    pub(super) fn give_way_if_interrupted(self) {
        if self.is_interrupted() {
            self.hub.yield_in_call();
        }
    }

    /// Fails for a kill or a time limit, when others have run. Returns with what.
    pub(super) fn refuse(self, hindrance: Hindrance) -> Errno {
        self.hub.refuse_call();
        match hindrance {
            Hindrance::Killed => libc::ECANCELED,
            Hindrance::Elapsed => libc::ETIMEDOUT,
        }
    }

    /// [`refuse`](Call::refuse) for a call on `fd`. A killed green thread's connection says what one does that this machine has cut, as by
    /// `ss --kill`: clients take that for its end. One that is not, they keep for the next, in the midst of what it was asked.
    fn refuse_on(self, fd: RawFd, hindrance: Hindrance) -> Errno {
        match hindrance {
            Hindrance::Killed if is_connected(fd) => {
                self.hub.refuse_call();
                libc::ECONNABORTED
            }
            hindrance => self.refuse(hindrance),
        }
    }

    /// [`refuse`](Call::refuse) for a function whose callers know neither errno: with EINTR first, which many repeat, and then with
    /// `errno`.
    pub(super) fn refuse_with(self, errno: Errno) -> Errno {
        if self.hub.refuse_call() == 1 { libc::EINTR } else { errno }
    }

    /// Waits until `fd` may be ready for `interest`. The number is open: a call on it has just said EAGAIN.
    pub(super) fn wait_for(self, fd: RawFd, interest: Interest, deadline: Option<Time>) -> Result<(), Miss> {
        let on = if interest.is_readable() { WaitingOn::Readable(fd) } else { WaitingOn::Writable(fd) };
        self.try_wait_for_any(on, &[(fd, interest)], deadline)
            .unwrap_or_else(|hindrance| Err(Miss::Failed(self.refuse_on(fd, hindrance))))
    }

    /// Waits until one of several descriptors may be ready, for a call that says in its own way why it fails.
    ///
    /// # Errors
    ///
    /// Why it must fail, without having waited any longer.
    pub(super) fn try_wait_for_any(
        self,
        on: WaitingOn,
        descriptors: &[(RawFd, Interest)],
        deadline: Option<Time>,
    ) -> Result<Result<(), Miss>, Hindrance> {
        let _errno = Kept::now();
        let reactor = match self.hub.try_reactor() {
            Ok(reactor) => reactor,
            Err(error) => return Ok(Err(Miss::Failed(errno_of(&error)))),
        };
        let waiter = Waiter::new(on);
        let mut watches = Vec::with_capacity(descriptors.len());
        let mut refused = None;
        for &(fd, interest) in descriptors {
            match reactor.watch(fd, interest, waiter.notify()) {
                Ok(watch) => watches.push(watch),
                Err((error, _)) => {
                    refused = Some(match errno_of(&error) {
                        libc::EPERM => Miss::Unwaitable,
                        errno => Miss::Failed(errno),
                    });
                    break;
                }
            }
        }
        let parked = if refused.is_none() { waiter.park_in_call(deadline) } else { Ok(true) };
        let closed = watches.iter().any(|watch| reactor.is_closed(watch));
        watches.iter().for_each(|watch| reactor.unwatch(watch));
        match refused {
            Some(refused) => Ok(Err(refused)),
            None => parked.map(|in_time| match in_time {
                _ if closed => Err(Miss::Failed(libc::EBADF)),
                true => Ok(()),
                false => Err(Miss::Late),
            }),
        }
    }

    /// Waits until the deadline, or for a while that ends for no reason.
    ///
    /// # Errors
    ///
    /// With what the call must fail, without having waited any longer.
    pub(super) fn sleep_until(self, deadline: Time) -> Result<(), Errno> {
        self.try_sleep_until(deadline).map_err(|hindrance| self.refuse(hindrance))
    }

    /// [`sleep_until`](Call::sleep_until) for a call that says in its own way why it fails.
    pub(super) fn try_sleep_until(self, deadline: Time) -> Result<(), Hindrance> {
        let waiter = Waiter::new(WaitingOn::Sleep);
        while waiter.park_in_call(Some(deadline))? {}
        Ok(())
    }

    /// Lets others run once in a while, for the calls that need no wait.
    ///
    /// # Errors
    ///
    /// With what the call must fail, whether it would wait or not.
    pub(super) fn spend_budget(self) -> Result<(), Errno> {
        self.hub.spend_budget_in_call().map_err(|hindrance| self.refuse(hindrance))
    }

    /// Does `attempt`, which never waits, until it goes through or must not be tried again.
    ///
    /// What a blocking call says when SO_RCVTIMEO or SO_SNDTIMEO has passed, is EAGAIN.
    pub(super) fn until_done(
        self,
        fd: RawFd,
        interest: Interest,
        attempt: impl FnMut() -> ssize_t,
    ) -> Result<ssize_t, Miss> {
        self.until_done_with(Count::Moved, fd, interest, attempt)
    }

    /// [`until_done`](Call::until_done) for a call whose result counts that.
    pub(super) fn until_done_with(
        self,
        count: Count,
        fd: RawFd,
        interest: Interest,
        attempt: impl FnMut() -> ssize_t,
    ) -> Result<ssize_t, Miss> {
        // What was tried in vain is nobody's affair, nor is what failed when some has come or gone.
        let _errno = Kept::now();
        match self.hub.spend_budget_in_call() {
            Ok(()) => match self.hub.faults_of_call() {
                None => self.until_ready(fd, interest, attempt),
                Some(faults) => self.until_ready_amid_faults(faults, count, fd, interest, attempt),
            },
            Err(hindrance) => self.amid_interruption(fd, hindrance, attempt),
        }
    }

    pub(super) fn until_ready(
        self,
        fd: RawFd,
        interest: Interest,
        mut attempt: impl FnMut() -> ssize_t,
    ) -> Result<ssize_t, Miss> {
        let mut deadline = None;
        loop {
            match tried(attempt()) {
                Ok(count) => return Ok(count),
                Err(Declined::Failed(errno)) => return Err(Miss::Failed(errno)),
                Err(Declined::WouldBlock) => {}
            }
            let deadline = match deadline {
                Some(deadline) => deadline,
                None if is_nonblocking(fd) => return Err(Miss::Failed(self.unready(fd))),
                None => *deadline.insert(time_limit(fd, interest).map(Time::after)),
            };
            match self.wait_for(fd, interest, deadline) {
                Err(Miss::Late) => return Err(Miss::Failed(libc::EAGAIN)),
                result => result?,
            }
        }
    }

    /// [`until_done`](Call::until_done) for a green thread that was killed, or is out of time. A call that need not wait does what it can
    /// where nobody expects it to fail, as on the bell that wakes an event loop; but a loop of such calls is to end too.
    #[cold]
    fn amid_interruption(
        self,
        fd: RawFd,
        hindrance: Hindrance,
        mut attempt: impl FnMut() -> ssize_t,
    ) -> Result<ssize_t, Miss> {
        let side = side(fd);
        if side == Side::Far || !is_nonblocking(fd) {
            return Err(Miss::Failed(self.refuse_on(fd, hindrance)));
        }
        self.hub.yield_in_call();
        match tried(attempt()) {
            Ok(count) => Ok(count),
            Err(Declined::Failed(errno)) => Err(Miss::Failed(errno)),
            Err(Declined::WouldBlock) if side == Side::Own || self.hub.refusals() <= HONEST_REFUSALS => {
                Err(Miss::Failed(libc::EAGAIN))
            }
            Err(Declined::WouldBlock) => Err(Miss::Failed(self.refuse_on(fd, hindrance))),
        }
    }

    /// What a call says that would wait, on a descriptor that is O_NONBLOCK. Who unwinds, and waits for the descriptor elsewhere, must
    /// not wait there either.
    fn unready(self, fd: RawFd) -> Errno {
        if is_unwinding() && self.hub.refusals() > 0 && side(fd) != Side::Own {
            return self.refuse_on(fd, Hindrance::Killed);
        }
        libc::EAGAIN
    }

    /// Does `attempt`, which is given how many bytes have gone, until all `length` have, as a blocking call does. If it
    /// fails when some have, these are its result.
    pub(super) fn until_all_gone(
        self,
        fd: RawFd,
        length: usize,
        mut attempt: impl FnMut(usize) -> ssize_t,
    ) -> Result<ssize_t, Miss> {
        let mut gone = 0;
        loop {
            match self.until_done(fd, Interest::WRITABLE, || attempt(gone)) {
                Ok(0) => return Ok(gone as ssize_t),
                Ok(count) => gone += count as usize,
                Err(_) if gone > 0 => return Ok(gone as ssize_t),
                Err(ended) => return Err(ended),
            }
            if gone >= length {
                return Ok(gone as ssize_t);
            }
        }
    }
}

fn tried(result: ssize_t) -> Result<ssize_t, Declined> {
    if result >= 0 {
        return Ok(result);
    }
    match errno() {
        libc::EAGAIN => Err(Declined::WouldBlock),
        other => Err(Declined::Failed(other)),
    }
}

pub(super) fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// The calling thread's errno.
pub(super) fn errno() -> Errno {
    errno_of(&io::Error::last_os_error())
}

pub(super) fn set_errno(errno: Errno) {
    // SAFETY: takes nothing, and returns a valid pointer to the calling thread's own errno.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    unsafe { *place = errno };
}

/// Runs a call, which leaves errno as it was unless it fails with -1: what was tried in vain on the way is nobody's affair.
pub(super) fn quietly<R: PartialEq + From<i8>>(run: impl FnOnce() -> R) -> R {
    let kept = errno();
    let result = run();
    if result != R::from(-1) {
        set_errno(kept);
    }
    result
}

/// `-1`, with errno.
pub(super) fn failed(errno: Errno) -> c_int {
    set_errno(errno);
    -1
}

/// What C is told of a result: a count, or -1 with errno. `unwaitable` does the call after all.
pub(super) fn answer(result: Result<ssize_t, Miss>, unwaitable: impl FnOnce() -> ssize_t) -> ssize_t {
    match result {
        Ok(count) => count,
        Err(Miss::Unwaitable) => unwaitable(),
        Err(Miss::Late) => failed(libc::EAGAIN) as ssize_t,
        Err(Miss::Failed(errno)) => failed(errno) as ssize_t,
    }
}

/// Whether poll(2) says that a call would not wait.
pub(super) fn is_ready(fd: RawFd, events: c_short) -> bool {
    let mut asked = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: `asked` is valid for reads and writes as the one element that it is said to be.
    unsafe { original::poll(&mut asked, 1, 0) != 0 }
}

/// SO_RCVTIMEO or SO_SNDTIMEO, if it is a socket and its owner has set that.
pub(super) fn time_limit(fd: RawFd, interest: Interest) -> Option<Duration> {
    let option = if interest.is_readable() { libc::SO_RCVTIMEO } else { libc::SO_SNDTIMEO };
    let mut limit = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let mut length = size_of::<libc::timeval>() as libc::socklen_t;
    // SAFETY: `limit` is valid for writes of `length` bytes.
    let result =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, option, (&raw mut limit).cast(), &mut length) };
    let limit = Duration::new(limit.tv_sec as u64, limit.tv_usec as u32 * 1000);
    (result == 0 && !limit.is_zero()).then_some(limit)
}

/// Does a call for which the kernel has no MSG_DONTWAIT, with O_NONBLOCK set as long as it takes. Calls that come in between
/// from other processes, which share the open file, get an EAGAIN; those of this program know better.
pub(super) fn without_waiting(fd: RawFd, run: impl FnOnce() -> ssize_t) -> ssize_t {
    let nonblocking = match Nonblocking::begin(fd) {
        Ok(nonblocking) => nonblocking,
        Err(error) => return failed(errno_of(&error)) as ssize_t,
    };
    let result = run();
    let errno = errno();
    nonblocking.end(fd);
    set_errno(errno);
    result
}
