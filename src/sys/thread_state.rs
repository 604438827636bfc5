//! What the kernel knows of another OS thread of the process: what it does, and how long it has computed.

use std::fs;
use std::mem::MaybeUninit;
use std::time::Duration;

use super::section::Section;

/// How long the OS thread with this number has computed; `None` if there is none.
pub(crate) fn processor_time(thread: u32) -> Option<Duration> {
    // What pthread_getcpuclockid(3) makes of the number: the clock of one thread (4), by the scheduler (2).
    let clock = (!thread.cast_signed() << 3) | 6;
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: `time` is valid to be written to.
    if unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the call has succeeded, so it is written.
    let time = unsafe { time.assume_init() };
    Some(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// How long it could have run, and had no processor; `None` if the kernel does not tell.
pub(crate) fn time_without_processor(thread: u32) -> Option<Duration> {
    let _section = Section::open();
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
    text.split(' ').nth(1)?.parse().ok().map(Duration::from_nanos)
}

/// How many bytes of the process are in memory, in which what it shares counts in part; `None` if /proc does not tell.
pub(crate) fn proportional_bytes() -> Option<u64> {
    let _section = Section::open();
    let text = fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// What an OS thread is at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Activity {
    /// It runs, or would if there was a processor.
    Runs,
    /// It is in this system call, in words such as `flock of fd 7 (/run/lock)`.
    Calls(String),
    /// It waits outside of one, for memory mostly; or /proc does not tell.
    Other,
}

/// What the OS thread with this number is at.
pub(crate) fn activity(thread: u32) -> Activity {
    let _section = Section::open();
    let Ok(text) = fs::read_to_string(format!("/proc/self/task/{thread}/syscall")) else {
        return Activity::Other;
    };
    if text.starts_with("running") {
        return Activity::Runs;
    }
    system_call(&text).map_or(Activity::Other, Activity::Calls)
}

/// The system call of a line in /proc.
fn system_call(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let number: libc::c_long = words.next()?.parse().ok().filter(|&number| number >= 0)?;
    let first = words.next().and_then(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
    let Some((_, name, has_descriptor)) = KNOWN.iter().find(|&&(known, ..)| known == number) else {
        return Some(format!("system call {number}"));
    };
    let Some(fd) = first.filter(|_| *has_descriptor) else { return Some((*name).to_owned()) };
    let fd = fd as u32 as i32;
    let file = fs::read_link(format!("/proc/self/fd/{fd}")).ok();
    Some(match file {
        Some(file) => format!("{name} of fd {fd} ({})", file.display()),
        None => format!("{name} of fd {fd}"),
    })
}

/// Calls that block, and whether their first argument is a descriptor.
const KNOWN: &[(libc::c_long, &str, bool)] = &[
    (libc::SYS_accept, "accept", true),
    (libc::SYS_accept4, "accept", true),
    (libc::SYS_clock_nanosleep, "clock_nanosleep", false),
    (libc::SYS_close, "close", true),
    (libc::SYS_connect, "connect", true),
    (libc::SYS_copy_file_range, "copy_file_range", true),
    (libc::SYS_epoll_pwait, "epoll_wait", true),
    (libc::SYS_fallocate, "fallocate", true),
    (libc::SYS_fcntl, "fcntl", true),
    (libc::SYS_fdatasync, "fdatasync", true),
    (libc::SYS_flock, "flock", true),
    (libc::SYS_fsync, "fsync", true),
    (libc::SYS_ftruncate, "ftruncate", true),
    (libc::SYS_futex, "futex", false),
    (libc::SYS_io_uring_enter, "io_uring_enter", true),
    (libc::SYS_madvise, "madvise", false),
    (libc::SYS_mmap, "mmap", false),
    (libc::SYS_msync, "msync", false),
    (libc::SYS_munmap, "munmap", false),
    (libc::SYS_nanosleep, "nanosleep", false),
    (libc::SYS_openat, "openat", false),
    (libc::SYS_ppoll, "poll", false),
    (libc::SYS_pread64, "pread", true),
    (libc::SYS_preadv, "preadv", true),
    (libc::SYS_pselect6, "select", false),
    (libc::SYS_pwrite64, "pwrite", true),
    (libc::SYS_pwritev, "pwritev", true),
    (libc::SYS_read, "read", true),
    (libc::SYS_readv, "readv", true),
    (libc::SYS_recvfrom, "recvfrom", true),
    (libc::SYS_recvmsg, "recvmsg", true),
    (libc::SYS_rt_sigtimedwait, "sigtimedwait", false),
    (libc::SYS_semtimedop, "semtimedop", false),
    (libc::SYS_sendfile, "sendfile", true),
    (libc::SYS_sendmsg, "sendmsg", true),
    (libc::SYS_sendto, "sendto", true),
    (libc::SYS_sync, "sync", false),
    (libc::SYS_unlinkat, "unlinkat", false),
    (libc::SYS_wait4, "wait4", false),
    (libc::SYS_waitid, "waitid", false),
    (libc::SYS_write, "write", true),
    (libc::SYS_writev, "writev", true),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_epoll_wait, "epoll_wait", true),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, "open", false),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_poll, "poll", false),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_select, "select", false),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, "unlink", false),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::os_thread_id;

    #[test]
    fn the_kernel_tells_of_a_thread() {
        let own = os_thread_id();
        let before = processor_time(own).unwrap();
        while processor_time(own).unwrap() == before {}
        // Whoever reads that is in a read of it.
        let own = activity(own);
        assert!(
            matches!(&own, Activity::Calls(call) if call.starts_with("read of fd "))
                || own == Activity::Other
        );
        assert_eq!(activity(u32::MAX), Activity::Other);
        assert_eq!(system_call("-1 0x7ffd 0x7f"), None);
        let unknown = "999999 0x1 0x2";
        assert_eq!(system_call(unknown).as_deref(), Some("system call 999999"));
        assert!(proportional_bytes().is_none_or(|bytes| bytes > 0));
    }
}
