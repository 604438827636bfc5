//! Address space and pages: what the stack pool is cut from.
//!
//! Addresses are plain numbers here, as the kernel sees them: most of what they name is never touched by this process.

use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use libc::c_long;

use super::{SystemCall, original};

/// `MADV_GUARD_INSTALL` of Linux 6.13, which the C library's headers may be too old to know.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// The calling process, where a descriptor of one is asked for, since Linux 6.14.
const PIDFD_SELF: libc::c_int = -10_000;

/// Below this length no kernel puts a huge page, but those that know MAP_STACK to forbid it.
const HUGE_PAGE: usize = 1 << 20;

/// How many ranges one call advises on: as many as there is room for on a small stack.
pub(crate) const RANGES_AT_ONCE: usize = 64;

/// Bytes in a page.
pub(crate) fn page_size() -> usize {
    // SAFETY: takes no pointers.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("the kernel knows its page size")
}

/// Asks the processor to bring the cache line of an address near. Only a hint, harmless at any address.
#[inline]
pub(crate) fn prefetch(address: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: it reads nothing that a program can see, and does not fault; every x86-64 processor has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(ptr::without_provenance(address)) };
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above; every 64-bit processor of Arm's has it.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

/// How long a huge page is on most processors.
const USUAL_HUGE_PAGE: usize = 2 << 20;
/// In less room there may be none.
const LEAST_FOR_HUGE_PAGES: usize = 2 * USUAL_HUGE_PAGE;

/// Appends bytes. Many go into huge pages, where there are such, and where the vector fills them: new memory is a fault for each page, which
/// takes longer than the copy.
#[inline]
pub(crate) fn append(to: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() >= LEAST_FOR_HUGE_PAGES {
        to.reserve(bytes.len());
        ask_for_huge_pages(&to.spare_capacity_mut()[..bytes.len()]);
    }
    to.extend_from_slice(bytes);
}

/// Makes room for so many bytes, as [`append`] does.
///
/// # Errors
///
/// `OutOfMemory`.
pub(crate) fn make_room(to: &mut Vec<u8>, count: usize) -> io::Result<()> {
    to.try_reserve_exact(count).map_err(|_| io::ErrorKind::OutOfMemory)?;
    ask_for_huge_pages(&to.spare_capacity_mut()[..count]);
    Ok(())
}

/// Has much room be in huge pages, where there are such. Worth it where all of it is filled.
pub(crate) fn ask_for_huge_pages<T>(room: &[MaybeUninit<T>]) {
    if size_of_val(room) < LEAST_FOR_HUGE_PAGES {
        return;
    }
    let all = room.as_ptr_range();
    let start = all.start.addr().next_multiple_of(USUAL_HUGE_PAGE);
    let length = (all.end.addr() - start) / USUAL_HUGE_PAGE * USUAL_HUGE_PAGE;
    let start = all.start.cast_mut().with_addr(start);
    // SAFETY: whole pages of `room`; the advice changes nothing that a program can see. It fails on a kernel built without huge pages.
    unsafe { libc::madvise(start.cast(), length, libc::MADV_HUGEPAGE) };
}

/// Takes `length` bytes of address space that nothing else uses, without memory behind them and without access.
///
/// It counts neither as memory in use nor, until [`open`], as memory promised. The kernel puts no huge pages there, so
/// that touching one page costs one page.
pub(crate) fn reserve(length: usize) -> io::Result<usize> {
    map(length, libc::PROT_NONE)
}

