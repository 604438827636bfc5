//! Buffers for what is received. They belong to the ring: the kernel takes one when there is something to put into it, so that those
//! who wait for something have none.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::mem;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::rc::Rc;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use super::super::{SystemCall, memory};
use super::abi::{self, BufferQueue, QueuedBuffer};

/// What one holds.
pub(super) const LENGTH: usize = 1 << 14;
/// How many the kernel is given first: as few as do, for they are used in turn, and each comes cold.
pub(super) const FIRST: u16 = 64;
/// How many there may be: as many as one wait tells of answers.
const MOST: u16 = 1024;
/// From one to the next: a few cache lines more than they hold, so that their first lines do not compete for the same cache sets.
const STRIDE: usize = LENGTH + 192;
/// Where the first one begins. The queue is before it.
const START: usize = MOST as usize * size_of::<QueuedBuffer>();
const SIZE: usize = (START + MOST as usize * STRIDE).next_multiple_of(1 << 16);

/// The buffers of one ring, and the queue by which the kernel is given them.
///
/// # Invariant
///
/// `start` is the address of `SIZE` bytes that are open and nobody else's. A buffer is the kernel's from when it is queued until an
/// answer names it, and then that [`Provided`]'s until it is dropped.
pub(super) struct Buffers {
    start: usize,
    /// Behind the last one queued.
    tail: Cell<u16>,
    /// How many there are; the others have not been used.
    count: Cell<u16>,
    /// How many of them are a [`Provided`]'s.
    taken: Cell<u16>,
}

impl Buffers {
    /// Buffers for the ring behind `ring`.
    pub(super) fn new(ring: BorrowedFd<'_>) -> io::Result<Rc<Buffers>> {
        let start = memory::reserve(SIZE)?;
        let buffers = Buffers { start, tail: Cell::new(0), count: Cell::new(0), taken: Cell::new(0) };
        // SAFETY: the range has just been reserved, and is this one's.
        unsafe { memory::open(start, SIZE) }?;
        let queue = BufferQueue { address: start as u64, places: MOST.into(), ..BufferQueue::default() };
        // SAFETY: `queue` is valid to be read as the structure that the call takes; the memory it names is page-aligned and has room
        // for as many places. The kernel pins that, so it may be given back before the ring.
        let registered = unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                ring.as_raw_fd(),
                abi::REGISTER_BUFFER_QUEUE,
                &raw const queue,
                1,
            )
        };
        (registered as libc::c_int).check()?;
        buffers.add(FIRST);
        Ok(Rc::new(buffers))
    }

    /// One found none. Others that came at the same time will say so too.
    #[cold]
    pub(super) fn grow(&self) {
        if self.taken == self.count {
            self.add(self.count.get());
        }
    }

    fn add(&self, more: u16) {
        let before = self.count.get();
        let count = (before + more).min(MOST);
        self.count.set(count);
        (before..count).for_each(|id| self.provide(id));
    }

    fn buffer(&self, id: u16) -> *mut u8 {
        ptr::with_exposed_provenance_mut(self.start + START + usize::from(id) * STRIDE)
    }

    /// Lets the kernel have a buffer, which nobody else has.
    fn provide(&self, id: u16) {
        let tail = self.tail.get();
        let queue: *mut QueuedBuffer = ptr::with_exposed_provenance_mut(self.start);
        // SAFETY: the queue has `MOST` places, a power of two, and no more buffers than that are ever queued.
        let place = unsafe { queue.add(usize::from(tail % MOST)) };
        // SAFETY: the place is in memory of this one's and aligned. The kernel does not look at it before the tail is moved, and
        // writes there never.
        unsafe { (*place).address = self.buffer(id).addr() as u64 };
        // SAFETY: as above.
        unsafe { (*place).length = LENGTH as u32 };
        // SAFETY: as above.
        unsafe { (*place).id = id };
        self.tail.set(tail.wrapping_add(1));
        let shared = queue.wrapping_byte_add(mem::offset_of!(QueuedBuffer, tail)).cast();
        // SAFETY: in the first place, as above, there is the word in which the kernel looks for the tail: aligned, there as long as this
        // one, and changed by this function alone.
        let shared = unsafe { AtomicU16::from_ptr(shared) };
        // Release: the kernel that sees the tail sees the buffer.
        shared.store(self.tail.get(), Ordering::Release);
    }

    /// What an answer told of.
    pub(super) fn provided(self: &Rc<Buffers>, id: u16, length: usize) -> Provided {
        self.taken.update(|taken| taken + 1);
        Provided { buffers: Rc::clone(self), id, length: length.min(LENGTH) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: the range was reserved by `new`. No request is under way that could use it: the ring that has them waits for that
        // before it lets go of this, and so does each `Provided`.
        unsafe { memory::release(self.start, SIZE) };
    }
}

impl fmt::Debug for Buffers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Buffers").field("count", &self.count.get()).finish_non_exhaustive()
    }
}

/// Bytes that were received. Dropped, it gives the buffer back.
#[derive(Debug)]
pub(crate) struct Provided {
    buffers: Rc<Buffers>,
    id: u16,
    length: usize,
}

impl Deref for Provided {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the memory is open, lives as long as the buffers that this keeps, and is this one's alone as long as it is not queued:
        // the kernel has written the bytes, or they are zero.
        unsafe { slice::from_raw_parts(self.buffers.buffer(self.id), self.length) }
    }
}

impl Drop for Provided {
    #[inline]
    fn drop(&mut self) {
        self.buffers.taken.update(|taken| taken - 1);
        self.buffers.provide(self.id);
    }
}
