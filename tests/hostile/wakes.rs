//! Wakes that must not be lost.
