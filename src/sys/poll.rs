//! poll(2): the set of descriptors is handed over with each wait. For kernels and sandboxes without epoll.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::BitOr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use super::clock::Time;
use super::readiness::{Interest, LONGEST_WAIT, Readiness, timespec};
use super::{SystemCall, original, uninterrupted};

/// POLLNVAL counts as ready for everything: the call that follows gets EBADF.
const READABLE: libc::c_short = libc::POLLIN | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL;
const WRITABLE: libc::c_short = libc::POLLOUT | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL;
const MARKED: libc::c_short = libc::POLLHUP | libc::POLLERR | libc::POLLNVAL;

/// How often the parts of a set are looked at that the kernel does not wait for as a whole.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

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

    /// Waits until something in the set is ready, at most for `timeout` and for [`LONGEST_WAIT`], and hands each event to `tell`. A signal ends the
    /// wait early.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        mut tell: impl FnMut(Readiness),
    ) -> io::Result<usize> {
        let timeout = timeout.map_or(LONGEST_WAIT, |timeout| timeout.min(LONGEST_WAIT));
        let count = match poll(&mut self.asked, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => self.wait_in_parts(timeout)?,
            count => count?,
        };
        let answers = self.asked.iter().zip(&self.tokens).filter(|(asked, _)| asked.revents != 0);
        for (asked, &token) in answers.take(count) {
            tell(Readiness { token, ready: ready(asked.revents), marked: asked.revents & MARKED != 0 });
        }
        Ok(count)
    }

    /// The limit of descriptors was lowered below the size of the set, which the kernel refuses to look at as a whole then. Looks at
    /// one part after another until something is ready.
    #[cold]
    fn wait_in_parts(&mut self, timeout: Duration) -> io::Result<usize> {
        let most = most_descriptors()?;
        let deadline = Time::after(timeout);
        loop {
            let ready = if most > 0 { self.look_at_parts(most)? } else { 0 };
            let left = Time::now().until(deadline);
            if ready > 0 || left.is_zero() {
                return Ok(ready);
            }
            // Nothing is looked at: this sleeps. A signal may end that.
            let _ = poll(&mut [], Some(left.min(BETWEEN_LOOKS)));
            if most == 0 {
                // None can be looked at: each is to be tried.
                self.asked.iter_mut().for_each(|asked| asked.revents = asked.events);
                return Ok(self.asked.len());
            }
        }
    }

    fn look_at_parts(&mut self, most: usize) -> io::Result<usize> {
        self.asked.chunks_mut(most).map(poll_now).sum()
    }
}

/// How many descriptors the process may have.
fn most_descriptors() -> io::Result<usize> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid to be written.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }.check()?;
    Ok(usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX))
}

/// A set of events that [`poll`](crate::select::poll) can be asked for, or has found.
///
/// # Examples
///
/// ```
/// use greenloop::select::PollFlags;
///
/// let both = PollFlags::IN | PollFlags::OUT;
/// assert!(both.contains(PollFlags::IN) && !both.contains(PollFlags::HUP));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PollFlags(libc::c_short);

impl PollFlags {
    /// A read would not block.
    pub const IN: PollFlags = PollFlags(libc::POLLIN);
    /// A write would not block.
    pub const OUT: PollFlags = PollFlags(libc::POLLOUT);
    /// There is an error. It is reported even if it was not asked for.
    pub const ERR: PollFlags = PollFlags(libc::POLLERR);
    /// The other end has gone. It is reported even if it was not asked for.
    pub const HUP: PollFlags = PollFlags(libc::POLLHUP);
    /// The descriptor is not open. It is reported even if it was not asked for.
    pub const NVAL: PollFlags = PollFlags(libc::POLLNVAL);

    /// Returns an empty set of flags.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::select::PollFlags;
    ///
    /// assert!(PollFlags::empty().is_empty());
    /// assert!(!PollFlags::empty().contains(PollFlags::IN));
    /// ```
    pub const fn empty() -> PollFlags {
        PollFlags(0)
    }

    /// Returns `true` if no flag is set.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::select::PollFlags;
    ///
    /// assert!(PollFlags::empty().is_empty());
    /// assert!(!PollFlags::IN.is_empty());
    /// ```
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns `true` if all of `flags` are set.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::select::PollFlags;
    ///
    /// let both = PollFlags::IN | PollFlags::OUT;
    /// assert!(both.contains(PollFlags::IN));
    /// assert!(!PollFlags::IN.contains(both));
    /// ```
    pub const fn contains(self, flags: PollFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    pub(crate) fn interest(self) -> Interest {
        Interest::READABLE.when(self.contains(PollFlags::IN))
            | Interest::WRITABLE.when(self.contains(PollFlags::OUT))
    }
}

impl BitOr for PollFlags {
    type Output = PollFlags;

