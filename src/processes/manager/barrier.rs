//! A barrier between processes.

use std::time::Duration;

use super::message::{ACT, kind, verb};
use super::owner::Manager;
use super::proxy::proxy;
use crate::error::ManagerError;
use crate::process::Wire;
use crate::sys::clock::Time;

proxy! {
    /// A barrier in a [`Manager`](super::Manager), made by [`Manager::barrier`](super::Manager::barrier).
    ///
    /// Who waits goes on when all have come. If one of those that wait leaves before, by its time limit, by a kill or by the end of its
    /// process, the barrier is *broken*: the others are told, and so are all that come, until somebody [resets](Barrier::reset) it.
    /// While the last of a round calls its [action](Barrier::wait_with), those who come are of the next round, and break that alone.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Process;
    ///
    /// let manager = greenloop::processes::Manager::new()?;
    /// let barrier = manager.barrier(2)?;
    /// let theirs = barrier.clone();
    /// let child = Process::start(move || theirs.wait().unwrap() as u32)?;
    /// let ours = barrier.wait()?;
    /// assert_eq!(ours + child.join()? as usize, 1); // 0 and 1
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Barrier
}

impl Manager {
    /// Makes a barrier for so many, at least one. Yields until it is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert_eq!(manager.barrier(3)?.parties()?, 3);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn barrier(&self, parties: usize) -> Result<Barrier, ManagerError> {
        self.create::<()>(kind::BARRIER, parties as u64, &[]).map(Barrier::new)
    }
}

impl Barrier {
    /// Waits until all have come. Returns the place in the order of arrival, from 0 on: the last has the number of parties less one.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), and [`ManagerError::BrokenBarrier`].
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert_eq!(manager.barrier(1)?.wait()?, 0);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn wait(&self) -> Result<usize, ManagerError> {
        self.wait_until(None, None::<fn()>)
    }

    /// Like [`wait`](Barrier::wait), but waits at most `timeout`, after which the barrier is broken.
    ///
    /// # Errors
    ///
    /// As [`wait`](Barrier::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let barrier = manager.barrier(2)?;
    /// assert!(barrier.wait_timeout(std::time::Duration::from_millis(1)).is_err());
    /// assert!(barrier.is_broken()?);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, ManagerError> {
        self.wait_until(Some(Time::after(timeout)), None::<fn()>)
    }

    /// Like [`wait`](Barrier::wait), and the last to come calls its `action`, before any goes on.
    ///
    /// If the action panics, or its process ends meanwhile, the barrier is broken.
    ///
    /// # Errors
    ///
    /// As [`wait`](Barrier::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let mut count = 0;
    /// manager.barrier(1)?.wait_with(|| count += 1)?;
    /// assert_eq!(count, 1);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn wait_with(&self, action: impl FnOnce()) -> Result<usize, ManagerError> {
        self.wait_until(None, Some(action))
    }

    fn wait_until(
        &self,
        deadline: Option<Time>,
        action: Option<impl FnOnce()>,
    ) -> Result<usize, ManagerError> {
        let mut request = self.access.request(verb::WAIT);
        request.put_bytes(&[u8::from(action.is_some())]);
        let (mut place, connection) = self.access.call_until(&request, deadline, u64::take)?;
        if place == ACT {
            // If it panics, the connection ends, and the barrier is broken.
            action.into_iter().for_each(|action| action());
            connection.send(&self.access.request(verb::ACTED))?;
            let told = connection.answer(self.access.object(), None, u64::take)?;
            connection.give_back();
            place = told?;
        } else {
            connection.give_back();
        }
        Ok(place as usize)
    }

    /// Breaks the barrier: those who wait are told, and those who come. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let barrier = manager.barrier(2)?;
    /// barrier.abort()?;
    /// assert_eq!(barrier.wait(), Err(greenloop::error::ManagerError::BrokenBarrier));
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn abort(&self) -> Result<(), ManagerError> {
        self.access.ask(verb::ABORT)
    }

    /// Makes it as it was at first. Those who wait are told that it was broken. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let barrier = manager.barrier(1)?;
    /// barrier.abort()?;
    /// barrier.reset()?;
    /// assert_eq!(barrier.wait(), Ok(0));
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn reset(&self) -> Result<(), ManagerError> {
        self.access.ask(verb::RESET)
    }

    /// Returns `true` if it is broken. Yields until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert!(!manager.barrier(1)?.is_broken()?);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn is_broken(&self) -> Result<bool, ManagerError> {
        self.access.ask(verb::IS_BROKEN)
    }

    /// Returns for how many it is. Yields until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert_eq!(manager.barrier(3)?.parties()?, 3);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn parties(&self) -> Result<usize, ManagerError> {
        self.access.ask(verb::LENGTH)
    }

    /// Returns how many wait. Yields until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert_eq!(manager.barrier(3)?.waiting()?, 0);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn waiting(&self) -> Result<usize, ManagerError> {
        self.access.ask(verb::WAITING)
    }
}
