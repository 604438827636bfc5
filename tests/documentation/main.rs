//! Holds the documentation to what it promises: an example for each function, a way from each of Python's names to what it
//! is here, and a drawing that is true.

// The source is the same with optimisation and a sanitizer.
#![cfg(all(debug_assertions, not(address_sanitizer)))]

/// The drawing with which the page on the design begins.
mod drawing;
/// Every public function has an example that asserts.
mod examples;
/// Each of Python's names is found by rustdoc's search.
mod names;
/// The public items, read from the source as text.
mod source;
