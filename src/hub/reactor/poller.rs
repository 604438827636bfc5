//! The contract between a reactor and what it asks the kernel with.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::super::driver::Driver;
use crate::sys::bell::Bell;
use crate::sys::descriptor;
use crate::sys::epoll::{Epoll, EpollSet};
use crate::sys::poll::Poll;
use crate::sys::readiness::{Interest, Readiness};
use crate::sys::uring::Uring;

/// The token of the bell that ends a wait; no key has this value.
pub(super) const BELL: u64 = u64::MAX;

/// An open driver. What it owes the reactor:
///
/// * Every descriptor is named by its number and a token, which comes back in its events.
/// * `own` is told of each descriptor of greenloop's own, once, and `disown` before it is closed. A driver that
///   [tells edges](Poller::tells_edges) tells each later change of its readiness without being asked again, and at once
///   what it is ready for already. The other kind tells nothing for that.
/// * `ask` makes the next wait that finds `fd` ready for any of the interest tell so. After that the driver may or may not
///   tell again, see [`answers_once`](Poller::answers_once): the reactor asks anew for what it still wants. No interest at all
///   means that events are of no use; they may come all the same.
/// * `let_go` is told when what was asked for is not wanted any more and the file may be about to be closed: nothing keeps it
///   open after that.
/// * An event may be stale or spurious. Its token tells the reactor whom it was meant for.
#[derive(Debug)]
pub(super) enum Poller {
    Epoll(Epoll),
    Poll(Poll),
    Uring(Box<Uring>),
}

impl Poller {
    /// The driver asked for, or the best that works. As long as `bell` rings, its waits return at once.
    pub(super) fn open(driver: Option<Driver>, bell: &Bell) -> io::Result<Poller> {
        let mut poller = match driver {
            Some(Driver::Poll) => Poller::Poll(Poll::new()),
            Some(Driver::Epoll) => Poller::Epoll(Epoll::new()?),
            Some(Driver::IoUring) => Poller::Uring(Box::new(Uring::new()?)),
            None => match Epoll::new() {
                Err(error) if is_refused(&error) => Poller::Poll(Poll::new()),
                epoll => Poller::Epoll(epoll?),
            },
        };
        poller.listen(bell)?;
        Ok(poller)
    }

    fn listen(&mut self, bell: &Bell) -> io::Result<()> {
        let fd = bell.as_fd().as_raw_fd();
        match self {
            Poller::Epoll(epoll) => epoll.set().add_level(fd, BELL, Interest::READABLE)?,
            Poller::Poll(poll) => poll.ask(fd, BELL, Interest::READABLE),
            Poller::Uring(uring) => uring.add_level(fd, BELL, Interest::READABLE),
        }
        Ok(())
    }

    /// Looks whether it still hears the bell: the number may be closed, or mean another file.
    ///
    /// # Errors
    ///
    /// That it does not. A driver that cannot tell hears it from now on, or is told by its next wait.
    pub(super) fn listen_again(&mut self, bell: &Bell) -> io::Result<()> {
        let fd = bell.as_fd().as_raw_fd();
        match self {
            Poller::Epoll(epoll) => epoll.set().level_again(fd, BELL, Interest::READABLE)?,
            // Each wait names it by its number.
            Poller::Poll(_) => {}
            Poller::Uring(uring) => uring.add_level(fd, BELL, Interest::READABLE),
        }
        Ok(())
    }

    /// Somebody else has closed its descriptor, so that a wait gave `error`, or the bell's, which had the number `former`: it gets
    /// others. The reactor tells it again of all that it is to know.
    ///
    /// # Errors
    ///
    /// The error of the wait, if that cannot be mended, or as the kernel says.
    pub(super) fn renew(&mut self, error: Option<io::Error>, former: RawFd, bell: &Bell) -> io::Result<()> {
        match (&mut *self, error) {
            (Poller::Epoll(epoll), error) if error.as_ref().is_none_or(descriptor::is_lost) => {
                // Without an error the set may be gone as well, and the number another set.
                epoll.set().renew()?;
            }
            (_, Some(error)) => return Err(error),
            (Poller::Epoll(_), None) => {}
            (Poller::Poll(poll), None) => poll.ask(former, BELL, Interest::NONE),
            (Poller::Uring(uring), None) => uring.ask(former, BELL, Interest::NONE),
        }
        self.listen(bell)
    }

    #[inline]
    pub(super) fn tells_edges(&self) -> bool {
        matches!(self, Poller::Epoll(_))
    }

    /// Whether it forgets what it was asked for when it has told of it.
    #[inline]
    pub(super) fn answers_once(&self) -> bool {
        matches!(self, Poller::Epoll(_) | Poller::Uring(_))
    }

    /// Which one it is.
    pub(super) fn driver(&self) -> Driver {
        match self {
            Poller::Epoll(_) => Driver::Epoll,
            Poller::Poll(_) => Driver::Poll,
            Poller::Uring(_) => Driver::IoUring,
        }
    }

    /// What keeps the descriptors in the kernel, for other threads to take one out; dead for a driver without such a thing.
    pub(super) fn set(&self) -> Weak<EpollSet> {
        match self {
            Poller::Epoll(epoll) => Arc::downgrade(epoll.set()),
            Poller::Poll(_) | Poller::Uring(_) => Weak::new(),
        }
    }

    pub(super) fn own(&mut self, fd: RawFd, token: u64) -> io::Result<()> {
        match self {
            Poller::Epoll(epoll) => epoll.set().add_edges(fd, token),
            Poller::Poll(_) | Poller::Uring(_) => Ok(()),
        }
    }

    pub(super) fn disown(&mut self, fd: RawFd) {
        if let Poller::Epoll(epoll) = self {
            epoll.set().delete(fd);
        }
    }

    pub(super) fn ask(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        match self {
            // Asked before, it may answer once more, to a token that is stale by then: cheaper than a call now.
            Poller::Epoll(_) if interest.is_none() => Ok(()),
            Poller::Epoll(epoll) => epoll.set().ask(fd, token, interest),
            Poller::Poll(poll) => {
                poll.ask(fd, token, interest);
                Ok(())
            }
            Poller::Uring(uring) => {
                uring.ask(fd, token, interest);
                Ok(())
            }
        }
    }

    #[inline]
    pub(super) fn let_go(&mut self) {
        if let Poller::Uring(uring) = self {
            // The next wait says what is wrong.
            let _ = uring.let_go();
        }
    }

    #[inline]
    pub(super) fn wait(
        &mut self,
        timeout: Option<Duration>,
        tell: impl FnMut(Readiness),
    ) -> io::Result<usize> {
        match self {
            Poller::Epoll(epoll) => epoll.wait(timeout, tell),
            Poller::Poll(poll) => poll.wait(timeout, tell),
            Poller::Uring(uring) => uring.wait(timeout, tell),
        }
    }
}

/// Whether the kernel, or the sandbox around the process, does not have the call at all.
fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied)
}
