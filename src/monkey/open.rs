//! Opening a named pipe, which waits until somebody opens its other end.
//!
//! The kernel has no way to wait for that beside other things: it is done on another OS thread, which goes on waiting if a kill or a
//! time limit ends the call, and then closes what it has opened. Everything else is opened here and now.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use libc::{c_char, c_int, mode_t};

use super::call::{Call, errno, failed, set_errno};
use super::off_hub::detachable_apart;
use super::parts::Parts;
use crate::sys::original;

/// Whether opening it with these flags waits for somebody else.
///
/// # Safety
///
/// `path` must be a C string, or whatever the kernel refuses.
unsafe fn may_wait(folder: c_int, path: *const c_char, flags: c_int) -> bool {
    let is_one_way = matches!(flags & libc::O_ACCMODE, libc::O_RDONLY | libc::O_WRONLY);
    if !is_one_way || flags & (libc::O_NONBLOCK | libc::O_PATH | libc::O_DIRECTORY) != 0 {
        return false;
    }
    let not_followed = if flags & libc::O_NOFOLLOW != 0 { libc::AT_SYMLINK_NOFOLLOW } else { 0 };
    let mut status = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the caller's contract, and `status` is valid for writes of a stat.
    if unsafe { libc::fstatat(folder, path, status.as_mut_ptr(), not_followed) } == -1 {
        return false;
    }
    // SAFETY: the call has filled it.
    let status = unsafe { status.assume_init() };
    status.st_mode & libc::S_IFMT == libc::S_IFIFO
}

/// `openat`, with `plain` for the C library's of the name that was called.
///
/// # Safety
///
/// As for openat(2).
unsafe fn open_at(
    folder: c_int,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
    plain: impl FnOnce() -> c_int,
) -> c_int {
    let before = errno();
    // SAFETY: the caller's contract.
    let call = Call::enter(Parts::FILES).filter(|_| unsafe { may_wait(folder, path, flags) });
    let Some(call) = call else {
        set_errno(before);
        return plain();
    };
    // SAFETY: as above; what has just been found there has a name.
    let name: CString = unsafe { CStr::from_ptr(path) }.to_owned();
    let open = move || {
        // SAFETY: a C string.
        let fd = unsafe { original::openat(folder, name.as_ptr(), flags, mode) };
        // SAFETY: the kernel has just made it, and nothing else owns it.
        if fd == -1 { Err(errno()) } else { Ok(unsafe { OwnedFd::from_raw_fd(fd) }) }
    };
    match detachable_apart(call, "the other end of a named pipe", open) {
        Ok(Ok(fd)) => fd.into_raw_fd(),
        Ok(Err(errno)) | Err(errno) => failed(errno),
    }
}

/// In C these take a mode only if they may make a file; see `syscall`.
#[unsafe(no_mangle)]
unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::open(path, flags, mode) };
    // SAFETY: as above.
    unsafe { open_at(libc::AT_FDCWD, path, flags, mode, plain) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::open64(path, flags, mode) };
    // SAFETY: as above.
    unsafe { open_at(libc::AT_FDCWD, path, flags, mode, plain) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn openat(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::openat(folder, path, flags, mode) };
    // SAFETY: as above.
    unsafe { open_at(folder, path, flags, mode, plain) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn openat64(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::openat64(folder, path, flags, mode) };
    // SAFETY: as above.
    unsafe { open_at(folder, path, flags, mode, plain) }
}

/// See `__recv_chk`. These abort where a mode is missing.
#[unsafe(no_mangle)]
unsafe extern "C" fn __open_2(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::__open_2(path, flags) };
    // SAFETY: as above.
    unsafe { open_at(libc::AT_FDCWD, path, flags, 0, plain) }
}

/// See `__open_2`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __open64_2(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::__open64_2(path, flags) };
    // SAFETY: as above.
    unsafe { open_at(libc::AT_FDCWD, path, flags, 0, plain) }
}

/// See `__open_2`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __openat_2(folder: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::__openat_2(folder, path, flags) };
    // SAFETY: as above.
    unsafe { open_at(folder, path, flags, 0, plain) }
}

/// See `__open_2`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __openat64_2(folder: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let plain = || unsafe { original::__openat64_2(folder, path, flags) };
    // SAFETY: as above.
    unsafe { open_at(folder, path, flags, 0, plain) }
}
