//! The process itself, and its children.

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::{SystemCall, original, uninterrupted};

/// Ends the process with a line in the form of std's, where going on would break what safe code relies on.
#[cold]
pub(crate) fn abort_with(reason: &str) -> ! {
    // Where nobody reads it, there is nobody to tell.
    let _ = writeln!(io::stderr(), "\nfatal runtime error: {reason}, aborting");
    std::process::abort()
}

/// How many OS threads the process has; `None` where /proc does not tell.
pub(crate) fn thread_count() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("Threads:"))?.trim().parse().ok()
}

/// How many bytes of a process are in memory; `None` if there is none, or /proc does not tell.
pub(crate) fn resident_bytes(id: u32) -> Option<u64> {
    let pages = std::fs::read_to_string(format!("/proc/{id}/statm")).ok()?;
    let pages: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    Some(pages * super::memory::page_size() as u64)
}

/// The number that the kernel gives to the calling OS thread.
pub(crate) fn os_thread_id() -> u32 {
    // SAFETY: the call has no argument and cannot fail.
    unsafe { libc::gettid() }.cast_unsigned()
}

/// How often an OS thread has given up its processor.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct SleepCount {
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
}

/// How often an OS thread of this process has slept; `None` if there is none, or /proc does not tell.
pub(crate) fn sleeps_of(thread: u32) -> Option<SleepCount> {
    let status = std::fs::read_to_string(format!("/proc/self/task/{thread}/status")).ok()?;
    let number = |name| status.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok();
    Some(SleepCount {
        voluntary: number("voluntary_ctxt_switches:")?,
        involuntary: number("nonvoluntary_ctxt_switches:")?,
    })
}

/// Whether the calling OS thread is the one that runs `main`: when it ends, the process does.
pub(crate) fn on_main_thread() -> bool {
    os_thread_id() == std::process::id()
}

/// A descriptor that is readable once the process has ended (Linux 5.3). A child that has not been waited for is found by
/// its id, dead or alive.
pub(crate) fn open_pidfd(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = (unsafe { libc::syscall(libc::SYS_pidfd_open, id, 0) } as libc::c_int).check()?;
    // SAFETY: the kernel has just made `fd`, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Blocks the OS thread until the child has ended, and leaves its status to be waited for.
pub(crate) fn block_until_ended(id: u32) -> io::Result<()> {
    wait_for_end(id, 0).map(drop)
}

/// Whether the child has ended. Leaves its status to be waited for.
pub(crate) fn has_ended(id: u32) -> io::Result<bool> {
    wait_for_end(id, libc::WNOHANG)
}

fn wait_for_end(id: u32, options: libc::c_int) -> io::Result<bool> {
    let mut information = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = options | libc::WEXITED | libc::WNOWAIT;
    uninterrupted(|| {
        // SAFETY: `information` is valid to be written to.
        unsafe { original::waitid(libc::P_PID, id, information.as_mut_ptr(), options) }.check()
    })?;
    // SAFETY: zeros are a valid value, and so is what the kernel has written over them.
    let information = unsafe { information.assume_init() };
    // Zero for none.
    Ok(information.si_signo != 0)
}

/// fork(2): 0 in the child, whose number it is in the parent.
///
/// # Safety
///
/// The child uses nothing that other OS threads may have been using at that moment.
pub(crate) unsafe fn fork() -> io::Result<u32> {
    // SAFETY: the caller's promise.
    let child = unsafe { libc::fork() }.check()?;
    Ok(child as u32)
}

/// Has `before` called before each fork of the process, and then the others in the parent and in the child.
///
/// # Safety
///
/// They do only what a child of a process with many OS threads may do, and do not unwind.
#[cold]
pub(crate) unsafe fn at_fork(before: extern "C" fn(), in_parent: extern "C" fn(), in_child: extern "C" fn()) {
    // SAFETY: the functions are there for ever; the caller vouches for what they do. It fails for want of memory alone.
    unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
}

/// _exit(2): ends the process here and now, and runs nothing of what was to run at its end.
pub(crate) fn end_now(status: libc::c_int) -> ! {
    // SAFETY: takes no pointers, and does not return.
    unsafe { libc::_exit(status) }
}

/// Has the kernel kill this process when the OS thread that forked it ends (PR_SET_PDEATHSIG).
pub(crate) fn die_with_parent() -> io::Result<()> {
    // SAFETY: takes no pointers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) }.check()?;
    Ok(())
}

/// Has the kernel kill this process when the last writer of a pipe is closed (F_SETSIG, O_ASYNC). The pipe's open file is its alone, and kept.
pub(crate) fn die_at_hang_up(pipe: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no pointers.
    let own = unsafe { libc::getpid() };
    for (operation, number) in [
        (F_SETSIG, libc::SIGKILL),
        (libc::F_SETOWN, own),
        // Last: from here on it is told.
        (libc::F_SETFL, libc::O_NONBLOCK | libc::O_ASYNC),
    ] {
        let number = std::ptr::without_provenance_mut::<libc::c_void>(number as usize);
        // SAFETY: takes no pointers, but a number in the place of one.
        unsafe { original::fcntl(pipe.as_raw_fd(), operation, number) }.check()?;
    }
    Ok(())
}

/// Which signal tells of a file; the crate `libc` does not have it everywhere.
const F_SETSIG: libc::c_int = 10;

/// pidfd_send_signal(2): a signal for a process that cannot be another by now.
pub(crate) fn send_signal_to(pidfd: BorrowedFd<'_>, signal: libc::c_int) -> io::Result<()> {
    let nothing = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: no information is given.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, nothing, 0) };
    (sent as libc::c_int).check()?;
    Ok(())
}

/// Whether `error` says that there is no such process, or none any more.
pub(crate) fn is_no_process(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESRCH)
}

/// Whether `error` says that there is no such child to be waited for.
pub(crate) fn is_no_child(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECHILD)
}

/// The raw status of a child that has ended; `None` while it has not.
pub(crate) fn try_wait(id: u32) -> io::Result<Option<libc::c_int>> {
    let id = libc::pid_t::try_from(id).ok().filter(|id| *id > 0).ok_or(io::ErrorKind::InvalidInput)?;
    let mut status = 0;
    // SAFETY: `status` is valid to be written to.
    let ended = unsafe { libc::waitpid(id, &mut status, libc::WNOHANG) }.check()?;
    Ok((ended == id).then_some(status))
}

/// kill(2).
pub(crate) fn send_signal(id: u32, signal: libc::c_int) -> io::Result<()> {
    let id = libc::pid_t::try_from(id).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: takes no pointers.
    unsafe { libc::kill(id, signal) }.check()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_test_runs_beside_its_harness() {
        assert!(super::thread_count().is_some_and(|count| count >= 1));
        let elsewhere = std::thread::spawn(super::on_main_thread);
        assert!(!elsewhere.join().unwrap());
    }
}
