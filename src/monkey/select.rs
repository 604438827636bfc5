//! Waiting for many descriptors at once: `poll`, `select`, `epoll_wait` and their siblings.
//!
//! Each is asked for what is ready now; if nothing is, the hub waits for the same descriptors, and it is asked again.

use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;
use std::slice;
use std::time::Duration;

use libc::{c_int, epoll_event, fd_set, nfds_t, pollfd, sigset_t, size_t, timespec, timeval};

use super::call::{Call, Miss, failed, quietly};
use super::fd_sets::{BITS, FD_SETSIZE, Words, size_of_table};
use super::interruption::{pretend_awaited, pretend_polled, pretend_selected};
use super::parts::Parts;
use crate::hub::in_world::looking;
use crate::hub::waiter::WaitingOn;
use crate::io::Interest;
use crate::sys::clock::Time;
use crate::sys::original;

/// How often a descriptor is asked whose events the hub does not wait for, such as urgent data.
const PAUSE: Duration = Duration::from_millis(5);

/// A call, if it may wait, or must not even be told the truth.
fn enter(waits: bool) -> Option<Call> {
    Call::enter(Parts::SELECT).filter(|call| waits || call.is_interrupted())
}

/// Asks with `look` until it says other than 0 or the deadline has passed. When a kill or a time limit makes the call fail,
/// `pretend` is given what `look` has said, and says what the caller is told.
fn until_some(
    call: Call,
    on: &'static str,
    deadline: Option<Time>,
    look: impl FnMut() -> c_int,
    descriptors: impl Fn() -> Option<Vec<(RawFd, Interest)>>,
    pretend: impl FnOnce(c_int) -> c_int,
) -> c_int {
    quietly(|| wait_until_some(call, on, deadline, look, descriptors, pretend))
}

fn wait_until_some(
    call: Call,
    on: &'static str,
    deadline: Option<Time>,
    mut look: impl FnMut() -> c_int,
    descriptors: impl Fn() -> Option<Vec<(RawFd, Interest)>>,
    pretend: impl FnOnce(c_int) -> c_int,
) -> c_int {
    if call.hub.spend_budget_in_call().is_err() {
        let waits = deadline.is_none_or(|deadline| deadline > Time::now());
        return interrupted(call, waits, look, pretend);
    }
    loop {
        let count = look();
        if count != 0 || deadline.is_some_and(|deadline| deadline <= Time::now()) {
            return count;
        }
        let waited = match descriptors() {
            Some(descriptors) => call.try_wait_for_any(WaitingOn::Other(on), &descriptors, deadline),
            None => Ok(Err(Miss::Unwaitable)),
        };
        match waited {
            Ok(Ok(())) => {}
            Ok(Err(Miss::Late)) => return look(),
            Ok(Err(Miss::Failed(errno))) if errno != libc::EBADF => return failed(errno),
            // Closed under the wait, which the next look tells, as natively; or never open, and beyond what a `select` looks at.
            Ok(Err(Miss::Unwaitable | Miss::Failed(_))) => {
                let _looking = looking();
                let pause = Time::after(PAUSE);
                let pause = deadline.map_or(pause, |deadline| deadline.min(pause));
                if call.try_sleep_until(pause).is_err() {
                    return interrupted(call, true, look, pretend);
                }
            }
            Err(_) => return interrupted(call, true, look, pretend),
        }
    }
}

/// What a call says in a green thread that was killed, or is out of time; `waits` unless it was not to wait in any case.
#[cold]
fn interrupted(
    call: Call,
    waits: bool,
    mut look: impl FnMut() -> c_int,
    pretend: impl FnOnce(c_int) -> c_int,
) -> c_int {
    if call.hub.refuse_call() == 1 && waits {
        return failed(libc::EINTR);
    }
    let count = look();
    if count == -1 {
        return -1;
    }
    match pretend(count) {
        0 if waits => failed(libc::EINTR),
        told => told,
    }
}

