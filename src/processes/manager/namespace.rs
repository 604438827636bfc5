//! Values of different types, by name.

use super::message::{Parcel, pack_text, pack_with, unpack, verb};
use super::proxy::{open_with, proxy, tag_of};
use crate::error::ManagerError;
use crate::process::{Outgoing, Wire};

proxy! {
    /// Values by name in a [`Manager`](super::Manager), each of its own type, made by [`Manager::namespace`](super::Manager::namespace).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Process;
    ///
    /// let manager = greenloop::processes::Manager::new()?;
    /// let settings = manager.namespace()?;
    /// let theirs = settings.clone();
    /// Process::start(move || theirs.set("name", &"Ada".to_owned()).unwrap())?.join()?;
    /// assert_eq!(settings.get::<String>("name")?, Some("Ada".to_owned()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "NamespaceProxy")]
    Namespace
}

impl Namespace {
    fn named<'a>(&self, verb: u8, name: &str) -> Outgoing<'a> {
        let mut request = self.access.request(verb);
        pack_text(name, &mut request);
        request
    }

    /// Sets the value of a name. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let settings = manager.namespace()?;
    /// settings.set("port", &8080_u16)?;
    /// assert_eq!(settings.get("port")?, Some(8080_u16));
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    #[doc(alias = "__setattr__")]
    pub fn set<T: Wire>(&self, name: &str, value: &T) -> Result<(), ManagerError> {
        let mut request = self.named(verb::INSERT, name);
        pack_with(tag_of::<T>(), value, &mut request);
        self.access.call(&request, |from| <Option<Parcel> as Wire>::take(from).map(drop))
    }

    /// Returns a copy of the value of a name, if there is one. Yields until it is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors); [`ManagerError::Undecodable`] if it is a value of another type.
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let settings = manager.namespace()?;
    /// settings.set("port", &8080_u16)?;
    /// assert_eq!(settings.get::<u16>("host")?, None);
    /// assert!(settings.get::<String>("port").is_err());
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    #[doc(alias = "__getattr__")]
    pub fn get<T: Wire>(&self, name: &str) -> Result<Option<T>, ManagerError> {
        let parcel = self.access.call::<Option<Parcel>>(&self.named(verb::GET, name), Wire::take)?;
        parcel.map(|parcel| open_with(tag_of::<T>(), &parcel).ok_or_else(|| other_type(name))).transpose()
    }

    /// Takes a name out. Returns `true` if it was there. Yields until that is done.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let settings = manager.namespace()?;
    /// settings.set("port", &8080_u16)?;
    /// assert!(settings.remove("port")? && !settings.remove("port")?);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    #[doc(alias = "__delattr__")]
    pub fn remove(&self, name: &str) -> Result<bool, ManagerError> {
        let parcel = self.access.call::<Option<Parcel>>(&self.named(verb::REMOVE, name), Wire::take)?;
        Ok(parcel.is_some())
    }

    /// Returns all names, in order of their first values. Yields until they are there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let settings = manager.namespace()?;
    /// settings.set("port", &8080_u16)?;
    /// assert_eq!(settings.names()?, ["port"]);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn names(&self) -> Result<Vec<String>, ManagerError> {
        self.access.call_for_all(&self.access.request(verb::KEYS), unpack)
    }
}

#[cold]
fn other_type(name: &str) -> ManagerError {
    ManagerError::Undecodable(format!("`{name}` has a value of another type"))
}
