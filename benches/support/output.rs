//! The lines that a measure prints.

use std::fmt::Display;

/// Prints under the name of one peer.
pub(crate) struct Output {
    peer: String,
}

impl Output {
    /// Under the name that PEER_NAME says, or `name`.
    pub(crate) fn new(name: &str) -> Output {
        Output { peer: std::env::var("PEER_NAME").unwrap_or_else(|_| name.to_owned()) }
    }

    pub(crate) fn metric(&self, metric: &str, value: f64, unit: &str) {
        println!("{metric} {} {value:.3} {unit}", self.peer);
    }

    pub(crate) fn info(&self, key: &str, value: impl Display) {
        println!("info {} {key}={value}", self.peer);
    }

    /// Says that there is no such measure here, in the way that a runner knows.
    pub(crate) fn unsupported(&self, measure: &str) -> ! {
        println!("unsupported {} {measure}", self.peer);
        std::process::exit(69)
    }
}
