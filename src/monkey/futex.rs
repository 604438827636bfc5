//! `syscall`: its futex calls, on which std's locks wait, and random bytes.
//!
//! A wait from a green thread stands in a table here; a wake looks there first and then in the kernel. So std's Mutex,
//! RwLock, Condvar, Once and Barrier work between green threads of one hub, of several, and with plain OS threads.

use std::convert::Infallible;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};
use std::time::Duration;

use libc::{c_int, c_long, timespec};

use super::call::{Call, failed};
use super::line::{Line, Standing};
use super::parts::{Parts, patched};
use super::pauses::Pauses;
use super::random::put_those_of_world;
use super::stop::{stop, stop_for_ever};
use crate::fiber::isolation::{Reservation, is_isolated, is_reserved};
use crate::hub::no_unwind::Hindrance;
use crate::hub::waiter::{LOCK_OF_OTHERS, Waiter, WaitingOn};
use crate::sys::clock::Time;
use crate::sys::lock::Lock;
use crate::sys::original;
use crate::sys::process;
use crate::sys::thread_local::block_around;

const BUCKETS: usize = 256;

static TABLE: [Bucket; BUCKETS] = [const { Bucket::new() }; BUCKETS];

/// Those who wait for words of one hash.
struct Bucket {
    /// How many wait, or are about to look whether they must: none, and a wake need not look.
    count: AtomicUsize,
    waiters: Lock<Line>,
}

impl Bucket {
    const fn new() -> Bucket {
        Bucket { count: AtomicUsize::new(0), waiters: Lock::new(Line::new()) }
    }

    fn of(word: usize) -> &'static Bucket {
        // Words of four bytes, mostly far apart: a multiplicative hash.
        let hash = (word / 4).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as usize);
        &TABLE[hash >> (usize::BITS - BUCKETS.ilog2())]
    }

    /// Wakes up to `count` of those who wait for `word`, in their order.
    fn wake(&self, word: usize, bits: u32, count: usize) -> usize {
        // The word was changed before: whoever counts himself in after this load sees the change.
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::SeqCst) == 0 {
            return 0;
        }
        let mut woken = 0;
        while woken < count {
            let Some(wake) = self.waiters.lock().take_first(word, bits) else { break };
            // One that is gone is not counted. If it goes later, all who wait here are woken.
            if wake.is_living() {
                wake.wake();
                woken += 1;
            }
        }
        woken
    }
}

/// Who counts in a bucket, until dropped.
struct Counted(&'static Bucket);

impl Counted {
    fn new(bucket: &'static Bucket) -> Counted {
        bucket.count.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Counted(bucket)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::SeqCst);
    }
}

/// From now on a fork finds the table's locks free, and in the child nobody waits.
pub(super) fn look_after_forks() {
    static ONCE: Once = Once::new();
    extern "C" fn before() {
        TABLE.iter().for_each(|bucket| bucket.waiters.hold());
    }
    extern "C" fn in_parent() {
        // SAFETY: held by `before`, which this thread ran.
        TABLE.iter().for_each(|bucket| unsafe { bucket.waiters.release() });
    }
    extern "C" fn in_child() {
        in_parent();
        for bucket in &TABLE {
            bucket.waiters.lock().forget();
            bucket.count.store(0, Ordering::SeqCst);
        }
    }
    // SAFETY: they lock and unlock, and change words of the table.
    ONCE.call_once(|| unsafe { process::at_fork(before, in_parent, in_child) });
}

/// Wakes up to `count` of those who wait at `address`.
pub(super) fn wake(address: usize, count: usize) -> usize {
    wake_some(address, u32::MAX, count)
}

/// [`wake`] for those only who wait for one of `bits`.
pub(super) fn wake_some(address: usize, bits: u32, count: usize) -> usize {
    Bucket::of(address).wake(address, bits, count)
}

/// Whether somebody may wait at `address`: no wake after a change needs to look for others. Async-signal-safe.
pub(super) fn may_be_awaited(address: usize) -> bool {
    fence(Ordering::SeqCst);
    Bucket::of(address).count.load(Ordering::SeqCst) > 0
}

/// How a wait in the table ended.
pub(super) enum Waited<R> {
    /// It did not begin: what it was for is there.
    Ready(R),
    Woken,
    Late,
}

/// Waits at `address` for a wake of one of `bits`, unless `look`, after which no wake is missed, finds what it is for. Runs
/// `begun` when it stands in line, which says whether to wait at all.
pub(super) fn wait_at<R>(
    address: usize,
    bits: u32,
    deadline: Option<Time>,
    look: impl FnOnce() -> Option<R>,
    begun: impl FnOnce() -> bool,
) -> Waited<R> {
    let parked = |waiter: &Waiter| Ok::<_, Infallible>(waiter.park_in_infallible_call(deadline));
    let Ok(waited) = stand_in_line(address, bits, look, begun, parked);
    waited
}

