//! Holds the documentation to what it promises: an example for each function.

/// Every public function has an example that asserts.
mod examples;
/// The public items, read from the source as text.
mod source;
