//! Regular files, which make nobody wait for readiness, only for the disk: that is done on another OS thread.
//!
//! What is in memory the kernel gives at once where the file system can (RWF_NOWAIT), and nobody yields for it. `pwrite` is the C
//! library's: what it writes goes to memory, and SQLite holds a lock of C's across it, at which a second green thread of the
//! hub would stop them all.

use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;

use libc::{c_int, c_void, iovec, off_t, off64_t, size_t, ssize_t};

use super::call::{Call, errno};
use super::off_hub::off_hub;
use super::parts::{Parts, patched};
use super::slices;
use crate::sys::original;

/// Where the file stands, as an offset.
const HERE: off64_t = -1;

pub(super) fn is_regular_file(fd: RawFd) -> bool {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `status` is valid for writes of a stat.
    if unsafe { libc::fstat(fd, status.as_mut_ptr()) } == -1 {
        return false;
    }
    // SAFETY: the call has filled it.
    let status = unsafe { status.assume_init() };
    status.st_mode & libc::S_IFMT == libc::S_IFREG
}

/// `readv` on another OS thread.
///
/// # Safety
///
/// As for `readv`.
pub(super) unsafe fn read_from_disk(fd: RawFd, slices: &[iovec]) -> ssize_t {
    // SAFETY: the caller's contract.
    unsafe { read_on_thread(fd, slices, HERE) }
}

/// `writev` on another OS thread.
///
/// # Safety
///
/// As for `writev`.
pub(super) unsafe fn write_to_disk(fd: RawFd, slices: &[iovec]) -> ssize_t {
    let (first, count) = (slices.as_ptr().expose_provenance(), slices::count(slices));
    // SAFETY: the caller's contract; he waits until this has returned, so the slices are still there.
    on_thread(move || unsafe { original::writev(fd, ptr::with_exposed_provenance(first), count) })
}

/// What is left to read when a try that did not wait has read `come` bytes of the slices: what of a file is in memory is not
/// all, its end is where nothing more comes.
///
/// # Safety
///
/// As for `readv`.
pub(super) unsafe fn read_on(fd: RawFd, slices: &[iovec], come: ssize_t) -> ssize_t {
    // SAFETY: the caller's contract, for what is left.
    come + unsafe { read_at(fd, &slices::rest(slices, come as usize), HERE) }.max(0)
}

/// `preadv`, or with [`HERE`] `readv`.
///
/// # Safety
///
/// As for `preadv`.
unsafe fn read_at(fd: RawFd, slices: &[iovec], offset: off64_t) -> ssize_t {
    let (first, count) = (slices.as_ptr(), slices::count(slices));
    // SAFETY: the caller's contract.
    let come = unsafe { libc::preadv2(fd, first, count, offset, libc::RWF_NOWAIT) };
    if come == -1 && matches!(errno(), libc::EAGAIN | libc::EOPNOTSUPP) {
        // SAFETY: as above.
        return unsafe { read_on_thread(fd, slices, offset) };
    }
    if come <= 0 || come as usize >= slices::length(slices) || !is_regular_file(fd) {
        return come;
    }
    let next = if offset == HERE { HERE } else { offset + come as off64_t };
    // SAFETY: as above, for what is left.
    come + unsafe { read_at(fd, &slices::rest(slices, come as usize), next) }.max(0)
}

/// # Safety
///
/// As for `preadv`.
unsafe fn read_on_thread(fd: RawFd, slices: &[iovec], offset: off64_t) -> ssize_t {
    let (first, count) = (slices.as_ptr().expose_provenance(), slices::count(slices));
    // SAFETY: the caller's contract; he waits until this has returned, so the slices are still there.
    on_thread(move || unsafe { libc::preadv2(fd, ptr::with_exposed_provenance(first), count, offset, 0) })
}

fn on_thread(run: impl FnOnce() -> ssize_t + Copy + Send + 'static) -> ssize_t {
    if patched().contains(Parts::FILES) { off_hub(run) } else { run() }
}

/// `preadv`, with `plain` for the C library's.
///
/// # Safety
///
/// What the slices name must be valid for writes.
unsafe fn read_slices_at(
    fd: RawFd,
    slices: &[iovec],
    offset: off64_t,
    plain: impl FnOnce() -> ssize_t,
) -> ssize_t {
    match Call::enter(Parts::FILES) {
        Some(call) if offset >= 0 => {
            call.give_way_if_interrupted();
            // SAFETY: the caller's contract. The kernel refuses what is below 0.
            unsafe { read_at(fd, slices, offset) }
        }
        _ => plain(),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pread(fd: c_int, buffer: *mut c_void, length: size_t, offset: off_t) -> ssize_t {
    let slice = iovec { iov_base: buffer, iov_len: length };
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::pread(fd, buffer, length, offset) };
    // SAFETY: one slice, which is the caller's buffer.
    unsafe { read_slices_at(fd, &[slice], offset, plain) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pread64(fd: c_int, buffer: *mut c_void, length: size_t, offset: off64_t) -> ssize_t {
    let slice = iovec { iov_base: buffer, iov_len: length };
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::pread64(fd, buffer, length, offset) };
    // SAFETY: one slice, which is the caller's buffer.
    unsafe { read_slices_at(fd, &[slice], offset, plain) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn preadv(fd: c_int, slices: *const iovec, count: c_int, offset: off_t) -> ssize_t {
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::preadv(fd, slices, count, offset) };
    if !slices::is_count(count) {
        return plain();
    }
    // SAFETY: as above, and the call returns before he goes on.
    let slices = unsafe { slices::named(slices, count as usize) };
    // SAFETY: as above.
    unsafe { read_slices_at(fd, slices, offset, plain) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn preadv64(fd: c_int, slices: *const iovec, count: c_int, offset: off64_t) -> ssize_t {
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::preadv64(fd, slices, count, offset) };
    if !slices::is_count(count) {
        return plain();
    }
    // SAFETY: as above, and the call returns before he goes on.
    let slices = unsafe { slices::named(slices, count as usize) };
    // SAFETY: as above.
    unsafe { read_slices_at(fd, slices, offset, plain) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    // SAFETY: takes no pointers.
    let run = move || unsafe { original::fsync(fd) as ssize_t };
    if Call::enter(Parts::FILES).is_some() { off_hub(run) as c_int } else { run() as c_int }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    // SAFETY: takes no pointers.
    let run = move || unsafe { original::fdatasync(fd) as ssize_t };
    if Call::enter(Parts::FILES).is_some() { off_hub(run) as c_int } else { run() as c_int }
}

/// See `__recv_chk`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __pread_chk(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    offset: off_t,
    room: size_t,
) -> ssize_t {
    if length > room {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::__pread_chk(fd, buffer, length, offset, room) };
    }
    // SAFETY: as above; the length is in bounds.
    unsafe { pread(fd, buffer, length, offset) }
}

/// See `__recv_chk`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __pread64_chk(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    offset: off64_t,
    room: size_t,
) -> ssize_t {
    if length > room {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::__pread64_chk(fd, buffer, length, offset, room) };
    }
    // SAFETY: as above; the length is in bounds.
    unsafe { pread64(fd, buffer, length, offset) }
}
