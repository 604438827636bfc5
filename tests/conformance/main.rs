//! Behaviours of Python's greenlet and gevent that greenloop holds, each a test of its own, numbered as below.
//!
//! greenlet (its `test_greenlet.py` and `test_throw.py`), module [`greenlet`]:
//!
//! | number | behaviour | test |
//! |---|---|---|
//! | 1 | main and child in turn | `case_01_ping_pong` |
//! | 2 | two children advance independently | `case_02_two_children` |
//! | 3 | a child's child returns to its maker | `case_03_a_childs_child` |
//! | 4 | the return value is what the parent's switch returns | `case_04_the_return_value` |
//! | 5 | an uncaught error surfaces in the parent | `case_05_an_uncaught_error` |
//! | 6 | an exit raised inside is a value for the parent | `case_06_an_exit_raised_inside` |
//! | 7 | throwing an exit into a parked one, and again into the dead one | `case_07_an_exit_thrown_in` |
//! | 8, 9 | throwing into an unstarted one | `case_08_an_error_into_an_unstarted_one`, `case_09_an_exit_into_an_unstarted_one` |
//! | 10 | a thrown error that is caught | `case_10_a_thrown_error_that_is_caught` |
//! | 11 | an error goes up a chain of parents | `case_11_*` |
//! | 12, 13 | switching and throwing to a dead one | `case_12_a_switch_to_a_dead_one`, `case_13_an_error_for_a_dead_one` |
//! | 14, 15, 16 | finishing below a dead, an unstarted and an unstartable parent | `case_14_*`, `case_15_*`, `case_16_*` |
//! | 17 | switch and throw to oneself | `case_17_to_oneself` |
//! | 18, 19, 20 | parents: changed while running, cycles, main's | `case_18_*`, `case_19_*`, `case_20_*` |
//! | 21, 22, 23, 30 | use from another thread | cannot be written: `case_21_no_greenlet_leaves_its_thread`, and the `compile_fail` example of `AnyGreenlet` |
//! | 24 | ten threads at once | `case_24_ten_threads` |
//! | 25, 26 | states, and how they print | `case_25_the_walk_of_states`, `case_26_debug_text` |
//! | 27, 28, 29 | dropping the last handle | `case_27_*`, `case_28_*`, `case_29_*` |
//! | 31 | no stack for the first switch | `case_31_no_stack` |
//! | 32 | unwinding is the affair of one greenlet | `case_32_*` |
//! | 33 | parked under five C frames | `case_33_under_c_frames` |
//! | 34 | four interleaved unwinds | `case_34_four_interleaved_unwinds` |
//! | 35 | a process ends with greenlets parked | `tests/exit.rs`, since it needs a `main` of its own |
//! | 36 | no memory is left by 10,000 lives | `case_36_*` |
//!
//! Tracing and contexts (`test_tracing.py`, `test_contextvars.py`), modules [`tracing`] and [`context`]:
//!
//! | number | behaviour | test |
//! |---|---|---|
//! | 37, 38 | the events of running, raising, throwing, exiting, and of a switch to oneself | `case_37_*`, `case_38_*` |
//! | 39 | the target never looks dead in the hook | `case_39_*` |
//! | 40 | a new context is empty; it is copied and shared explicitly | `case_40_*` |
//! | 41 | a context in use on another thread | cannot be written: what is local to a greenlet is reached from it alone |

#[path = "../support/mod.rs"]
mod support;

mod context;
mod greenlet;
mod tracing;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use greenloop::error::SwitchError;

/// The bound of a test that should take no time.
const LIMIT: Duration = Duration::from_secs(60);

/// Raises `text`, past the panic hook.
fn raise(text: &'static str) -> ! {
    resume_unwind(Box::new(text))
}

/// What `run` raises.
fn raised<R>(run: impl FnOnce() -> R) -> String {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(_) => panic!("nothing was raised"),
        Err(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => (*payload.downcast_ref::<&'static str>().expect("a text was raised")).to_owned(),
        },
    }
}

/// Whether a switch came back with an exit as its value.
fn is_exit<T>(result: Result<T, SwitchError>) -> bool {
    matches!(result, Err(SwitchError::Exit(_)))
}
