//! io_uring: requests and answers go through memory that the kernel shares, and one system call per pass of the hub submits and
//! waits. Linux 6.1 or later.
//!
//! It tells readiness, as the other drivers do: a descriptor is asked for one answer, and the question goes to the kernel
//! with the next wait. What is asked keeps its file open until it has answered or has been taken back, whatever becomes of
//! the number; see [`let_go`](Uring::let_go).
//!
//! And it does operations as a whole, on memory that stays in its place until the kernel answers; see [`begin`](Uring::begin).

mod abi;
mod entry;
mod opening;
mod provided;
mod ring;

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;

use super::readiness::{Interest, LONGEST_WAIT, Readiness};
use abi::{Completion, Submission};
pub(crate) use entry::{Done, Entry};
pub(crate) use opening::Opening;
use provided::{Buffers, Provided};
use ring::Ring;

/// What the kernel must have.
const OPERATIONS: &[u8] = &[
    abi::POLL,
    abi::CANCEL,
    abi::READ,
    abi::WRITE,
    abi::SEND,
    abi::RECEIVE,
    abi::ACCEPT,
    abi::CONNECT,
    abi::OPEN,
    abi::SYNCHRONIZE,
];
/// Events told by one wait, about; more are left for the next.
const EVENTS: usize = 1024;
/// The name of requests whose answers are of no use.
const NOBODY: u64 = u64::MAX;
/// In [`Uring::numbers`]: nothing is asked of this number.
const NOWHERE: u32 = u32::MAX;

const READABLE: libc::c_int = libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;
const WRITABLE: libc::c_int = libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR;
const MARKED: libc::c_int = libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;

/// A set of descriptors that are asked, in an io_uring of the calling thread's.
#[derive(Debug)]
pub(crate) struct Uring {
    ring: Ring,
    /// What will be answered, by its name, which is free again when the last answer has been taken.
    requests: Slab<Request>,
    /// `numbers[fd]` is the name of the request in force for `fd`, or [`NOWHERE`].
    numbers: Vec<u32>,
    /// Requests taken back that have not been answered.
    leaving: usize,
    /// Operations that have not been answered.
    under_way: usize,
    /// Requests for which the ring had no room.
    backlog: VecDeque<Submission>,
    /// What was answered while nobody waited.
    heard: Vec<Readiness>,
    /// The operations that have been answered, by their tokens.
    done: Vec<(u64, io::Result<Done>)>,
    /// For what is received, from the first question for them on; `None` inside if the kernel refused.
    buffers: Option<Option<Rc<Buffers>>>,
    /// Who made it: in the child of a fork, the operations are the parent's.
    process: u32,
}

#[derive(Clone, Copy, Debug)]
enum Request {
    Poll(Poll),
    Operation {
        token: u64,
        /// Whether it makes a descriptor.
        opens: bool,
        /// As in [`Poll`].
        taken_back: bool,
    },
}

/// A request for readiness.
#[derive(Clone, Copy, Debug)]
struct Poll {
    token: u64,
    fd: RawFd,
    interest: Interest,
    manner: Manner,
    /// Nobody asks any more.
    taken_back: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Manner {
    /// For one answer.
    Once,
    /// The same, of a descriptor that would give one that is of no use, and give it again at once.
    Changes,
    /// For an answer in each wait.
    Always,
}

/// There is no io_uring of the kind that is needed.
#[derive(Debug, thiserror::Error)]
#[error("io_uring of Linux 6.1 or later is missing, or disabled: {0}")]
struct Missing(io::Error);

impl Uring {
    /// # Errors
    ///
    /// Kind `Unsupported` if the kernel is too old or does not let this process use it. Else as the kernel says, for instance
    /// that the process has no descriptor left.
    pub(crate) fn new() -> io::Result<Uring> {
        let ring = Ring::new(OPERATIONS).map_err(|error| match error.raw_os_error() {
            None | Some(libc::ENOSYS | libc::EPERM | libc::EACCES | libc::EINVAL) => {
                io::Error::new(io::ErrorKind::Unsupported, Missing(error))
            }
            _ => error,
        })?;
        Ok(Uring {
            ring,
            requests: Slab::new(),
            numbers: Vec::new(),
            leaving: 0,
            under_way: 0,
            backlog: VecDeque::new(),
            heard: Vec::new(),
            done: Vec::new(),
            buffers: None,
            process: std::process::id(),
        })
    }

    /// Asks to be told once, as soon as `fd` is ready for any of `interest`, in place of what the number was asked for
    /// before. It may name another file now. No interest only takes that back.
    pub(crate) fn ask(&mut self, fd: RawFd, token: u64, interest: Interest) {
        let number = fd as usize;
        if self.numbers.len() <= number {
            self.numbers.resize(number + 1, NOWHERE);
        }
        self.take_back(number);
        if !interest.is_none() {
            self.poll(Poll { token, fd, interest, manner: Manner::Once, taken_back: false });
        }
    }

