//! Waiting for any descriptor, from user code.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use super::Interest;
use crate::hub::reactor::{Reactor, Watch};
use crate::hub::waiter::{Waiter, WaitingOn, Wakeup, check_may_wait};
use crate::hub::{hub, spend_budget};
use crate::sys::clock::Time;
use crate::sys::{descriptor, poll};

/// Waits until a read from `fd` would not block.
///
/// This is [`wait_fd`] for [`Interest::READABLE`], without a time limit.
///
/// # Errors
///
/// As [`wait_fd`].
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
///
/// let (mut reader, mut writer) = std::io::pipe()?;
/// let waiter = greenloop::spawn(move || -> std::io::Result<String> {
///     greenloop::io::wait_readable(&reader)?;
///     let mut word = [0; 5];
///     let count = reader.read(&mut word)?; // does not block
///     Ok(String::from_utf8_lossy(&word[..count]).into_owned())
/// });
/// greenloop::yield_now();
/// assert!(!waiter.is_finished());
/// writer.write_all(b"hello")?;
/// assert_eq!(waiter.join().unwrap()?, "hello");
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "wait_read")]
pub fn wait_readable(fd: impl AsFd) -> io::Result<()> {
    wait_fd(fd, Interest::READABLE, None).map(drop)
}

/// Waits until a write to `fd` would not block.
///
/// This is [`wait_fd`] for [`Interest::WRITABLE`], without a time limit.
///
/// # Errors
///
/// As [`wait_fd`].
///
/// # Examples
///
/// ```
/// use std::io::Write;
///
/// let (_reader, mut writer) = std::io::pipe()?;
/// greenloop::io::wait_writable(&writer)?;
/// assert_eq!(writer.write(b"hello")?, 5); // does not block
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "wait_write")]
pub fn wait_writable(fd: impl AsFd) -> io::Result<()> {
    wait_fd(fd, Interest::WRITABLE, None).map(drop)
}

/// Waits until `fd` is ready for any of `interest`, and returns for which.
///
/// Returns at once if the descriptor is ready already; the end of a stream and an error count as ready. Otherwise the calling green
/// thread yields, and the hub wakes it when the descriptor is ready. The wait consumes nothing: if several green threads wait for one
/// descriptor, all of them go on, and one may find that another has read everything. So use nonblocking reads and writes.
///
/// The descriptor may be of any kind, in any mode, and may belong to one of greenloop's own types. A regular file is always
/// ready. If other code, or another OS thread, closes the descriptor during the wait, the wait may never end, as with poll(2).
///
/// A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding.
///
/// # Errors
///
/// An error of kind [`TimedOut`](io::ErrorKind::TimedOut) when `timeout` has passed. EBADF if the descriptor is not open.
/// Those of epoll_ctl(2). [`Unwinding`](crate::error::Unwinding), in an error of kind `Other`, if it would have to wait
/// while the green thread unwinds.
///
/// # Panics
///
/// Panics inside a hub callback, where nothing may wait.
///
/// # Examples
///
/// ```
/// use greenloop::io::{Interest, wait_fd};
/// use std::time::Duration;
///
/// let (one, other) = std::os::unix::net::UnixStream::pair()?;
/// assert_eq!(wait_fd(&one, Interest::BOTH, None)?, Interest::WRITABLE);
/// drop(other);
/// assert_eq!(wait_fd(&one, Interest::BOTH, None)?, Interest::BOTH);
///
/// let (reader, _writer) = std::io::pipe()?;
/// let error = wait_fd(&reader, Interest::READABLE, Some(Duration::from_millis(1))).unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "wait_read")]
#[doc(alias = "wait_write")]
#[doc(alias = "wait_readwrite")]
pub fn wait_fd(fd: impl AsFd, interest: Interest, timeout: Option<Duration>) -> io::Result<Interest> {
    let fd = fd.as_fd();
    let ready = poll::check(fd, interest)?;
    if ready.is_none() {
        return wait_unready(fd, interest, timeout);
    }
    spend_budget();
    Ok(ready)
}

/// [`wait_fd`] for a descriptor that was not ready just now.
fn wait_unready(fd: BorrowedFd<'_>, interest: Interest, timeout: Option<Duration>) -> io::Result<Interest> {
    check_may_wait()?;
    let deadline = timeout.map(Time::after);
    let waiter = Waiter::new(waiting_on(fd, interest));
    let hub = hub();
    let reactor = hub.try_reactor()?;
    loop {
        let watch = match reactor.watch(fd.as_raw_fd(), interest, waiter.notify()) {
            Ok(watch) => Watching { reactor, watch },
            Err((error, _)) if descriptor::is_always_ready(&error) => return Ok(interest),
            Err((error, _)) => return Err(error),
        };
        let wakeup = waiter.park(deadline);
        drop(watch);
        if let Wakeup::Interrupted(interrupt) = wakeup {
            drop(waiter);
            interrupt.raise();
        }
        let ready = poll::check(fd, interest)?;
        if !ready.is_none() {
            return Ok(ready);
        }
        if let Wakeup::TimedOut = wakeup {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

/// Parks until one of several descriptors is readable, at most until `deadline`, or for no reason. What cannot be waited for is not.
///
/// A kill or an enclosing time limit ends it by unwinding. `on` is what a report of a deadlock says.
pub(crate) fn park_until_readable(fds: &[BorrowedFd<'_>], on: &'static str, deadline: Time) {
    let is_ready =
        |fd: &BorrowedFd<'_>| poll::check(*fd, Interest::READABLE).is_ok_and(|ready| !ready.is_none());
    if fds.iter().any(is_ready) {
        return;
    }
    let waiter = Waiter::new(WaitingOn::Other(on));
    let hub = hub();
    let watch = |fd: &BorrowedFd<'_>| {
        let reactor = hub.try_reactor().ok()?;
        let watch = reactor.watch(fd.as_raw_fd(), Interest::READABLE, waiter.notify()).ok()?;
        Some(Watching { reactor, watch })
    };
    let watches: Vec<_> = fds.iter().filter_map(watch).collect();
    let wakeup = waiter.park(Some(deadline));
    drop(watches);
    if let Wakeup::Interrupted(interrupt) = wakeup {
        drop(waiter);
        interrupt.raise();
    }
}

fn waiting_on(fd: BorrowedFd<'_>, interest: Interest) -> WaitingOn {
    match interest.is_readable() {
        true => WaitingOn::Readable(fd.as_raw_fd()),
        false => WaitingOn::Writable(fd.as_raw_fd()),
    }
}

/// A watch that ends with the wait, however that ends.
struct Watching<'a> {
    reactor: &'a Reactor,
    watch: Watch,
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.reactor.unwatch(&self.watch);
    }
}
