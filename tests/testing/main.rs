//! Worlds: time that passes only when nobody can run, and ends of green threads that are checked.

#[path = "../support/mod.rs"]
mod support;

/// Virtual time of this crate's own waits.
mod clock;
/// What is told of a test that leaves somebody behind.
mod ends;
/// What is to go wrong.
mod faults;
/// Orders in which a test may run.
mod orders;
/// Locks, channels, queues, events and pools in many orders.
mod primitives;
/// Both ends of real sockets in one world.
mod sockets;