    fn bitor(self, other: PollFlags) -> PollFlags {
        PollFlags(self.0 | other.0)
    }
}

impl fmt::Debug for PollFlags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (PollFlags::IN, "IN"),
            (PollFlags::OUT, "OUT"),
            (PollFlags::ERR, "ERR"),
            (PollFlags::HUP, "HUP"),
            (PollFlags::NVAL, "NVAL"),
        ];
        let set = names.iter().filter(|(flag, _)| self.contains(*flag)).map(|&(_, name)| name);
        write!(formatter, "PollFlags({})", set.collect::<Vec<_>>().join(" | "))
    }
}

/// A descriptor, what [`poll`](crate::select::poll) asks it for, and what it answered.
///
/// # Examples
///
/// ```
/// use greenloop::select::{PollFd, PollFlags, poll};
///
/// let (_reader, writer) = std::io::pipe()?;
/// let mut fds = [PollFd::new(&writer, PollFlags::OUT)];
/// assert_eq!(poll(&mut fds, None)?, 1);
/// assert_eq!(fds[0].revents(), PollFlags::OUT);
/// # Ok::<(), std::io::Error>(())
/// ```
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct PollFd<'fd> {
    inner: libc::pollfd,
    fd: PhantomData<BorrowedFd<'fd>>,
}

impl<'fd> PollFd<'fd> {
    /// Makes an entry that asks `fd` for `events`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::select::{PollFd, PollFlags};
    ///
    /// let (reader, _writer) = std::io::pipe()?;
    /// let entry = PollFd::new(&reader, PollFlags::IN);
    /// assert_eq!((entry.events(), entry.revents()), (PollFlags::IN, PollFlags::empty()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(fd: &'fd impl AsFd, events: PollFlags) -> PollFd<'fd> {
        let inner = libc::pollfd { fd: fd.as_fd().as_raw_fd(), events: events.0, revents: 0 };
        PollFd { inner, fd: PhantomData }
    }

    /// Returns what the descriptor is asked for.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::select::{PollFd, PollFlags};
    ///
    /// let (reader, _writer) = std::io::pipe()?;
    /// assert_eq!(PollFd::new(&reader, PollFlags::IN).events(), PollFlags::IN);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn events(&self) -> PollFlags {
        PollFlags(self.inner.events)
    }

    /// Asks the descriptor for other events from now on.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::select::{PollFd, PollFlags};
    ///
    /// let (reader, _writer) = std::io::pipe()?;
    /// let mut entry = PollFd::new(&reader, PollFlags::IN);
    /// entry.set_events(PollFlags::empty());
    /// assert!(entry.events().is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_events(&mut self, events: PollFlags) {
        self.inner.events = events.0;
    }

    /// Returns what the last poll answered.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::select::{PollFd, PollFlags, poll};
    ///
    /// let (reader, writer) = std::io::pipe()?;
    /// drop(writer);
    /// let mut fds = [PollFd::new(&reader, PollFlags::IN)];
    /// poll(&mut fds, None)?;
    /// assert!(fds[0].revents().contains(PollFlags::HUP)); // the writer has gone
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn revents(&self) -> PollFlags {
        PollFlags(self.inner.revents)
    }
}

impl AsRawFd for PollFd<'_> {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.fd
    }
}

impl fmt::Debug for PollFd<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("PollFd");
        shown.field("fd", &self.as_raw_fd()).field("events", &self.events());
        shown.field("revents", &self.revents()).finish()
    }
}

/// What each of `set` is ready for now. Returns how many are ready for something.
pub(crate) fn check_all(set: &mut [PollFd<'_>]) -> io::Result<usize> {
    // SAFETY: `PollFd` is transparent over `pollfd`, so the slice has the same layout and length, and any `pollfd` that is
    // written through it is a valid `PollFd`; it is borrowed mutably for as long.
    let set = unsafe { std::slice::from_raw_parts_mut(set.as_mut_ptr().cast::<libc::pollfd>(), set.len()) };
    poll_now(set)
}

/// What of `interest` `fd` is ready for now.
///
/// # Errors
///
/// EBADF if the number is not open.
pub(crate) fn check(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<Interest> {
    let mut set = [libc::pollfd { fd: fd.as_raw_fd(), events: events(interest), revents: 0 }];
    poll_now(&mut set)?;
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

fn poll_now(set: &mut [libc::pollfd]) -> io::Result<usize> {
    uninterrupted(|| poll(set, Some(Duration::ZERO)))
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
