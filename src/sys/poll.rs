//! poll(2): the set of descriptors is handed over with each wait. For kernels and sandboxes without epoll.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use super::readiness::{Event, Interest, timespec};
use super::{SystemCall, original};

/// POLLNVAL counts as ready for everything: the call that follows gets EBADF.
const READABLE: libc::c_short = libc::POLLIN | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL;
const WRITABLE: libc::c_short = libc::POLLOUT | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL;
const MARKED: libc::c_short = libc::POLLHUP | libc::POLLERR | libc::POLLNVAL;

/// A position in [`Poll::asked`] that means "not there".
const NOWHERE: u32 = u32::MAX;

/// A set of descriptors, each with what it is asked for.
#[derive(Debug, Default)]
pub(crate) struct Poll {
    asked: Vec<libc::pollfd>,
    /// `tokens[i]` is the token of `asked[i]`.
    tokens: Vec<u64>,
    /// `positions[fd]` is where `fd` lies in `asked`, or [`NOWHERE`].
    positions: Vec<u32>,
}

impl Poll {
    pub(crate) fn new() -> Poll {
        Poll::default()
    }

    /// Asks `fd` for `interest` in every wait until told otherwise; no interest takes it out of the set.
    pub(crate) fn ask(&mut self, fd: RawFd, token: u64, interest: Interest) {
        let events = events(interest);
        let number = fd as usize;
        if self.positions.len() <= number {
            self.positions.resize(number + 1, NOWHERE);
        }
        let position = self.positions[number] as usize;
        if interest.is_none() {
            self.take_out(number, position);
        } else if position == NOWHERE as usize {
            self.positions[number] = self.asked.len() as u32;
            self.asked.push(libc::pollfd { fd, events, revents: 0 });
            self.tokens.push(token);
        } else {
            self.asked[position].events = events;
            self.tokens[position] = token;
        }
    }

    fn take_out(&mut self, number: usize, position: usize) {
        if position == NOWHERE as usize {
            return;
        }
        self.positions[number] = NOWHERE;
        self.asked.swap_remove(position);
        self.tokens.swap_remove(position);
        if let Some(moved) = self.asked.get(position) {
            self.positions[moved.fd as usize] = position as u32;
        }
    }

    /// Waits until something in the set is ready, at most for `timeout`, and hands each event to `tell`. A signal ends the
    /// wait early.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>, mut tell: impl FnMut(Event)) -> io::Result<()> {
        let count = match poll(&mut self.asked, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            count => count?,
        };
        let answers = self.asked.iter().zip(&self.tokens).filter(|(asked, _)| asked.revents != 0);
        for (asked, &token) in answers.take(count) {
            tell(Event { token, ready: ready(asked.revents), marked: asked.revents & MARKED != 0 });
        }
        Ok(())
    }
}

/// What of `interest` `fd` is ready for now.
///
/// # Errors
///
/// EBADF if the number is not open.
pub(crate) fn check(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<Interest> {
    let mut set = [libc::pollfd { fd: fd.as_raw_fd(), events: events(interest), revents: 0 }];
    loop {
        match poll(&mut set, Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => {
                result?;
                break;
            }
        }
    }
    if set[0].revents & libc::POLLNVAL != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    Ok(ready(set[0].revents).common(interest))
}

fn events(interest: Interest) -> libc::c_short {
    let readable = if interest.is_readable() { libc::POLLIN } else { 0 };
    let writable = if interest.is_writable() { libc::POLLOUT } else { 0 };
    readable | writable
}

fn ready(revents: libc::c_short) -> Interest {
    Interest::READABLE.when(revents & READABLE != 0) | Interest::WRITABLE.when(revents & WRITABLE != 0)
}

fn poll(set: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    let timeout = timeout.map(timespec);
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `set` is valid for its length, `timeout` is null or points to a timespec that outlives the call, and a null
    // signal mask leaves the mask alone.
    let count =
        unsafe { original::ppoll(set.as_mut_ptr(), set.len() as libc::nfds_t, timeout, std::ptr::null()) };
    count.check().map(|count| count as usize)
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Write};
    use std::os::fd::AsFd;

    use super::*;

    fn tokens(poll: &mut Poll) -> Vec<u64> {
        let mut tokens = Vec::new();
        poll.wait(Some(Duration::ZERO), |event| tokens.push(event.token)).unwrap();
        tokens
    }

    fn readable_pipe() -> PipeReader {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"a").unwrap();
        reader
    }

    #[test]
    fn only_what_is_asked_is_told() {
        let readers: Vec<_> = (0..4).map(|_| readable_pipe()).collect();
        let mut poll = Poll::new();
        let ask = |poll: &mut Poll, index: usize, interest| {
            poll.ask(readers[index].as_raw_fd(), index as u64, interest);
        };
        (0..4).for_each(|index| ask(&mut poll, index, Interest::READABLE));
        assert_eq!(tokens(&mut poll), [0, 1, 2, 3]);
        ask(&mut poll, 0, Interest::NONE);
        ask(&mut poll, 0, Interest::NONE);
        ask(&mut poll, 2, Interest::NONE);
        assert_eq!(tokens(&mut poll), [3, 1]);
        ask(&mut poll, 2, Interest::BOTH);
        ask(&mut poll, 3, Interest::NONE);
        assert_eq!(tokens(&mut poll), [2, 1]);
    }

    #[test]
    fn check_does_not_wait() {
        let (reader, writer) = io::pipe().unwrap();
        assert_eq!(check(reader.as_fd(), Interest::BOTH).unwrap(), Interest::NONE);
        assert_eq!(check(writer.as_fd(), Interest::BOTH).unwrap(), Interest::WRITABLE);
        drop(writer);
        assert_eq!(check(reader.as_fd(), Interest::READABLE).unwrap(), Interest::READABLE);
    }
}
