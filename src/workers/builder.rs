//! Making workers.

use std::io;
use std::sync::Arc;
use std::thread;

use super::Workers;
use super::crew::Crew;
use crate::hub::Config;

/// Settings of [`Workers`] that are to be made.
///
/// # Examples
///
/// ```
/// use greenloop::{hub::Config, workers::Builder};
/// use std::time::Duration;
///
/// let slack = Config::new().timer_slack(Duration::from_millis(1));
/// let workers = Builder::new().number(2).config(slack).build()?;
/// assert_eq!(workers.number(), 2);
/// workers.stop(Duration::from_secs(1));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[must_use = "nothing is made before `build`"]
pub struct Builder {
    number: Option<usize>,
    config: Config,
}

impl Builder {
    /// Makes the default settings: as many workers as there are processors for this process, with hubs of the default settings.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::workers::Builder;
    /// use std::time::Duration;
    ///
    /// let workers = Builder::new().build()?;
    /// assert_eq!(workers.number(), std::thread::available_parallelism()?.get());
    /// workers.stop(Duration::from_secs(1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub const fn new() -> Builder {
        Builder { number: None, config: Config::new() }
    }

    /// Sets how many workers there are.
    ///
    /// By default it is what [`std::thread::available_parallelism`] says, which knows the process's mask of processors and the limit of its
    /// control groups (cgroup v1 and v2, `cpu.max`).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::workers::Builder;
    /// use std::time::Duration;
    ///
    /// let workers = Builder::new().number(3).build()?;
    /// assert_eq!(workers.number(), 3);
    /// workers.stop(Duration::from_secs(1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "max_workers")]
    pub const fn number(mut self, number: usize) -> Builder {
        self.number = Some(number);
        self
    }

    /// Sets how the hub of each worker works.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{hub::{Config, Driver}, workers::Builder};
    /// use std::time::Duration;
    ///
    /// let workers = Builder::new().number(1).config(Config::new().driver(Driver::Poll)).build()?;
    /// assert_eq!(workers.spawn(|| 1 + 1).join().unwrap(), 2);
    /// workers.stop(Duration::from_secs(1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub const fn config(mut self, config: Config) -> Builder {
        self.config = config;
        self
    }

    /// Makes the workers, which sleep until there is work.
    ///
    /// # Errors
    ///
    /// Of kind `InvalidInput` if the number is zero; that of the OS thread that cannot be made. None is left then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::workers::Builder;
    ///
    /// assert_eq!(Builder::new().number(0).build().unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    /// ```
    pub fn build(self) -> io::Result<Workers> {
        // Where that cannot be told, one is always right.
        let number = self.number.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        let crew = Arc::new(Crew::new(number));
        // First of all, so that it ends those that there are, if one cannot be made.
        let workers = Workers::of(crew, self.config);
        workers.resize(number)?;
        Ok(workers)
    }
}
