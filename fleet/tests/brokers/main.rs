//! What every broker promises, of each engine. An engine that is not installed is left out, as the test says.

mod conformance;
mod effects;
mod engines;
mod refusals;
mod streams;
