//! A dict.

use super::hall::Access;
use super::message::{Parcel, pack, unpack, unpack_maybe, verb};
use super::proxy::{open, proxy};
use crate::error::ManagerError;
use crate::process::Wire;

proxy! {
    /// A dict in a [`Manager`](super::Manager), made by [`Manager::dict`](super::Manager::dict). Its entries are in order of insertion.
    ///
    /// Two keys are one if their bytes are: a `HashMap` is no key.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Process;
    ///
    /// let manager = greenloop::processes::Manager::new()?;
    /// let ages = manager.dict::<String, u32>()?;
    /// let theirs = ages.clone();
    /// Process::start(move || theirs.insert(&"Ada".to_owned(), &36).unwrap())?.join()?;
    /// assert_eq!(ages.items()?, [("Ada".to_owned(), 36)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "DictProxy")]
    Dict<K, V>
}

impl<K: Wire, V: Wire> Dict<K, V> {
    /// Sets the value of a key, and returns the one before. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let dict = manager.dict::<u8, char>()?;
    /// assert_eq!(dict.insert(&1, &'a')?, None);
    /// assert_eq!(dict.insert(&1, &'b')?, Some('a'));
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    #[doc(alias = "__setitem__")]
    pub fn insert(&self, key: &K, value: &V) -> Result<Option<V>, ManagerError> {
        let mut request = self.access.request(verb::INSERT);
        pack(key, &mut request);
        pack(value, &mut request);
        self.access.call(&request, unpack_maybe)
    }

    /// Returns a copy of the value of a key, if there is one. Yields until it is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let dict = manager.dict::<u8, char>()?;
    /// dict.insert(&1, &'a')?;
    /// assert_eq!((dict.get(&1)?, dict.get(&2)?), (Some('a'), None));
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    #[doc(alias = "__getitem__")]
    pub fn get(&self, key: &K) -> Result<Option<V>, ManagerError> {
        self.by_key(verb::GET, key)
    }

    /// Takes a key out, and returns its value, if there was one. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let dict = manager.dict::<u8, char>()?;
    /// dict.insert(&1, &'a')?;
    /// assert_eq!((dict.remove(&1)?, dict.remove(&1)?), (Some('a'), None));
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    #[doc(alias("pop", "__delitem__"))]
    pub fn remove(&self, key: &K) -> Result<Option<V>, ManagerError> {
        self.by_key(verb::REMOVE, key)
    }

    fn by_key(&self, verb: u8, key: &K) -> Result<Option<V>, ManagerError> {
        let mut request = self.access.request(verb);
        pack(key, &mut request);
        self.access.call(&request, unpack_maybe)
    }

    /// Returns `true` if the key has a value. Yields until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let dict = manager.dict::<u8, char>()?;
    /// dict.insert(&1, &'a')?;
    /// assert!(dict.contains_key(&1)? && !dict.contains_key(&2)?);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    #[doc(alias = "__contains__")]
    pub fn contains_key(&self, key: &K) -> Result<bool, ManagerError> {
        let mut request = self.access.request(verb::GET);
        pack(key, &mut request);
        self.access.call(&request, |from| <Option<Parcel> as Wire>::take(from).map(|value| value.is_some()))
    }

    /// Returns the value of a key, which is `default` from now on if there was none. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let dict = manager.dict::<u8, char>()?;
    /// assert_eq!((dict.get_or_insert(&1, &'a')?, dict.get_or_insert(&1, &'b')?), ('a', 'a'));
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    #[doc(alias = "setdefault")]
    pub fn get_or_insert(&self, key: &K, default: &V) -> Result<V, ManagerError> {
        let mut request = self.access.request(verb::DEFAULT);
        pack(key, &mut request);
        pack(default, &mut request);
        self.access.call(&request, unpack)
    }