fn deadline_of_milliseconds(timeout: c_int) -> Option<Time> {
    u64::try_from(timeout).ok().map(|timeout| Time::after(Duration::from_millis(timeout)))
}

/// `Err` for what the kernel refuses.
///
/// # Safety
///
/// `timeout` must be null or valid for reads.
unsafe fn deadline_of_timespec(timeout: *const timespec) -> Result<Option<Time>, ()> {
    // SAFETY: the caller's contract.
    let Some(timeout) = (unsafe { timeout.as_ref() }) else { return Ok(None) };
    let seconds = u64::try_from(timeout.tv_sec).map_err(drop)?;
    let nanoseconds = u32::try_from(timeout.tv_nsec).map_err(drop)?;
    if nanoseconds >= 1_000_000_000 {
        return Err(());
    }
    Ok(Some(Time::after(Duration::new(seconds, nanoseconds))))
}

/// Whether no mask is given, or the one that the calling thread has already: with any other it is signals that are waited for.
///
/// # Safety
///
/// `mask` must be null or valid for reads.
unsafe fn changes_nothing(mask: *const sigset_t) -> bool {
    // SAFETY: the caller's contract.
    let Some(given) = (unsafe { mask.as_ref() }) else { return true };
    let mut present = MaybeUninit::<sigset_t>::zeroed();
    // SAFETY: no new mask, and a place for the present one.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), present.as_mut_ptr()) };
    // SAFETY: zeros are a set, and the call has filled it.
    let present = unsafe { present.assume_init() };
    // Nobody blocks these two, whatever a mask says.
    let blockable = |signal: &c_int| !matches!(*signal, libc::SIGKILL | libc::SIGSTOP);
    // SAFETY: a valid set and the number of a signal.
    let is_in = |set: &sigset_t, signal| unsafe { libc::sigismember(set, signal) } == 1;
    (1..=libc::SIGRTMAX()).filter(blockable).all(|signal| is_in(given, signal) == is_in(&present, signal))
}

