//! Which time it is, for whoever asks the C library: in the world of a test, that world's.

use std::time::Duration;

use libc::{c_int, c_void, clockid_t, time_t, timespec, timeval};

use crate::sys::clock::told;
use crate::sys::original;
use crate::sys::readiness::timespec;
use crate::sys::virtual_clock::is_std;

/// What `clock` says here; `None` if that is real.
#[inline]
fn virtual_time(clock: clockid_t) -> Option<Duration> {
    let is_date = match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE | libc::CLOCK_TAI => true,
        libc::CLOCK_MONOTONIC
        | libc::CLOCK_MONOTONIC_RAW
        | libc::CLOCK_MONOTONIC_COARSE
        | libc::CLOCK_BOOTTIME => false,
        _ => return None,
    };
    if is_std() { told(is_date) } else { None }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    match virtual_time(clock) {
        Some(now) if !time.is_null() => {
            // SAFETY: the caller's contract is that of the C library's function.
            unsafe { time.write(timespec(now)) };
            0
        }
        // SAFETY: as above.
        _ => unsafe { original::clock_gettime(clock, time) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn gettimeofday(time: *mut timeval, zone: *mut c_void) -> c_int {
    match virtual_time(libc::CLOCK_REALTIME) {
        Some(now) if !time.is_null() && zone.is_null() => {
            let now = timeval {
                tv_sec: now.as_secs() as time_t,
                tv_usec: now.subsec_micros() as libc::suseconds_t,
            };
            // SAFETY: the caller's contract is that of the C library's function.
            unsafe { time.write(now) };
            0
        }
        // SAFETY: as above.
        _ => unsafe { original::gettimeofday(time, zone) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn time(seconds: *mut time_t) -> time_t {
    let Some(now) = virtual_time(libc::CLOCK_REALTIME) else {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::time(seconds) };
    };
    let now = now.as_secs() as time_t;
    if !seconds.is_null() {
        // SAFETY: as above.
        unsafe { seconds.write(now) };
    }
    now
}
