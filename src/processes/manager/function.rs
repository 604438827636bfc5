//! A function that other processes call.

use std::io;

use super::Manager;
use super::message::{pack, unpack, verb};
use super::owner::Owner;
use super::proxy::proxy;
use crate::error::ManagerError;
use crate::process::Wire;

proxy! {
    /// A function in the process of a [`Manager`](super::Manager), with all that it has captured, made by
    /// [`Manager::share`](super::Manager::share).
    ///
    /// # Examples
    ///
    /// See [`Manager::share`](super::Manager::share).
    Function<A, T>
}

impl Manager {
    /// Shares a function: it stays here, and whoever has a handle calls it with an argument. Does not yield.
    ///
    /// What it captures is the state that it shares, which need not be [`Wire`]. One call comes after the other. It may wait; what else the
    /// manager keeps is served meanwhile. If it calls itself by a handle, it waits for itself, for ever. A panic is an error of that call,
    /// and leaves the state as it is then.
    ///
    /// For several functions on one state, take an `enum` of yours as the argument: see [`wire!`](crate::wire!).
    ///
    /// # Errors
    ///
    /// No descriptor is left. A [`System`](ManagerError::System) error of the kind [`Unsupported`](io::ErrorKind::Unsupported) unless this
    /// process [serves](Manager::new), for a function does not travel: also by a [`handle`](Manager::handle), and in a child.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Process;
    /// use greenloop::processes::Manager;
    ///
    /// let manager = Manager::new()?;
    /// let mut words = Vec::new();
    /// let add = manager.share(move |word: String| {
    ///     words.push(word);
    ///     words.len()
    /// })?;
    /// let theirs = add.clone();
    /// Process::start(move || theirs.call(&"first".to_owned()).unwrap())?.join()?;
    /// assert_eq!(add.call(&"second".to_owned())?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias("AutoProxy", "MakeProxyType"))]
    pub fn share<A: Wire + 'static, T: Wire + 'static>(
        &self,
        function: impl FnMut(A) -> T + 'static,
    ) -> Result<Function<A, T>, ManagerError> {
        let server = match &self.owner {
            Some(Owner::Here(server)) if server.is_here() => server,
            _ => {
                let why = "a function is shared by the process that has it: see Manager::new";
                return Err(io::Error::new(io::ErrorKind::Unsupported, why).into());
            }
        };
        let (number, door) = server.share(function)?;
        Ok(Function::new(self.access.beside(number, door)))
    }
}

impl<A: Wire, T: Wire> Function<A, T> {
    /// Calls it, and returns its value. Yields until it is there.
    ///
    /// It runs to its end, also if the caller is gone.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors), and [`ManagerError::Panicked`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::ManagerError;
    ///
    /// let manager = greenloop::processes::Manager::new()?;
    /// let divide = manager.share(|by: u32| 12 / by)?;
    /// assert_eq!(divide.call(&4)?, 3);
    /// assert!(matches!(divide.call(&0), Err(ManagerError::Panicked(text)) if text.contains("divide by zero")));
    /// # Ok::<(), ManagerError>(())
    /// ```
    pub fn call(&self, argument: &A) -> Result<T, ManagerError> {
        let mut request = self.access.request(verb::CALL);
        pack(argument, &mut request);
        self.access.call(&request, unpack)
    }
}
