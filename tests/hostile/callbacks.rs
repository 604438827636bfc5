//! User code that the hub or a switch runs in its own place.
