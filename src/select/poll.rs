//! poll(2) for green threads.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::PollFd;
use crate::hub::reactor::Watch;
use crate::hub::waiter::{Waiter, WaitingOn, Wakeup, check_may_wait};
use crate::hub::{hub, spend_budget};
use crate::sys::clock::Time;
use crate::sys::poll::check_all;

/// Waits until one of the descriptors is ready, or for `timeout`, and returns how many are ready.
///
/// Afterwards each entry's [`revents`](PollFd::revents) tells what its descriptor is ready for, as after poll(2). A result of 0
/// means that the time is over; that is no error.
///
/// If none is ready now, the calling green thread yields, and the hub wakes it when one of them is. Some descriptors are special:
///
/// - A regular file is always ready.
/// - A descriptor that is not open is always ready, with [`NVAL`](super::PollFlags::NVAL).
/// - A descriptor that is closed during the wait, and not by greenloop on the same OS thread, never becomes ready.
/// - An entry that asks for nothing is looked at, but wakes nobody.
///
/// A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding.
///
/// # Errors
///
/// - Any error of epoll_ctl(2).
/// - [`Unwinding`](crate::error::Unwinding), in an error of kind `Other`, if it would have to wait while the green thread
///   unwinds.
///
/// # Panics
///
/// Panics if it has to wait in a [hub callback](crate::hub#callbacks), which may not wait.
///
/// # Examples
///
/// ```
/// use greenloop::select::{PollFd, PollFlags, poll};
/// use std::io::Write;
/// use std::time::Duration;
///
/// let (reader, mut writer) = std::io::pipe()?;
/// let mut fds = [PollFd::new(&reader, PollFlags::IN)];
/// assert_eq!(poll(&mut fds, Some(Duration::from_millis(1)))?, 0);
/// writer.write_all(b"a")?;
/// assert_eq!(poll(&mut fds, None)?, 1);
/// assert_eq!(fds[0].revents(), PollFlags::IN);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "select")]
pub fn poll(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<usize> {
    let ready = check_all(fds)?;
    if ready == 0 && timeout != Some(Duration::ZERO) {
        return wait(fds, timeout.map(Time::after));
    }
    spend_budget();
    Ok(ready)
}

fn wait(fds: &mut [PollFd<'_>], deadline: Option<Time>) -> io::Result<usize> {
    check_may_wait()?;
    let waiter = Waiter::new(WaitingOn::Other("poll"));
    loop {
        let mut watches = Watches(Vec::with_capacity(fds.len()));
        if let Err(error) = watches.add_all(fds, &waiter) {
            // One that was closed just now is ready.
            let ready = check_all(fds)?;
            return if ready > 0 { Ok(ready) } else { Err(error) };
        }
        let wakeup = waiter.park(deadline);
        drop(watches);
        if let Wakeup::Interrupted(interrupt) = wakeup {
            drop(waiter);
            interrupt.raise();
        }
        let ready = check_all(fds)?;
        if ready > 0 || matches!(wakeup, Wakeup::TimedOut) {
            return Ok(ready);
        }
    }
}

/// Watches that end with the wait, however that ends.
struct Watches(Vec<Watch>);

impl Watches {
    fn add_all(&mut self, fds: &[PollFd<'_>], waiter: &Waiter) -> io::Result<()> {
        let hub = hub();
        let reactor = hub.try_reactor()?;
        for fd in fds {
            let interest = fd.events().interest();
            if !interest.is_none() {
                let watch = reactor.watch(fd.as_raw_fd(), interest, waiter.notify());
                self.0.push(watch.map_err(|(error, _)| error)?);
            }
        }
        Ok(())
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        let hub = hub();
        self.0.drain(..).for_each(|watch| hub.reactor().unwatch(&watch));
    }
}
