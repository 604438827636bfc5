//! One descriptor, or one number, for several hubs.
