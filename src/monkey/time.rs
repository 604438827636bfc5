//! Sleeping, and giving way.
//!
//! A sleep that a kill or a time limit ends returns early, as if it were over: std takes no other error for a sleep than an
//! interruption by a signal, and would go on sleeping after that.

use std::time::Duration;

use libc::{c_int, c_uint, clockid_t, timespec, useconds_t};

use super::call::Call;
use super::parts::Parts;
use crate::sys::clock::Time;
use crate::sys::original;

/// `None` for what nanosleep(2) refuses.
fn duration(time: &timespec) -> Option<Duration> {
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanoseconds = u32::try_from(time.tv_nsec).ok().filter(|&nanoseconds| nanoseconds < 1_000_000_000)?;
    Some(Duration::new(seconds, nanoseconds))
}

fn sleep_for(call: Call, duration: Duration) {
    // Early for a kill or a time limit, see above.
    let _ = call.sleep_until(Time::after(duration));
}

/// The duration behind a pointer from C, if it is one.
///
/// # Safety
///
/// `time` must be null or valid for reads.
unsafe fn given(time: *const timespec) -> Option<Duration> {
    // SAFETY: the caller's contract.
    unsafe { time.as_ref() }.and_then(duration)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nanosleep(time: *const timespec, left: *mut timespec) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    match (Call::enter(Parts::TIME), unsafe { given(time) }) {
        (Some(call), Some(duration)) => {
            sleep_for(call, duration);
            0
        }
        // SAFETY: as above.
        _ => unsafe { original::nanosleep(time, left) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn clock_nanosleep(
    clock: clockid_t,
    flags: c_int,
    time: *const timespec,
    left: *mut timespec,
) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let (Some(call), Some(wanted)) = (Call::enter(Parts::TIME), unsafe { given(time) }) else {
        // SAFETY: as above.
        return unsafe { original::clock_nanosleep(clock, flags, time, left) };
    };
    let is_known = match clock {
        libc::CLOCK_MONOTONIC | libc::CLOCK_REALTIME | libc::CLOCK_BOOTTIME | libc::CLOCK_TAI => true,
        // A processor's time does not pass while nothing runs on it, but what it is to be can be waited for.
        libc::CLOCK_PROCESS_CPUTIME_ID => flags & libc::TIMER_ABSTIME != 0,
        // The others the C library refuses, or waits for in a way of its own.
        _ => false,
    };
    if !is_known {
        // SAFETY: as above.
        return unsafe { original::clock_nanosleep(clock, flags, time, left) };
    }
    if flags & libc::TIMER_ABSTIME == 0 {
        sleep_for(call, wanted);
        return 0;
    }
    // Once more after each look, for a clock that is not the hub's may be set.
    loop {
        let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` is valid for writes.
        let result = unsafe { libc::clock_gettime(clock, &mut now) };
        let ahead = match duration(&now) {
            Some(now) if result == 0 => wanted.saturating_sub(now),
            // SAFETY: as above.
            _ => return unsafe { original::clock_nanosleep(clock, flags, time, left) },
        };
        if ahead.is_zero() || call.sleep_until(Time::after(ahead)).is_err() {
            return 0;
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn usleep(microseconds: useconds_t) -> c_int {
    let Some(call) = Call::enter(Parts::TIME) else {
        // SAFETY: takes no pointers.
        return unsafe { original::usleep(microseconds) };
    };
    sleep_for(call, Duration::from_micros(microseconds.into()));
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sleep(seconds: c_uint) -> c_uint {
    let Some(call) = Call::enter(Parts::TIME) else {
        // SAFETY: takes no pointers.
        return unsafe { original::sleep(seconds) };
    };
    sleep_for(call, Duration::from_secs(seconds.into()));
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sched_yield() -> c_int {
    let Some(call) = Call::enter(Parts::TIME) else {
        // SAFETY: takes no pointers.
        return unsafe { original::sched_yield() };
    };
    call.hub.yield_in_call();
    0
}
