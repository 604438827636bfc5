//! Unmodified blocking code, made cooperative in one line.
//!
//! After [`patch_all`], std's sockets, sleeps, child processes, name lookups and locks, every blocking crate that is built on
//! them, and C libraries yield to the hub instead of stopping the OS thread. gevent's `monkey.patch_all`.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! greenloop::monkey::patch_all();
//! let start = Instant::now();
//! let sleepers: Vec<_> =
//!     (0..50).map(|_| greenloop::spawn(|| std::thread::sleep(Duration::from_millis(100)))).collect();
//! greenloop::joinall(&sleepers);
//! assert!(start.elapsed() < Duration::from_secs(2)); // and not 5 seconds
//! ```
//!
//! # How
//!
//! With the cargo feature `monkey` the crate defines functions of the C library's names, `recv`, `poll` and so on, and the
//! linker binds the program to these, and shared libraries too. Each does as the C library's own, until its part is patched;
//! and then too for an OS thread that has no hub. A patched one tries the call without waiting; if it would have to wait, the
//! green thread parks until the hub hears that the descriptor is ready.
//!
//! There is no order of imports to mind: a patch is one flag that each call reads.
//!
//! # What stays as it is
//!
//! - A descriptor's flags, and what its owner made of it: one that he set O_NONBLOCK gives EAGAIN at once, SO_RCVTIMEO and
//!   SO_SNDTIMEO end a wait with EAGAIN, MSG_DONTWAIT does not wait, and a blocking write is finished before it returns.
//! - Standard output and error: writes to descriptors 1 and 2 stop the OS thread as ever, since std holds a lock meanwhile
//!   that knows OS threads only.
//! - Threads without a hub.
//!
//! # What a kill or a time limit does
//!
//! Nothing may unwind through a call from C. So a [`kill`](crate::JoinHandle::kill) makes the call fail with ECANCELED, and a
//! [`with_timeout`](crate::with_timeout) with ETIMEDOUT, and so every further call that would have to wait, until the green
//! thread comes to a wait of greenloop's own, which unwinds, or to the end of the scope of the time limit, which then gives
//! [`Elapsed`](crate::Elapsed). A sleep returns early. A wait for a lock of std's cannot be ended, for it has no error.
//!
//! # What is not covered
//!
//! - System calls without the C library (rustix's default backend, Go), calls inside it (stdio, its own resolver's), and
//!   programs that are linked with it statically, which do not compile.
//! - **What lies in thread-local variables**: green threads of one hub have these in common. So std's `mpsc` between two
//!   green threads of one hub, parking_lot's locks with several of them in line, and crates that keep a runtime per
//!   thread, such as postgres, stop the OS thread as they do unpatched. Use greenloop's [`channel`](crate::channel) and
//!   [`sync`](crate::sync) there, or [`unblock`](crate::threadpool::unblock). What std itself keeps of a thread, its
//!   handle, its id and whether it panics, each green thread has of its own: so `std::thread::park` works, and
//!   [`Coverage::has_identities`] tells if it does not.
//! - `pthread_mutex_lock` and `pthread_cond_wait`: C's locks belong to an OS thread, so that to them two green threads of one
//!   hub are one. A C library that holds one across a call that waits needs an OS thread, see
//!   [`unblock`](crate::threadpool::unblock).
//! - Opening a FIFO, `pread`, `pwrite`, `fsync` and what else waits for a disk only; `recvmmsg` with a time limit.
//! - Signals while a call waits: it goes on. `ppoll`, `pselect` and `epoll_pwait` with a signal mask stop the OS thread.
//! - Two crates that define these names cannot be linked into one program.
//!
//! | gevent | here |
//! |---|---|
//! | `patch_all()` | [`patch_all`] |
//! | `patch_time()`, `patch_socket()`, … | [`patch`] with [`Parts`] |
//! | `patch_all(dns=False)` | `patch(Parts::ALL - Parts::DNS)` |
//! | `patch_thread()` | [`Parts::THREADS`]: std's locks; thread-locals stay the OS thread's |
//! | `patch_sys()` | not: standard output and error stop the OS thread |
//! | `patch_signal()`, `patch_subprocess()` | [`Parts::PROCESS`] |
//! | `is_module_patched`, `is_anything_patched` | [`is_patched`] |
//! | `get_original` | [`original`] |

#[cfg(any(target_feature = "crt-static", not(all(target_os = "linux", target_env = "gnu"))))]
compile_error!(
    "the feature `monkey` needs a C library that is linked dynamically and found by `dlsym(RTLD_NEXT)`, as glibc is by default; \
     with `-C target-feature=+crt-static`, or with musl, build greenloop without it"
);

mod call;
mod coverage;
mod descriptor;
mod file_lock;
mod multiplex;
mod names;
mod off_hub;
mod parts;
mod process;
mod slices;
mod socket;
mod stream;
mod threads;
mod time;

use crate::greenlet::identity;

pub use coverage::Coverage;
pub use parts::Parts;

/// The C library's own functions, as they were before: what waits there stops its OS thread.
pub mod original {
    pub use crate::sys::original::*;
}

/// Patches every part: [`patch`] with [`Parts::ALL`].
///
/// # Examples
///
/// ```
/// use greenloop::monkey::{Parts, is_patched, patch_all};
///
/// println!("{}", patch_all());
/// assert!(is_patched(Parts::ALL));
/// ```
pub fn patch_all() -> Coverage {
    patch(Parts::ALL)
}

/// Makes the C library's functions of `parts` yield from now on, on every OS thread that has a hub, and tells which names
/// lead to greenloop in this program.
///
/// It may be called at any time, from any thread, and again: it adds to what is patched. It makes no hub and does not yield.
///
/// # Examples
///
/// ```
/// use greenloop::monkey::{Parts, is_patched, patch};
///
/// let coverage = patch(Parts::TIME | Parts::SOCKET);
/// assert_eq!(coverage.parts(), Parts::TIME | Parts::SOCKET);
/// assert!(!is_patched(Parts::DNS));
/// ```
pub fn patch(parts: Parts) -> Coverage {
    let identity = parts.contains(Parts::THREADS) && identity::enable();
    parts::add(parts);
    Coverage::look(identity)
}

/// Takes a patch back: calls of `parts` stop their OS threads again. Those that wait already go on as they began.
///
/// # Examples
///
/// ```
/// use greenloop::monkey::{Parts, is_patched, patch_all, unpatch};
///
/// patch_all();
/// unpatch(Parts::FILES);
/// assert!(!is_patched(Parts::ALL));
/// ```
pub fn unpatch(parts: Parts) {
    parts::remove(parts);
}

/// Whether every one of `parts` is patched.
///
/// # Examples
///
/// ```
/// use greenloop::monkey::{Parts, is_patched};
///
/// assert!(!is_patched(Parts::TIME)); // nothing is, before somebody does it
/// ```
pub fn is_patched(parts: Parts) -> bool {
    parts::patched().contains(parts)
}
