//! The frames of a stack, by the unwinder that std links anyway.

use std::ffi::c_void;
use std::ops::Range;
use std::ptr;

const GO_ON: libc::c_int = 0;
/// `_URC_END_OF_STACK`, or any other that is not to go on.
const STOP: libc::c_int = 5;

type Visit = unsafe extern "C" fn(context: *mut c_void, argument: *mut c_void) -> libc::c_int;

unsafe extern "C-unwind" {
    fn _Unwind_Backtrace(visit: Visit, argument: *mut c_void) -> libc::c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
    fn _Unwind_GetIPInfo(context: *mut c_void, is_before: *mut libc::c_int) -> usize;
    fn _Unwind_GetCFA(context: *mut c_void) -> usize;
}

/// Calls `take` with the place of each call of what a signal has interrupted, the innermost first, until that returns `false`. For its
/// handler, whose own frames lie on a stack of its own. Those of the interrupted stack lie within `stack`, if that is known. Neither
/// allocates nor locks, where the C library finds frames without (glibc 2.35), and the first time was before.
#[inline(never)]
pub(crate) fn frames_of_the_interrupted(stack: Option<Range<usize>>, take: &mut dyn FnMut(usize) -> bool) {
    let here = 0_u8;
    let mut walk =
        Interrupted { handler: (&raw const here).addr(), stack, is_there: false, left: MOST_FRAMES, take };
    // SAFETY: `visit_interrupted` is called with contexts of the unwinder's and with `walk`, which outlives the call, and does not unwind.
    unsafe { _Unwind_Backtrace(visit_interrupted, (&raw mut walk).cast()) };
}

/// Frames that are looked at, at most: more are of an endless recursion.
const MOST_FRAMES: usize = 512;
/// How far from where a handler is its stack reaches, at most.
const HANDLER_STACK: usize = 128 * 1024;

struct Interrupted<'a> {
    /// An address on the handler's stack.
    handler: usize,
    stack: Option<Range<usize>>,
    /// Whether the walk has come to the interrupted stack.
    is_there: bool,
    left: usize,
    take: &'a mut dyn FnMut(usize) -> bool,
}

/// # Safety
///
/// `context` is the unwinder's, and `argument` an [`Interrupted`] that nobody else uses.
unsafe extern "C" fn visit_interrupted(context: *mut c_void, argument: *mut c_void) -> libc::c_int {
    // SAFETY: the caller's promise.
    let walk = unsafe { &mut *argument.cast::<Interrupted<'_>>() };
    // SAFETY: as above.
    let frame = unsafe { _Unwind_GetCFA(context) };
    let is_within = match &walk.stack {
        Some(stack) => stack.contains(&frame),
        None => walk.is_there || frame.abs_diff(walk.handler) > HANDLER_STACK,
    };
    walk.left -= 1;
    if walk.left == 0 || walk.is_there && !is_within {
        return STOP;
    }
    if is_within {
        walk.is_there = true;
        let mut is_interrupted_here = 0;
        // SAFETY: as above, and the flag is valid to be written to.
        let address = unsafe { _Unwind_GetIPInfo(context, &mut is_interrupted_here) };
        // As after a call, which is how all others are told.
        if !(walk.take)(address + usize::from(is_interrupted_here != 0)) {
            return STOP;
        }
    }
    GO_ON
}

/// Walks stacks, and knows those again that have the same calls as one before: for them it reads the return addresses alone, at the places
/// where they lay then, which takes a fraction of the time.
///
/// Where a frame lies depends on the calls below it, but for those that make room for a number of things that only shows when they run.
#[derive(Debug, Default)]
pub(crate) struct Walker {
    /// Where each call of the stack that was walked last will return to, the innermost first.
    pub(crate) addresses: Vec<usize>,
    /// Where on the stack that lies, beside where the walk began; 0 if it is not known.
    places: Vec<usize>,
    /// Those that were met, with their numbers; the ones that are met often come first.
    routes: Vec<(usize, Route)>,
}

/// The calls of a stack: where each address lies, and the address.
type Route = Vec<(usize, usize)>;

/// More are walked each time.
const MOST_ROUTES: usize = 64;

/// What the walk of a stack has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Walked {
    /// Calls that have this number, which the next stack with them has too.
    Anew(usize),
    /// The calls of this number.
    Again(usize),
    /// Calls that will not be known again.
    Once,
}

struct Walk<'a> {
    stack: Range<usize>,
    start: usize,
    walker: &'a mut Walker,
}

