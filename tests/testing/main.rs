//! Worlds: time that passes only when nobody can run, and ends of green threads that are checked.

/// Virtual time of this crate's own waits.
mod clock;
/// What is told of a test that leaves somebody behind.
mod ends;
/// Both ends of real sockets in one world.
mod sockets;
