//! Short numbers for what lives as long as the program: words, and places in the source.

use std::panic::Location;
use std::ptr;
use std::sync::OnceLock;

/// The code of what has none.
pub(super) const UNKNOWN: u16 = u16::MAX;
/// How many places of a table are tried.
const TRIES: usize = 32;

static WORDS: [OnceLock<&'static str>; 1024] = [const { OnceLock::new() }; 1024];
static PLACES: [OnceLock<&'static Location<'static>>; 8192] = [const { OnceLock::new() }; 8192];

/// The code of these words, which is the same each time.
#[inline]
pub(super) fn of_words(words: &'static str) -> u16 {
    code(&WORDS, words)
}

/// The words of a code.
pub(super) fn words(code: u16) -> &'static str {
    WORDS.get(code as usize).and_then(OnceLock::get).copied().unwrap_or("something")
}

/// The code of a place.
#[inline]
pub(super) fn of_place(place: &'static Location<'static>) -> u16 {
    code(&PLACES, place)
}

/// The place of a code.
pub(super) fn place(code: u16) -> Option<&'static Location<'static>> {
    PLACES.get(code as usize).and_then(OnceLock::get).copied()
}

#[inline]
fn code<T: ?Sized>(table: &'static [OnceLock<&'static T>], value: &'static T) -> u16 {
    let first = ptr::from_ref(value).addr() / 8;
    for place in first..first + TRIES {
        let index = place % table.len();
        if ptr::eq(*table[index].get_or_init(|| value), value) {
            return index as u16;
        }
    }
    UNKNOWN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_one_code_and_is_found_by_it() {
        let (one, other) = ("a wait", "another wait");
        assert_ne!(of_words(one), of_words(other));
        assert_eq!((of_words(one), words(of_words(one))), (of_words(one), one));
        let here = Location::caller();
        assert_eq!(place(of_place(here)), Some(here));
        assert_eq!((place(UNKNOWN), words(UNKNOWN)), (None, "something"));
    }
}
