//! What the kernel and a program say to each other: `linux/io_uring.h`, as far as it is used here.

/// One request: `struct io_uring_sqe`. Its meaning is the operation's; what one has no use for is 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Submission {
    pub(super) operation: u8,
    /// How it is dealt with: [`TAKE_BUFFER`], [`QUIET`].
    pub(super) flags: u8,
    pub(super) priority: u16,
    pub(super) fd: i32,
    pub(super) offset: u64,
    pub(super) address: u64,
    pub(super) length: u32,
    /// The operation's own flags.
    pub(super) options: u32,
    /// Comes back in the [`Completion`].
    pub(super) name: u64,
    pub(super) unused: [u64; 3],
}

/// One answer: `struct io_uring_cqe`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    /// The request's.
    pub(super) name: u64,
    /// As the system call's, but an error is a negative number.
    pub(super) result: i32,
    /// [`BUFFER`], [`MORE`].
    pub(super) flags: u32,
}

/// What is asked for, and what the kernel has: `struct io_uring_params`.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct Parameters {
    pub(super) submissions: u32,
    pub(super) completions: u32,
    pub(super) flags: u32,
    pub(super) thread_processor: u32,
    pub(super) thread_idle: u32,
    pub(super) features: u32,
    pub(super) workers_of: u32,
    pub(super) unused: [u32; 3],
    pub(super) submission_offsets: SubmissionOffsets,
    pub(super) completion_offsets: CompletionOffsets,
}

/// Where the words of the queue of requests are in the mapping: `struct io_sqring_offsets`.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct SubmissionOffsets {
    pub(super) head: u32,
    pub(super) tail: u32,
    pub(super) mask: u32,
    pub(super) entries: u32,
    pub(super) flags: u32,
    dropped: u32,
    pub(super) array: u32,
    unused: [u32; 3],
}

/// The same of the queue of answers: `struct io_cqring_offsets`.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct CompletionOffsets {
    pub(super) head: u32,
    pub(super) tail: u32,
    pub(super) mask: u32,
    pub(super) entries: u32,
    overflow: u32,
    pub(super) completions: u32,
    flags: u32,
    unused: [u32; 3],
}

/// How long to wait: `struct io_uring_getevents_arg`.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct WaitArgument {
    pub(super) signal_mask: u64,
    pub(super) signal_mask_size: u32,
    pub(super) least_microseconds: u32,
    /// The address of a timespec, or 0.
    pub(super) timeout: u64,
}

/// Which operations there are: `struct io_uring_probe`.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) last: u8,
    pub(super) count: u8,
    unused: [u16; 7],
    pub(super) operations: [ProbedOperation; PROBED],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProbedOperation {
    pub(super) operation: u8,
    unused: u8,
    /// [`SUPPORTED`].
    pub(super) flags: u16,
    more_unused: u32,
}

impl Probe {
    pub(super) fn new() -> Probe {
        Probe { last: 0, count: 0, unused: [0; 7], operations: [ProbedOperation::default(); PROBED] }
    }
}

/// Where buffers are queued: `struct io_uring_buf_reg`.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct BufferQueue {
    pub(super) address: u64,
    pub(super) places: u32,
    pub(super) group: u16,
    pub(super) flags: u16,
    pub(super) unused: [u64; 3],
}

/// A buffer for the kernel to take: `struct io_uring_buf`.
#[repr(C)]
#[derive(Debug)]
pub(super) struct QueuedBuffer {
    pub(super) address: u64,
    pub(super) length: u32,
    pub(super) id: u16,
    /// In the first place of the queue, where it ends.
    pub(super) tail: u16,
}

pub(super) const REGISTER_BUFFER_QUEUE: u32 = 22;

/// How many operations are asked about.
pub(super) const PROBED: usize = 64;
pub(super) const SUPPORTED: u16 = 1;
pub(super) const REGISTER_PROBE: u32 = 8;
/// Gives a ring a number among the thread's own, by a [`RingNumber`],
pub(super) const REGISTER_RING: u32 = 20;
/// and takes it back.
pub(super) const UNREGISTER_RING: u32 = 21;

/// A ring of the thread's: `io_uring_rsrc_update`.
#[repr(C)]
#[derive(Default)]
pub(super) struct RingNumber {
    /// [`ANY_NUMBER`] becomes the one that was given.
    pub(super) number: u32,
    pub(super) reserved: u32,
    /// Its descriptor, or 0 to take it back.
    pub(super) fd: u64,
}

