//! The two queues that a program and the kernel have in common, and the one system call that moves both.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::super::SystemCall;
use super::super::readiness::timespec;
use super::super::replaceable::Replaceable;
use super::abi::{self, Completion, Parameters, Probe, Submission, WaitArgument};

/// Requests that the queue has room for: as many as one pass of the hub mostly makes.
const SUBMISSIONS: u32 = 256;
/// The same of answers. What comes beyond stays in the kernel until there is room.
const COMPLETIONS: u32 = 4096;

const SETUP: u32 = abi::SETUP_COMPLETIONS
    | abi::SETUP_SUBMIT_ALL
    | abi::SETUP_TELL_WORK
    | abi::SETUP_SINGLE_ISSUER
    | abi::SETUP_DEFER_WORK;
const FEATURES: u32 =
    abi::FEATURE_ONE_MAPPING | abi::FEATURE_NO_DROP | abi::FEATURE_TIMEOUT | abi::FEATURE_QUIET;

/// An io_uring instance of the thread that made it.
#[derive(Debug)]
pub(super) struct Ring {
    fd: Replaceable,
    /// What the kernel knows it by in this thread, whatever becomes of the descriptor: memory that it was lent comes back only by
    /// entering the ring, so that somebody who closes what is not his must not end that. `None` if the thread has too many.
    registered: Option<u32>,
    queues: Mapping,
    submissions: Mapping,
    places: Places,
    /// Behind the last request put into the queue.
    tail: u32,
    /// The kernel takes requests from one thread alone.
    of_one_thread: PhantomData<*mut ()>,
}

/// Where things are in the mapping of the queues.
///
/// # Invariant
///
/// The kernel has given the offsets for that mapping, so each word lies in it and is aligned, and so do as many elements of the
/// arrays as the masks tell.
#[derive(Debug)]
struct Places {
    submission_head: usize,
    submission_tail: usize,
    submission_flags: usize,
    submission_mask: u32,
    completion_head: usize,
    completion_tail: usize,
    completion_mask: u32,
    completions: usize,
}

impl Ring {
    /// # Errors
    ///
    /// What io_uring_setup(2) says: `ENOSYS` and `EPERM` where it is missing or disabled, `EINVAL` before Linux 6.1. Kind
    /// `Unsupported` if one of `operations` is missing.
    pub(super) fn new(operations: &[u8]) -> io::Result<Ring> {
        let mut parameters = Parameters { completions: COMPLETIONS, flags: SETUP, ..Parameters::default() };
        // SAFETY: `parameters` is valid to be read and written as the structure that the call takes.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, SUBMISSIONS, &raw mut parameters) };
        let fd = (fd as libc::c_int).check()?;
        // SAFETY: the kernel has just made `fd`, and nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        if parameters.features & FEATURES != FEATURES {
            return Err(io::ErrorKind::Unsupported.into());
        }
        probe(&fd, operations)?;
        let Parameters { submission_offsets, completion_offsets, .. } = &parameters;
        let length = |start: u32, count: u32, size: usize| start as usize + count as usize * size;
        let queues = length(submission_offsets.array, parameters.submissions, size_of::<u32>()).max(length(
            completion_offsets.completions,
            parameters.completions,
            size_of::<Completion>(),
        ));
        let queues = Mapping::new(&fd, abi::MAP_QUEUES, queues)?;
        let submissions = length(0, parameters.submissions, size_of::<Submission>());
        let submissions = Mapping::new(&fd, abi::MAP_SUBMISSIONS, submissions)?;
        let place = |offset: u32| offset as usize;
        let places = Places {
            submission_head: place(submission_offsets.head),
            submission_tail: place(submission_offsets.tail),
            submission_flags: place(submission_offsets.flags),
            submission_mask: parameters.submissions - 1,
            completion_head: place(completion_offsets.head),
            completion_tail: place(completion_offsets.tail),
            completion_mask: parameters.completions - 1,
            completions: place(completion_offsets.completions),
        };
        let registered = register(&fd);
        let fd = Replaceable::new(fd);
        let ring = Ring { fd, registered, queues, submissions, places, tail: 0, of_one_thread: PhantomData };
        for index in 0..parameters.submissions {
            // Each place in the queue means the request at the same place, for good. Relaxed: the kernel looks when it is
            // told, by a system call.
            let element = place(submission_offsets.array) + index as usize * size_of::<u32>();
            ring.word(element).store(index, Ordering::Relaxed);
        }
        Ok(ring)
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// A word of the queues that the kernel uses too.
    fn word(&self, place: usize) -> &AtomicU32 {
        // SAFETY: by the invariant of `Places` the word lies in the mapping.
        let word = unsafe { self.queues.start.add(place) };
        // SAFETY: the mapping lives as long as `self`, the word is aligned by that invariant, and both sides change it by
        // atomic operations only.
        unsafe { AtomicU32::from_ptr(word.as_ptr().cast()) }
    }

    /// How many requests the kernel has not taken yet.
    #[inline]
    pub(super) fn unsubmitted(&self) -> u32 {
        // Acquire: what the kernel has read of a request, it has read before it gives the place back.
        self.tail.wrapping_sub(self.word(self.places.submission_head).load(Ordering::Acquire))
    }

