//! Code that runs in the middle of other code: the handler of a signal, and the child of vfork(2), which has its parent's memory.
//!
//! Such code must not be switched out, nor touch what the library is in the middle of. It is marked by the place of its frame, so that
//! a handler that is left by siglongjmp(3) counts as left as soon as something asks from further up, on another stack, or in another
//! greenlet.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr;

/// How many handlers within each other are marked. More are not counted, and those are within one that is.
const MOST: usize = 16;

#[derive(Clone, Copy)]
struct Mark {
    /// An address in the frame that the code begins with; all of its own lie below.
    frame: usize,
    /// Who was interrupted.
    owner: usize,
}

thread_local! {
    /// How many are marked.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static MARKS: [Cell<Mark>; MOST] = const { [const { Cell::new(Mark { frame: 0, owner: 0 }) }; MOST] };
}

/// Runs `handler` as one that has interrupted `owner`. Async-signal-safe.
#[inline(never)]
pub(crate) fn run<R>(owner: usize, handler: impl FnOnce() -> R) -> R {
    let here = 0_u8;
    let depth = DEPTH.get();
    mark(Mark { frame: (&raw const here).addr(), owner });
    let result = handler();
    DEPTH.set(depth);
    result
}

/// The child of a vfork(2) of `owner` begins, which never returns from here.
pub(crate) fn begin_child(owner: usize) {
    mark(Mark { frame: usize::MAX, owner });
}

/// The parent goes on, whose memory says what the child has made of it.
pub(crate) fn end_child() {
    DEPTH.set(DEPTH.get().saturating_sub(1));
}

fn mark(mark: Mark) {
    let depth = DEPTH.get();
    if depth < MOST {
        MARKS.with(|marks| marks[depth].set(mark));
        // The mark is there before it counts, for a signal may come in between.
        DEPTH.set(depth + 1);
    }
}

/// Whether such code runs, which has interrupted the `owner` that runs.
#[inline]
pub(crate) fn is_inside(owner: impl FnOnce() -> usize) -> bool {
    DEPTH.get() > 0 && is_still_inside(owner())
}

#[cold]
#[inline(never)]
fn is_still_inside(owner: usize) -> bool {
    let here = 0_u8;
    let here = (&raw const here).addr();
    loop {
        let depth = DEPTH.get();
        let Some(last) = depth.checked_sub(1) else { return false };
        let mark = MARKS.with(|marks| marks[last].get());
        if mark.owner == owner
            && here < mark.frame
            && (mark.frame == usize::MAX || are_together(here, mark.frame))
        {
            return true;
        }
        DEPTH.set(last);
    }
}

/// Whether both lie on this thread's alternate stack for signals, or both elsewhere.
fn are_together(one: usize, other: usize) -> bool {
    let mut stack = MaybeUninit::<libc::stack_t>::zeroed();
    // SAFETY: a null pointer only asks; `stack` is valid to write to.
    unsafe { libc::sigaltstack(ptr::null(), stack.as_mut_ptr()) };
    // SAFETY: zero is a value for each field, and the kernel writes others.
    let stack = unsafe { stack.assume_init() };
    let start = stack.ss_sp.addr();
    let alternate = start..start + stack.ss_size;
    alternate.contains(&one) == alternate.contains(&other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_is_inside_until_it_is_over_or_left() {
        let is = |owner| is_inside(|| owner);
        assert!(!is(1));
        run(1, || {
            assert!(is(1));
            run(1, || assert!(is(1)));
            assert!(is(1));
        });
        assert!(!is(1));
        // Left by a jump: its frame lies below the one that asks.
        mark(Mark { frame: 1, owner: 1 });
        assert!(!is(1));
        // Left for another greenlet.
        mark(Mark { frame: usize::MAX, owner: 1 });
        assert!(!is(2));
        assert!(!is(1), "and it is over then");
    }

    #[test]
    fn the_child_of_vfork_is_inside_until_the_parent_goes_on() {
        begin_child(1);
        assert!(is_inside(|| 1));
        end_child();
        assert!(!is_inside(|| 1));
    }
}
