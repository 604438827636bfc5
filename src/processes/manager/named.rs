//! Managers that have a name in the file system, and things that have one in a manager.

use std::path::{Path, PathBuf};

use super::address::visit;
use super::hall::Access;
use super::message::{pack, unpack_maybe, verb};
use super::owner::Manager;
use super::server::ROOT;
use crate::error::ManagerError;
use crate::process::{Outgoing, Wire};

impl Manager {
    /// Lets processes in that are no relatives, at a Unix socket of this name, if they know the secret. Yields until that is done.
    ///
    /// The socket's folder must be the user's own and closed to others (mode 0700), and no symbolic link; it is made so if it is not there. A
    /// file that a manager has left which was killed is replaced. The file is removed when the manager ends.
    ///
    /// Only processes of the same user are let in, or root's, and both sides prove to each other that they know the secret, without
    /// telling it. Take one that nobody guesses, 16 random bytes for instance.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), and [`ManagerError::Refused`] if others can enter the folder. [`ManagerError::System`] if another
    /// listens there, or the name cannot be taken.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::{Manager, ManagerError};
    ///
    /// let folder = std::env::temp_dir().join(format!("greenloop-example-{}", std::process::id()));
    /// let address = folder.join("manager");
    /// let manager = Manager::new()?;
    /// manager.listen(&address, b"nobody guesses this")?;
    /// manager.publish("total", &manager.value(7)?)?;
    ///
    /// // In another program:
    /// let manager = Manager::connect(&address, b"nobody guesses this")?;
    /// let total: greenloop::processes::manager::Value<i32> = manager.find("total")?.expect("it was published");
    /// assert_eq!(total.get()?, 7);
    /// assert!(matches!(Manager::connect(&address, b"secret"), Err(ManagerError::Refused(_))));
    /// # std::fs::remove_dir_all(folder).unwrap();
    /// # Ok::<(), ManagerError>(())
    /// ```
    #[doc(alias = "get_server")]
    pub fn listen(&self, address: impl AsRef<Path>, secret: &[u8]) -> Result<(), ManagerError> {
        let path: PathBuf = std::path::absolute(address)?;
        let (secret, manager) = (secret.to_vec(), self.access().manager());
        let mut request: Outgoing<'_> = self.access().request(verb::LISTEN);
        path.put(&mut request);
        secret.put(&mut request);
        manager.put(&mut request);
        self.access().door().put(&mut request);
        self.access().call(&request, <()>::take)
    }

    /// Returns a [`handle`](Manager::handle) on the manager that listens at a name. Yields until it is there.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Refused`] if the secret is another, or the manager another user's. [`ManagerError::System`] if nobody listens, or what
    /// listens says nothing for ten seconds.
    ///
    /// # Examples
    ///
    /// See [`listen`](Manager::listen).
    ///
    /// ```
    /// assert!(greenloop::processes::Manager::connect("/no/such/manager", b"secret").is_err());
    /// ```
    pub fn connect(address: impl AsRef<Path>, secret: &[u8]) -> Result<Manager, ManagerError> {
        let (manager, door) = visit(address.as_ref(), secret)?;
        let door = Access::door_of(door).ok_or_else(Access::no_value)?;
        Ok(Manager::of(Access::new(manager, ROOT, door)))
    }

    /// Gives a name to a handle, or to another value, in place of what had it before. Yields until that is done.
    ///
    /// The manager keeps it until it ends.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// manager.publish("limit", &10_u32)?;
    /// assert_eq!(manager.find("limit")?, Some(10_u32));
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn publish<T: Wire>(&self, name: &str, value: &T) -> Result<(), ManagerError> {
        let name = name.to_owned();
        let mut request = self.access().request(verb::INSERT);
        name.put(&mut request);
        pack(value, &mut request);
        self.access().call(&request, <()>::take)
    }

    /// Returns what has been published under a name, if something was. Yields until it is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), and [`ManagerError::Undecodable`] if it is of another type.
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert_eq!(manager.find::<u32>("limit")?, None);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn find<T: Wire>(&self, name: &str) -> Result<Option<T>, ManagerError> {
        let name = name.to_owned();
        let mut request = self.access().request(verb::GET);
        name.put(&mut request);
        self.access().call(&request, unpack_maybe)
    }
}
