//! Where things are in a thread-control block: found by their values, on threads that are made for that.

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;

use super::values::{self, words};
use crate::sys::thread_local::{base, block_around, can_be_moved};
use crate::sys::thread_start::Start;
use crate::sys::{futex, memory, original, robust, signal, thread_end};

/// A slot's bytes beside its first page: a power of two, but for the page, so that blocks do not compete for the same cache sets.
const LEAST_SLOT: usize = 32 * 1024;
/// Where that is not enough for the variables of all modules, it is doubled up to this.
const LARGEST_SLOT: usize = 16 * 1024 * 1024;

/// Of the stacks of the threads that look for things, beside a slot: they allocate, by an allocator that may be anybody's, and not
/// optimised.
const LOOKING: usize = 512 * 1024;

static LAYOUT: OnceLock<Result<Layout, &'static str>> = OnceLock::new();

/// Where things are in a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// From the record to the thread's number.
    pub(super) number: usize,
    /// From the record to where a detached thread refers to itself.
    pub(super) detached: usize,
    /// From the record to the base.
    pub(super) base: usize,
    /// From the base to the C library's own variables, in wrapping arithmetic.
    pub(super) library: usize,
    /// Their bytes.
    pub(super) library_length: usize,
    /// From the base to what rseq(2) is told, in wrapping arithmetic, if the C library does that.
    pub(super) processor: Option<usize>,
    /// From the record to the list of robust mutexes, if the kernel was told of one there.
    pub(super) robust: Option<usize>,
    /// From the record to where it leads to the memory for values under pthread keys, if that was found.
    pub(super) values: Option<usize>,
    pub(super) slot: usize,
}

/// Why there can be no blocks, or where things are in one.
pub(super) fn layout() -> Result<Layout, &'static str> {
    *LAYOUT.get_or_init(|| {
        if !can_be_moved() {
            return Err(
                "isolation needs aarch64, or x86_64 and a kernel that lets programs set FS (Linux 5.9)",
            );
        }
        find_layout().ok_or("isolation needs glibc, in a version whose threads look as expected")
    })
}

/// [`layout`], if it was asked for and there can be blocks. Async-signal-safe.
pub(super) fn found() -> Option<Layout> {
    LAYOUT.get()?.ok()
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
    robust: Option<usize>,
    values: Option<usize>,
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
    let search = |stack: Range<usize>, number, life: Start| {
        let search = Search {
            end: stack.end,
            number,
            detached: 0,
            base: 0,
            library: 0,
            library_length: 0,
            robust: None,
            values: None,
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
        robust: first.robust,
        values: first.values,
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
        search.robust = offset_of_robust_list(&record);
        search.values = values::find(&record);
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

/// Where the calling thread's record has the list of its robust mutexes.
fn offset_of_robust_list(record: &Range<usize>) -> Option<usize> {
    let head = robust::head()?.addr();
    record.contains(&head).then(|| head - record.start)
}

/// Where a record has what rseq(2) is told: the C library has a variable that says so, since 2.35.
fn offset_of_processor() -> Option<usize> {
    // SAFETY: a C string.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()) };
    // SAFETY: a variable of this type (`ptrdiff_t`) that is not changed once the program runs.
    (!found.is_null()).then(|| unsafe { found.cast::<isize>().read() }.cast_unsigned())
}

/// Begins an OS thread on `stack`.
pub(super) fn start(stack: Range<usize>, life: Start, argument: *mut c_void) -> io::Result<libc::pthread_t> {
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