    /// Changes the value of a key, and returns what it is then. `None` stands for no value. No other process's change comes between.
    ///
    /// `change` runs here, and once more if somebody has changed that value meanwhile. Nothing is held while it runs: one that is killed
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
    /// let counts = manager.dict::<char, u32>()?;
    /// for letter in "abracadabra".chars() {
    ///     counts.update(&letter, |count| Some(count.unwrap_or(0) + 1))?;
    /// }
    /// assert_eq!(counts.get(&'a')?, Some(5));
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn update(
        &self,
        key: &K,
        mut change: impl FnMut(Option<V>) -> Option<V>,
    ) -> Result<Option<V>, ManagerError> {
        loop {
            let mut request = self.access.request(verb::READ);
            pack(key, &mut request);
            let before = self.access.call::<Option<(u64, Parcel)>>(&request, Wire::take)?;
            let value = before.as_ref().map(|(_, parcel)| open(parcel).ok_or_else(Access::no_value));
            let stamp = before.as_ref().map(|(stamp, _)| *stamp);
            let after = change(value.transpose()?);
            let mut request = self.access.request(verb::EXCHANGE);
            pack(key, &mut request);
            stamp.put(&mut request);
            request.put_bytes(&[u8::from(after.is_some())]);
            if let Some(after) = &after {
                pack(after, &mut request);
            }
            if self.access.call(&request, bool::take)? {
                return Ok(after);
            }
        }
    }

    /// Sets the values of many keys, with no change of another between. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let dict = manager.dict::<u8, char>()?;
    /// dict.extend([(1, 'a'), (2, 'b')])?;
    /// assert_eq!(dict.len()?, 2);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn extend(&self, entries: impl IntoIterator<Item = (K, V)>) -> Result<(), ManagerError> {
        let entries: Vec<(K, V)> = entries.into_iter().collect();
        let mut request = self.access.request(verb::EXTEND);
        request.put_bytes(&(entries.len() as u64).to_le_bytes());
        for (key, value) in &entries {
            pack(key, &mut request);
            pack(value, &mut request);
        }
        self.access.call(&request, <()>::take)
    }

    /// Returns how many keys have a value. Yields until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert_eq!(manager.dict::<u8, char>()?.len()?, 0);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn len(&self) -> Result<usize, ManagerError> {
        self.access.ask(verb::LENGTH)
    }

    /// Returns `true` if no key has a value. Yields until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert!(manager.dict::<u8, char>()?.is_empty()?);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.len().map(|length| length == 0)
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
    /// let dict = manager.dict::<u8, char>()?;
    /// dict.insert(&1, &'a')?;
    /// dict.clear()?;
    /// assert!(dict.is_empty()?);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.access.ask(verb::CLEAR)
    }

    /// Returns the keys as they are now. Yields until they are there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let dict = manager.dict::<u8, char>()?;
    /// dict.extend([(2, 'b'), (1, 'a')])?;
    /// assert_eq!(dict.keys()?, [2, 1]);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn keys(&self) -> Result<Vec<K>, ManagerError> {
        self.access.call_for_all(&self.access.request(verb::KEYS), unpack)
    }

    /// Returns copies of the values as they are now. Yields until they are there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let dict = manager.dict::<u8, char>()?;
    /// dict.extend([(2, 'b'), (1, 'a')])?;
    /// assert_eq!(dict.values()?, ['b', 'a']);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn values(&self) -> Result<Vec<V>, ManagerError> {
        self.items().map(|items| items.into_iter().map(|(_, value)| value).collect())
    }

    /// Returns copies of the entries as they are now. Yields until they are there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let dict = manager.dict::<u8, char>()?;
    /// dict.extend([(2, 'b'), (1, 'a')])?;
    /// assert_eq!(dict.items()?, [(2, 'b'), (1, 'a')]);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn items(&self) -> Result<Vec<(K, V)>, ManagerError> {
        let parcels = self.access.call_for_all(&self.access.request(verb::ALL), Parcel::take)?;
        let both = |pair: &[Parcel]| Some((open(pair.first()?)?, open(pair.get(1)?)?));
        parcels.chunks(2).map(|pair| both(pair).ok_or_else(Access::no_value)).collect()
    }
}
