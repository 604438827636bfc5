//! The files that touch no clock, no IO and no stack of their own, and what they stand on.

#![allow(dead_code, reason = "the files have more than their tests use")]

#[path = "../../src/sys/clock.rs"]
mod clock;
#[path = "../../src/hub/ready.rs"]
mod ready;
#[path = "../../src/hub/timers.rs"]
mod timers;
#[path = "../../src/sys/virtual_clock.rs"]
mod virtual_clock;
#[path = "../../src/hub/waitlist.rs"]
mod waitlist;

mod sys {
    pub(crate) use crate::clock;
}
