//! Thread-control blocks that belong to no OS thread.
//!
//! A thread-control block is what thread-local variables are relative to: the C library's record of a thread, with the variables
//! below it. The C library makes one with each thread, and takes it down when the thread is joined. Here the thread ends at once
//! and is never joined: the block stays, and the C library knows it, so that a library that is loaded later finds its place in it.
//!
//! ```text
//!     a slot, x86:  │ the ended thread's stack, given back │ variables of the modules │ record │
//!                                                                                     ▲ base
//!     a slot, Arm:  │ the ended thread's stack, given back │ record │ variables of the modules │
//!                                                                   ▲ base
//! ```
//!
//! Three things of the record say that its thread is gone, which the code that will run with it is not. They are put right, or
//! made to say so: the thread's number, by which locks know their owner, and which must not be another's; what the C library
//! keeps for itself, such as the cache of its allocator; and on which processor the thread is (rseq(2)), which only the kernel can
//! tell. Where they are is found by their values, on threads made for that.

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::lock::Lock;
use super::thread_local::{base, block_around, can_be_moved};
use super::thread_start::Start;
use super::{futex, memory, original, signal, thread_end};

/// Above all numbers that the kernel gives to threads (PID_MAX_LIMIT).
const FIRST_NUMBER: u32 = 1 << 23;

/// Above those are bits that the kernel has a meaning for (FUTEX_TID_MASK).
const LAST_NUMBER: u32 = (1 << 30) - 1;

/// Blocks are made by so many at a time, which costs each a fraction of the wait.
const BATCH: usize = 16;

/// Slots are reserved by so many at a time at least, and at most.
const SLOTS: Range<usize> = 64..4096;

/// A slot's bytes beside its first page: a power of two, but for the page, so that blocks do not compete for the same cache sets.
const LEAST_SLOT: usize = 32 * 1024;
/// Where that is not enough for the variables of all modules, it is doubled up to this.
const LARGEST_SLOT: usize = 16 * 1024 * 1024;

/// Of the stacks of the threads that look for things, beside a slot: they allocate, by an allocator that may be anybody's, and not
/// optimised.
const LOOKING: usize = 512 * 1024;

/// The bases of so many neighbouring slots differ by this, for the same reason.
const SHIFTS: usize = 8;
const SHIFT: usize = 128;

static BLOCKS: Lock<Blocks> =
    Lock::new(Blocks { idle: Vec::new(), slots: 0..0, made: 0, number: FIRST_NUMBER });

static LAYOUT: OnceLock<Result<Layout, &'static str>> = OnceLock::new();

struct Blocks {
    /// Those that wait to be used, last in first out.
    idle: Vec<ControlBlock>,
    /// Slots without a block.
    slots: Range<usize>,
    made: usize,
    /// Of the next one.
    number: u32,
}

/// Where things are in a block.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// From the record to the thread's number.
    number: usize,
    /// From the record to where a detached thread refers to itself.
    detached: usize,
    /// From the record to the base.
    base: usize,
    /// From the base to the C library's own variables, in wrapping arithmetic.
    library: usize,
    /// Their bytes.
    library_length: usize,
    /// From the base to what rseq(2) is told, in wrapping arithmetic, if the C library does that.
    processor: Option<usize>,
    slot: usize,
}

/// A block that nobody else uses, whose variables have their first contents. It goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct ControlBlock(NonZeroUsize);

impl ControlBlock {
    /// One that is idle, or a new one. Does not yield.
    ///
    /// # Errors
    ///
    /// `Unsupported` with the reason where there can be none; else why there is no more memory, or no OS thread.
    pub(crate) fn take() -> io::Result<ControlBlock> {
        let idle = BLOCKS.lock().idle.pop();
        idle.map_or_else(make, Ok)
    }

    pub(crate) fn base(&self) -> usize {
        self.0.get()
    }
}

impl Drop for ControlBlock {
    fn drop(&mut self) {
        BLOCKS.lock().idle.push(ControlBlock(self.0));
    }
}

/// Why there can be no such blocks, if so.
pub(crate) fn why_not() -> Option<&'static str> {
    layout().err()
}

/// Holds the lock that a fork must find free.
pub(crate) fn hold_lock() {
    BLOCKS.hold();
}

/// Ends [`hold_lock`].
///
/// # Safety
///
/// This thread, or in the child of a fork the one that it is a copy of, has called that.
pub(crate) unsafe fn release_lock() {
    // SAFETY: the caller's promise.
    unsafe { BLOCKS.release() };
}

