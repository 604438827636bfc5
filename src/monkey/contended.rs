//! Waiting for what is in C's hands, a lock or a semaphore: it is tried, and awaited at its address, where whoever gives it back by
//! way of greenloop wakes those who wait. It is tried again now and then in any case: inside the C library, by the handler of a
//! signal, and by another process it is given back in ways that lead past here.

use libc::{c_int, clockid_t, timespec};

use super::futex::{self, Waited, wait_at, wait_in_call_at};
use super::pauses::Pauses;
use crate::hub::no_unwind::Hindrance;
use crate::sys::clock::Time;

/// When an absolute time of C's is; `Err` for what the C library is left to refuse.
///
/// # Safety
///
/// `until` must be null or valid for reads.
pub(super) unsafe fn deadline(clock: clockid_t, until: *const timespec) -> Result<Time, ()> {
    // SAFETY: the caller's contract.
    let given = *unsafe { until.as_ref() }.ok_or(())?;
    if !matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_MONOTONIC)
        || !(0..1_000_000_000).contains(&given.tv_nsec)
    {
        return Err(());
    }
    // What was before the clock began has passed.
    let given = timespec { tv_sec: given.tv_sec.max(0), ..given };
    // SAFETY: from a reference.
    unsafe { futex::deadline(&given, true, clock == libc::CLOCK_REALTIME) }?.ok_or(())
}

/// Calls `attempt`, which never waits, until it says something, and between two calls waits at `address` for a wake of one of
/// `bits`. `None` if the deadline has passed.
pub(super) fn until_taken(
    address: usize,
    bits: u32,
    deadline: Option<Time>,
    attempt: impl Fn() -> Option<c_int>,
) -> Option<c_int> {
    let wait = |until| Ok(wait_at(address, bits, Some(until), &attempt, || true));
    take(deadline, &attempt, wait).unwrap_or(None)
}

/// [`until_taken`] for a call that may fail.
///
/// # Errors
///
/// Why it must fail.
pub(super) fn until_taken_in_call(
    address: usize,
    deadline: Option<Time>,
    attempt: impl Fn() -> Option<c_int>,
) -> Result<Option<c_int>, Hindrance> {
    take(deadline, &attempt, |until| wait_in_call_at(address, u32::MAX, Some(until), &attempt))
}

fn take(
    deadline: Option<Time>,
    attempt: impl Fn() -> Option<c_int>,
    wait: impl Fn(Time) -> Result<Waited<c_int>, Hindrance>,
) -> Result<Option<c_int>, Hindrance> {
    let mut pauses = Pauses::new();
    loop {
        if let Some(result) = attempt() {
            return Ok(Some(result));
        }
        if deadline.is_some_and(|deadline| deadline <= Time::now()) {
            return Ok(None);
        }
        if let Waited::Ready(result) = wait(pauses.next(deadline))? {
            return Ok(Some(result));
        }
    }
}
