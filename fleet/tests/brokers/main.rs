//! What every broker promises, of each engine. An engine that is not installed is left out, as the test says.

mod cluster;
mod conformance;
mod effects;
mod engines;
mod refusals;
mod streams;
mod tls;
