//! Waiting for child processes.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use libc::{c_int, id_t, idtype_t, pid_t, rusage, siginfo_t};

use super::call::{Call, Errno, Miss, errno, failed, set_errno};
use super::parts::Parts;
use crate::hub::in_world::looking;
use crate::hub::waiter::WaitingOn;
use crate::io::Interest;
use crate::sys::clock::Time;
use crate::sys::original;

/// The longest pause between two looks at children that no descriptor stands for.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// The same for a child with a descriptor, which tells of its end: who traces it is to hear of its stops too.
const LONGEST_WITH_DESCRIPTOR: Duration = Duration::from_secs(1);

/// Lets `child`, or without one some child, change its state before the next look.
struct Children {
    descriptor: Option<OwnedFd>,
    pause: Duration,
}

impl Children {
    fn new(child: Option<pid_t>) -> Children {
        let kept = errno();
        let descriptor = child.and_then(|child| {
            // SAFETY: takes no pointers.
            let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child, 0) };
            // SAFETY: the kernel has just made it, and nothing else owns it.
            (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as c_int) })
        });
        set_errno(kept);
        Children { descriptor, pause: Duration::from_millis(1) }
    }

    fn wait(&mut self, call: Call) -> Result<(), Errno> {
        let pause = self.pause;
        if let Some(descriptor) = &self.descriptor {
            self.pause = (2 * pause).min(LONGEST_WITH_DESCRIPTOR);
            let fd = descriptor.as_raw_fd();
            let descriptors = [(fd, Interest::READABLE)];
            let deadline = Some(Time::after(pause));
            return match call.try_wait_for_any(WaitingOn::Readable(fd), &descriptors, deadline) {
                Ok(Err(Miss::Failed(errno))) => Err(errno),
                Ok(_) => Ok(()),
                Err(_) => Err(call.refuse_with(libc::ECHILD)),
            };
        }
        self.pause = (2 * pause).min(LONGEST_PAUSE);
        let _looking = looking();
        call.try_sleep_until(Time::after(pause)).map_err(|_| call.refuse_with(libc::ECHILD))
    }
}

/// Asks with `look`, which is given the options, until a child has changed, with `plain` for the C library's call.
fn until_changed(
    child: pid_t,
    options: c_int,
    look: impl Fn(c_int) -> pid_t,
    plain: impl FnOnce() -> pid_t,
) -> pid_t {
    let call = match Call::enter(Parts::PROCESS) {
        Some(call) if options & libc::WNOHANG == 0 => call,
        _ => return plain(),
    };
    call.give_way_if_interrupted();
    // A descriptor tells of the end, and of nothing else.
    let one = (child > 0 && options & (libc::WUNTRACED | libc::WCONTINUED) == 0).then_some(child);
    let mut children: Option<Children> = None;
    loop {
        let changed = look(options | libc::WNOHANG);
        if changed != 0 {
            return changed;
        }
        let children = children.get_or_insert_with(|| Children::new(one));
        if let Err(errno) = children.wait(call) {
            return failed(errno);
        }
    }
}

/// Any child, for which C has a call without options too.
const ANY: pid_t = -1;

#[unsafe(no_mangle)]
unsafe extern "C" fn wait(status: *mut c_int) -> pid_t {
    // SAFETY: the caller's contract is that of the C library's function.
    let look = |options| unsafe { original::waitpid(ANY, status, options) };
    // SAFETY: as above.
    until_changed(ANY, 0, look, || unsafe { original::wait(status) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn wait3(status: *mut c_int, options: c_int, usage: *mut rusage) -> pid_t {
    // SAFETY: the caller's contract is that of the C library's function.
    let look = |options| unsafe { original::wait3(status, options, usage) };
    until_changed(ANY, options, look, || look(options))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn wait4(child: pid_t, status: *mut c_int, options: c_int, usage: *mut rusage) -> pid_t {
    // SAFETY: the caller's contract is that of the C library's function.
    let look = |options| unsafe { original::wait4(child, status, options, usage) };
    until_changed(child, options, look, || look(options))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn waitpid(child: pid_t, status: *mut c_int, options: c_int) -> pid_t {
    // SAFETY: the caller's contract is that of the C library's function.
    let look = |options| unsafe { original::waitpid(child, status, options) };
    until_changed(child, options, look, || look(options))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn waitid(
    kind: idtype_t,
    child: id_t,
    information: *mut siginfo_t,
    options: c_int,
) -> c_int {
    let call = match Call::enter(Parts::PROCESS) {
        Some(call) if options & libc::WNOHANG == 0 => call,
        // SAFETY: the caller's contract is that of the C library's function.
        _ => return unsafe { original::waitid(kind, child, information, options) },
    };
    call.give_way_if_interrupted();
    let mut unwanted = MaybeUninit::<siginfo_t>::zeroed();
    let information = if information.is_null() { unwanted.as_mut_ptr() } else { information };
    let ends_only = options & (libc::WSTOPPED | libc::WCONTINUED) == 0;
    let one = (kind == libc::P_PID && ends_only).then_some(child as pid_t);
    let mut children: Option<Children> = None;
    loop {
        // SAFETY: the caller's to write, or this frame's. Only that tells "none" from a child.
        unsafe { (*information).si_signo = 0 };
        // SAFETY: the caller's contract.
        let result = unsafe { original::waitid(kind, child, information, options | libc::WNOHANG) };
        // SAFETY: as above.
        if result != 0 || unsafe { (*information).si_signo } != 0 {
            return result;
        }
        let children = children.get_or_insert_with(|| Children::new(one));
        if let Err(errno) = children.wait(call) {
            return failed(errno);
        }
    }
}
