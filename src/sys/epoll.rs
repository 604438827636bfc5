//! epoll: the kernel keeps the set of descriptors and tells which of them became ready.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use super::readiness::{Interest, LONGEST_WAIT, Readiness, timespec};
use super::replaceable::Replaceable;
use super::{SystemCall, original};

/// Events fetched by one wait; more stay in the kernel for the next.
const EVENTS: usize = 1024;

/// Any of these makes a read return at once.
const READABLE: libc::c_int =
    libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLPRI | libc::EPOLLHUP | libc::EPOLLERR;
/// Any of these makes a write return at once.
const WRITABLE: libc::c_int = libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR;
/// With any of these a short read or write proves nothing: something comes behind it for which no edge comes again.
/// EPOLLPRI is among them because a TCP read stops at the mark of urgent data.
const MARKED: libc::c_int = libc::EPOLLRDHUP | libc::EPOLLPRI | libc::EPOLLHUP | libc::EPOLLERR;
/// What a descriptor of greenloop's own is registered for, once.
const EDGES: libc::c_int = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLPRI | libc::EPOLLET;

/// An epoll instance and the buffer for its answers.
#[derive(Debug)]
pub(crate) struct Epoll {
    set: Arc<EpollSet>,
    events: Box<[libc::epoll_event]>,
    /// Whether the kernel has epoll_pwait2 (Linux 5.11); found out by the first wait.
    precise: bool,
}

/// The set of descriptors of an [`Epoll`], for every thread.
///
/// Descriptors are named by number: the kernel looks the number up, and a wrong one is an error or concerns another
/// descriptor of the set, but no memory.
#[derive(Debug)]
pub(crate) struct EpollSet {
    fd: Replaceable,
    /// Who made it.
    process: u32,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        let fd = Replaceable::new(open()?);
        let events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS].into_boxed_slice();
        let set = Arc::new(EpollSet { fd, process: std::process::id() });
        Ok(Epoll { set, events, precise: true })
    }

    pub(crate) fn set(&self) -> &Arc<EpollSet> {
        &self.set
    }

    /// Waits until something in the set is ready, at most for `timeout` and for [`LONGEST_WAIT`], and hands each event to `tell`. A signal ends the
    /// wait early.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        mut tell: impl FnMut(Readiness),
    ) -> io::Result<usize> {
        let count = match self.fetch(timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            count => count?,
        };
        for event in &self.events[..count] {
            let bits = event.events as libc::c_int;
            let ready =
                Interest::READABLE.when(bits & READABLE != 0) | Interest::WRITABLE.when(bits & WRITABLE != 0);
            tell(Readiness { token: event.u64, ready, marked: bits & MARKED != 0 });
        }
        Ok(count)
    }

    fn fetch(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let milliseconds = match timeout {
            None => LONGEST_WAIT.as_millis() as libc::c_int,
            Some(Duration::ZERO) => 0,
            Some(timeout) if self.precise => match self.fetch_precisely(timeout.min(LONGEST_WAIT)) {
                Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
                    self.precise = false;
                    rounded_up(timeout.min(LONGEST_WAIT))
                }
                count => return count,
            },
            Some(timeout) => rounded_up(timeout.min(LONGEST_WAIT)),
        };
        let capacity = self.events.len() as libc::c_int;
        // SAFETY: `events` is valid for `capacity` events to be written; the descriptor is open as long as `self.set` lives.
        let count = unsafe {
            original::epoll_wait(self.set.fd.as_raw_fd(), self.events.as_mut_ptr(), capacity, milliseconds)
        };
        count.check().map(|count| count as usize)
    }

    fn fetch_precisely(&mut self, timeout: Duration) -> io::Result<usize> {
        let timeout = timespec(timeout);
        // SAFETY: `events` is valid for as many events as is said, `timeout` outlives the call, and a null signal mask leaves the mask
        // alone, whatever its size.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.set.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as libc::c_int,
                std::ptr::from_ref(&timeout),
                std::ptr::null::<libc::sigset_t>(),
                size_of::<u64>(),
            )
        };
        (count as libc::ssize_t).check().map(|count| count as usize)
    }
}

impl EpollSet {
    /// Begins with an empty set, in place of one whose descriptor somebody else has closed.
    pub(crate) fn renew(&self) -> io::Result<()> {
        self.fd.replace(open()?);
        Ok(())
    }

