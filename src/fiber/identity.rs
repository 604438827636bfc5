//! What std takes an OS thread for: three of its thread-local variables, of which each fiber can have its own.
//!
//! They are the thread's handle, its id, and the count of its panics, with whether its panic hook runs. With one of each per fiber,
//! `std::thread::park` and `unpark` mean a green thread, a lock that may be locked again by its holder knows who that is, and
//! `std::thread::panicking` tells the truth.
//!
//! std does not say where they are. They are searched for, on an OS thread made for that, by their values, and taken only if
//! std behaves as it should with others in their place; otherwise nothing is exchanged.

use std::cell::Cell;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread, ThreadId};

use super::panics::{
    amid_unwinding, anchor, only, place, search as search_for_panics, search_for_hook, value_at, words,
};
use crate::sys::os_thread::real;

/// Whether fibers have identities of their own.
static ENABLED: AtomicBool = AtomicBool::new(false);

static PLACES: OnceLock<Option<Places>> = OnceLock::new();

/// How far from the anchor the variables lie, in bytes.
#[derive(Clone, Copy, Debug)]
struct Places {
    handle: isize,
    id: isize,
    panics: isize,
    hook: isize,
}

/// What lies at the places: zeros for a thread of which std knows nothing yet.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Identity {
    handle: usize,
    id: usize,
    panics: usize,
    /// Whether the panic hook runs, in which a panic ends the process.
    hook: usize,
}

/// A handle's word that is no pointer: none, being made, gone.
const NO_HANDLE: usize = 2;

/// From the start of the allocation that a [`Thread`] points to, to what std's variable points to: the two counts of an `Arc`.
const COUNTS: usize = 2 * size_of::<usize>();

/// Gives each fiber an identity of its own from its next switch on, if the places are found; whether they are.
pub(crate) fn enable() -> bool {
    let found =
        PLACES.get_or_init(|| real(|| thread::Builder::new().spawn(search)).ok()?.join().ok()?).is_some();
    // Release: the places were written before.
    ENABLED.store(found, Ordering::Release);
    found
}

/// Whether fibers have identities of their own, or were to have.
pub(super) fn are_enabled() -> bool {
    PLACES.get().is_some()
}

/// Exchanges what the calling thread is taken for with `identity`, if fibers have their own; whether it did.
#[inline]
pub(super) fn exchange(identity: &Cell<Identity>) -> bool {
    // Acquire: the places were written before.
    if !ENABLED.load(Ordering::Acquire) {
        return false;
    }
    let Some(Some(places)) = PLACES.get() else { return false };
    // SAFETY: the search has found std's variables at these places, on every thread of this program; std reads and
    // writes them from their own thread only, as does this, and not meanwhile.
    identity.set(unsafe { places.replace(identity.get()) });
    true
}

/// Forgets what std knows of the thread as which a fiber ran; called on the fiber, whose identity is in place.
#[cold]
pub(super) fn end() {
    let Some(Some(places)) = PLACES.get() else { return };
    // SAFETY: as in `exchange`.
    let identity = unsafe { places.replace(Identity::default()) };
    if identity.handle > NO_HANDLE {
        // SAFETY: std made the word from a `Thread` that it owned, and has forgotten it just now.
        drop(unsafe { thread_of_word(identity.handle) });
    }
}

impl Places {
    /// # Safety
    ///
    /// std's variables must lie at these places, and no code of std's may be using them.
    #[inline]
    unsafe fn replace(self, identity: Identity) -> Identity {
        // SAFETY: the caller's contract.
        let handle = unsafe { place(self.handle).replace(identity.handle) };
        // SAFETY: as above.
        let id = unsafe { place(self.id).replace(identity.id) };
        // SAFETY: as above.
        let panics = unsafe { place(self.panics).replace(identity.panics) };
        // SAFETY: as above.
        let hook = unsafe { place(self.hook).replace(identity.hook) };
        Identity { handle, id, panics, hook }
    }
}

/// The handle that std's variable holds as `word`.
///
/// # Safety
///
/// `word` must be such a word, and own what it points to.
unsafe fn thread_of_word(word: usize) -> Thread {
    let start = word - COUNTS;
    // SAFETY: a `Thread` is one pointer to the start of that allocation, which the search has made sure of.
    unsafe { ptr::from_ref(&start).cast::<Thread>().read() }
}

/// Looks for the places, on a thread of its own.
fn search() -> Option<Places> {
    if size_of::<Thread>() != size_of::<usize>() || size_of::<ThreadId>() != size_of::<u64>() {
        return None;
    }
    let thread = thread::current();
    let (word, number) = words_of(&thread);
    let words = words()?;
    let value = |address| {
        // SAFETY: each address is an aligned word of this thread's own variables.
        unsafe { value_at(address) }
    };

    let handle = only(words.clone().filter(|&address| value(address) == word))?;
    // std declares the two one after the other; numbers are small, and others may be the same.
    let id = only(
        [handle - size_of::<usize>(), handle + size_of::<usize>()]
            .into_iter()
            .filter(|&address| words.clone().any(|word| word == address) && value(address) == number),
    )?;
    let distance = |address: usize| address.wrapping_sub(anchor()) as isize;
    let panics = search_for_panics()?;
    let hook = search_for_hook(panics)?;
    let places = Places { handle: distance(handle), id: distance(id), panics, hook };
    works(places, &thread).then_some(places)
}

/// What std's variables hold for `thread`, if they hold what this code takes them for.
fn words_of(thread: &Thread) -> (usize, usize) {
    let id = thread.id();
    // SAFETY: one pointer, as `search` has made sure of.
    let start = unsafe { ptr::from_ref(thread).cast::<usize>().read() };
    // SAFETY: eight bytes without padding: a number that is not zero.
    let number = unsafe { ptr::from_ref(&id).cast::<usize>().read() };
    (start + COUNTS, number)
}

/// Whether std takes the thread for another with zeros at the places, for itself again afterwards, and for a calm one amid
/// unwinding with no panics counted.
fn works(places: Places, thread: &Thread) -> bool {
    // SAFETY: the values that were found there say that these are std's; a wrong guess shows on this thread, made for it.
    let own = unsafe { places.replace(Identity::default()) };
    let other = thread::current();
    // SAFETY: as above.
    let made = unsafe { places.replace(own) };
    let (word, number) = words_of(&other);
    if (made.handle, made.id, made.panics, made.hook) != (word, number, 0, 0) {
        return false;
    }
    // SAFETY: std's variable owned it, and holds another now.
    drop(unsafe { thread_of_word(made.handle) });
    let tells_of_panics = amid_unwinding(|| {
        let panics = thread::panicking();
        // SAFETY: as above.
        let own = unsafe { places.replace(Identity { panics: 0, ..own }) };
        let calm = !thread::panicking();
        // SAFETY: as above.
        unsafe { places.replace(own) };
        panics && calm
    });
    tells_of_panics && other.id() != thread.id() && thread::current().id() == thread.id()
}
