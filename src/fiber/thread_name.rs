//! The name that std tells of a thread: `std::thread::current().name()`, and what a panic's line begins with.
//!
//! std gives a name only to threads that it makes. A handle without one is given one here before anybody else has it. Where std
//! keeps it is found by its values, and taken only if std finds a name there that was put there; otherwise there is none.

use std::ffi::CString;
use std::ptr;
use std::sync::OnceLock;
use std::thread::{self, Thread};

use crate::sys::os_thread::real;

/// The words of what a [`Thread`] points to, at least: two counts, a name, an id and what it parks by.
const WORDS: usize = 6;

/// Those of them that are counts.
const COUNTS: usize = 2;

static PLACES: OnceLock<Option<Places>> = OnceLock::new();

/// Which of the words hold a name: nothing points there if there is none.
#[derive(Clone, Copy, Debug)]
struct Places {
    text: usize,
    /// The bytes of the name and of the zero after it.
    length: usize,
}

/// Lets std tell `name` of what it takes the calling thread for, which it has told nobody of yet.
#[cold]
pub(super) fn name_current(name: &str) {
    let Ok(name) = CString::new(name) else { return };
    let places = PLACES.get_or_init(|| real(|| thread::Builder::new().spawn(search)).ok()?.join().ok()?);
    if let Some(places) = places {
        let thread = thread::current();
        if thread.name().is_none() {
            // SAFETY: the search has found how; nobody else has a handle yet.
            unsafe { places.put(&thread, name) };
        }
    }
}

/// The words of what `thread` points to.
fn words(thread: &Thread) -> *mut usize {
    // SAFETY: a `Thread` is as large as one pointer, which `search` has made sure of before anybody comes here.
    let start = unsafe { ptr::from_ref(thread).cast::<usize>().read() };
    ptr::with_exposed_provenance_mut(start)
}

impl Places {
    /// # Safety
    ///
    /// These are the places, the thread has no name, and nobody else looks for one meanwhile.
    unsafe fn put(self, thread: &Thread, name: CString) {
        let bytes = Box::into_raw(name.into_bytes_with_nul().into_boxed_slice());
        // SAFETY: the caller's contract.
        unsafe { words(thread).wrapping_add(self.length).write(bytes.len()) };
        // SAFETY: as above. std frees it as the `CString` that it was.
        unsafe { words(thread).wrapping_add(self.text).write(bytes.expose_provenance()) };
    }
}

/// Looks for the places, on a thread made for that, of which nobody has a handle.
fn search() -> Option<Places> {
    const NAME: &str = "a name of its own";
    if size_of::<Thread>() != size_of::<usize>() {
        return None;
    }
    let named =
        real(|| thread::Builder::new().name(NAME.to_owned()).spawn(thread::current)).ok()?.join().ok()?;
    let nameless = real(|| thread::Builder::new().spawn(thread::current)).ok()?.join().ok()?;
    // SAFETY: an allocation of so many words at least, which std only reads, but for the counts and what parks.
    let value = |thread: &Thread, word| unsafe { words(thread).wrapping_add(word).read() };
    let only = |wanted: usize| {
        let mut found = (COUNTS..WORDS).filter(|word| value(&named, *word) == wanted);
        found.next().filter(|_| found.next().is_none())
    };
    let text = only(named.name()?.as_ptr().addr())?;
    let length = only(NAME.len() + 1)?;
    if value(&nameless, text) != 0 || nameless.name().is_some() {
        return None;
    }
    let places = Places { text, length };
    // SAFETY: what was found says that these are the places; nobody else has a handle to that thread, which is gone.
    unsafe { places.put(&nameless, CString::new(NAME).ok()?) };
    (nameless.name() == Some(NAME)).then_some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_without_a_name_can_be_given_one_and_keeps_it() {
        let named = thread::Builder::new().spawn(|| {
            name_current("first");
            name_current("second");
            thread::current()
        });
        assert_eq!(named.unwrap().join().unwrap().name(), Some("first"));
        let kept = thread::Builder::new().name("given".to_owned()).spawn(|| {
            name_current("other");
            thread::current()
        });
        assert_eq!(kept.unwrap().join().unwrap().name(), Some("given"));
        name_current("with \0 in it");
    }
}
