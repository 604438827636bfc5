//! One value.

use super::hall::Access;
use super::message::{Parcel, pack, unpack, verb};
use super::proxy::{open, proxy};
use crate::error::ManagerError;
use crate::process::Wire;

proxy! {
    /// A value in a [`Manager`](super::Manager), made by [`Manager::value`](super::Manager::value).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Process;
    ///
    /// let manager = greenloop::processes::Manager::new()?;
    /// let total = manager.value(0_u64)?;
    /// let theirs = total.clone();
    /// Process::start(move || theirs.set(&7).unwrap())?.join()?;
    /// assert_eq!(total.get()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "ValueProxy")]
    Value<T>
}

impl<T: Wire> Value<T> {
    /// Returns a copy of the value. Yields until it is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert_eq!(manager.value(3_u8)?.get()?, 3);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn get(&self) -> Result<T, ManagerError> {
        self.access.call(&self.access.request(verb::GET), unpack)
    }

    /// Puts another value in its place. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let value = manager.value(3_u8)?;
    /// value.set(&4)?;
    /// assert_eq!(value.get()?, 4);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn set(&self, value: &T) -> Result<(), ManagerError> {
        self.replace(value).map(drop)
    }

    /// Puts another value in its place, and returns the one before. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let value = manager.value(3_u8)?;
    /// assert_eq!(value.replace(&4)?, 3);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn replace(&self, value: &T) -> Result<T, ManagerError> {
        let mut request = self.access.request(verb::SET);
        pack(value, &mut request);
        self.access.call(&request, unpack)
    }

    /// Changes the value, and returns what it is then. No other process's change comes between.
    ///
    /// `change` runs here, and once more if somebody has changed the value meanwhile. Nothing is held while it runs: one that is killed
    /// has changed nothing. Yields.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let value = manager.value(3_u8)?;
    /// assert_eq!(value.update(|before| before * 2)?, 6);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn update(&self, mut change: impl FnMut(T) -> T) -> Result<T, ManagerError> {
        loop {
            let read = self.access.ask::<Option<(u64, Parcel)>>(verb::READ)?;
            let (stamp, before) = read.ok_or_else(Access::no_value)?;
            let after = change(open(&before).ok_or_else(Access::no_value)?);
            let mut request = self.access.request(verb::EXCHANGE);
            request.put_bytes(&stamp.to_le_bytes());
            pack(&after, &mut request);
            if self.access.call(&request, bool::take)? {
                return Ok(after);
            }
        }
    }
}