/// What the hub has to wait for; `None` if it cannot.
fn watched(set: &[pollfd]) -> Option<Vec<(RawFd, Interest)>> {
    let of = |asked: &pollfd| {
        let readable = asked.events & (libc::POLLIN | libc::POLLRDNORM | libc::POLLRDHUP) != 0;
        let writable = asked.events & (libc::POLLOUT | libc::POLLWRNORM) != 0;
        match (readable, writable) {
            (true, true) => Some((asked.fd, Interest::BOTH)),
            (true, false) => Some((asked.fd, Interest::READABLE)),
            (false, true) => Some((asked.fd, Interest::WRITABLE)),
            (false, false) => None,
        }
    };
    set.iter().filter(|asked| asked.fd >= 0).map(of).collect()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn poll(set: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int {
    let Some(call) = enter(timeout != 0) else {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::poll(set, count, timeout) };
    };
    // SAFETY: as above.
    unsafe { poll_until(call, set, count, deadline_of_milliseconds(timeout)) }
}

/// # Safety
///
/// As for `poll`.
unsafe fn poll_until(call: Call, set: *mut pollfd, count: nfds_t, deadline: Option<Time>) -> c_int {
    // SAFETY: the caller's contract.
    let look = || unsafe { original::poll(set, count, 0) };
    let descriptors = || {
        // SAFETY: the set is valid for its length, and a look has just used it. Null with no element is a null pointer.
        let set = if count == 0 { &[] } else { unsafe { slice::from_raw_parts(set, count as usize) } };
        watched(set)
    };
    let pretend = |_| {
        if count == 0 {
            return 0;
        }
        // SAFETY: as above; it is the caller's to write.
        pretend_polled(unsafe { slice::from_raw_parts_mut(set, count as usize) })
    };
    until_some(call, "poll", deadline, look, descriptors, pretend)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ppoll(
    set: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    match (Call::enter(Parts::SELECT), unsafe { deadline_of_timespec(timeout) }) {
        // SAFETY: as above, twice.
        (Some(call), Ok(deadline)) if unsafe { changes_nothing(mask) } => unsafe {
            poll_until(call, set, count, deadline)
        },
        // SAFETY: as above.
        _ => unsafe { original::ppoll(set, count, timeout, mask) },
    }
}

/// The sets of a `select`, as they came: each look writes over them.
struct Sets {
    count: c_int,
    places: [*mut fd_set; 3],
    asked: [Option<Words>; 3],
}

impl Sets {
    /// `None` if nobody knows how long they are.
    ///
    /// # Safety
    ///
    /// Each place must be null or valid for reads and writes of what the kernel takes `count` to mean, as long as this lives.
    unsafe fn new(count: c_int, places: [*mut fd_set; 3]) -> Option<Sets> {
        let known = match count {
            ..=FD_SETSIZE => count.max(0),
            // No more than there is room for in the process's table, as the kernel sees it.
            _ => count.min(size_of_table()?),
        };
        let words = (known as usize).div_ceil(BITS);
        // SAFETY: the caller's contract.
        let asked = places.map(|place| (!place.is_null()).then(|| unsafe { Words::copied(place, words) }));
        Some(Sets { count, places, asked })
    }

    fn look(&self) -> c_int {
        for (&place, asked) in self.places.iter().zip(&self.asked) {
            if let Some(asked) = asked {
                // SAFETY: not null, so valid by the contract of `new`.
                unsafe { asked.write_to(place) };
            }
        }
        let [readable, writable, exceptional] = self.places;
        let mut at_once = timeval { tv_sec: 0, tv_usec: 0 };
        // SAFETY: each place is null or valid.
        unsafe { original::select(self.count, readable, writable, exceptional, &mut at_once) }
    }

    fn watched(&self) -> Option<Vec<(RawFd, Interest)>> {
        let contains = |set: &Option<Words>, fd| set.as_ref().is_some_and(|set| set.contains(fd));
        let [readable, writable, exceptional] = &self.asked;
        let most = self.asked.iter().flatten().map(|set| set.room()).max().unwrap_or(0);
        let mut watched = Vec::new();
        for fd in 0..self.count.min(most) {
            match (contains(readable, fd), contains(writable, fd)) {
                (true, true) => watched.push((fd, Interest::BOTH)),
                (true, false) => watched.push((fd, Interest::READABLE)),
                (false, true) => watched.push((fd, Interest::WRITABLE)),
                (false, false) if contains(exceptional, fd) => return None,
                (false, false) => {}
            }
        }
        Some(watched)
    }

    /// Adds what was asked for and is not ready to what `found` have been found, but for what is exceptional.
    fn pretend(&self, found: c_int) -> c_int {
        let pretended = self.places.iter().zip(&self.asked).take(2).map(|(&place, asked)| {
            let Some(asked) = asked else { return 0 };
            // SAFETY: not null, so valid by the contract of `new`.
            let mut found = unsafe { Words::copied(place, asked.as_slice().len()) };
            let added = pretend_selected(self.count, asked, &mut found);
            // SAFETY: as above.
            unsafe { found.write_to(place) };
            added
        });
        found + pretended.sum::<c_int>()
    }

    fn until(self, call: Call, deadline: Option<Time>) -> c_int {
        let pretend = |found| self.pretend(found);
        until_some(call, "select", deadline, || self.look(), || self.watched(), pretend)
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn select(
    count: c_int,
    readable: *mut fd_set,
    writable: *mut fd_set,
    exceptional: *mut fd_set,
    timeout: *mut timeval,
) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    let given = unsafe { timeout.as_ref() }.map(whole_seconds);
    // SAFETY: null, or from a reference.
    let deadline = unsafe { deadline_of_timespec(given.as_ref().map_or(ptr::null(), ptr::from_ref)) };
    let patched = Call::enter(Parts::SELECT).zip(deadline.ok()).and_then(|(call, deadline)| {
        // SAFETY: as above.
        let sets = unsafe { Sets::new(count, [readable, writable, exceptional]) };
        sets.map(|sets| (call, deadline, sets))
    });
    let Some((call, deadline, sets)) = patched else {
        // SAFETY: the caller's contract.
        return unsafe { original::select(count, readable, writable, exceptional, timeout) };
    };
    let ready = sets.until(call, deadline);
    if let Some(deadline) = deadline {
        // Linux tells how much of the time is left.
        let left = Time::now().until(deadline);
        // SAFETY: there is a deadline because it is not null.
        unsafe { *timeout = timeval { tv_sec: left.as_secs() as _, tv_usec: left.subsec_micros().into() } };
    }
    ready
}

/// With the seconds in its microseconds counted as such. Of those, glibc takes 32 bits.
fn whole_seconds(given: &timeval) -> timespec {
    const MICROSECONDS: i32 = 1_000_000;
    let microseconds = given.tv_usec as i32;
    if given.tv_sec < 0 || microseconds < 0 {
        // Refused.
        return timespec { tv_sec: -1, tv_nsec: 0 };
    }
    timespec {
        tv_sec: given.tv_sec.saturating_add((microseconds / MICROSECONDS).into()),
        tv_nsec: (microseconds % MICROSECONDS * 1000).into(),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pselect(
    count: c_int,
    readable: *mut fd_set,
    writable: *mut fd_set,
    exceptional: *mut fd_set,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    match (Call::enter(Parts::SELECT), unsafe { deadline_of_timespec(timeout) }) {
        // SAFETY: as above.
        (Some(call), Ok(deadline)) if unsafe { changes_nothing(mask) } => {
            // SAFETY: as above.
            if let Some(sets) = unsafe { Sets::new(count, [readable, writable, exceptional]) } {
                return sets.until(call, deadline);
            }
        }
        _ => {}
    }
    // SAFETY: as above.
    unsafe { original::pselect(count, readable, writable, exceptional, timeout, mask) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn epoll_wait(set: c_int, events: *mut epoll_event, count: c_int, timeout: c_int) -> c_int {
    let Some(call) = enter(timeout != 0) else {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::epoll_wait(set, events, count, timeout) };
    };
    // SAFETY: as above.
    let look = || unsafe { original::epoll_wait(set, events, count, 0) };
    let descriptors = || Some(vec![(set, Interest::READABLE)]);
    let pretend = |found| {
        // SAFETY: the caller gave room for `count`, more than none, as a look has just found.
        let events = unsafe { slice::from_raw_parts_mut(events, count as usize) };
        pretend_awaited(set, events, found as usize)
    };
    until_some(call, "epoll_wait", deadline_of_milliseconds(timeout), look, descriptors, pretend)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn epoll_pwait(
    set: c_int,
    events: *mut epoll_event,
    count: c_int,
    timeout: c_int,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: the caller's contract is that of the C library's function.
    if unsafe { changes_nothing(mask) } {
        // SAFETY: as above.
        return unsafe { epoll_wait(set, events, count, timeout) };
    }
    // SAFETY: as above.
    unsafe { original::epoll_pwait(set, events, count, timeout, mask) }
}

/// See `__recv_chk`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __poll_chk(set: *mut pollfd, count: nfds_t, timeout: c_int, room: size_t) -> c_int {
    if count as usize > room / size_of::<pollfd>() {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::__poll_chk(set, count, timeout, room) };
    }
    // SAFETY: as above; the set is in bounds.
    unsafe { poll(set, count, timeout) }
}

/// See `__recv_chk`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __ppoll_chk(
    set: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
    room: size_t,
) -> c_int {
    if count as usize > room / size_of::<pollfd>() {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::__ppoll_chk(set, count, timeout, mask, room) };
    }
    // SAFETY: as above; the set is in bounds.
    unsafe { ppoll(set, count, timeout, mask) }
}
