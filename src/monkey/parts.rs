//! What can be patched, and what is.

use std::fmt;
use std::ops::{BitOr, BitOrAssign, Sub};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::sys::virtual_clock;
use crate::task::isolation::isolate_all;

/// A set of groups of the C library's functions, and thread-local variables. Each can be patched or left alone.
///
/// The constants are all parts there are. [`ALL`](Parts::ALL) is what `patch_all` patches.
///
/// # Examples
///
/// ```
/// use greenloop::monkey::Parts;
///
/// let parts = Parts::ALL - Parts::DNS;
/// assert!(parts.contains(Parts::TIME | Parts::SOCKET));
/// assert!(!parts.contains(Parts::DNS));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Parts(u16);

impl Parts {
    /// No part.
    pub const NONE: Parts = Parts(0);
    /// `nanosleep`, `clock_nanosleep`, `sleep`, `usleep`, `sched_yield`: `std::thread::sleep` and `yield_now`. And in a
    /// [world of a test](crate::testing) `clock_gettime`, `gettimeofday` and `time`: `Instant::now` and `SystemTime::now`.
    #[doc(alias = "patch_time")]
    pub const TIME: Parts = Parts(1);
    /// `connect`, `accept` and everything that sends and receives, `read` and `write` on pipes and terminals included.
    #[doc(alias = "patch_socket")]
    pub const SOCKET: Parts = Parts(2);
    /// `poll`, `select`, `epoll_wait` and their siblings.
    #[doc(alias = "patch_select")]
    pub const SELECT: Parts = Parts(4);
    /// `getaddrinfo`, `getnameinfo`, `gethostbyname` and its siblings.
    #[doc(alias = "patch_dns")]
    pub const DNS: Parts = Parts(8);
    /// `wait`, `waitpid`, `waitid`: `std::process::Child::wait`; and `sigwait`.
    #[doc(alias("patch_os", "patch_subprocess"))]
    pub const PROCESS: Parts = Parts(16);
    /// `flock`, and the locks of `lockf` and `fcntl`; `open` of a named pipe, `pread`, `copy_file_range`, `fsync` and `msync`, and with
    /// [`SOCKET`](Parts::SOCKET) `read` and `write` on regular files, on another OS thread.
    pub const FILES: Parts = Parts(32);
    /// `futex`, `pthread_join`, `pthread_mutex_lock` and their siblings: the locks of std, the end of its threads, and the locks,
    /// semaphores and initialisers of C.
    #[doc(alias = "patch_thread")]
    pub const THREADS: Parts = Parts(64);
    /// Thread-local variables of its own for each green thread: see [isolation](crate::monkey#isolation). No functions.
    #[doc(alias = "threading.local")]
    pub const THREAD_LOCALS: Parts = Parts(128);
    /// Every part that [`patch_all`](super::patch_all) patches: all but [`SPAWN`](Parts::SPAWN).
    pub const ALL: Parts = Parts(255);
    /// `pthread_create`: `std::thread::spawn` makes a green thread of the calling hub in place of an OS thread. See
    /// [threads as green threads](crate::monkey#threads-as-green-threads). It patches [`THREADS`](Parts::THREADS) too,
    /// and where there is no isolation that alone.
    pub const SPAWN: Parts = Parts(256);

    const NAMES: [(Parts, &'static str); 9] = [
        (Parts::TIME, "TIME"),
        (Parts::SOCKET, "SOCKET"),
        (Parts::SELECT, "SELECT"),
        (Parts::DNS, "DNS"),
        (Parts::PROCESS, "PROCESS"),
        (Parts::FILES, "FILES"),
        (Parts::THREADS, "THREADS"),
        (Parts::THREAD_LOCALS, "THREAD_LOCALS"),
        (Parts::SPAWN, "SPAWN"),
    ];

    /// Returns `true` if every part of `other` is in the set.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::monkey::Parts;
    ///
    /// assert!(Parts::ALL.contains(Parts::DNS | Parts::TIME));
    /// assert!(!Parts::TIME.contains(Parts::DNS | Parts::TIME));
    /// ```
    #[inline]
    pub const fn contains(self, other: Parts) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns `true` if no part is in the set.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::monkey::Parts;
    ///
    /// assert!(Parts::NONE.is_empty());
    /// assert!(!Parts::TIME.is_empty());
    /// ```
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Parts {
    type Output = Parts;
    fn bitor(self, other: Parts) -> Parts {
        Parts(self.0 | other.0)
    }
}

impl BitOrAssign for Parts {
    fn bitor_assign(&mut self, other: Parts) {
        *self = *self | other;
    }
}

impl Sub for Parts {
    type Output = Parts;
    fn sub(self, other: Parts) -> Parts {
        Parts(self.0 & !other.0)
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Parts::NAMES
            .iter()
            .filter(|(part, _)| self.contains(*part))
            .map(|(_, name)| format_args!("{name}").to_string());
        formatter.write_str("Parts(")?;
        formatter.write_str(&names.collect::<Vec<_>>().join(" | "))?;
        formatter.write_str(")")
    }
}

static PATCHED: AtomicU16 = AtomicU16::new(0);

#[cfg(test)]
thread_local! {
    /// How often the functions of this room have asked on this OS thread.
    pub(super) static ASKED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The parts that are patched now.
#[inline]
pub(super) fn patched() -> Parts {
    #[cfg(test)]
    ASKED.set(ASKED.get() + 1);
    // Relaxed: a thread that sees a patch a little later has called what was there before.
    Parts(PATCHED.load(Ordering::Relaxed))
}

pub(super) fn add(parts: Parts) {
    // Relaxed: as above.
    PATCHED.fetch_or(parts.0, Ordering::Relaxed);
    if parts.contains(Parts::TIME) {
        virtual_clock::set_std(true);
    }
    if parts.contains(Parts::THREAD_LOCALS) {
        isolate_all(true);
    }
}

pub(super) fn remove(parts: Parts) {
    // Relaxed: as above.
    PATCHED.fetch_and(!parts.0, Ordering::Relaxed);
    if parts.contains(Parts::TIME) {
        virtual_clock::set_std(false);
    }
    if parts.contains(Parts::THREAD_LOCALS) {
        isolate_all(false);
    }
}
