//! The children that run.

use std::sync::Arc;

use super::born::{Born, running};

/// A child of the calling process that runs: see [`active_children`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveChild {
    id: u32,
    name: String,
    is_daemon: bool,
}

impl ActiveChild {
    /// Returns its number.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Process, active_children};
    ///
    /// let child = Process::builder().name("sleeper").start(|| greenloop::sleep(std::time::Duration::from_secs(1000)))?;
    /// assert_eq!(active_children()[0].id(), child.id());
    /// child.kill()?;
    /// child.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Returns its name.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Process, active_children};
    ///
    /// let child = Process::builder().name("sleeper").start(|| greenloop::sleep(std::time::Duration::from_secs(1000)))?;
    /// assert_eq!(active_children()[0].name(), "sleeper");
    /// child.kill()?;
    /// child.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns `true` if it ends with the calling process.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Process, active_children};
    ///
    /// let child = Process::builder().name("sleeper").start(|| greenloop::sleep(std::time::Duration::from_secs(1000)))?;
    /// assert!(!active_children()[0].is_daemon());
    /// child.kill()?;
    /// child.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_daemon(&self) -> bool {
        self.is_daemon
    }
}

/// Returns the processes that the calling one has started and that run. Does not yield.
///
/// Those that have ended are forgotten by the kernel with this call, even if their handles were dropped.
///
/// # Examples
///
/// ```
/// use greenloop::process::{Process, active_children};
///
/// let child = Process::builder().name("sleeper").start(|| greenloop::sleep(std::time::Duration::from_secs(1000)))?;
/// let active = active_children();
/// assert_eq!((active[0].id(), active[0].name(), active[0].is_daemon()), (child.id(), "sleeper", false));
/// child.kill()?;
/// child.wait()?;
/// assert!(active_children().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn active_children() -> Vec<ActiveChild> {
    let as_seen =
        |born: &Arc<Born>| ActiveChild { id: born.id, name: born.name.clone(), is_daemon: born.is_daemon };
    running().iter().filter(|born| !born.is_hidden).map(as_seen).collect()
}