/// In the child of a fork: the C library there does not know the blocks any more.
pub(crate) fn forget_all() {
    let forgotten = std::mem::take(&mut BLOCKS.lock().idle);
    std::mem::forget(forgotten);
}

fn layout() -> Result<Layout, &'static str> {
    *LAYOUT.get_or_init(|| {
        if !can_be_moved() {
            return Err(
                "isolation needs aarch64, or x86_64 and a kernel that lets programs set FS (Linux 5.9)",
            );
        }
        find_layout().ok_or("isolation needs glibc, in a version whose threads look as expected")
    })
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

/// Address space for one more block.
fn next_slot(length: usize) -> io::Result<Range<usize>> {
    let mut blocks = BLOCKS.lock();
    if blocks.slots.is_empty() {
        let count = blocks.made.clamp(SLOTS.start, SLOTS.end);
        let start = memory::reserve(count * length)?;
        // SAFETY: it was just reserved.
        if let Err(error) = unsafe { memory::open(start, count * length) } {
            // SAFETY: nothing uses it.
            unsafe { memory::release(start, count * length) };
            return Err(error);
        }
        blocks.slots = start..start + count * length;
    }
    let start = blocks.slots.start;
    blocks.slots.start += length;
    blocks.made += 1;
    Ok(start..start + length)
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
        ControlBlock(NonZeroUsize::new(base).expect("a thread's record is somewhere"))
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

fn next_number() -> u32 {
    let mut blocks = BLOCKS.lock();
    let number = blocks.number;
    blocks.number = if number == LAST_NUMBER { FIRST_NUMBER } else { number + 1 };
    number
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

type Life = Start;

/// Begins an OS thread on `stack`.
fn start(stack: Range<usize>, life: Life, argument: *mut c_void) -> io::Result<libc::pthread_t> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: valid to write to.
    refuse(unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) })?;
    let attributes = attributes.as_mut_ptr();
    let lowest = ptr::with_exposed_provenance_mut(stack.start);
    // SAFETY: initialised above; the stack is the caller's, who leaves it alone from now on.
    let mut result = refuse(unsafe { libc::pthread_attr_setstack(attributes, lowest, stack.len()) });
    let mut thread = 0;
    if result.is_ok() {
        // SAFETY: as above; `life` takes such an argument, which is valid until the thread has ended.
        result = refuse(unsafe { original::pthread_create(&mut thread, attributes, Some(life), argument) });
    }
    // SAFETY: initialised above.
    unsafe { libc::pthread_attr_destroy(attributes) };
    result.map(|()| thread)
}

/// What a function of pthreads has returned.
fn refuse(number: libc::c_int) -> io::Result<()> {
    if number == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(number)) }
}

/// What a thread finds out about its own block.
struct Search {
    /// Where its block ends.
    end: usize,
    number: usize,
    detached: usize,
    base: usize,
    library: usize,
    library_length: usize,
    /// Whether all that a block needs is there.
    complete: bool,
}

fn find_layout() -> Option<Layout> {
    let page = memory::page_size();
    let lengths = std::iter::successors(Some(LEAST_SLOT), |length| Some(2 * length));
    for slot in lengths.take_while(|length| *length <= LARGEST_SLOT).map(|length| length + page) {
        // For three threads, which stay: there is nothing to be won by giving the last one back.
        let length = slot + 2 * (LOOKING + slot);
        let begin = memory::reserve(length).ok()?;
        // SAFETY: it was just reserved.
        unsafe { memory::open(begin, length) }.ok()?;
        match find_in(begin, slot) {
            Ok(found) => return found,
            // Too small for the variables of all modules.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            Err(_) => return None,
        }
    }
    None
}

fn find_in(begin: usize, slot: usize) -> io::Result<Option<Layout>> {
    let search = |stack: Range<usize>, number, life| {
        let search = Search {
            end: stack.end,
            number,
            detached: 0,
            base: 0,
            library: 0,
            library_length: 0,
            complete: false,
        };
        let mut search = Box::new(search);
        let argument = (&raw mut *search).cast();
        let thread = signal::while_all_are_blocked(|| start(stack, life, argument))?;
        Ok::<_, io::Error>((thread, search))
    };
    // Whether a slot has room for the variables of all modules.
    let thread = signal::while_all_are_blocked(|| start(begin..begin + slot, end_at_once, ptr::null_mut()))?;
    // SAFETY: it was just made, and nobody else joins it.
    unsafe { original::pthread_join(thread, ptr::null_mut()) };
    let (begin, length) = (begin + slot, LOOKING + slot);
    let (thread, first) = search(begin..begin + length, 0, look_for_number)?;
    // SAFETY: it was just made, and nobody else joins it. What it has written is seen then.
    unsafe { original::pthread_join(thread, ptr::null_mut()) };
    if !first.complete {
        return Ok(None);
    }
    let (thread, second) = search(begin + length..begin + 2 * length, first.number, look_for_detached)?;
    let number = thread as usize + first.number;
    // SAFETY: found there by the first thread; the memory of the record stays, whoever it belongs to.
    futex::wait_until_cleared(unsafe { AtomicU32::from_ptr(ptr::with_exposed_provenance_mut(number)) });
    Ok(second.complete.then_some(Layout {
        number: first.number,
        detached: second.detached,
        base: first.base,
        library: first.library,
        library_length: first.library_length,
        processor: offset_of_processor(),
        slot,
    }))
}

