//! How a supervisor is set up.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use super::handover::Program;
use super::happening::SupervisorEvent;

/// What SIGHUP does to a [`Supervisor`](super::Supervisor).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Reload {
    /// Workers are forked anew, from the supervisor as it is.
    #[default]
    Fork,
    /// The program is started anew, as by SIGUSR2.
    Exec,
}

/// What is told of all that happens.
pub(super) type Hook = Rc<dyn Fn(&SupervisorEvent)>;

pub(super) struct Settings {
    pub(super) workers: usize,
    pub(super) listeners: Vec<OwnedFd>,
    pub(super) ready_within: Duration,
    pub(super) grace: Duration,
    pub(super) stuck_after: Duration,
    pub(super) max_requests: u64,
    pub(super) max_memory: u64,
    pub(super) reload: Reload,
    pub(super) hook: Option<Hook>,
    pub(super) program: Program,
}
