//! The run loop of one OS thread, and what it needs: who is ready, what is due when, who waits for what.

#[cfg_attr(not(test), expect(dead_code, reason = "the run loop is being built on it"))]
pub(crate) mod timers;
#[cfg_attr(not(test), expect(dead_code, reason = "the primitives are being built on it"))]
pub(crate) mod waitlist;
