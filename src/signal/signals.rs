//! Signals one after another.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::listeners::Place;
use crate::channel::{Receiver, unbounded};
use crate::hub::signals::set_of;
use crate::task::{Notice, Subscription, Waitable};

/// An iterator over signals as they come. It yields to other green threads while none has come, and never ends.
///
/// A signal that comes again before it was taken counts once. `Signals` belongs to the OS thread on which it was made, and can be waited
/// for together with other things, by [`wait`](crate::wait) and its siblings. A kill or an enclosing
/// [`with_timeout`](crate::with_timeout) ends a wait by unwinding, and loses no signal.
///
/// # Examples
///
/// ```
/// use greenloop::process::Command;
/// use greenloop::signal::{SIGHUP, SIGTERM, Signals};
///
/// let mut signals = Signals::new([SIGHUP, SIGTERM])?;
/// Command::new("kill").args(["-HUP", &std::process::id().to_string()]).status()?;
/// assert_eq!(signals.next(), Some(SIGHUP));
/// Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status()?;
/// assert_eq!(signals.next(), Some(SIGTERM));
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "sigwait")]
pub struct Signals {
    received: Receiver<i32>,
    /// Those that are in the channel.
    waiting: Rc<Cell<u64>>,
    _place: Place,
}

// What it stands for is kept whole by the library, whoever unwinds.
impl UnwindSafe for Signals {}
impl RefUnwindSafe for Signals {}

impl Signals {
    /// Listens to these signals from now on.
    ///
    /// # Errors
    ///
    /// As [`on`](super::on); then it listens to none of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::signal::{SIGUSR1, Signals};
    ///
    /// assert!(Signals::new([SIGUSR1]).is_ok());
    /// assert!(Signals::new([SIGUSR1, 9]).is_err()); // no process can handle SIGKILL
    /// ```
    pub fn new(signals: impl IntoIterator<Item = i32>) -> io::Result<Signals> {
        let (sender, received) = unbounded();
        let waiting = Rc::new(Cell::new(0));
        let tell = {
            let waiting = Rc::clone(&waiting);
            move |signal| {
                if waiting.get() & set_of(signal) == 0 {
                    waiting.set(waiting.get() | set_of(signal));
                    // It cannot fail while this is in its place.
                    let _ = sender.send(signal);
                }
            }
        };
        let signals: Vec<_> = signals.into_iter().collect();
        Ok(Signals { received, waiting, _place: Place::take(&signals, tell)? })
    }

    /// Returns the next signal, if one has come and the hub has looked. Does not yield.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::signal::{SIGUSR1, Signals};
    ///
    /// assert_eq!(Signals::new([SIGUSR1])?.try_next(), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_next(&self) -> Option<i32> {
        self.taken(self.received.try_recv().ok())
    }

    /// Waits for the next signal, at most `timeout`. Returns `None` if none comes by then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::signal::{SIGUSR1, Signals};
    /// use std::time::Duration;
    ///
    /// assert_eq!(Signals::new([SIGUSR1])?.next_timeout(Duration::from_millis(1)), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn next_timeout(&self, timeout: Duration) -> Option<i32> {
        self.taken(self.received.recv_timeout(timeout).ok())
    }

    /// Waits for the next signal until `deadline`. Returns `None` if none comes by then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::signal::{SIGUSR1, Signals};
    ///
    /// assert_eq!(Signals::new([SIGUSR1])?.next_deadline(std::time::Instant::now()), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn next_deadline(&self, deadline: Instant) -> Option<i32> {
        self.taken(self.received.recv_deadline(deadline).ok())
    }

    fn taken(&self, signal: Option<i32>) -> Option<i32> {
        if let Some(signal) = signal {
            self.waiting.set(self.waiting.get() & !set_of(signal));
        }
        signal
    }
}

impl Iterator for Signals {
    type Item = i32;

    fn next(&mut self) -> Option<i32> {
        self.taken(self.received.recv().ok())
    }
}

/// Ready when a signal has come. It is not taken.
impl Waitable for Signals {
    fn is_ready(&self) -> bool {
        self.received.is_ready()
    }

    fn subscribe(&self, notice: Notice) -> Subscription {
        self.received.subscribe(notice)
    }

    fn unsubscribe(&self, subscription: Subscription) {
        self.received.unsubscribe(subscription);
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Signals").field("waiting", &self.received.len()).finish_non_exhaustive()
    }
}