/// [`wait_at`] for a call that may fail, and does if a kill or a time limit ends it.
pub(super) fn wait_in_call_at<R>(
    address: usize,
    bits: u32,
    deadline: Option<Time>,
    look: impl FnOnce() -> Option<R>,
) -> Result<Waited<R>, Hindrance> {
    stand_in_line(address, bits, look, || true, |waiter| waiter.park_in_call(deadline))
}

/// Waits at `address` by `park`. Who is hindered passes on the wake that he may have had.
fn stand_in_line<R, E>(
    address: usize,
    bits: u32,
    look: impl FnOnce() -> Option<R>,
    begun: impl FnOnce() -> bool,
    park: impl FnOnce(&Waiter) -> Result<bool, E>,
) -> Result<Waited<R>, E> {
    let counted = Counted::new(Bucket::of(address));
    let waiter = Waiter::new(WaitingOn::Other(LOCK_OF_OTHERS));
    let standing = Standing::new(address, bits, waiter.wake());
    let found = {
        let mut waiters = counted.0.waiters.lock();
        let found = look();
        if found.is_none() {
            waiters.push(&standing);
        }
        found
    };
    if let Some(found) = found {
        standing.leave();
        return Ok(Waited::Ready(found));
    }
    let parked = if begun() { park(&waiter) } else { Ok(true) };
    let stood = counted.0.waiters.lock().take(&standing);
    standing.leave();
    if parked.is_err() && !stood {
        counted.0.wake(address, bits, 1);
    }
    // Still in line: nobody woke it.
    Ok(if stood && !parked? { Waited::Late } else { Waited::Woken })
}

/// Waits while the word at `word` is `expected`.
///
/// # Safety
///
/// `word` must be valid for atomic reads.
unsafe fn wait(word: *const AtomicU32, expected: u32, bits: u32, deadline: Option<Time>) -> c_long {
    // SAFETY: the caller's contract.
    let changed = || (unsafe { &*word }.load(Ordering::SeqCst) != expected).then_some(());
    match wait_at(word.addr(), bits, deadline, changed, || true) {
        Waited::Ready(()) => failed(libc::EAGAIN).into(),
        Waited::Late => failed(libc::ETIMEDOUT).into(),
        Waited::Woken => 0,
    }
}

/// [`wait`] for a word that other processes may have too. They wake nobody here, so it is looked at now and then.
///
/// # Safety
///
/// As for `wait`.
unsafe fn wait_among_processes(
    word: *const AtomicU32,
    expected: u32,
    bits: u32,
    deadline: Option<Time>,
) -> c_long {
    let mut pauses = Pauses::new();
    loop {
        let pause = pauses.next(deadline);
        // SAFETY: the caller's contract.
        let changed = || (unsafe { &*word }.load(Ordering::SeqCst) != expected).then_some(());
        match wait_at(word.addr(), bits, Some(pause), changed, || true) {
            Waited::Ready(()) if pauses.is_first() => return failed(libc::EAGAIN).into(),
            Waited::Ready(()) | Waited::Woken => return 0,
            Waited::Late if deadline.is_some_and(|deadline| deadline <= pause.min(Time::now())) => {
                return failed(libc::ETIMEDOUT).into();
            }
            Waited::Late => {}
        }
    }
}

/// Whether `word` lies in a thread-local variable of who calls. Who are not isolated have those in common: what waits there, such as
/// the queue of parking_lot, knows one waiter per thread.
fn is_thread_local(word: usize) -> bool {
    block_around(word).is_some()
}

/// When a wait ends at the latest; `Err` for what the kernel is left to refuse.
///
/// # Safety
///
/// `timeout` must be null or valid for reads.
pub(super) unsafe fn deadline(
    timeout: *const timespec,
    absolute: bool,
    realtime: bool,
) -> Result<Option<Time>, ()> {
    // SAFETY: the caller's contract.
    let Some(timeout) = (unsafe { timeout.as_ref() }) else { return Ok(None) };
    let seconds = u64::try_from(timeout.tv_sec).map_err(drop)?;
    let nanoseconds = u32::try_from(timeout.tv_nsec).map_err(drop)?;
    if nanoseconds >= 1_000_000_000 {
        return Err(());
    }
    let given = Duration::new(seconds, nanoseconds);
    if !absolute {
        return Ok(Some(Time::after(given)));
    }
    let clock = if realtime { libc::CLOCK_REALTIME } else { libc::CLOCK_MONOTONIC };
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid for writes, and both clocks exist.
    unsafe { libc::clock_gettime(clock, &mut now) };
    let now = Duration::new(now.tv_sec as u64, now.tv_nsec as u32);
    Ok(Some(Time::after(given.saturating_sub(now))))
}

