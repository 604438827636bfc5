//! Address space and pages: what the stack pool is cut from.
//!
//! Addresses are plain numbers here, as the kernel sees them: most of what they name is never touched by this process.

use std::io;
use std::ptr;

use super::SystemCall;

/// `MADV_GUARD_INSTALL` of Linux 6.13, which the C library's headers may be too old to know.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// Bytes in a page.
pub(crate) fn page_size() -> usize {
    // SAFETY: takes no pointers.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("the kernel knows its page size")
}

/// Takes `length` bytes of address space that nothing else uses, without memory behind them and without access.
///
/// It counts neither as memory in use nor, until [`open`], as memory promised. The kernel puts no huge pages there, so
/// that touching one page costs one page.
pub(crate) fn reserve(length: usize) -> io::Result<usize> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: without MAP_FIXED the kernel chooses a place that is free, so no memory in use is touched.
    let start = unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_NONE, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the range was just mapped; the advice changes nothing that a program can see. It fails on a kernel built
    // without huge pages, where there is nothing to forbid.
    unsafe { libc::madvise(start, length, libc::MADV_NOHUGEPAGE) };
    Ok(start.expose_provenance())
}

/// Gives address space back.
///
/// # Safety
///
/// The range comes from [`reserve`], and nothing uses it any more.
pub(crate) unsafe fn release(start: usize, length: usize) {
    // SAFETY: the caller gives up the range, which is a mapping of its own. It can only fail at the limit of mappings,
    // by splitting one: then the range stays reserved, which is harmless.
    unsafe { libc::munmap(pointer(start), length) };
}

/// Makes pages readable and writable; they read as zero until they are written.
///
/// # Safety
///
/// The range comes from [`reserve`], page by page, and is the caller's to use.
pub(crate) unsafe fn open(start: usize, length: usize) -> io::Result<()> {
    // SAFETY: the range is the caller's own, so no other code relies on the pages being closed.
    unsafe { libc::mprotect(pointer(start), length, libc::PROT_READ | libc::PROT_WRITE) }.check().map(drop)
}

/// Takes all access away again.
///
/// # Safety
///
/// As for [`open`]; and nothing touches the range until it is opened again.
pub(crate) unsafe fn close(start: usize, length: usize) -> io::Result<()> {
    // SAFETY: the caller promises that nobody reads or writes the range.
    unsafe { libc::mprotect(pointer(start), length, libc::PROT_NONE) }.check().map(drop)
}

/// Makes every touch of the range a fault, at no cost in mappings, by a marker in the page table.
///
/// # Errors
///
/// `InvalidInput` from a kernel before 6.13, and for memory that is locked (`mlockall`).
///
/// # Safety
///
/// As for [`open`]; the contents of the range are lost, and nothing touches it from now on.
pub(crate) unsafe fn install_guard(start: usize, length: usize) -> io::Result<()> {
    // SAFETY: the caller gives up the contents and promises that nobody touches the range.
    unsafe { libc::madvise(pointer(start), length, MADV_GUARD_INSTALL) }.check().map(drop)
}

/// Gives the memory behind the pages back to the kernel; they read as zero when they are touched next. Guards stay.
///
/// # Safety
///
/// As for [`open`]; the contents of the range are not needed any more.
pub(crate) unsafe fn discard(start: usize, length: usize) {
    // SAFETY: the caller gives up the contents. It fails only for locked memory, which then stays as it is.
    unsafe { libc::madvise(pointer(start), length, libc::MADV_DONTNEED) };
}

/// Asks for the pages from `start` on whether memory is behind them: the lowest bit of each element tells.
///
/// A guard of [`install_guard`] counts as memory.
///
/// # Errors
///
/// `OutOfMemory` if the range is not mapped.
pub(crate) fn resident(start: usize, pages: &mut [u8]) -> io::Result<()> {
    let length = pages.len() * page_size();
    // SAFETY: `pages` is valid for writing one byte per page of the range; the range itself is only looked at.
    unsafe { libc::mincore(pointer(start), length, pages.as_mut_ptr()) }.check().map(drop)
}

fn pointer(address: usize) -> *mut libc::c_void {
    ptr::with_exposed_provenance_mut(address)
}
