//! What every broker promises, of each engine. An engine that is not installed is left out, as the test says.

mod conformance;
mod engines;
