//! For those who come from elsewhere: what each call is called here, and what is different.
//!
//! - [From gevent](from_gevent), and from Python's greenlet.
//! - [From `std::thread`](from_std_thread), and the rest of std that waits.
#![cfg_attr(
    feature = "monkey",
    doc = "- [Unmodified blocking code](crate::monkey), of Rust and of C, in one line."
)]
#![cfg_attr(
    not(feature = "monkey"),
    doc = "- Unmodified blocking code: the module `monkey`, with the cargo feature of that name."
)]

#[doc = include_str!("from_gevent.md")]
pub mod from_gevent {}
#[doc = include_str!("from_std_thread.md")]
pub mod from_std_thread {}
