//! The manager, and who makes things in it.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::array::Array;
use super::dict::Dict;
use super::hall::Access;
use super::joinable_queue::JoinableQueue;
use super::list::List;
use super::message::{kind, pack_all, verb};
use super::namespace::Namespace;
use super::queue::Queue;
use super::server::{ROOT, Server};
use super::value::Value;
use crate::error::{ManagerError, StartError};
use crate::process::{Incoming, Outgoing, Process, Sender, Wire, channel};
use crate::sys::identity;

/// A server of dicts, lists, values, queues and locks that several processes use.
///
/// [`new`](Manager::new) serves by green threads of the calling hub, and [`start`](Manager::start) in a process of its own. The methods make
/// things, and return handles on them: see [`manager`](super) for what these have in common.
///
/// The server ends when the `Manager` is dropped; each later call on a handle is an error. Other processes may make things too, by a
/// [`handle`](Manager::handle), which ends nothing.
///
/// # Examples
///
/// ```
/// use greenloop::process::{Process, id};
/// use greenloop::processes::Manager;
///
/// let manager = Manager::new()?;
/// let squares = manager.dict::<u32, u32>()?;
/// let seen = manager.list([0_u32])?;
/// let children = (1..=3).map(|number| {
///     let (squares, seen) = (squares.clone(), seen.clone());
///     Process::start(move || {
///         squares.insert(&number, &(number * number)).unwrap();
///         seen.push(&number).unwrap();
///     })
/// });
/// let children: Vec<_> = children.collect::<Result<_, _>>()?;
/// for child in children {
///     child.join()?;
/// }
/// assert_eq!(squares.get(&3)?, Some(9));
/// assert_eq!(seen.to_vec()?.iter().sum::<u32>(), 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("SyncManager", "BaseManager", "multiprocessing.Manager"))]
pub struct Manager {
    pub(super) access: Access,
    pub(super) owner: Option<Owner>,
}

/// What ends the server when it is dropped.
pub(super) enum Owner {
    Here(Rc<Server>),
    /// The server's process ends with the sender.
    There {
        process: Process<()>,
        life: Option<Sender<()>>,
    },
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Owner::Here(server) = self {
            server.end();
        }
    }
}

