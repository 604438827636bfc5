//! Memory that processes share, and a lock for it: Python's `multiprocessing.shared_memory`, `Value`, `Array` and `Lock`.
//!
//! Make it before a [`fork`](crate::process::fork): parent and children then have the same memory. Or hand its descriptors over to any
//! other process, which makes the same of them.
//!
//! ```
//! use greenloop::process::{Fork, fork, wait_pid};
//! use greenloop::processes::shared::Value;
//!
//! let count = Value::new(0u64)?;
//! let mut children = Vec::new();
//! for _ in 0..4 {
//!     // SAFETY: the child counts and ends.
//!     match unsafe { fork() }? {
//!         Fork::Parent { child } => children.push(child),
//!         Fork::Child => {
//!             for _ in 0..100 {
//!                 count.update(|count| count + 1);
//!             }
//!             std::process::exit(0);
//!         }
//!     }
//! }
//! for child in children {
//!     assert!(wait_pid(child)?.success());
//! }
//! assert_eq!(count.get(), 400);
//! # Ok::<(), std::io::Error>(())
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
mod holder;
mod lock;
mod memory;
mod value;

pub use array::Array;
pub use lock::{Lock, LockGuard};
pub use memory::Memory;
pub use value::Value;

pub use crate::sys::plain::Plain;
