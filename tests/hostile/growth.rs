//! Memory that comes back.