impl Manager {
    /// Makes a manager whose server is green threads of the calling hub. Does not yield.
    ///
    /// It serves while this hub runs: not while the OS thread computes, or blocks.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let total = manager.value(3)?;
    /// assert_eq!(total.get()?, 3);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn new() -> Result<Manager, ManagerError> {
        let (door, knocks) = channel()?;
        let owner = Owner::Here(Server::start(knocks));
        Ok(Manager { access: Access::new(new_name(), ROOT, door), owner: Some(owner) })
    }

    /// Makes a manager whose server is a process of its own. Yields until that is forked.
    ///
    /// It serves whatever this process does, and ends with it.
    ///
    /// # Errors
    ///
    /// As [`Process::start`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::Manager;
    ///
    /// let manager = Manager::start()?;
    /// assert_ne!(manager.server_id(), Some(std::process::id()));
    /// let total = manager.value(3)?;
    /// assert_eq!(total.get()?, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start() -> Result<Manager, StartError> {
        let (door, knocks) = channel()?;
        let (life, end) = channel::<()>()?;
        let process = Process::builder().name("manager").daemon(true).start(move || {
            let server = Server::start(knocks);
            // Nothing is ever sent.
            let _ = end.recv();
            server.end();
        })?;
        let access = Access::new(new_name(), ROOT, door);
        Ok(Manager { access, owner: Some(Owner::There { process, life: Some(life) }) })
    }

    /// Returns another handle, by which things are made, and whose drop ends nothing. Does not yield.
    ///
    /// Move it into a child, or send it there.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Process;
    /// use greenloop::processes::Manager;
    ///
    /// let manager = Manager::new()?;
    /// let handle = manager.handle();
    /// let list = Process::start(move || handle.list(["from the child".to_owned()]).unwrap())?.join()?;
    /// assert_eq!(list.to_vec()?, ["from the child"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handle(&self) -> Manager {
        Manager::of(self.access.clone())
    }

    /// Returns the number of the server's process. `None` for a [`handle`](Manager::handle). Does not yield.
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// assert_eq!(manager.server_id(), Some(std::process::id()));
    /// assert_eq!(manager.handle().server_id(), None);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn server_id(&self) -> Option<u32> {
        match self.owner.as_ref()? {
            Owner::Here(_) => Some(std::process::id()),
            Owner::There { process, .. } => Some(process.id()),
        }
    }

    /// Ends the server, and waits until its process has ended, if it has one. A [`handle`](Manager::handle) is only dropped.
    ///
    /// Yields. Dropping the manager ends the server too, but does not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::processes::{Manager, ManagerError};
    ///
    /// let manager = Manager::start()?;
    /// let total = manager.value(3)?;
    /// manager.shutdown();
    /// assert_eq!(total.get(), Err(ManagerError::Ended));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(mut self) {
        if let Some(Owner::There { process, life }) = &mut self.owner {
            drop(life.take());
            // If it cannot be waited for, it is gone.
            let _ = process.wait();
        }
    }

    /// Returns how many things it keeps. Yields until the answer is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let _total = manager.value(3)?;
    /// assert_eq!(manager.object_count()?, 1);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    #[doc(alias = "_number_of_objects")]
    pub fn object_count(&self) -> Result<usize, ManagerError> {
        // The manager itself is one.
        self.access.ask::<u64>(verb::COUNT).map(|count| count.saturating_sub(1) as usize)
    }

    /// Makes an empty dict. Yields until it is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let ages = manager.dict::<String, u32>()?;
    /// assert!(ages.is_empty()?);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn dict<K: Wire, V: Wire>(&self) -> Result<Dict<K, V>, ManagerError> {
        self.create::<V>(kind::DICT, 0, &[]).map(Dict::new)
    }

    /// Makes a list of these items. Yields until it is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let numbers = manager.list(0..5_u32)?;
    /// assert_eq!(numbers.to_vec()?, [0, 1, 2, 3, 4]);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn list<T: Wire>(&self, items: impl IntoIterator<Item = T>) -> Result<List<T>, ManagerError> {
        let items: Vec<T> = items.into_iter().collect();
        self.create(kind::LIST, 0, &items).map(List::new)
    }

    /// Makes an array of these items, whose length stays. Yields until it is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let numbers = manager.array([0_i64; 10])?;
    /// assert_eq!(numbers.len()?, 10);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn array<T: Wire>(&self, items: impl IntoIterator<Item = T>) -> Result<Array<T>, ManagerError> {
        let items: Vec<T> = items.into_iter().collect();
        self.create(kind::LIST, 1, &items).map(Array::new)
    }

    /// Makes a namespace without names. Yields until it is there.
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
    #[doc(alias = "Namespace")]
    pub fn namespace(&self) -> Result<Namespace, ManagerError> {
        self.create::<()>(kind::DICT, 0, &[]).map(Namespace::new)
    }

    /// Makes a value. Yields until it is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let total = manager.value(0_u64)?;
    /// assert_eq!(total.update(|before| before + 2)?, 2);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn value<T: Wire>(&self, value: T) -> Result<Value<T>, ManagerError> {
        self.create(kind::VALUE, 0, &[value]).map(Value::new)
    }

    /// Makes a queue with room for `maxsize` items; without a bound if that is 0. Yields until it is there.
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let queue = manager.queue(2)?;
    /// queue.put(&1_u32)?;
    /// assert_eq!(queue.get()?, 1);
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn queue<T: Wire>(&self, maxsize: usize) -> Result<Queue<T>, ManagerError> {
        self.create::<T>(kind::QUEUE, maxsize as u64, &[]).map(Queue::new)
    }

    /// Makes a queue whose items are marked done. Yields until it is there. See [`queue`](Manager::queue).
    ///
    /// # Errors
    ///
    /// Those of [all calls](super#errors).
    ///
    /// # Examples
    ///
    /// ```
    /// let manager = greenloop::processes::Manager::new()?;
    /// let queue = manager.joinable_queue(0)?;
    /// queue.put(&1_u32)?;
    /// queue.lease()?.done()?;
    /// assert_eq!(queue.join(), Ok(()));
    /// # Ok::<(), greenloop::error::ManagerError>(())
    /// ```
    pub fn joinable_queue<T: Wire>(&self, maxsize: usize) -> Result<JoinableQueue<T>, ManagerError> {
        self.create::<T>(kind::QUEUE, maxsize as u64, &[]).map(JoinableQueue::new)
    }

    pub(super) fn of(access: Access) -> Manager {
        Manager { access, owner: None }
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    pub(super) fn create<T: Wire>(
        &self,
        kind: u8,
        size: u64,
        contents: &[T],
    ) -> Result<Access, ManagerError> {
        let mut request: Outgoing<'_> = self.access.request(verb::CREATE);
        request.put_bytes(&[kind]);
        request.put_bytes(&size.to_le_bytes());
        pack_all(contents.iter(), &mut request);
        let take = |from: &mut Incoming<'_>| Some((u64::take(from)?, Sender::<OwnedFd>::take(from)?));
        let (object, door) = self.access.call(&request, take)?;
        Ok(Access::new(self.access.manager(), object, door))
    }
}

/// A name that no other manager has whose handles meet this one's: each process numbers its own.
fn new_name() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut hasher = DefaultHasher::new();
    // Relaxed: a number that nobody else in this process gets is all that is asked for.
    (identity::own(), NEXT.fetch_add(1, Ordering::Relaxed), SystemTime::now()).hash(&mut hasher);
    hasher.finish()
}

/// It is a [`handle`](Manager::handle) there.
impl Wire for Manager {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        self.access.put(into);
    }

    fn take(from: &mut Incoming<'_>) -> Option<Manager> {
        Access::take(from).map(Manager::of)
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Manager").field("server_id", &self.server_id()).finish_non_exhaustive()
    }
}
