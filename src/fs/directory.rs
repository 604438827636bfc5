//! Folders: making them, and reading what is in them.

use std::ffi::OsString;
use std::fmt;
use std::fs::{FileType, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, DirEntryExt};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec;

use crate::threadpool::offload;

/// Makes a folder.
///
/// This is [`std::fs::create_dir`] on another OS thread; see [the module](crate::fs).
///
/// # Examples
///
/// ```
/// use greenloop::fs;
/// use std::io::ErrorKind;
///
/// let folder = std::env::temp_dir().join(format!("greenloop-create-{}", std::process::id()));
/// fs::create_dir(&folder)?;
/// assert_eq!(fs::create_dir(&folder).unwrap_err().kind(), ErrorKind::AlreadyExists);
/// fs::remove_dir(folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn create_dir<P: AsRef<Path>>(path: P) -> io::Result<()> {
    DirBuilder::new().create(path)
}

/// Makes a folder, and those above it that are missing.
///
/// This is [`std::fs::create_dir_all`] on another OS thread; see [the module](crate::fs).
///
/// # Examples
///
/// ```
/// use greenloop::fs;
///
/// let folder = std::env::temp_dir().join(format!("greenloop-create-all-{}", std::process::id()));
/// fs::create_dir_all(folder.join("a/b"))?;
/// fs::create_dir_all(folder.join("a/b"))?; // is there: no error
/// assert!(fs::metadata(folder.join("a/b"))?.is_dir());
/// fs::remove_dir_all(folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn create_dir_all<P: AsRef<Path>>(path: P) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(path)
}

/// How a folder is to be made: [`std::fs::DirBuilder`], whose [`create`](DirBuilder::create) lets other green threads run.
///
/// # Examples
///
/// ```
/// use greenloop::fs;
///
/// let folder = std::env::temp_dir().join(format!("greenloop-builder-{}", std::process::id()));
/// fs::DirBuilder::new().recursive(true).create(folder.join("a/b"))?;
/// assert!(fs::metadata(folder.join("a/b"))?.is_dir());
/// fs::remove_dir_all(folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct DirBuilder {
    recursive: bool,
    mode: u32,
}

impl DirBuilder {
    /// Describes one folder, with all permissions that the process's umask leaves.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fs::{self, DirBuilder};
    /// use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    ///
    /// let folder = std::env::temp_dir().join(format!("greenloop-mode-{}", std::process::id()));
    /// let mut private = DirBuilder::new();
    /// private.mode(0o700).create(&folder)?;
    /// assert_eq!(fs::metadata(&folder)?.permissions().mode() & 0o777, 0o700);
    /// fs::remove_dir(folder)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[expect(clippy::new_without_default, reason = "std's has no Default either")]
    pub fn new() -> DirBuilder {
        DirBuilder { recursive: false, mode: 0o777 }
    }

    /// Sets whether missing parent folders are made too. If so, it is no error if the folder is there.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fs::{self, DirBuilder};
    /// use std::io::ErrorKind;
    ///
    /// let folder = std::env::temp_dir().join(format!("greenloop-recursive-{}", std::process::id()));
    /// let mut builder = DirBuilder::new();
    /// assert_eq!(builder.create(folder.join("a")).unwrap_err().kind(), ErrorKind::NotFound);
    /// builder.recursive(true).create(folder.join("a"))?;
    /// fs::remove_dir_all(folder)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recursive(&mut self, recursive: bool) -> &mut DirBuilder {
        self.recursive = recursive;
        self
    }

    /// Makes the folder. See [the module](crate::fs) for how it waits.
    ///
    /// # Errors
    ///
    /// As [`std::fs::DirBuilder::create`]: `AlreadyExists`; `NotFound` if the parent folder is missing.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fs::{self, DirBuilder};
    ///
    /// let folder = std::env::temp_dir().join(format!("greenloop-builder-create-{}", std::process::id()));
    /// DirBuilder::new().create(&folder)?;
    /// assert!(DirBuilder::new().create(&folder).is_err());
    /// fs::remove_dir(folder)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        let path = path.as_ref().to_owned();
        let DirBuilder { recursive, mode } = *self;
        offload(move || std::fs::DirBuilder::new().recursive(recursive).mode(mode).create(path))
    }
}