pub(super) const ANY_NUMBER: u32 = u32::MAX;

/// Of [`Parameters::flags`]: the length of the queue of answers is given.
pub(super) const SETUP_COMPLETIONS: u32 = 1 << 3;
/// A request that is wrong does not keep back those behind it.
pub(super) const SETUP_SUBMIT_ALL: u32 = 1 << 7;
/// It is told in [`SubmissionOffsets::flags`] that there is something to fetch.
pub(super) const SETUP_TELL_WORK: u32 = 1 << 9;
/// One OS thread alone uses it,
pub(super) const SETUP_SINGLE_ISSUER: u32 = 1 << 12;
/// which is not interrupted: answers are made when it asks for them.
pub(super) const SETUP_DEFER_WORK: u32 = 1 << 13;

/// Of [`Parameters::features`]: one mapping holds both queues.
pub(super) const FEATURE_ONE_MAPPING: u32 = 1 << 0;
/// No answer is lost when their queue is full.
pub(super) const FEATURE_NO_DROP: u32 = 1 << 1;
/// A wait has a timeout.
pub(super) const FEATURE_TIMEOUT: u32 = 1 << 8;
/// There is [`QUIET`].
pub(super) const FEATURE_QUIET: u32 = 1 << 11;

/// Where the queues and the requests are, as offsets of a mapping of the descriptor.
pub(super) const MAP_QUEUES: i64 = 0;
pub(super) const MAP_SUBMISSIONS: i64 = 0x1000_0000;

/// Of the word at [`SubmissionOffsets::flags`]: answers wait for room in their queue.
pub(super) const OVERFLOWED: u32 = 1 << 1;
/// There are answers to be made.
pub(super) const WORK: u32 = 1 << 2;

/// Of a wait: fetches answers, and waits for them,
pub(super) const ENTER_FETCH: u32 = 1 << 0;
/// with a [`WaitArgument`].
pub(super) const ENTER_ARGUMENT: u32 = 1 << 3;
/// The ring is named by what [`REGISTER_RING`] gave.
pub(super) const ENTER_REGISTERED: u32 = 1 << 4;

/// Of [`Submission::flags`]: it uses a buffer of the queue.
pub(super) const TAKE_BUFFER: u8 = 1 << 5;
/// Only an error is answered.
pub(super) const QUIET: u8 = 1 << 6;

/// Of [`Completion::flags`]: the upper half names the buffer that was used.
pub(super) const BUFFER: u32 = 1 << 0;
/// The request goes on.
pub(super) const MORE: u32 = 1 << 1;

/// Of [`Submission::operation`].
pub(super) const SYNCHRONIZE: u8 = 3;
pub(super) const POLL: u8 = 6;
pub(super) const ACCEPT: u8 = 13;
pub(super) const CANCEL: u8 = 14;
pub(super) const CONNECT: u8 = 16;
pub(super) const OPEN: u8 = 18;
pub(super) const READ: u8 = 22;
pub(super) const WRITE: u8 = 23;
pub(super) const SEND: u8 = 26;
pub(super) const RECEIVE: u8 = 27;

/// Of [`Submission::priority`] of a [`SEND`] or [`RECEIVE`]: it has been tried, so that the socket is to be waited for.
pub(super) const WAIT_FIRST: u16 = 1 << 0;

/// Of [`Completion::result`], negated: a signal came.
pub(super) const RESTART: std::ops::RangeInclusive<i32> = 512..=516;

/// Of [`Submission::options`] of a [`SYNCHRONIZE`]: the contents alone.
pub(super) const DATA_ALONE: u32 = 1 << 0;
/// The [`Submission::offset`] of a [`READ`] or [`WRITE`]: where the file's position is.
pub(super) const AT_POSITION: u64 = u64::MAX;

/// Of [`Submission::length`] of a [`POLL`]: each change is answered.
pub(super) const POLL_CHANGES: u32 = 1 << 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_the_kernels() {
        assert_eq!(size_of::<Submission>(), 64);
        assert_eq!(size_of::<Completion>(), 16);
        assert_eq!(size_of::<Parameters>(), 120);
        assert_eq!(size_of::<SubmissionOffsets>(), 40);
        assert_eq!(size_of::<CompletionOffsets>(), 40);
        assert_eq!(size_of::<WaitArgument>(), 24);
        assert_eq!(size_of::<Probe>(), 16 + PROBED * 8);
        assert_eq!(size_of::<BufferQueue>(), 40);
        assert_eq!(size_of::<QueuedBuffer>(), 16);
    }
}