    /// Has every wait tell for what of `interest` `fd` is ready, as long as it is.
    pub(crate) fn add_level(&mut self, fd: RawFd, token: u64, interest: Interest) {
        self.ask(fd, token, Interest::NONE);
        self.poll(Poll { token, fd, interest, manner: Manner::Always, taken_back: false });
    }

    /// Waits until something that was asked is ready, at most for `timeout` and for [`LONGEST_WAIT`], and hands each
    /// event to `tell`. A signal ends the wait early.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        mut tell: impl FnMut(Readiness),
    ) -> io::Result<usize> {
        let idle = self.heard.is_empty() && self.done.is_empty() && !self.ring.has_completions();
        let timeout = timeout.map_or(LONGEST_WAIT, |timeout| timeout.min(LONGEST_WAIT));
        let waits = idle && !timeout.is_zero();
        self.submit(waits.then_some(timeout))?;
        let mut answers = self.heard.len();
        self.heard.drain(..).for_each(&mut tell);
        loop {
            let before = answers;
            while let Some(completion) = self.ring.pop() {
                answers += 1;
                if let Some(event) = self.answered(completion) {
                    tell(event);
                }
            }
            // The kernel makes few answers at a time.
            if answers == before || answers > EVENTS || !self.ring.may_have_work() {
                return Ok(answers);
            }
            self.ring.enter(0, None)?;
        }
    }

    /// When this returns, the kernel keeps no file open for a request that was taken back. Mostly there is none such, and it
    /// costs nothing.
    pub(crate) fn let_go(&mut self) -> io::Result<()> {
        loop {
            while let Some(completion) = self.ring.pop() {
                let event = self.answered(completion);
                self.heard.extend(event);
            }
            if self.leaving == 0 {
                return Ok(());
            }
            self.submit(Some(LONGEST_WAIT))?;
        }
    }

    /// Has the kernel do an operation, from the next wait on. Its token is told by [`take_done`](Uring::take_done) in the end, or
    /// never, if this is dropped.
    ///
    /// # Safety
    ///
    /// `entry` is not dropped or taken apart until then: until its token has been told, or this has been dropped.
    pub(crate) unsafe fn begin(&mut self, entry: &Entry<'_>, token: u64) -> Begun {
        let request = Request::Operation { token, opens: entry.opens(), taken_back: false };
        let name = self.requests.insert(request);
        self.under_way += 1;
        self.push(Submission { name: name as u64, ..entry.submission });
        Begun(name as u64)
    }

    /// Whether there are buffers for operations that [take one](Entry::takes_buffer), which fail with ENOBUFS otherwise: the kernel may
    /// refuse them for want of memory.
    pub(crate) fn has_buffers(&mut self) -> bool {
        self.buffers.get_or_insert_with(|| Buffers::new(self.ring.as_fd()).ok()).is_some()
    }

    /// Has the kernel give up an operation that has not been told of, if it still can: it is told of all the same, soon, with the
    /// error ECANCELED or EINTR if it has not been done.
    pub(crate) fn cancel(&mut self, begun: Begun) {
        self.push(cancel(begun.0));
    }

    /// [Cancels](Uring::cancel) one whose file is about to be closed: [`let_go`](Uring::let_go) waits for its end.
    pub(crate) fn hurry(&mut self, begun: Begun) {
        let request = self.requests.get_mut(begun.0 as usize);
        if let Some(Request::Operation { taken_back: taken_back @ false, .. }) = request {
            *taken_back = true;
            self.leaving += 1;
            self.cancel(begun);
        }
    }

    /// Tells of the operations that are done.
    #[inline]
    pub(crate) fn take_done(&mut self) -> impl Iterator<Item = (u64, io::Result<Done>)> {
        self.done.drain(..)
    }

    fn poll(&mut self, poll: Poll) {
        let name = self.requests.insert(Request::Poll(poll));
        self.numbers[poll.fd as usize] = name as u32;
        let readable = if poll.interest.is_readable() { libc::EPOLLIN | libc::EPOLLRDHUP } else { 0 };
        let writable = if poll.interest.is_writable() { libc::EPOLLOUT } else { 0 };
        let events = (readable | writable) as u32;
        self.push(Submission {
            operation: abi::POLL,
            fd: poll.fd,
            length: if poll.manner == Manner::Changes { abi::POLL_CHANGES } else { 0 },
            // Halves in the order of the machine, of which the lower one comes first.
            options: if cfg!(target_endian = "big") { events.rotate_left(16) } else { events },
            name: name as u64,
            ..Submission::default()
        });
    }

