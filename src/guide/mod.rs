//! For those who come from elsewhere: what each call is called here, and what is different.
//!
//! - [From gevent](from_gevent), and from Python's greenlet.
//! - [From `std::thread`](from_std_thread), and the rest of std that waits.

#[doc = include_str!("from_gevent.md")]
pub mod from_gevent {}
#[doc = include_str!("from_std_thread.md")]
pub mod from_std_thread {}