/// A mapping of its own, without huge pages.
fn map(length: usize, access: libc::c_int) -> io::Result<usize> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
    // SAFETY: without MAP_FIXED the kernel chooses a place that is free, so no memory in use is touched.
    let start = unsafe { libc::mmap(ptr::null_mut(), length, access, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    if length >= HUGE_PAGE {
        // As MAP_STACK says to Linux 6.7 and later.
        // SAFETY: the range was just mapped; the advice changes nothing that a program can see. It fails on a kernel built
        // without huge pages, where there is nothing to forbid.
        unsafe { libc::madvise(start, length, libc::MADV_NOHUGEPAGE) };
    }
    Ok(start.expose_provenance())
}

/// Takes `length` bytes of memory, which read as zero until they are written, but for the first `guard` bytes: each touch of those is
/// a fault. Two mappings, and the fastest way to a single stack.
///
/// # Errors
///
/// `OutOfMemory` where there is none left, or at the limit of mappings.
#[cold]
pub(crate) fn map_guarded(length: usize, guard: usize) -> io::Result<usize> {
    let start = map(length, libc::PROT_READ | libc::PROT_WRITE)?;
    // SAFETY: just mapped, and nothing uses it yet.
    if let Err(error) = unsafe { close(start, guard) } {
        // SAFETY: as above.
        unsafe { release(start, length) };
        return Err(error);
    }
    Ok(start)
}

/// Gives address space back.
///
/// # Safety
///
/// The range comes from [`reserve`] or [`map_guarded`], and nothing uses it any more.
pub(crate) unsafe fn release(start: usize, length: usize) {
    // SAFETY: the caller gives up the range, which is a mapping of its own. It can only fail at the limit of mappings,
    // by splitting one: then the range stays reserved, which is harmless.
    unsafe { libc::munmap(pointer(start), length) };
}

/// Makes pages readable and writable; they read as zero until they are written.
///
/// # Safety
///
/// The range comes from [`reserve`] or [`map_guarded`], page by page, and is the caller's to use.
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

/// Makes every touch of the first `length` bytes of each slot a fault, at no cost in mappings, by markers in the page table.
///
/// # Errors
///
/// `InvalidInput` from a kernel before 6.13, and for memory that is locked (`mlockall`); some guards may be there then.
/// `Unsupported` where there are none all the same: emulators of the kernel say yes to every advice.
///
/// # Safety
///
/// As for [`open`], and `slots` is cut into slots of `slot` bytes; the contents of their first pages are lost, and nothing
/// touches those from now on.
pub(crate) unsafe fn install_guards(slots: Range<usize>, slot: usize, length: usize) -> io::Result<()> {
    let guard = |start| libc::iovec { iov_base: pointer(start), iov_len: length };
    let this_process = ThisProcess::find().ok();
    let mut batch = [guard(0); RANGES_AT_ONCE];
    for first in slots.clone().step_by(RANGES_AT_ONCE * slot) {
        let end = slots.end.min(first + RANGES_AT_ONCE * slot);
        let count = (end - first) / slot;
        for (entry, start) in batch.iter_mut().zip((first..end).step_by(slot)) {
            *entry = guard(start);
        }
        // SAFETY: the caller gives up the contents of the pages and promises that nobody touches them.
        unsafe { advise(this_process.as_ref(), &batch[..count], MADV_GUARD_INSTALL) }?;
    }
    let last_page = slots.end - slot + length - page_size();
    // SAFETY: the page is part of a guard, whose contents the caller has given up.
    if unsafe { faults(last_page) } { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

/// Whether this process would get a fault where it touched the page: has the kernel write there, which says so by EFAULT.
///
/// # Safety
///
/// The contents of the page are not needed.
unsafe fn faults(page: usize) -> bool {
    // The system call itself: the C library's function may write without the kernel. It needs no descriptor, and never waits.
    let none: c_long = 0;
    // SAFETY: nothing needs the byte that it writes, if it can.
    let written = unsafe {
        original::syscall(
            libc::SYS_getrandom,
            page as c_long,
            1,
            libc::GRND_INSECURE as c_long,
            none,
            none,
            none,
        )
    };
    written == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

/// The calling process, for [`process_madvise`].
struct ThisProcess(Option<OwnedFd>);

impl ThisProcess {
    /// By its name, or by a descriptor where the kernel knows none: to open and to close that takes as long as a dozen guards.
    fn find() -> io::Result<ThisProcess> {
        let by_name = ThisProcess(None);
        // SAFETY: without a range, nothing is advised on.
        if unsafe { process_madvise(&by_name, &[], libc::MADV_DONTNEED) } == 0 {
            return Ok(by_name);
        }
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, std::process::id(), 0) };
        let fd = libc::c_int::try_from(fd).unwrap_or(-1).check()?;
        // SAFETY: the kernel has just made `fd`, and nothing else owns it.
        Ok(ThisProcess(Some(unsafe { OwnedFd::from_raw_fd(fd) })))
    }
}

/// Returns how many bytes were advised on, from the first range on; -1 for none.
///
/// # Safety
///
/// As for [`advise`].
unsafe fn process_madvise(process: &ThisProcess, ranges: &[libc::iovec], advice: libc::c_int) -> c_long {
    let fd = process.0.as_ref().map_or(PIDFD_SELF, AsRawFd::as_raw_fd);
    // SAFETY: so many entries of `ranges` are valid to read. As for the pages: as promised by the caller.
    unsafe { libc::syscall(libc::SYS_process_madvise, fd, ranges.as_ptr(), ranges.len(), advice, 0) }
}

/// One advice for several ranges. Many in one call take half the time; where that is not to be had, `madvise` knows why.
///
/// # Safety
///
/// What the advice does to the contents of the ranges is all right with who owns them.
unsafe fn advise(
    this_process: Option<&ThisProcess>,
    ranges: &[libc::iovec],
    advice: libc::c_int,
) -> io::Result<()> {
    // SAFETY: as promised by the caller.
    let advised = this_process.map_or(0, |process| unsafe { process_madvise(process, ranges, advice) });
    let mut advised = usize::try_from(advised).unwrap_or(0);
    for range in ranges {
        if advised >= range.iov_len {
            advised -= range.iov_len;
            continue;
        }
        // SAFETY: as promised by the caller.
        unsafe { libc::madvise(range.iov_base, range.iov_len, advice) }.check()?;
    }
    Ok(())
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

/// The same for the `length` bytes after each of `starts`.
///
/// # Safety
///
/// As for [`discard`].
pub(crate) unsafe fn discard_all(starts: &[usize; RANGES_AT_ONCE], length: usize) {
    let ranges = starts.map(|start| libc::iovec { iov_base: pointer(start), iov_len: length });
    // SAFETY: the caller gives up the contents. It fails as `discard` does.
    drop(unsafe { advise(ThisProcess::find().ok().as_ref(), &ranges, libc::MADV_DONTNEED) });
}

/// Asks for the pages from `start` on whether memory is behind them: the lowest bit of each element tells.
///
/// Whether a guard of [`install_guards`] counts as memory depends on the kernel.
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::sys::signal::tests::in_child;

    #[test]
    fn what_is_appended_is_there_in_whatever_pages() {
        let many: Vec<u8> = (0..3 * USUAL_HUGE_PAGE + 7).map(|number| number as u8).collect();
        let mut to = vec![1, 2, 3];
        append(&mut to, &many);
        append(&mut to, &[4]);
        assert!(to[..3] == [1, 2, 3] && to[3..3 + many.len()] == many && to[3 + many.len()..] == [4]);
    }

    /// From now on the kernel says yes to every advice that this OS thread gives, and does nothing.
    pub(crate) fn pretend_to_take_every_advice() {
        let (load, jump, answer) =
            (libc::BPF_LD | libc::BPF_ABS, libc::BPF_JMP | libc::BPF_JEQ, libc::BPF_RET);
        install_filter(&mut [
            line(load, 0, 0, 0), // The number of the system call.
            line(jump, libc::SYS_madvise as u32, 1, 0),
            line(jump, libc::SYS_process_madvise as u32, 0, 1),
            line(answer, libc::SECCOMP_RET_ERRNO, 0, 0), // Error 0.
            line(answer, libc::SECCOMP_RET_ALLOW, 0, 0),
        ]);
    }

    fn line(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt, jf, k }
    }

    /// Of the system calls of this OS thread.
    fn install_filter(filter: &mut [libc::sock_filter]) {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: takes no pointers.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.check().unwrap();
        let mode = libc::SECCOMP_MODE_FILTER;
        // SAFETY: `program` describes `filter`, of which the kernel makes a copy.
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) }.check().unwrap();
    }

    /// `count` open slots.
    fn slots(count: usize, slot: usize) -> Range<usize> {
        let length = count * slot;
        let start = reserve(length).unwrap();
        // SAFETY: just reserved.
        unsafe { open(start, length) }.unwrap();
        start..start + length
    }

    #[test]
    fn reserved_space_is_empty_until_it_is_written() {
        let slots = slots(2, 2 * page_size());
        let mut pages = [0; 4];
        resident(slots.start, &mut pages).unwrap();
        assert_eq!(pages, [0; 4]);
        let third = ptr::with_exposed_provenance_mut::<u8>(slots.start + 2 * page_size());
        // SAFETY: the page is open, and this test's own.
        unsafe { third.write_volatile(7) };
        resident(slots.start, &mut pages).unwrap();
        assert_eq!(pages, [0, 0, 1, 0]);
        // SAFETY: nothing needs the contents.
        unsafe { discard(slots.start, slots.len()) };
        resident(slots.start, &mut pages).unwrap();
        assert_eq!(pages, [0; 4]);
        // SAFETY: as above.
        assert_eq!(unsafe { third.read_volatile() }, 0);
        // SAFETY: nothing uses the range any more.
        unsafe { release(slots.start, slots.len()) };
    }

    #[test]
    fn released_space_is_mapped_no_more() {
        // Another test's thread may map the same addresses at once, but hardly each time.
        assert!((0..100).any(|_| {
            let slots = slots(2, 2 * page_size());
            // SAFETY: nothing ever used the range.
            unsafe { release(slots.start, slots.len()) };
            resident(slots.start, &mut [0; 4]).is_err()
        }));
    }

    /// Where the lower half of a word lies in it.
    const LOW_HALF: u32 = if cfg!(target_endian = "big") { 4 } else { 0 };

    /// As before Linux 6.14, for this OS thread.
    fn forget_the_name_of_this_process() {
        let (load, jump, answer) =
            (libc::BPF_LD | libc::BPF_ABS, libc::BPF_JMP | libc::BPF_JEQ, libc::BPF_RET);
        install_filter(&mut [
            line(load, 0, 0, 0), // The number of the system call.
            line(jump, libc::SYS_process_madvise as u32, 0, 3),
            line(load, std::mem::offset_of!(libc::seccomp_data, args) as u32 + LOW_HALF, 0, 0),
            line(jump, PIDFD_SELF as u32, 0, 1),
            line(answer, libc::SECCOMP_RET_ERRNO | libc::EBADF as u32, 0, 0),
            line(answer, libc::SECCOMP_RET_ALLOW, 0, 0),
        ]);
    }

    #[test]
    fn each_slot_gets_one_guard_in_batches_of_any_size() {
        assert_each_slot_gets_one_guard();
    }

    #[test]
    fn so_it_does_where_this_process_has_no_name() {
        in_child(|| {
            forget_the_name_of_this_process();
            assert!(ThisProcess::find().unwrap().0.is_some());
            assert_each_slot_gets_one_guard();
        })
        .assert_success();
    }

    #[test]
    fn a_guarded_mapping_is_open_but_for_its_guard() {
        let page = page_size();
        let start = map_guarded(5 * page, 2 * page).unwrap();
        // SAFETY: nothing is there.
        let faulting = (0..5).filter(|index| unsafe { faults(start + index * page) });
        assert_eq!(faulting.collect::<Vec<_>>(), [0, 1]);
        // SAFETY: nothing uses the range any more.
        unsafe { release(start, 5 * page) };
    }

    fn assert_each_slot_gets_one_guard() {
        let page = page_size();
        for (slot, guard) in [(2 * page, page), (5 * page, 3 * page)] {
            for count in [1, RANGES_AT_ONCE - 1, RANGES_AT_ONCE, 2 * RANGES_AT_ONCE + 1] {
                let slots = slots(count, slot);
                // SAFETY: nothing is in the slots.
                if unsafe { install_guards(slots.clone(), slot, guard) }.is_err() {
                    return; // A kernel before 6.13.
                }
                for (index, start) in slots.clone().step_by(page).enumerate() {
                    // SAFETY: as above.
                    let faults = unsafe { faults(start) };
                    assert_eq!(faults, index * page % slot < guard, "page {index}");
                }
                // SAFETY: nothing uses the range any more.
                unsafe { release(slots.start, slots.len()) };
            }
        }
    }

    #[test]
    fn a_guard_that_is_only_said_to_be_there_is_none() {
        in_child(|| {
            pretend_to_take_every_advice();
            let slots = slots(2, 2 * page_size());
            // SAFETY: nothing is in the slots.
            let refused = unsafe { install_guards(slots, 2 * page_size(), page_size()) }.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
        })
        .assert_success();
    }

    #[test]
    fn locked_memory_takes_no_guards() {
        in_child(|| {
            let slots = slots(2, 2 * page_size());
            // A sanitizer makes nothing of `mlock`, so this is the system call.
            // SAFETY: locking changes nothing that a program can see.
            let locked = unsafe { libc::syscall(libc::SYS_mlock, slots.start, slots.len()) };
            assert_eq!(locked, 0);
            // SAFETY: nothing is in the slots.
            let refused = unsafe { install_guards(slots, 2 * page_size(), page_size()) }.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        })
        .assert_success();
    }
}
