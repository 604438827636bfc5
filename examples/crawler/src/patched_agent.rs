//! ureq as it comes, but for its buffers, on std's sockets and name lookups: under `patch_all` whatever it waits for parks its green thread only.

use crate::buffers::GrowingConnector;
use greenloop::monkey::{Parts, is_patched};
use std::time::Duration;
use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, DefaultConnector};

/// An agent much as ureq makes it, which without the patch has its own timeout: nothing else ends a call that stops the thread.
pub fn agent(config: ConfigBuilder<AgentScope>, timeout: Duration) -> Agent {
    let own = (!is_patched(Parts::ALL)).then_some(timeout);
    let connector = DefaultConnector::default().chain(GrowingConnector);
    Agent::with_parts(config.timeout_global(own).build(), connector, DefaultResolver::default())
}
