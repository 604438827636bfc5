//! Regular files, which make nobody wait for readiness, only for the disk: that is done on another OS thread.
//!
//! What is in memory the kernel gives at once where the file system can (RWF_NOWAIT), and nobody yields for it. `pwrite` goes to
//! another OS thread for isolated green threads only, and with C's locks patched: SQLite holds a lock of C's across it, which to the C
//! library all others of a hub hold together.

use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;

use libc::{c_int, c_uint, c_void, iovec, off_t, off64_t, size_t, ssize_t};

use super::call::{Call, errno, quietly};
use super::off_hub::off_hub;
use super::parts::{Parts, patched};
use super::slices;
use crate::fiber::isolation::is_isolated;
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
        Some(call) if offset >= 0 && slices::length(slices) > 0 => {
            call.give_way_if_interrupted();
            // SAFETY: the caller's contract. The kernel refuses what is below 0.
            quietly(|| unsafe { read_at(fd, slices, offset) })
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
pub(super) unsafe extern "C" fn pread64(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    offset: off64_t,
) -> ssize_t {
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
    // SAFETY: as above, and the call returns before he goes on.
    let Some(slices) = (unsafe { slices::named(slices, count as usize) }) else { return plain() };
    // SAFETY: as above.
    unsafe { read_slices_at(fd, slices, offset, plain) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn preadv64(fd: c_int, slices: *const iovec, count: c_int, offset: off64_t) -> ssize_t {
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::preadv64(fd, slices, count, offset) };
    // SAFETY: as above, and the call returns before he goes on.
    let Some(slices) = (unsafe { slices::named(slices, count as usize) }) else { return plain() };
    // SAFETY: as above.
    unsafe { read_slices_at(fd, slices, offset, plain) }
}

/// `pwritev`.
///
/// # Safety
///
/// As for `pwritev`.
unsafe fn write_at(fd: RawFd, slices: &[iovec], offset: off64_t) -> ssize_t {
    let (first, count) = (slices.as_ptr(), slices::count(slices));
    // SAFETY: the caller's contract.
    let gone = unsafe { libc::pwritev2(fd, first, count, offset, libc::RWF_NOWAIT) };
    if gone == -1 && matches!(errno(), libc::EAGAIN | libc::EOPNOTSUPP) {
        let first = first.expose_provenance();
        // SAFETY: as above; he waits until this has returned, so the slices are still there.
        return on_thread(move || unsafe {
            libc::pwritev2(fd, ptr::with_exposed_provenance(first), count, offset, 0)
        });
    }
    if gone <= 0 || gone as usize >= slices::length(slices) {
        return gone;
    }
    // SAFETY: as above, for what is left.
    gone + unsafe { write_at(fd, &slices::rest(slices, gone as usize), offset + gone as off64_t) }.max(0)
}

/// `pwritev`, with `plain` for the C library's: here for those only to whom a lock of C's is held by one of them.
///
/// # Safety
///
/// What the slices name must be valid for reads.
unsafe fn write_slices_at(
    fd: RawFd,
    slices: &[iovec],
    offset: off64_t,
    plain: impl FnOnce() -> ssize_t,
) -> ssize_t {
    match Call::enter(Parts::FILES | Parts::THREADS) {
        Some(call) if offset >= 0 && slices::length(slices) > 0 && is_isolated() => {
            call.give_way_if_interrupted();
            // SAFETY: the caller's contract. The kernel refuses what is below 0.
            quietly(|| unsafe { write_at(fd, slices, offset) })
        }
        _ => plain(),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite(fd: c_int, buffer: *const c_void, length: size_t, offset: off_t) -> ssize_t {
    let slice = iovec { iov_base: buffer.cast_mut(), iov_len: length };
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::pwrite(fd, buffer, length, offset) };
    // SAFETY: one slice, which is the caller's buffer.
    unsafe { write_slices_at(fd, &[slice], offset, plain) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(fd: c_int, buffer: *const c_void, length: size_t, offset: off64_t) -> ssize_t {
    let slice = iovec { iov_base: buffer.cast_mut(), iov_len: length };
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::pwrite64(fd, buffer, length, offset) };
    // SAFETY: one slice, which is the caller's buffer.
    unsafe { write_slices_at(fd, &[slice], offset, plain) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwritev(fd: c_int, slices: *const iovec, count: c_int, offset: off_t) -> ssize_t {
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::pwritev(fd, slices, count, offset) };
    // SAFETY: as above, and the call returns before he goes on.
    let Some(slices) = (unsafe { slices::named(slices, count as usize) }) else { return plain() };
    // SAFETY: as above.
    unsafe { write_slices_at(fd, slices, offset, plain) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwritev64(fd: c_int, slices: *const iovec, count: c_int, offset: off64_t) -> ssize_t {
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::pwritev64(fd, slices, count, offset) };
    // SAFETY: as above, and the call returns before he goes on.
    let Some(slices) = (unsafe { slices::named(slices, count as usize) }) else { return plain() };
    // SAFETY: as above.
    unsafe { write_slices_at(fd, slices, offset, plain) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn copy_file_range(
    from: c_int,
    from_offset: *mut off64_t,
    to: c_int,
    to_offset: *mut off64_t,
    length: size_t,
    flags: c_uint,
) -> ssize_t {
    let offsets = [from_offset, to_offset].map(|offset| offset.expose_provenance());
    let run = move || {
        let [from_offset, to_offset] = offsets.map(ptr::with_exposed_provenance_mut);
        // SAFETY: the caller's contract is that of the C library's function; he waits until this has returned, so the offsets are
        // still there.
        unsafe { original::copy_file_range(from, from_offset, to, to_offset, length, flags) }
    };
    if Call::enter(Parts::FILES).is_some() { off_hub(run) } else { run() }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn msync(address: *mut c_void, length: size_t, flags: c_int) -> c_int {
    let address = address.expose_provenance();
    let run = move || {
        // SAFETY: the caller's contract is that of the C library's function, which takes any address.
        unsafe { original::msync(ptr::with_exposed_provenance_mut(address), length, flags) as ssize_t }
    };
    match Call::enter(Parts::FILES) {
        Some(_) if flags & libc::MS_SYNC != 0 => off_hub(run) as c_int,
        _ => run() as c_int,
    }
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
