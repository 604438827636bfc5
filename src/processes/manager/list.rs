//! A list.

use std::iter::FusedIterator;

use super::array::Array;
use super::message::{pack, pack_all, unpack, unpack_maybe, verb};
use super::proxy::proxy_on;
use crate::error::ManagerError;
use crate::process::Wire;

proxy_on! {
    /// A list in a [`Manager`](super::Manager), made by [`Manager::list`](super::Manager::list). It has the
    /// methods of an [`Array`] too, as a `Vec` has those of a slice.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Process;
    ///
    /// let manager = greenloop::processes::Manager::new()?;
    /// let seen = manager.list(0..2)?;
    /// let theirs = seen.clone();
    /// Process::start(move || theirs.push(&2).unwrap())?.join()?;
    /// assert_eq!(seen.to_vec()?, [0, 1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "ListProxy")]
    List<T> on Array
}

impl<T: Wire> List<T> {
    /// Appends an item. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let list = manager.list(['a'])?;
    /// list.push(&'b')?;
    /// assert_eq!(list.to_vec()?, ['a', 'b']);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    #[doc(alias = "append")]
    pub fn push(&self, item: &T) -> Result<(), ManagerError> {
        let mut request = self.access().request(verb::PUSH);
        pack(item, &mut request);
        self.access().call(&request, <()>::take)
    }

    /// Appends items, with no change of another between. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let list = manager.list(['a'])?;
    /// list.extend(['b', 'c'])?;
    /// assert_eq!(list.to_vec()?, ['a', 'b', 'c']);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn extend(&self, items: impl IntoIterator<Item = T>) -> Result<(), ManagerError> {
        let items: Vec<T> = items.into_iter().collect();
        let mut request = self.access().request(verb::EXTEND);
        pack_all(items.iter(), &mut request);
        self.access().call(&request, <()>::take)
    }

    /// Takes the last item out, if there is one. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let list = manager.list(['a'])?;
    /// assert_eq!((list.pop()?, list.pop()?), (Some('a'), None));
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn pop(&self) -> Result<Option<T>, ManagerError> {
        self.access().call(&self.access().request(verb::POP), unpack_maybe)
    }

    /// Inserts an item before that at a place, or at the end. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), and [`ManagerError::OutOfRange`].
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let list = manager.list(['b'])?;
    /// list.insert(0, &'a')?;
    /// assert_eq!(list.to_vec()?, ['a', 'b']);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn insert(&self, index: usize, item: &T) -> Result<(), ManagerError> {
        let mut request = self.access().request(verb::INSERT);
        request.put_bytes(&(index as u64).to_le_bytes());
        pack(item, &mut request);
        self.access().call(&request, <()>::take)
    }

    /// Takes the item at a place out. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), and [`ManagerError::OutOfRange`].
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let list = manager.list(['a', 'b'])?;
    /// assert_eq!(list.remove(0)?, 'a');
    /// assert!(list.remove(1).is_err());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    #[doc(alias = "__delitem__")]
    pub fn remove(&self, index: usize) -> Result<T, ManagerError> {
        let mut request = self.access().request(verb::REMOVE);
        request.put_bytes(&(index as u64).to_le_bytes());
        self.access().call(&request, unpack)
    }

    /// Takes all out. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let list = manager.list(['a', 'b'])?;
    /// list.clear()?;
    /// assert!(list.is_empty()?);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.access().ask(verb::CLEAR)
    }

    /// Returns an iterator that gets each item when it comes to its place. It yields at each.
    ///
    /// It sees changes that are made meanwhile, as Python's does. [`to_vec`](Array::to_vec) gets all at once.
    ///
    /// # Errors
    ///
    /// The items are those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let list = manager.list([1, 2])?;
    /// let mut items = list.iter();
    /// assert_eq!(items.next(), Some(Ok(1)));
    /// list.push(&3)?;
    /// assert_eq!(items.collect::<Result<Vec<_>, _>>()?, [2, 3]);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    #[doc(alias = "__iter__")]
    pub fn iter(&self) -> ListIter<'_, T> {
        ListIter { list: self, next: 0, is_over: false }
    }
}

/// What [`List::iter`] returns.
#[derive(Debug)]
pub struct ListIter<'a, T> {
    list: &'a List<T>,
    next: usize,
    is_over: bool,
}

impl<T: Wire> Iterator for ListIter<'_, T> {
    type Item = Result<T, ManagerError>;

    fn next(&mut self) -> Option<Result<T, ManagerError>> {
        if self.is_over {
            return None;
        }
        let item = self.list.get(self.next).transpose();
        self.next += 1;
        self.is_over = !matches!(item, Some(Ok(_)));
        item
    }
}

impl<T: Wire> FusedIterator for ListIter<'_, T> {}

impl<'a, T: Wire> IntoIterator for &'a List<T> {
    type Item = Result<T, ManagerError>;
    type IntoIter = ListIter<'a, T>;

    fn into_iter(self) -> ListIter<'a, T> {
        self.iter()
    }
}
