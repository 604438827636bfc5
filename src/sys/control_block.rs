//! Thread-control blocks that belong to no OS thread.
//!
//! A thread-control block is what thread-local variables are relative to: the C library's record of a thread, with the variables
//! below it. The C library makes one with each thread, and takes it down when the thread is joined. Here the thread ends at once
//! and is not joined: the block stays, and the C library knows it, so that a library that is loaded later finds its place in it.
//!
//! ```text
//!     a slot, x86:  │ the ended thread's stack, given back │ variables of the modules │ record │
//!                                                                                     ▲ base
//!     a slot, Arm:  │ the ended thread's stack, given back │ record │ variables of the modules │
//!                                                                   ▲ base
//! ```
//!
//! Four things of the record say that its thread is gone, which the code that will run with it is not. They are put right, or
//! made to say so: the thread's number, by which locks know their owner, and which must not be another's; what the C library
//! keeps for itself, such as the cache of its allocator; on which processor the thread is (rseq(2)), which only the kernel can
//! tell; and the list of robust mutexes, which the kernel does not go through, so that it is done here. Where they are is found by their
//! values, on threads made for that.
//!
//! Blocks that are of no use for long are taken down: another thread ends with what the C library has kept for itself in the block,
//! and then the first one is joined. Memory for values under pthread keys beyond the record's 32 is freed before.

mod layout;
mod pool;
mod robust;
mod taking_down;
mod values;

use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use layout::{Layout, found, layout, start};
use pool::{BLOCKS, FIRST_NUMBER, Place, next_number, next_slot};
pub(crate) use pool::{forget_all, hold_lock, release_lock};
pub(crate) use robust::abandon_robust_mutexes;
pub(crate) use taking_down::cool;

use super::thread_local::base;
use super::{futex, memory, signal};

/// Blocks are made by so many at a time, which costs each a fraction of the wait.
const BATCH: usize = 16;

/// The bases of so many neighbouring slots differ by this, for the same reason.
const SHIFTS: usize = 8;
const SHIFT: usize = 128;

/// A block that nobody else uses, whose variables have their first contents. It goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct ControlBlock {
    place: Place,
    /// In which process it was made.
    generation: u32,
}

impl ControlBlock {
    /// One that is idle, or a new one. Does not yield.
    ///
    /// # Errors
    ///
    /// `Unsupported` with the reason where there can be none; else why there is no more memory, or no OS thread.
    pub(crate) fn take() -> io::Result<ControlBlock> {
        let mut blocks = BLOCKS.lock();
        let Some(place) = blocks.idle.pop_back() else {
            drop(blocks);
            return make();
        };
        blocks.surplus.taken();
        Ok(ControlBlock { place, generation: blocks.generation })
    }

    pub(crate) fn base(&self) -> usize {
        self.place.base.get()
    }

    /// The address of the thread's record, which is its number for pthread_self(3). Only on x86_64 is that the base.
    pub(crate) fn thread(&self) -> usize {
        let layout = found().expect("it was found for the first block");
        self.base() - layout.base
    }
}

impl Drop for ControlBlock {
    fn drop(&mut self) {
        let mut blocks = BLOCKS.lock();
        // In the child of a fork the C library does not know those of the parent.
        if self.generation == blocks.generation {
            blocks.put(self.place);
        }
    }
}

/// Why there can be no such blocks, if so.
pub(crate) fn why_not() -> Option<&'static str> {
    layout().err()
}

/// Whether `thread`, a number as pthread_self(3) has it, is that of such a block that is in use. Async-signal-safe.
pub(crate) fn is_one(thread: usize) -> bool {
    let Some(layout) = found() else { return false };
    let number = ptr::with_exposed_provenance_mut(thread + layout.number);
    // SAFETY: there every thread's record has its number. The caller's thread has not been joined, so that its record is there.
    let number = unsafe { AtomicU32::from_ptr(number) };
    // Relaxed: it does not change while the block is in use.
    number.load(Ordering::Relaxed) >= FIRST_NUMBER
}

