//! ureq as it comes, on std's sockets and name lookups: under `patch_all` whatever it waits for parks its green thread only.

use greenloop::monkey::{Parts, is_patched};
use std::time::Duration;
use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;

/// An agent as ureq makes it, which without the patch has its own timeout: nothing else ends a call that stops the thread.
pub fn agent(config: ConfigBuilder<AgentScope>, timeout: Duration) -> Agent {
    let own = (!is_patched(Parts::ALL)).then_some(timeout);
    config.timeout_global(own).build().new_agent()
}
