//! What a [`Manager`] keeps, as other processes see it: handles on dicts, lists, values, queues and locks.
//!
//! Each call is a message to the manager and one back, which takes tens of microseconds. The calling green thread yields meanwhile. Calls are
//! served one after the other, so each is atomic by itself; `update` makes a read and a write atomic too.
//!
//! A handle can be cloned, moved into the closure of a [`Process`](crate::process::Process), sent over a
//! [channel](crate::process::channel()), given to a [`ProcessPool`](super::ProcessPool) as an argument, and put into another thing of the
//! same manager. A thing is kept until its last handle is gone, in whichever process or message. One that is put into itself, or two into
//! each other, stay as long as the manager.
//!
//! Values are any that are [`Wire`](crate::process::Wire). The manager keeps their bytes and descriptors and never looks into them; two
//! keys are one if their bytes are.
//!
//! # When a process is killed
//!
//! Each process has connections of its own. When it ends, whichever way, the manager sees them end, and takes back what they held: an item
//! that was on its way to it is again the next of its queue, a lock goes to the next, who is told by
//! [`owner_died`](LockGuard::owner_died), and permits are given back. A call has been made wholly or not at all.
//!
//! If the manager's process ends, each call says [`ManagerError::Ended`], also those that wait. None waits for ever.
//!
//! # Who gets in
//!
//! Nobody who was not handed a handle: sockets have no names, and each connection must be of the manager's user, or root's.
//! [`Manager::listen`] lets programs in that are no relatives, if they know a secret. Bytes that nobody has meant are an error of that
//! message alone. None names code: a [`Function`] is what its process has shared, and runs there.
//!
//! # A kill or a time limit
//!
//! A call that is ended by a kill, or by an enclosing [`with_timeout`](crate::with_timeout), may have been made or not, if it changes
//! something. One that waits leaves its line, and takes nothing. That is true of all calls here, so their documentation does not repeat it.
//!
//! The `timeout` of a call is for its place in the line: when it is over, the manager is asked to take the caller out, and says whether it
//! has. To reach the manager, and to hear from it, takes as long as it takes; an enclosing `with_timeout` limits that too.
//!
//! # Errors
//!
//! Each call says [`ManagerError::Ended`] if the manager has ended, [`ManagerError::Undecodable`] if a value does not come over, and
//! [`ManagerError::System`] for what else fails, for instance that no descriptor is left. What is said beyond that stands with the call.
//!
//! A value with descriptors, and a large one, which travels in one, needs room for them in the process that receives it. If the manager has
//! none, it does not get the value, and the call is [`Undecodable`](ManagerError::Undecodable). If the caller has none, its call is that too,
//! and an item that it has taken from a queue is lost; one that it has [leased](JoinableQueue::lease) is again the next.

mod address;
mod array;
mod barrier;
mod condition;
mod dict;
mod event;
mod function;
mod hall;
mod joinable_queue;
mod list;
mod lock;
mod message;
mod named;
mod namespace;
mod owner;
mod proxy;
mod queue;
mod rlock;
mod secret;
mod semaphore;
mod server;
mod value;

pub use array::Array;
pub use barrier::Barrier;
pub use condition::Condition;
pub use dict::Dict;
pub use event::Event;
pub use function::Function;
pub use joinable_queue::{JoinableQueue, Lease};
pub use list::{List, ListIter};
pub use lock::{Lock, LockGuard};
pub use namespace::Namespace;
pub use owner::Manager;
pub use queue::Queue;
pub use rlock::{RLock, RLockGuard};
pub use semaphore::{BoundedSemaphore, Semaphore, SemaphorePermit};
pub use value::Value;

pub use crate::error::ManagerError;