extern "C-unwind" fn end_at_once(_: *mut c_void) -> *mut c_void {
    ptr::null_mut()
}

/// The calling thread's record, whose block ends at `end`: from `pthread_self` up to the base if it lies below that, else to the end.
fn record(end: usize) -> Option<Range<usize>> {
    // SAFETY: takes nothing.
    let record = unsafe { libc::pthread_self() } as usize;
    // SAFETY: the variables can be moved, or there would be no such thread.
    let base = unsafe { base() };
    match cfg!(target_arch = "aarch64") {
        true => (record < base && base < end).then_some(record..base),
        false => (record == base).then_some(base..end - size_of::<usize>()),
    }
}

/// The addresses of its words.
fn words(record: &Range<usize>) -> impl Iterator<Item = usize> + use<> {
    record.clone().step_by(size_of::<usize>())
}

extern "C-unwind" fn look_for_number(search: *mut c_void) -> *mut c_void {
    // SAFETY: who has made this thread waits for it, and leaves the search alone.
    let search = unsafe { &mut *search.cast::<Search>() };
    let Some(record) = record(search.end) else { return ptr::null_mut() };
    // SAFETY: the variables can be moved, or there would be no such thread.
    let base = unsafe { base() };
    // SAFETY: takes nothing.
    let number = unsafe { libc::gettid() }.cast_unsigned();
    let halves = words(&record).flat_map(|word| [word, word + size_of::<u32>()]);
    // SAFETY: within the thread's own record. Volatile, since the C library writes it.
    let is_number =
        |half: &usize| unsafe { ptr::with_exposed_provenance::<u32>(*half).read_volatile() == number };
    let mut found = halves.filter(is_number);
    // SAFETY: takes nothing.
    let errno = unsafe { libc::__errno_location() }.addr();
    if let (Some(place), None, Some(library)) = (found.next(), found.next(), block_around(errno))
        && thread_end::can_be_brought_about()
    {
        search.number = place - record.start;
        search.base = base - record.start;
        search.library = library.start.wrapping_sub(base);
        search.library_length = library.len();
        search.complete = true;
    }
    ptr::null_mut()
}

/// Detaches the thread, and sees which word changes by that.
extern "C-unwind" fn look_for_detached(search: *mut c_void) -> *mut c_void {
    // SAFETY: as above.
    let search = unsafe { &mut *search.cast::<Search>() };
    let Some(record) = record(search.end) else { return ptr::null_mut() };
    // SAFETY: within the thread's own record. Volatile, since the C library writes it.
    let value = |word: &usize| unsafe { ptr::with_exposed_provenance::<usize>(*word).read_volatile() };
    let is_itself = |word: &usize| value(word) == record.start;
    let before: Vec<usize> = words(&record).filter(is_itself).collect();
    // SAFETY: takes nothing.
    let itself = unsafe { libc::pthread_self() };
    // SAFETY: it was made joinable, and nobody joins it.
    unsafe { original::pthread_detach(itself) };
    let mut changed = words(&record).filter(is_itself).filter(|word| !before.contains(word));
    // SAFETY: as above.
    let number = unsafe { ptr::with_exposed_provenance::<u32>(record.start + search.number).read_volatile() };
    // SAFETY: takes nothing.
    let is_number = unsafe { libc::gettid() }.cast_unsigned() == number;
    if let (Some(place), None, true) = (changed.next(), changed.next(), is_number) {
        search.detached = place - record.start;
        search.complete = true;
    }
    ptr::null_mut()
}

/// Where a record has what rseq(2) is told: the C library has a variable that says so, since 2.35.
fn offset_of_processor() -> Option<usize> {
    // SAFETY: a C string.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()) };
    // SAFETY: a variable of this type (`ptrdiff_t`) that is not changed once the program runs.
    (!found.is_null()).then(|| unsafe { found.cast::<isize>().read() }.cast_unsigned())
}