    /// Adds `fd` for good: every change of its readiness in either direction is told once.
    pub(crate) fn add_edges(&self, fd: RawFd, token: u64) -> io::Result<()> {
        match self.control(libc::EPOLL_CTL_ADD, fd, EDGES, token) {
            // Somebody waited for this number by `ask` before.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                self.control(libc::EPOLL_CTL_MOD, fd, EDGES, token)
            }
            result => result,
        }
    }

    /// Adds `fd` for good: every wait tells for what of `interest` it is ready, as long as it is.
    pub(crate) fn add_level(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, level(interest), token)
    }

    /// The same for one that was added so. An error if the number does not mean that file any more.
    pub(crate) fn level_again(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, level(interest), token)
    }

    /// Asks for `fd`, which is not in the set, as [`ask`](EpollSet::ask) does.
    pub(crate) fn add_once(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, once(interest), token)
    }

    /// Asks anew for `fd`. An error if the number does not mean the file any more with which it was added, whether that is closed or
    /// open elsewhere.
    pub(crate) fn ask_again(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, once(interest), token)
    }

    /// Asks to be told once, as soon as `fd` is ready for any of `interest`.
    ///
    /// The number may have been asked for before, and may even name another file now.
    pub(crate) fn ask(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        match self.ask_again(fd, token, interest) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => self.add_once(fd, token, interest),
            result => result,
        }
    }

    /// Whether the set belongs to this process. A child made by fork shares the set with its parent, and must not take the
    /// parent's descriptors out.
    pub(crate) fn is_ours(&self) -> bool {
        self.process == std::process::id()
    }

    /// Takes `fd` out. Of no effect if it is not in the set.
    pub(crate) fn delete(&self, fd: RawFd) {
        // An error means that the kernel has forgotten it already.
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0, 0);
    }

    fn control(&self, operation: libc::c_int, fd: RawFd, bits: libc::c_int, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: bits as u32, u64: token };
        // SAFETY: `event` is valid for the call, which keeps no pointer to it.
        unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd, &mut event) }.check()?;
        Ok(())
    }
}

impl AsFd for EpollSet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn open() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }.check()?;
    // SAFETY: the kernel has just made `fd`, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn level(interest: Interest) -> libc::c_int {
    let readable = if interest.is_readable() { libc::EPOLLIN } else { 0 };
    let writable = if interest.is_writable() { libc::EPOLLOUT } else { 0 };
    readable | writable
}

/// For one answer.
fn once(interest: Interest) -> libc::c_int {
    let readable = if interest.is_readable() { libc::EPOLLIN | libc::EPOLLRDHUP } else { 0 };
    let writable = if interest.is_writable() { libc::EPOLLOUT } else { 0 };
    readable | writable | libc::EPOLLONESHOT
}

/// Milliseconds that are not shorter than `timeout`, so that nobody wakes before his time only to wait again.
fn rounded_up(timeout: Duration) -> libc::c_int {
    libc::c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn events(epoll: &mut Epoll) -> Vec<Readiness> {
        let mut events = Vec::new();
        epoll.wait(Some(Duration::ZERO), |event| events.push(event)).unwrap();
        events
    }

    #[test]
    fn an_edge_is_told_once_and_an_end_is_marked() {
        let mut epoll = Epoll::new().unwrap();
        let (mut reader, mut writer) = io::pipe().unwrap();
        epoll.set().add_edges(reader.as_raw_fd(), 7).unwrap();
        assert_eq!(events(&mut epoll), []);
        writer.write_all(b"ab").unwrap();
        assert_eq!(events(&mut epoll), [Readiness { token: 7, ready: Interest::READABLE, marked: false }]);
        assert_eq!(events(&mut epoll), []);
        reader.read_exact(&mut [0]).unwrap();
        drop(writer);
        assert_eq!(events(&mut epoll), [Readiness { token: 7, ready: Interest::BOTH, marked: true }]);
    }

    #[test]
    fn asking_holds_for_one_answer() {
        let mut epoll = Epoll::new().unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"a").unwrap();
        for token in [1, 2] {
            epoll.set().ask(reader.as_raw_fd(), token, Interest::READABLE).unwrap();
            assert_eq!(events(&mut epoll), [Readiness { token, ready: Interest::READABLE, marked: false }]);
            assert_eq!(events(&mut epoll), []);
        }
        epoll.set().add_edges(reader.as_raw_fd(), 3).unwrap();
        assert_eq!(events(&mut epoll).len(), 1);
        epoll.set().delete(reader.as_raw_fd());
        writer.write_all(b"b").unwrap();
        assert_eq!(events(&mut epoll), []);
    }

    #[test]
    fn old_kernels_wait_in_whole_milliseconds() {
        assert_eq!(rounded_up(Duration::from_nanos(1)), 1);
        assert_eq!(rounded_up(Duration::from_millis(2)), 2);
        assert_eq!(rounded_up(Duration::MAX), libc::c_int::MAX);
        let mut epoll = Epoll::new().unwrap();
        epoll.precise = false;
        let start = std::time::Instant::now();
        epoll.wait(Some(Duration::from_micros(1_100)), |_| unreachable!()).unwrap();
        assert!(start.elapsed() >= Duration::from_micros(1_100));
    }
}
