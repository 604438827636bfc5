//! An array.

use std::ops::Range;

use super::hall::Access;
use super::message::{Parcel, pack, unpack, unpack_maybe, verb};
use super::proxy::{open, proxy};
use crate::error::ManagerError;
use crate::process::Wire;

proxy! {
    /// An array in a [`Manager`](super::Manager), made by [`Manager::array`](super::Manager::array). Its length stays.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Process;
    ///
    /// let manager = greenloop::processes::Manager::new()?;
    /// let counts = manager.array([0_u32; 4])?;
    /// let theirs = counts.clone();
    /// Process::start(move || theirs.set(3, &7).unwrap())?.join()?;
    /// assert_eq!(counts.to_vec()?, [0, 0, 0, 7]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "ArrayProxy")]
    Array<T>
}

impl<T: Wire> Array<T> {
    /// Returns a copy of the item at a place, if there is one. Yields until it is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let items = manager.array(['a', 'b'])?;
    /// assert_eq!((items.get(1)?, items.get(2)?), (Some('b'), None));
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    #[doc(alias = "__getitem__")]
    pub fn get(&self, index: usize) -> Result<Option<T>, ManagerError> {
        let mut request = self.access.request(verb::GET);
        request.put_bytes(&(index as u64).to_le_bytes());
        self.access.call(&request, unpack_maybe)
    }

    /// Puts another item at a place, and returns the one before. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), and [`ManagerError::OutOfRange`].
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let items = manager.array(['a', 'b'])?;
    /// assert_eq!(items.set(1, &'c')?, 'b');
    /// assert!(items.set(2, &'c').is_err());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    #[doc(alias = "__setitem__")]
    pub fn set(&self, index: usize, item: &T) -> Result<T, ManagerError> {
        let mut request = self.access.request(verb::SET);
        request.put_bytes(&(index as u64).to_le_bytes());
        pack(item, &mut request);
        self.access.call(&request, unpack)
    }

    /// Changes the item at a place, and returns what it is then. No other process's change of it comes between.
    ///
    /// `change` runs here, and once more if somebody has changed the item meanwhile. Nothing is held while it runs: one that is killed
    /// has changed nothing. Yields.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), and [`ManagerError::OutOfRange`].
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let items = manager.array([1, 2])?;
    /// assert_eq!(items.update(0, |item| item + 10)?, 11);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn update(&self, index: usize, mut change: impl FnMut(T) -> T) -> Result<T, ManagerError> {
        loop {
            let mut request = self.access.request(verb::READ);
            request.put_bytes(&(index as u64).to_le_bytes());
            let read = self.access.call::<Option<(u64, Parcel)>>(&request, Wire::take)?;
            let Some((stamp, before)) = read else {
                return Err(ManagerError::OutOfRange { index, length: self.len()? });
            };
            let after = change(open(&before).ok_or_else(Access::no_value)?);
            let mut request = self.access.request(verb::EXCHANGE);
            request.put_bytes(&(index as u64).to_le_bytes());
            request.put_bytes(&stamp.to_le_bytes());
            pack(&after, &mut request);
            if self.access.call(&request, bool::take)? {
                return Ok(after);
            }
        }
    }

    /// Returns how many items there are. Yields until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert_eq!(manager.array(['a', 'b'])?.len()?, 2);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn len(&self) -> Result<usize, ManagerError> {
        self.access.ask(verb::LENGTH)
    }

    /// Returns `true` if there is no item. Yields until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert!(!manager.array(['a', 'b'])?.is_empty()?);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.len().map(|length| length == 0)
    }

    /// Returns copies of all items as they are now. Yields until they are there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert_eq!(manager.array(['a', 'b'])?.to_vec()?, ['a', 'b']);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn to_vec(&self) -> Result<Vec<T>, ManagerError> {
        self.slice(0..usize::MAX)
    }

    /// Returns copies of the items in a range, as far as they are there. Yields until they are.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert_eq!(manager.array(['a', 'b', 'c'])?.slice(1..9)?, ['b', 'c']);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn slice(&self, range: Range<usize>) -> Result<Vec<T>, ManagerError> {
        let mut request = self.access.request(verb::ALL);
        request.put_bytes(&(range.start as u64).to_le_bytes());
        request.put_bytes(&(range.end as u64).to_le_bytes());
        self.access.call_for_all(&request, unpack)
    }

    /// Returns the place of the first item that is equal to this one, in its bytes. Yields until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let items = manager.array(['a', 'b'])?;
    /// assert_eq!((items.position(&'b')?, items.position(&'c')?), (Some(1), None));
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    #[doc(alias("index", "__contains__"))]
    pub fn position(&self, item: &T) -> Result<Option<usize>, ManagerError> {
        let mut request = self.access.request(verb::POSITION);
        pack(item, &mut request);
        let place = self.access.call(&request, u64::take)?;
        Ok((place != u64::MAX).then_some(place as usize))
    }

    /// Turns the order of the items round. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let items = manager.array(['a', 'b'])?;
    /// items.reverse()?;
    /// assert_eq!(items.to_vec()?, ['b', 'a']);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn reverse(&self) -> Result<(), ManagerError> {
        self.access.ask(verb::REVERSE)
    }
}