    fn take_back(&mut self, number: usize) {
        let name = std::mem::replace(&mut self.numbers[number], NOWHERE);
        if name == NOWHERE {
            return;
        }
        if let Request::Poll(poll) = &mut self.requests[name as usize] {
            poll.taken_back = true;
            self.leaving += 1;
            self.push(cancel(name.into()));
        }
    }

    /// Takes in an answer. Hands out what is to be told.
    #[inline]
    fn answered(&mut self, Completion { name, result, flags }: Completion) -> Option<Readiness> {
        if name == NOBODY {
            return None;
        }
        let name = name as usize;
        let goes_on = flags & abi::MORE != 0;
        let request = if goes_on { self.requests[name] } else { self.requests.remove(name) };
        let poll = match request {
            Request::Poll(poll) => poll,
            Request::Operation { token, opens, taken_back } => {
                self.under_way -= 1;
                self.leaving -= usize::from(taken_back);
                let provided = self.provided(result, flags);
                self.done.push((token, Done::new(result, opens, provided)));
                return None;
            }
        };
        if poll.taken_back {
            self.leaving -= usize::from(!goes_on);
            return None;
        }
        let Poll { token, interest, manner, .. } = poll;
        let event = match result {
            // The call that follows says what is wrong.
            ..0 => Readiness { token, ready: Interest::BOTH, marked: true },
            bits => Readiness {
                token,
                ready: Interest::READABLE.when(bits & READABLE != 0)
                    | Interest::WRITABLE.when(bits & WRITABLE != 0),
                marked: bits & MARKED != 0,
            },
        };
        let is_meant = !event.ready.common(interest).is_none();
        let number = poll.fd as usize;
        match (is_meant, goes_on) {
            (true, true) => self.take_back(number),
            (true, false) if manner == Manner::Always => self.poll(poll),
            (true, false) => self.numbers[number] = NOWHERE,
            (false, true) => {}
            // The other end sends no more, which is told unasked, while this one wants to.
            (false, false) => self.poll(Poll { manner: Manner::Changes, ..poll }),
        }
        is_meant.then_some(event)
    }

    /// The buffer that an answer names.
    #[inline]
    fn provided(&self, result: i32, flags: u32) -> Option<Provided> {
        let buffers = self.buffers.as_ref()?.as_ref()?;
        if result == -libc::ENOBUFS {
            buffers.grow();
        }
        let length = usize::try_from(result).unwrap_or(0);
        (flags & abi::BUFFER != 0).then(|| buffers.provided((flags >> 16) as u16, length))
    }

    fn push(&mut self, submission: Submission) {
        // SAFETY: what names memory is an operation, and the caller of `begin` keeps that valid until it is answered; or until
        // the drop, which waits for the answers.
        if !(self.backlog.is_empty() && unsafe { self.ring.push(&submission) }) {
            self.backlog.push_back(submission);
        }
    }

    /// Submits all that there is room for, and if told so, waits for an answer.
    fn submit(&mut self, wait: Option<Duration>) -> io::Result<()> {
        while !self.refill() {
            let before = self.ring.unsubmitted();
            self.ring.enter(0, None)?;
            if self.ring.unsubmitted() == before {
                // Answers have to be taken first.
                return Ok(());
            }
        }
        match wait {
            Some(timeout) => self.ring.enter(1, Some(timeout)),
            None if self.ring.unsubmitted() > 0 || self.ring.may_have_work() => self.ring.enter(0, None),
            None => Ok(()),
        }
    }

    /// Whether the ring has room for all.
    fn refill(&mut self) -> bool {
        while let Some(submission) = self.backlog.front() {
            // SAFETY: as in `push`.
            if !unsafe { self.ring.push(submission) } {
                return false;
            }
            self.backlog.pop_front();
        }
        true
    }
}

impl Drop for Uring {
    /// Operations that are under way are given up, and waited for.
    fn drop(&mut self) {
        if self.under_way == 0 || self.process != std::process::id() {
            return;
        }
        let begun = self.requests.iter().filter(|(_, request)| matches!(request, Request::Operation { .. }));
        let names: Vec<_> = begun.map(|(name, _)| name as u64).collect();
        names.into_iter().for_each(|name| self.push(cancel(name)));
        while self.under_way > 0 {
            // It fails if somebody else has closed the ring, and the kernel has no other name for it. Then what was lent stays lent: the
            // caller of `begin` has given it up, and the buffers are.
            if self.submit(Some(LONGEST_WAIT)).is_err() {
                return std::mem::forget(self.buffers.take());
            }
            while let Some(completion) = self.ring.pop() {
                self.answered(completion);
            }
        }
    }
}

fn cancel(name: u64) -> Submission {
    Submission {
        operation: abi::CANCEL,
        flags: abi::QUIET,
        fd: -1,
        address: name,
        name: NOBODY,
        ..Submission::default()
    }
}

/// Names an operation that was [begun](Uring::begin) and has not been told of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun(u64);

#[cfg(test)]
mod tests;
