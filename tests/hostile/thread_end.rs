//! The end of an OS thread.
