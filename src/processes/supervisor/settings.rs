//! How a supervisor is set up.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use super::handover::Program;
use super::happening::SupervisorEvent;

/// How often those are looked at of which nothing tells.
pub(super) const LOOK: Duration = Duration::from_secs(1);
const SHORTEST_BEAT: Duration = Duration::from_millis(1);

/// How often one beats, and is looked at, that is stuck after so long.
pub(super) fn beat(stuck_after: Duration) -> Duration {
    (stuck_after / 4).clamp(SHORTEST_BEAT, LOOK)
}

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

/// A listener, which all workers have.
pub(super) struct Listening {
    pub(super) socket: OwnedFd,
    /// Whether a program that is started anew takes it over, and does not make another.
    pub(super) is_handed_on: bool,
}

pub(super) struct Settings {
    pub(super) workers: usize,
    pub(super) listeners: Vec<Listening>,
    pub(super) ready_within: Duration,
    pub(super) grace: Duration,
    pub(super) stuck_after: Duration,
    pub(super) max_requests: u64,
    pub(super) max_memory: u64,
    pub(super) reload: Reload,
    pub(super) hook: Option<Hook>,
    pub(super) program: Program,
}
