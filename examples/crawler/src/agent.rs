//! ureq over greenloop's streams.

use crate::buffers::GrowingConnector;
use crate::transport::{GreenConnector, GreenResolver};
use std::time::Duration;
use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;
use ureq::unversioned::transport::{Connector, RustlsConnector};

/// An agent that greenloop's `with_timeout` can end: it needs no timeout of its own.
pub fn agent(config: ConfigBuilder<AgentScope>, _timeout: Duration) -> Agent {
    let connector = GreenConnector.chain(RustlsConnector::default()).chain(GrowingConnector);
    Agent::with_parts(config.build(), connector, GreenResolver)
}