/// The futex call, if it is one that the table knows.
///
/// # Safety
///
/// As for futex(2).
unsafe fn futex(word: usize, operation: c_int, value: u32, timeout: usize, bits: u32) -> Option<c_long> {
    // What the kernel refuses, it is left to refuse.
    if word == 0 || !word.is_multiple_of(align_of::<AtomicU32>()) {
        return None;
    }
    let is_private = operation & libc::FUTEX_PRIVATE_FLAG != 0;
    let realtime = operation & libc::FUTEX_CLOCK_REALTIME != 0;
    let plain = operation & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
    match plain {
        libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => {
            let call = Call::enter(Parts::THREADS);
            let is_common = (call.is_some() || is_reserved()) && !is_isolated() && is_thread_local(word);
            if is_common && is_reserved() {
                stop_for_ever();
            }
            let call = call?;
            if is_common && !is_private {
                return None;
            }
            let absolute = plain == libc::FUTEX_WAIT_BITSET;
            let timeout = std::ptr::with_exposed_provenance(timeout);
            // SAFETY: the caller's contract.
            let deadline = unsafe { deadline(timeout, absolute, realtime) }.ok()?;
            let bits = if absolute { bits } else { u32::MAX };
            // Taken back only when the wait is over.
            let isolates = patched().contains(Parts::THREAD_LOCALS);
            let reservation = if is_common && isolates { Reservation::make() } else { None };
            if is_common && reservation.is_none() {
                // SAFETY: as above.
                return unsafe { stop(call, word, value, bits, deadline) };
            }
            let word = std::ptr::with_exposed_provenance(word);
            Some(match is_private {
                _ if bits == 0 => return None,
                // SAFETY: as above.
                true => unsafe { wait(word, value, bits, deadline) },
                // SAFETY: as above.
                false => unsafe { wait_among_processes(word, value, bits, deadline) },
            })
        }
        libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET => {
            let bits = if plain == libc::FUTEX_WAKE_BITSET { bits } else { u32::MAX };
            let wanted = value as usize;
            let woken = Bucket::of(word).wake(word, bits, wanted);
            if woken == 0 {
                return None;
            }
            let left = wanted - woken;
            if left == 0 {
                return Some(woken as c_long);
            }
            // SAFETY: the caller's contract; no timeout and no second word are looked at.
            let more = unsafe {
                original::syscall(
                    libc::SYS_futex,
                    word as c_long,
                    operation.into(),
                    left as c_long,
                    0,
                    0,
                    bits.into(),
                )
            };
            Some(woken as c_long + more.max(0))
        }
        _ => None,
    }
}

/// What the calls with two words do here, after the kernel, in which `done` were. Who is to be moved on to the other word is woken, and
/// so is whoever is woken on a condition there, true or not: a wait may end for no reason.
fn wake_of_two(operation: c_long, done: c_long, words: [usize; 2], counts: [c_long; 2]) -> c_long {
    let [first, second] = counts.map(|count| count as u32 as usize);
    let wake = |word, count| wake(word, count) as c_long;
    match operation as c_int & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME) {
        libc::FUTEX_REQUEUE | libc::FUTEX_CMP_REQUEUE => {
            wake(words[0], first.saturating_add(second).saturating_sub(done as usize))
        }
        libc::FUTEX_WAKE_OP => wake(words[0], first) + wake(words[1], second),
        _ => 0,
    }
}

/// In C it takes as many arguments as the call needs; with the calling conventions of Linux the rest is not looked at.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    first: c_long,
    second: c_long,
    third: c_long,
    fourth: c_long,
    fifth: c_long,
    sixth: c_long,
) -> c_long {
    if number == libc::SYS_futex && patched().contains(Parts::THREADS) {
        // SAFETY: the caller's contract is that of the C library's function.
        let known =
            unsafe { futex(first as usize, second as c_int, third as u32, fourth as usize, sixth as u32) };
        if let Some(result) = known {
            return result;
        }
        // SAFETY: as above.
        let done = unsafe { original::syscall(number, first, second, third, fourth, fifth, sixth) };
        let words = [first as usize, fifth as usize];
        return if done == -1 { done } else { done + wake_of_two(second, done, words, [third, fourth]) };
    }
    // SAFETY: as above.
    let result = unsafe { original::syscall(number, first, second, third, fourth, fifth, sixth) };
    if number == libc::SYS_getrandom {
        let buffer = ptr::with_exposed_provenance_mut(first.cast_unsigned() as usize);
        // SAFETY: as above, and the kernel has written so many bytes there.
        unsafe { put_those_of_world(buffer, usize::try_from(result).unwrap_or(0)) };
    }
    result
}
