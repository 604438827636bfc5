//! What a condition of C's was made for: which clock its times are of, and whether other processes have it too.
//!
//! The C library keeps both in words that it tells nobody of, and that have moved from one version to the next. They are found by what
//! differs in conditions that are made for the one and for the other.

use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many words there are in one.
const WORDS: usize = size_of::<libc::pthread_cond_t>() / size_of::<u32>();

/// A word of a condition, and the bits there that say something.
#[derive(Clone, Copy, Debug)]
struct Place {
    word: usize,
    bits: u32,
}

#[derive(Debug)]
struct Places {
    monotonic: Option<Place>,
    shared: Option<Place>,
}

static PLACES: OnceLock<Places> = OnceLock::new();

fn places() -> &'static Places {
    PLACES.get_or_init(|| {
        let plain = words(libc::CLOCK_REALTIME, libc::PTHREAD_PROCESS_PRIVATE);
        Places {
            monotonic: difference(plain, words(libc::CLOCK_MONOTONIC, libc::PTHREAD_PROCESS_PRIVATE)),
            shared: difference(plain, words(libc::CLOCK_REALTIME, libc::PTHREAD_PROCESS_SHARED)),
        }
    })
}

/// The only place where they differ, if there is one.
fn difference(one: [u32; WORDS], other: [u32; WORDS]) -> Option<Place> {
    let mut places =
        (0..WORDS).map(|word| Place { word, bits: one[word] ^ other[word] }).filter(|place| place.bits != 0);
    let place = places.next()?;
    (places.next().is_none() && one[place.word] & place.bits == 0).then_some(place)
}

/// A new condition, as numbers.
fn words(clock: libc::clockid_t, shared: libc::c_int) -> [u32; WORDS] {
    let mut attributes = MaybeUninit::<libc::pthread_condattr_t>::uninit();
    let mut condition = MaybeUninit::<[u32; WORDS]>::zeroed();
    // SAFETY: valid for writes.
    unsafe { libc::pthread_condattr_init(attributes.as_mut_ptr()) };
    // SAFETY: initialised.
    unsafe { libc::pthread_condattr_setclock(attributes.as_mut_ptr(), clock) };
    // SAFETY: as above.
    unsafe { libc::pthread_condattr_setpshared(attributes.as_mut_ptr(), shared) };
    // SAFETY: valid for writes of a condition, whose size these words have; the attributes are initialised.
    unsafe { libc::pthread_cond_init(condition.as_mut_ptr().cast(), attributes.as_ptr()) };
    // SAFETY: zeroed, and then written or not.
    unsafe { condition.assume_init() }
}

/// # Safety
///
/// `condition` must be initialised.
unsafe fn says(condition: *const libc::pthread_cond_t, place: Option<Place>) -> bool {
    place.is_some_and(|place| {
        let word = condition.cast::<AtomicU32>().wrapping_add(place.word);
        // SAFETY: a word of the condition, which the C library changes as an atomic. Relaxed: these bits are set once.
        unsafe { &*word }.load(Ordering::Relaxed) & place.bits != 0
    })
}

/// The clock of the times of `pthread_cond_timedwait`.
///
/// # Safety
///
/// `condition` must be initialised.
pub(crate) unsafe fn clock(condition: *const libc::pthread_cond_t) -> libc::clockid_t {
    // SAFETY: the caller's contract.
    match unsafe { says(condition, places().monotonic) } {
        true => libc::CLOCK_MONOTONIC,
        false => libc::CLOCK_REALTIME,
    }
}

/// Whether other processes may wait and signal there (PTHREAD_PROCESS_SHARED).
///
/// # Safety
///
/// `condition` must be initialised.
pub(crate) unsafe fn is_shared(condition: *const libc::pthread_cond_t) -> bool {
    // SAFETY: the caller's contract.
    unsafe { says(condition, places().shared) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_says_what_it_was_made_for() {
        for clock_made in [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC] {
            for shared in [libc::PTHREAD_PROCESS_PRIVATE, libc::PTHREAD_PROCESS_SHARED] {
                let condition = words(clock_made, shared);
                let condition = condition.as_ptr().cast();
                // SAFETY: the words of a condition.
                assert_eq!(unsafe { clock(condition) }, clock_made);
                // SAFETY: as above.
                assert_eq!(unsafe { is_shared(condition) }, shared == libc::PTHREAD_PROCESS_SHARED);
            }
        }
        let plain = libc::PTHREAD_COND_INITIALIZER;
        // SAFETY: initialised.
        assert_eq!(unsafe { clock(&plain) }, libc::CLOCK_REALTIME);
    }
}
