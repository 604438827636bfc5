//! Waiting for any signal that has a handler: `pause`.
//!
//! A handler runs on the OS thread that it interrupts, in the middle of whatever runs there. When it has, it rings for who pauses there.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use libc::{c_int, pid_t};

use super::call::{Call, failed, is_ready};
use super::parts::Parts;
use super::pauses::Pauses;
use crate::hub::waiter::WaitingOn;
use crate::io::Interest;
use crate::sys::errno::Kept;
use crate::sys::original;

/// How many may pause at a time, in all hubs. Any more stop their OS threads.
const PLACES: usize = 64;

/// Those who pause, in places that a handler may look at.
static PAUSING: [Place; PLACES] = [const { Place::new() }; PLACES];

/// One who pauses.
struct Place {
    /// His OS thread, [`FREE`] or [`TAKEN`].
    thread: AtomicI32,
    /// What rings for him.
    bell: AtomicI32,
}

const FREE: pid_t = 0;
const TAKEN: pid_t = -1;

impl Place {
    const fn new() -> Place {
        Place { thread: AtomicI32::new(FREE), bell: AtomicI32::new(-1) }
    }
}

fn thread() -> pid_t {
    // SAFETY: no arguments.
    unsafe { libc::gettid() }
}

/// Rings for those who pause on this OS thread: the handler of a signal has run here. Async-signal-safe.
pub(super) fn ring() {
    let _errno = Kept::now();
    for place in &PAUSING {
        let pausing = place.thread.load(Ordering::SeqCst);
        if pausing > FREE && pausing == thread() {
            let once = 1_u64.to_ne_bytes();
            // SAFETY: eight bytes; the descriptor is open as long as the place is this thread's.
            unsafe { original::write(place.bell.load(Ordering::SeqCst), once.as_ptr().cast(), once.len()) };
        }
    }
}

/// A place that is held until this is dropped.
struct Pausing {
    place: &'static Place,
    bell: OwnedFd,
}

impl Pausing {
    /// `None` if there is no place, or no descriptor.
    fn begin() -> Option<Pausing> {
        // SAFETY: takes no pointers.
        let bell = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if bell == -1 {
            return None;
        }
        // SAFETY: the kernel has just made it, and nothing else owns it.
        let bell = unsafe { OwnedFd::from_raw_fd(bell) };
        let taken = |place: &&Place| {
            place.thread.compare_exchange(FREE, TAKEN, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        };
        let place = PAUSING.iter().find(taken)?;
        place.bell.store(bell.as_raw_fd(), Ordering::SeqCst);
        place.thread.store(thread(), Ordering::SeqCst);
        Some(Pausing { place, bell })
    }

    fn bell(&self) -> RawFd {
        self.bell.as_raw_fd()
    }
}

impl Drop for Pausing {
    fn drop(&mut self) {
        // Before the bell is closed; a handler that rings it runs on this thread, and has ended.
        self.place.thread.store(FREE, Ordering::SeqCst);
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pause() -> c_int {
    let begun = Call::enter(Parts::PROCESS).and_then(|call| Some((call, Pausing::begin()?)));
    let Some((call, pausing)) = begun else {
        // SAFETY: no arguments.
        return unsafe { original::pause() };
    };
    call.give_way_if_interrupted();
    let mut pauses = Pauses::new();
    let descriptors = [(pausing.bell(), Interest::READABLE)];
    while !is_ready(pausing.bell(), libc::POLLIN) {
        let waited = match call.try_wait_for_any(WaitingOn::Other("pause"), &descriptors, None) {
            Ok(Ok(())) => Ok(()),
            // For want of descriptors, perhaps.
            Ok(Err(_)) => call.try_sleep_until(pauses.next(None)),
            Err(hindrance) => Err(hindrance),
        };
        if waited.is_err() {
            return failed(call.refuse_with(libc::EINTR));
        }
    }
    drop(pausing);
    failed(libc::EINTR)
}