impl Walker {
    /// Finds where each call on the calling stack will return to, as long as the frames lie within `stack`. If they are known, `addresses`
    /// is left as it is.
    #[inline(never)]
    pub(crate) fn walk(&mut self, stack: Range<usize>) -> Walked {
        // As far from the frames above in each call.
        let here = 0_u8;
        let start = (&raw const here).addr();
        let is_this = |(_, route): &(usize, Route)| {
            let has = |&(place, address): &(usize, usize)| {
                let at = start + place;
                // SAFETY: it is a word of the calling stack, above this frame: mapped, and written by nobody else.
                at + size_of::<usize>() <= stack.end && unsafe { word_at(at) } == address
            };
            route.iter().all(has)
        };
        if let Some(position) = self.routes.iter().position(is_this) {
            let number = self.routes[position].0;
            self.routes.swap(position, position.saturating_sub(1));
            return Walked::Again(number);
        }
        self.addresses.clear();
        self.places.clear();
        let end = stack.end;
        let mut walk = Walk { stack, start, walker: self };
        // SAFETY: `visit` is called with contexts of the unwinder's and with `walk`, which outlives the call, and does not unwind.
        unsafe { _Unwind_Backtrace(visit, (&raw mut walk).cast()) };
        self.learn(start, end)
    }

    /// Keeps the calls in mind, if it is found where they lie.
    fn learn(&mut self, start: usize, end: usize) -> Walked {
        // The first is the one that has walked.
        let route: Route = self.places.iter().copied().zip(self.addresses.iter().copied()).skip(1).collect();
        let lies_there = |&(place, address): &(usize, usize)| {
            let at = start.wrapping_add(place);
            let is_within =
                (start..end - size_of::<usize>()).contains(&at) && at.is_multiple_of(size_of::<usize>());
            // SAFETY: as in `walk`.
            is_within && unsafe { word_at(at) } == address
        };
        // What a sanitizer has marked is not to be read.
        let is_allowed = !cfg!(any(address_sanitizer, miri)) && self.routes.len() < MOST_ROUTES;
        if !is_allowed || route.is_empty() || !route.iter().all(lies_there) {
            return Walked::Once;
        }
        let number = self.routes.len();
        self.routes.push((number, route));
        Walked::Anew(number)
    }
}

/// The word at this address.
///
/// # Safety
///
/// It is mapped, aligned, and nobody writes to it meanwhile.
unsafe fn word_at(address: usize) -> usize {
    // SAFETY: the caller's promise. Whatever lies there is read as it is.
    unsafe { ptr::read_volatile(ptr::with_exposed_provenance(address)) }
}

/// # Safety
///
/// `context` is the unwinder's, and `argument` a [`Walk`] that nobody else uses.
unsafe extern "C" fn visit(context: *mut c_void, argument: *mut c_void) -> libc::c_int {
    // SAFETY: the caller's promise.
    let walk = unsafe { &mut *argument.cast::<Walk<'_>>() };
    // SAFETY: as above.
    let frame = unsafe { _Unwind_GetCFA(context) };
    if !walk.stack.contains(&frame) {
        return STOP;
    }
    // SAFETY: as above.
    walk.walker.addresses.push(unsafe { _Unwind_GetIP(context) });
    // A call leaves it there, on most processors: who learns looks whether it does.
    walk.walker.places.push((frame - size_of::<usize>()).wrapping_sub(walk.start));
    GO_ON
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Range<usize> = 0..usize::MAX;

    #[inline(never)]
    fn one(walker: &mut Walker, depth: usize) -> Walked {
        let walked = if depth > 0 { one(walker, depth - 1) } else { walker.walk(WHOLE) };
        std::hint::black_box(walked)
    }

    #[inline(never)]
    fn other(walker: &mut Walker) -> Walked {
        std::hint::black_box(walker.walk(WHOLE))
    }

    #[test]
    #[cfg_attr(miri, ignore = "there is no unwinder")]
    fn the_same_calls_are_known_again_and_others_are_not() {
        let mut walker = Walker::default();
        let mut walked = Vec::new();
        // Unrolled, the loop would be two places to call from.
        for _ in 0..std::hint::black_box(2) {
            walked.push([one(&mut walker, 3), one(&mut walker, 4), other(&mut walker)]);
        }
        // Not where a sanitizer reads along, nor where a call leaves its address elsewhere.
        if cfg!(any(address_sanitizer, not(target_arch = "x86_64"))) {
            assert!(walked.iter().flatten().all(|walked| *walked == Walked::Once));
            return;
        }
        assert_eq!(walked[0], [0, 1, 2].map(Walked::Anew));
        assert_eq!(walked[1], [0, 1, 2].map(Walked::Again));
    }
}