    /// Queues a request, to be submitted by the next [`enter`](Ring::enter); `false` if there is no room.
    ///
    /// # Safety
    ///
    /// What memory it names is valid for its operation until its last answer has been taken by [`pop`](Ring::pop), or the ring
    /// is dropped and the kernel has given up the request.
    #[inline]
    pub(super) unsafe fn push(&mut self, submission: &Submission) -> bool {
        if self.unsubmitted() > self.places.submission_mask {
            return false;
        }
        let index = (self.tail & self.places.submission_mask) as usize;
        // SAFETY: the mapping has `submission_mask + 1` requests.
        let place = unsafe { self.submissions.start.cast::<Submission>().add(index) };
        // SAFETY: it is valid for writes and aligned, and the kernel does not look at a place that is behind the tail.
        unsafe { place.write(*submission) };
        self.tail = self.tail.wrapping_add(1);
        // Release: the kernel that sees the tail sees the request.
        self.word(self.places.submission_tail).store(self.tail, Ordering::Release);
        true
    }

    /// Whether the kernel may hold answers back until [`enter`](Ring::enter) fetches them. It says so again after it has made
    /// one, if it was late to say it.
    #[inline]
    pub(super) fn may_have_work(&self) -> bool {
        // Relaxed: what is not seen now is seen by the next look, and a wait does not rely on it.
        self.word(self.places.submission_flags).load(Ordering::Relaxed) & (abi::WORK | abi::OVERFLOWED) != 0
    }

    #[inline]
    pub(super) fn has_completions(&self) -> bool {
        let head = self.word(self.places.completion_head);
        // Relaxed: only this side writes the head, and the answers themselves are not looked at.
        head.load(Ordering::Relaxed) != self.word(self.places.completion_tail).load(Ordering::Relaxed)
    }

    /// The oldest answer.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Completion> {
        let head = self.word(self.places.completion_head);
        // Relaxed: only this side writes it.
        let next = head.load(Ordering::Relaxed);
        // Acquire: who sees the tail sees the answers before it.
        if next == self.word(self.places.completion_tail).load(Ordering::Acquire) {
            return None;
        }
        let index = (next & self.places.completion_mask) as usize;
        // SAFETY: by the invariant of `Places` the array begins there.
        let completions = unsafe { self.queues.start.add(self.places.completions) }.cast::<Completion>();
        // SAFETY: the array has `completion_mask + 1` elements.
        let completion = unsafe { completions.add(index) };
        // SAFETY: it is aligned, the kernel has written it, and does not write there again before the head is moved.
        let completion = unsafe { completion.read() };
        // Release: the kernel that sees the head may write over what was read.
        head.store(next.wrapping_add(1), Ordering::Release);
        Some(completion)
    }

    /// Submits what is queued, and waits until there are `least` answers, at most for `timeout`. A signal ends the wait
    /// early, and so does want of memory or of room for answers; then something may stay queued.
    pub(super) fn enter(&mut self, least: u32, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(timespec);
        let timeout = timeout.as_ref().map_or(0, |timeout| ptr::from_ref(timeout).expose_provenance() as u64);
        let argument = WaitArgument { timeout, ..WaitArgument::default() };
        let (ring, named) = match self.registered {
            Some(number) => (number as libc::c_int, abi::ENTER_REGISTERED),
            None => (self.fd.as_raw_fd(), 0),
        };
        // SAFETY: the queued requests are valid by the contract of `push`; `argument` and the timespec in it outlive the
        // call.
        let entered = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                ring,
                self.unsubmitted(),
                least,
                abi::ENTER_FETCH | abi::ENTER_ARGUMENT | named,
                &raw const argument,
                size_of::<WaitArgument>(),
            )
        };
        match (entered as libc::ssize_t).check() {
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
            Ok(_) => Ok(()),
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if let Some(number) = self.registered {
            // An error in the child of a fork, whose thread has none; or if somebody else has closed the descriptor.
            let _ = call_registered(self.fd.as_raw_fd(), abi::UNREGISTER_RING, number, 0);
        }
    }
}

/// A number for the ring among those of the calling thread, of which the kernel allows 16.
fn register(fd: &OwnedFd) -> Option<u32> {
    let descriptor = fd.as_raw_fd() as u64;
    call_registered(fd.as_raw_fd(), abi::REGISTER_RING, abi::ANY_NUMBER, descriptor).ok()
}

fn call_registered(fd: RawFd, operation: u32, number: u32, descriptor: u64) -> io::Result<u32> {
    let mut ring = abi::RingNumber { number, reserved: 0, fd: descriptor };
    // SAFETY: `ring` is one structure of the kind that both calls take, valid to be read and written.
    let done = unsafe { libc::syscall(libc::SYS_io_uring_register, fd, operation, &raw mut ring, 1) };
    (done as libc::c_int).check()?;
    Ok(ring.number)
}

/// Whether the kernel has these operations.
fn probe(fd: &OwnedFd, operations: &[u8]) -> io::Result<()> {
    let mut probe = Probe::new();
    // SAFETY: `probe` is valid to be written as the structure that the call fills, with room for as many operations.
    let probed = unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            fd.as_raw_fd(),
            abi::REGISTER_PROBE,
            &raw mut probe,
            abi::PROBED,
        )
    };
    (probed as libc::c_int).check()?;
    let has = |operation: &u8| {
        let known = &probe.operations[..abi::PROBED.min(probe.count.into())];
        known.iter().any(|probed| probed.operation == *operation && probed.flags & abi::SUPPORTED != 0)
    };
    if operations.iter().all(has) { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

/// Memory of the kernel's, mapped as long as this lives.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    fn new(fd: &OwnedFd, offset: i64, length: usize) -> io::Result<Mapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: without MAP_FIXED the kernel chooses a place that is free, so no memory in use is touched.
        let start =
            unsafe { libc::mmap64(ptr::null_mut(), length, protection, flags, fd.as_raw_fd(), offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("the kernel maps nothing at null unasked");
        Ok(Mapping { start, length })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `new` has mapped it, and nothing outside the ring that owns this points into it. In the child of a fork it is
        // the child's own mapping of the same memory: the parent's stays.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}
