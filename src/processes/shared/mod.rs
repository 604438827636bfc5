//! Memory that processes share, and a lock for it: Python's `multiprocessing.shared_memory`, `Value`, `Array` and `Lock`.
//!
//! A [`Process`](crate::process::Process) has what its closure uses, as the child of any fork has it. To other processes it is sent: all
//! are [`Wire`](crate::process::Wire), as the argument of a [`Zygote`](crate::process::Zygote)'s function or in a message.
//!
//! ```
//! use greenloop::process::Process;
//! use greenloop::processes::shared::Value;
//!
//! let count = Value::new(0u64)?;
//! let counts = || (0..100).for_each(|_| drop(count.update(|count| count + 1)));
//! let children = (0..4).map(|_| Process::start(counts)).collect::<Result<Vec<_>, _>>()?;
//! for child in children {
//!     child.join()?;
//! }
//! assert_eq!(count.get(), 400);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The memory is a file without a name (`memfd_create`). There is nothing in /dev/shm, and nothing is left when the last process that has
//! it ends, however that ends. Nobody can make it smaller under another's hands.
//!
//! # When a process is killed
//!
//! A [`Lock`] knows the process that holds it. When that ends, whether by SIGKILL or by returning from `main`, the lock goes to the next
//! that waits, or comes, and tells that it was left: see [`LockGuard::owner_died`]. The end is an event, for the green threads that wait
//! watch a descriptor of the holder's (a pidfd), so they need no OS thread and no polling. For the case that a process is killed between
//! two instructions of a handover, and the message of that is lost, those who wait also look every 20 ms.
//!
//! The processes must be in one PID namespace.

mod array;
mod handed;
mod holder;
mod line;
mod lock;
mod memory;
mod value;

pub use array::Array;
pub use lock::{Lock, LockGuard};
pub use memory::Memory;
pub use value::Value;

pub use crate::sys::plain::Plain;