impl DirBuilderExt for DirBuilder {
    fn mode(&mut self, mode: u32) -> &mut DirBuilder {
        self.mode = mode;
        self
    }
}

/// Returns the entries of a folder, in no particular order.
///
/// The whole folder is read on another OS thread before this returns, so iterating does not wait. See [the module](crate::fs).
///
/// # Errors
///
/// As [`std::fs::read_dir`]: `NotFound`, `NotADirectory`.
///
/// # Examples
///
/// ```
/// let entries: Vec<_> = greenloop::fs::read_dir("/proc/self")?.collect::<Result<_, _>>()?;
/// assert!(entries.iter().any(|entry| entry.file_name() == "status"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_dir<P: AsRef<Path>>(path: P) -> io::Result<ReadDir> {
    let path = path.as_ref().to_owned();
    offload(move || {
        let entries: Vec<_> = std::fs::read_dir(path)?.map(|entry| entry.map(DirEntry::new)).collect();
        Ok(ReadDir { entries: entries.into_iter() })
    })
}

/// The entries of a folder, as [`read_dir`] returns them.
#[derive(Debug)]
pub struct ReadDir {
    entries: vec::IntoIter<io::Result<DirEntry>>,
}

// It yields the rest, or not, as std's does.
impl UnwindSafe for ReadDir {}
impl RefUnwindSafe for ReadDir {}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    fn next(&mut self) -> Option<io::Result<DirEntry>> {
        self.entries.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

/// An entry of a folder: [`std::fs::DirEntry`].
pub struct DirEntry {
    inner: Arc<std::fs::DirEntry>,
    /// As it was when the folder was read. `None` if it could not be found out.
    file_type: Option<FileType>,
}

impl DirEntry {
    /// Off the hub: not every file system tells the type with the name.
    fn new(inner: std::fs::DirEntry) -> DirEntry {
        let file_type = inner.file_type().ok();
        DirEntry { inner: Arc::new(inner), file_type }
    }

    /// Returns the path of the entry: the folder's path, as it was given, and the name. Does not yield.
    ///
    /// # Examples
    ///
    /// ```
    /// let entry = greenloop::fs::read_dir("/proc/self/task")?.next().unwrap()?;
    /// assert!(entry.path().starts_with("/proc/self/task"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn path(&self) -> PathBuf {
        self.inner.path()
    }

    /// Returns the name of the entry. Does not yield.
    ///
    /// # Examples
    ///
    /// ```
    /// let entries: Vec<_> = greenloop::fs::read_dir("/proc/self")?.collect::<Result<_, _>>()?;
    /// assert!(entries.iter().any(|entry| entry.file_name() == "cmdline"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn file_name(&self) -> OsString {
        self.inner.file_name()
    }

    /// Returns the metadata of the file as it is now, without following a symbolic link. See [the module](crate::fs) for how it
    /// waits.
    ///
    /// # Errors
    ///
    /// As [`std::fs::DirEntry::metadata`]: `NotFound` if it has gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fs;
    ///
    /// let folder = std::env::temp_dir().join(format!("greenloop-entry-{}", std::process::id()));
    /// fs::create_dir(&folder)?;
    /// fs::write(folder.join("greeting"), "hello")?;
    /// let entry = fs::read_dir(&folder)?.next().unwrap()?;
    /// assert_eq!(entry.metadata()?.len(), 5);
    /// fs::remove_dir_all(folder)?;
    /// assert!(entry.metadata().is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn metadata(&self) -> io::Result<Metadata> {
        let inner = Arc::clone(&self.inner);
        offload(move || inner.metadata())
    }

    /// Returns the type that the file had when the folder was read, without following a symbolic link. Does not yield, unless the
    /// type could not be found out then.
    ///
    /// # Errors
    ///
    /// As [`std::fs::DirEntry::file_type`].
    ///
    /// # Examples
    ///
    /// ```
    /// for entry in greenloop::fs::read_dir("/proc/self/task")? {
    ///     assert!(entry?.file_type()?.is_dir());
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn file_type(&self) -> io::Result<FileType> {
        match self.file_type {
            Some(file_type) => Ok(file_type),
            None => self.metadata().map(|metadata| metadata.file_type()),
        }
    }
}

impl DirEntryExt for DirEntry {
    fn ino(&self) -> u64 {
        self.inner.ino()
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(formatter)
    }
}