#[cold]
fn make() -> io::Result<ControlBlock> {
    let layout = layout().map_err(|reason| io::Error::new(io::ErrorKind::Unsupported, reason))?;
    let mut births = Vec::with_capacity(BATCH);
    let mut refused = None;
    // A handler of a signal there would use what it must not.
    signal::while_all_are_blocked(|| {
        while births.len() < BATCH {
            match next_slot(layout.slot).and_then(|slot| Birth::begin(&layout, slot, births.len())) {
                Ok(birth) => births.push(birth),
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
    });
    let mut made: Vec<_> = births.into_iter().map(|birth| birth.end(&layout)).collect();
    match (made.pop(), refused) {
        (Some(block), _) => Ok(block),
        (None, Some(error)) => Err(error),
        (None, None) => Err(io::ErrorKind::OutOfMemory.into()),
    }
    // The others are dropped, and so become idle.
}

/// A thread that is made for its block.
struct Birth {
    thread: libc::pthread_t,
    slot: Range<usize>,
    newborn: Box<Newborn>,
}

/// What the thread notes of itself.
struct Newborn {
    layout: Layout,
    base: AtomicUsize,
    /// An address in the lowest frame of its stack that is needed.
    frame: AtomicUsize,
    /// The C library's variables as it has found them.
    library: Vec<u8>,
}

impl Birth {
    fn begin(layout: &Layout, slot: Range<usize>, shift: usize) -> io::Result<Birth> {
        let mut newborn = Box::new(Newborn {
            layout: *layout,
            base: AtomicUsize::new(0),
            frame: AtomicUsize::new(0),
            library: vec![0; layout.library_length],
        });
        let stack = slot.start..slot.end - shift % SHIFTS * SHIFT;
        let thread = start(stack, note_first_contents, (&raw mut *newborn).cast())?;
        Ok(Birth { thread, slot, newborn })
    }

    /// The thread has ended: what is left is made to look as if it ran.
    fn end(self, layout: &Layout) -> ControlBlock {
        let record = self.thread as usize;
        // SAFETY: `find_layout` has found the number there, in the record that stays.
        let number = unsafe { AtomicU32::from_ptr(ptr::with_exposed_provenance_mut(record + layout.number)) };
        futex::wait_until_cleared(number);
        let base = record + layout.base;
        // Relaxed: the thread has ended, which `wait_until_cleared` has seen.
        debug_assert_eq!(self.newborn.base.load(Ordering::Relaxed), base);
        let library = ptr::with_exposed_provenance_mut::<u8>(base.wrapping_add(layout.library));
        // SAFETY: these are the C library's variables of a thread that is gone, and the bytes are those that it began with.
        unsafe { self.newborn.library.as_ptr().copy_to_nonoverlapping(library, layout.library_length) };
        // Relaxed: nobody else looks; who takes the block gets it by a lock.
        number.store(next_number(), Ordering::Relaxed);
        let itself = ptr::with_exposed_provenance_mut::<usize>(record + layout.detached);
        // SAFETY: found there. From now on to join or to detach it is an error, and does not free it.
        unsafe { itself.write(record) };
        if let Some(processor) = layout.processor {
            let told = ptr::with_exposed_provenance_mut::<Processor>(base.wrapping_add(processor));
            // SAFETY: the C library says that this is there. The kernel was told another place by the thread that will use it.
            unsafe { told.write(Processor::UNKNOWN) };
        }
        // Relaxed: as for the base.
        let frame = self.newborn.frame.load(Ordering::Relaxed);
        let page = memory::page_size();
        // SAFETY: the stack of a thread that is gone, up to the frame's page, where the variables may begin.
        unsafe { memory::discard(self.slot.start, (frame / page * page).saturating_sub(self.slot.start)) };
        let base = NonZeroUsize::new(base).expect("a thread's record is somewhere");
        let generation = BLOCKS.lock().generation;
        ControlBlock { place: Place { base, slot: self.slot.start }, generation }
    }
}

/// What rseq(2) is told, as far as it matters.
#[repr(C)]
struct Processor {
    start: u32,
    number: i32,
    section: u64,
}

impl Processor {
    /// Not registered: who asks has to ask the kernel.
    const UNKNOWN: Processor = Processor { start: 0, number: -2, section: 0 };
}

extern "C-unwind" fn note_first_contents(newborn: *mut c_void) -> *mut c_void {
    // SAFETY: `Birth` keeps it until this thread has ended, and leaves it alone.
    let newborn = unsafe { &mut *newborn.cast::<Newborn>() };
    // SAFETY: the variables can be moved, or there would be no such thread.
    let base = unsafe { base() };
    let library = ptr::with_exposed_provenance::<u8>(base.wrapping_add(newborn.layout.library));
    let length = newborn.library.len();
    // SAFETY: the C library's variables of this thread, of that length.
    unsafe { library.copy_to_nonoverlapping(newborn.library.as_mut_ptr(), length) };
    // Relaxed: the end of the thread publishes them.
    newborn.base.store(base, Ordering::Relaxed);
    // Relaxed: as above.
    newborn.frame.store((&raw const length).addr(), Ordering::Relaxed);
    ptr::null_mut()
}
