//! The memory in which a record keeps values under pthread keys: glibc has some for the first keys in it, and allocates more for as many
//! further ones, when the first of them is used. It frees that as the thread ends, which is not how a block ends.

use std::ops::Range;
use std::ptr;

use crate::sys::original;
use crate::sys::thread_end::Key;

/// So many keys have their values in one piece of memory.
const IN_A_PIECE: usize = 32;

/// As many pieces can there be, for PTHREAD_KEYS_MAX keys.
const PIECES: usize = 32;

/// What is kept under a key.
#[repr(C)]
struct Entry {
    sequence: usize,
    value: *mut libc::c_void,
}

/// The addresses of the words of a record.
pub(super) fn words(record: &Range<usize>) -> impl Iterator<Item = usize> + use<> {
    record.clone().step_by(size_of::<usize>())
}

/// From the calling thread's record to the addresses of its pieces, the first of which lies in it: found by what changes when the first
/// value beyond that is kept. The thread was made for that, and ends soon. `None` also if there are no more keys.
pub(super) fn find(record: &Range<usize>) -> Option<usize> {
    let mut keys = Vec::with_capacity(IN_A_PIECE + 1);
    while keys.len() <= IN_A_PIECE && keys.last().is_none_or(|key| (*key as usize) < IN_A_PIECE) {
        let mut key: Key = 0;
        // SAFETY: a place for a key, whose values have no destructor.
        if unsafe { original::pthread_key_create(&mut key, None) } != 0 {
            break;
        }
        keys.push(key);
    }
    let beyond = keys.last().copied().filter(|key| *key as usize >= IN_A_PIECE);
    let found = beyond.and_then(|key| find_by(record, key));
    for key in keys {
        // SAFETY: made above, and nobody else's.
        unsafe { original::pthread_key_delete(key) };
    }
    found
}

/// [`find`] by a key whose value lies beyond the record.
fn find_by(record: &Range<usize>, key: Key) -> Option<usize> {
    // SAFETY: within the thread's own record. Volatile, since the C library writes it.
    let read = |word: usize| unsafe { ptr::with_exposed_provenance::<usize>(word).read_volatile() };
    let before: Vec<usize> = words(record).map(read).collect();
    let value = (&raw const before).cast();
    // SAFETY: a key, and a value that is not looked at.
    if unsafe { libc::pthread_setspecific(key, value) } != 0 {
        return None;
    }
    // A flag may change with it, that there are values.
    let is_new = |&(word, before): &(usize, &usize)| *before == 0 && read(word) > usize::from(u16::MAX);
    let mut changed = words(record).zip(&before).filter(is_new);
    let found = match (changed.next(), changed.next()) {
        (Some((word, _)), None) => Some(word),
        _ => None,
    };
    let (piece, place) = (key as usize / IN_A_PIECE, key as usize % IN_A_PIECE);
    let first = found.map(|word| word.wrapping_sub(piece * size_of::<usize>()));
    let first = first.filter(|first| *first >= record.start && record.contains(&read(*first)));
    let is_there = found.is_some_and(|word| {
        let entry = ptr::with_exposed_provenance::<Entry>(read(word)).wrapping_add(place);
        // SAFETY: an address that the C library has put there just now; such a piece is all that it can have allocated.
        unsafe { (*entry).value.cast_const() == value }
    });
    // SAFETY: the key; null needs no memory.
    unsafe { libc::pthread_setspecific(key, ptr::null()) };
    first.filter(|_| is_there).map(|first| first - record.start)
}

/// Frees the pieces that were allocated for the record of a block which nobody uses. All values in them have been destroyed.
///
/// # Safety
///
/// `record` must be such a record, and `values` what [`find`] has found.
pub(super) unsafe fn free(record: usize, values: usize) {
    for piece in 1..PIECES {
        let word = ptr::with_exposed_provenance_mut::<*mut libc::c_void>(record + values).wrapping_add(piece);
        // SAFETY: the caller's contract.
        let memory = unsafe { word.replace(ptr::null_mut()) };
        // SAFETY: null, or from the C library's `calloc`.
        unsafe { libc::free(memory) };
    }
}
