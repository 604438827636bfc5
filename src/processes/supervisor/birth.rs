//! Forking a process that goes on by itself, and never returns to the frames of its parent.

use std::io::{self, Write};

use crate::error::SupervisorError;
use crate::hub::birth::{Childless, fork_whole};

/// Forks, and returns the child's number. The child runs `run`, which does not unwind, and ends with the status that it returns.
///
/// It keeps all that the supervisor has: what it does is the same each time, so it owns nothing that could be handed over.
pub(super) fn fork(run: impl FnOnce() -> i32) -> Result<u32, SupervisorError> {
    // What stands in the buffer would be written twice.
    let _ = io::stdout().flush();
    let live = || {
        let status = run();
        let _ = io::stdout().flush();
        status
    };
    fork_whole(live).map_err(|childless| match childless {
        Childless::ForeignThreads(count) => SupervisorError::ForeignThreads { count },
        Childless::System(error) => SupervisorError::System(error),
    })
}
