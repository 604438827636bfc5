//! Files and folders, with std's names and signatures.
//!
//! No operation stops the hub. What the kernel has of a [`File`] in memory is read at once, on file systems that can tell (all that are
//! common but for those of the network). For anything else the calling green thread waits while one of up to 64 OS threads makes the
//! system call, and other green threads run. These OS threads are for files alone: nothing that [`unblock`](crate::threadpool::unblock) runs can occupy them. If a
//! [`File`] is a pipe, a terminal or a device, the green thread waits for it as in [`io`](crate::io), without an OS thread, and so it does
//! for the [other end](OpenOptions::open) of a named pipe. Only a file system that does not answer occupies the threads of its users; once
//! it has taken all 64, other operations wait.
//!
//! On [io_uring](crate::hub::Driver::IoUring) the kernel itself opens, reads, writes and synchronises a [`File`], without such a thread.
//!
//! ```
//! use greenloop::fs;
//!
//! let folder = std::env::temp_dir().join(format!("greenloop-fs-{}", std::process::id()));
//! fs::create_dir(&folder)?;
//! fs::write(folder.join("greeting"), "hello")?;
//! assert_eq!(fs::read_to_string(folder.join("greeting"))?, "hello");
//! fs::copy(folder.join("greeting"), folder.join("copy"))?;
//! fs::rename(folder.join("copy"), folder.join("greeting"))?;
//! let names: Vec<_> = fs::read_dir(&folder)?.map(|entry| entry.unwrap().file_name()).collect();
//! assert_eq!(names, ["greeting"]);
//! fs::remove_dir_all(&folder)?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A kill or an enclosing [`with_timeout`](crate::with_timeout) frees the caller of any of these at once. An operation that has not begun
//! by then is not done; one that has begun is done to its end. On io_uring the operation is cancelled, and the caller waits until the
//! kernel has confirmed that; if it is too late, the operation is done, and the caller ends at its next wait. While a green thread
//! unwinds, an operation runs on the OS thread of the hub and stops it, rather than not being done at all.
//!
//! # Differences from std
//!
//! - [`read_dir`] reads all the names before it returns.
//! - There is no `FromRawFd` for [`File`]: `From<OwnedFd>` says the same without `unsafe`.
//! - Symbolic links are made by [`std::os::unix::fs::symlink`]. What std marks as deprecated or not yet stable is left out.

mod directory;
mod file;
mod open_options;
mod path;

pub use std::fs::{FileTimes, FileType, Metadata, Permissions, TryLockError};

pub use self::directory::{DirBuilder, DirEntry, ReadDir, create_dir, create_dir_all, read_dir};
pub use self::file::File;
pub use self::open_options::OpenOptions;
pub use self::path::{
    canonicalize, copy, exists, hard_link, metadata, read, read_link, read_to_string, remove_dir,
    remove_dir_all, remove_file, rename, set_permissions, symlink_metadata, write,
};

#[cfg(test)]
mod tests;
