//! The end of a green thread that needs more stack than it has: a line that names it, then abort, as std ends a thread.
//!
//! Everything that runs after the fault is async-signal-safe: it reads atomics and thread-locals without destructors,
//! and writes to standard error.

use std::io::IoSlice;
use std::ops::Range;
use std::panic::Location;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sys::lock::Lock;
use crate::sys::signal;

/// Tells its argument the name of the green thread that runs on this OS thread, and where it was spawned; calls it not
/// at all if none runs. Called by a signal handler.
pub(crate) type Describe = fn(&mut dyn FnMut(Option<&str>, &'static Location<'static>));

/// Read by an atomic load, as async-signal-safe as any.
static DESCRIBE: OnceLock<Describe> = OnceLock::new();

/// How many regions are watched. A process has one for each size of stack, unless its address space is limited.
const REGIONS: usize = 256;

/// The address space that is cut into stacks. Entries are written once, in order; an empty one ends the table.
static WATCHED: [Region; REGIONS] = [const { Region::none() }; REGIONS];

/// A run of slots of the same size, each with a guard at its low end.
struct Region {
    start: AtomicUsize,
    slot: AtomicUsize,
    guard: AtomicUsize,
    /// Written last: while it is zero, the entry is empty.
    end: AtomicUsize,
}

impl Region {
    const fn none() -> Region {
        Region {
            start: AtomicUsize::new(0),
            slot: AtomicUsize::new(0),
            guard: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
        }
    }
}

/// Makes the report say who overflowed. Only the first call of a process has an effect.
///
/// # Safety
///
/// `describe` is async-signal-safe: it neither allocates, nor locks, nor panics, nor touches a thread-local for the
/// first time if that has a destructor.
pub(crate) unsafe fn set_describe(describe: Describe) {
    DESCRIBE.get_or_init(|| describe);
}

/// From now on a fault in the lowest `guard` bytes of any slot of the region is an overflow.
///
/// A process that has more regions than the table has entries gets no report for those: there an overflow is a plain
/// fault, which ends the process too.
#[cold]
pub(super) fn watch(slots: Range<usize>, slot: usize, guard: usize) {
    static COUNT: Lock<usize> = Lock::new(0);
    let mut count = COUNT.lock();
    if let Some(region) = WATCHED.get(*count) {
        // Relaxed: published by the store to `end`.
        region.start.store(slots.start, Ordering::Relaxed);
        region.slot.store(slot, Ordering::Relaxed);
        region.guard.store(guard, Ordering::Relaxed);
        // Release: who sees the end sees the rest.
        region.end.store(slots.end, Ordering::Release);
        *count += 1;
    }
    // SAFETY: `inspect` is async-signal-safe, as the head of this file says.
    let caught = unsafe { signal::catch_faults(inspect) };
    debug_assert!(caught.is_ok(), "sigaction refused: {caught:?}");
}

/// Looks at a fault: returns if it is none of ours.
fn inspect(address: usize) {
    if let Some(size) = guarded_stack(address) {
        report(size);
        std::process::abort();
    }
}

/// The size of the stack whose guard has the address.
fn guarded_stack(address: usize) -> Option<usize> {
    for region in &WATCHED {
        // Acquire: pairs with the store in `watch`.
        let end = region.end.load(Ordering::Acquire);
        if end == 0 {
            return None;
        }
        // Relaxed: ordered by the load above.
        let start = region.start.load(Ordering::Relaxed);
        if (start..end).contains(&address) {
            // Relaxed: as above.
            let [slot, guard] = [&region.slot, &region.guard].map(|size| size.load(Ordering::Relaxed));
            return ((address - start) % slot < guard).then_some(slot - guard);
        }
    }
    None
}

/// Prints the last words, in one write so that those of two threads do not mix.
#[cold]
fn report(size: usize) {
    let mut described = false;
    if let Some(describe) = DESCRIBE.get() {
        describe(&mut |name, place| {
            described = true;
            write_report(size, name, Some(place));
        });
    }
    if !described {
        write_report(size, None, None);
    }
}

fn write_report(stack: usize, name: Option<&str>, place: Option<&'static Location<'static>>) {
    let (mut size, mut line, mut column) = ([0; DIGITS], [0; DIGITS], [0; DIGITS]);
    let mut parts = [IoSlice::new(&[]); 12];
    parts[0] = part("\ngreen thread '");
    parts[1] = part(name.unwrap_or("<unnamed>"));
    parts[2] = part("' has overflowed its stack (");
    parts[3] = decimal(stack / 1024, &mut size);
    parts[4] = part(" KiB");
    if let Some(place) = place {
        parts[5] = part(", spawned at ");
        parts[6] = part(place.file());
        parts[7] = part(":");
        parts[8] = decimal(place.line() as usize, &mut line);
        parts[9] = part(":");
        parts[10] = decimal(place.column() as usize, &mut column);
    }
    parts[11] = part(")\nfatal runtime error: stack overflow, aborting\n");
    signal::write_to_stderr(&parts);
}

fn part(text: &str) -> IoSlice<'_> {
    IoSlice::new(text.as_bytes())
}

/// Digits of the largest `usize`.
const DIGITS: usize = 20;

/// The number in decimal, without the formatting machinery, which promises nothing to a signal handler.
fn decimal(mut number: usize, digits: &mut [u8; DIGITS]) -> IoSlice<'_> {
    let mut first = DIGITS;
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return IoSlice::new(&digits[first..]);
        }
    }
}

#[cfg(test)]
mod tests;
