//! What more than one test program uses. Where a new test goes: a room's beside the room's others, in `tests/ROOM/`; what gevent and
//! greenlet do, by number, in `tests/conformance/`; the public API against hostile use in `tests/hostile/`.
//!
//! | file | what it has |
//! |---|---|
//! | `bounds` | [`within`]: each test is bounded in time, on a hub of its own; [`until`]; [`leaves_nothing_open`]; [`each_driver!`](each_driver) |
//! | `green_threads` | [`spawn_parked`], [`settle`] and what else tests do with green threads again and again |
//! | `witnesses` | [`Log`], values that count themselves, a function as a destructor, raised texts |
//! | `pipes` | [`readable`], a pipe to read from, and what is done with it |
//! | `leftovers` | open files and memory of the process |
//! | `child` | [`run_child`], a scenario in a process of its own; [`is_chosen`], for programs without std's harness; [`this_program`] again; [`finish`], another program |
//! | `random` | [`Random`], the same numbers in every run |
//! | `seeds` | [`in_any_order`], [`in_a_world`]: tests that run again in many orders, with `GREENLOOP_SEEDS`; [`once`], those that do not |
//! | `hammer`, `conveyor` | loads at random, for the hammers of several rooms |
//! | `shared_library` | for programs with calls of C: a library of C or C++, made as the test runs |
//! | `promise`, `tool` | for examples: what their headers promise, and how all of them treat their arguments |

#![allow(dead_code, unused_imports, reason = "each test binary takes what it needs")]

mod bounds;
mod child;
pub(crate) mod conveyor;
mod green_threads;
pub(crate) mod hammer;
mod leftovers;
mod pipes;
mod random;
mod seeds;
mod witnesses;

pub(crate) use bounds::{each_driver, leaves_nothing_open, until, with_driver, within};
pub(crate) use child::{Finished, example, finish, is_chosen, run_child, this_program};
pub(crate) use green_threads::{
    block_past, collect_uncaught, end_with_one_parked, settle, spawn_parked, two_deadlines,
};
pub(crate) use leftovers::{open_files, resident_bytes};
pub(crate) use pipes::{put, read_byte, readable};
pub(crate) use random::Random;
pub(crate) use seeds::{LeftOut, Span, in_a_world, in_any_order, once, ready_at_once};
pub(crate) use witnesses::{Counted, CountsDrops, Log, OnDrop, raise, text};
