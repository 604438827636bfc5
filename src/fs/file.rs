//! An open file.

use std::fmt;
use std::fs::{FileTimes, Metadata, Permissions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::SystemTime;

use super::OpenOptions;
use crate::hub::waiter::check_may_wait;
use crate::io::{AnyFile, Pauses};
use crate::sys::clock::Time;

/// An open file: [`std::fs::File`], whose operations let other green threads run while they wait.
///
/// It is shared by reference, and [`Read`], [`Write`], [`Seek`] and [`FileExt`] work on `&File` too. A pipe, a terminal or a
/// device works as well: no OS thread waits for it, and it stays in the mode in which it came. See [the module](crate::fs) for what
/// a kill does.
///
/// What the kernel has of a regular file in memory is read at the price of the system call, and may be less than there is in the
/// file. Any other read, the one that finds the end, and each write is a trip to another OS thread, which costs ten times as much, or,
/// with io_uring, a turn of the hub. So [`BufReader`](io::BufReader) and [`BufWriter`](io::BufWriter) pay even more than
/// elsewhere.
///
/// # Examples
///
/// ```
/// use greenloop::fs::{self, File};
/// use std::io::{Read, Seek, SeekFrom, Write};
///
/// let path = std::env::temp_dir().join(format!("greenloop-file-{}", std::process::id()));
/// let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
/// file.write_all(b"hello, world")?;
/// file.seek(SeekFrom::Start(7))?;
/// let mut text = String::new();
/// file.read_to_string(&mut text)?;
/// assert_eq!(text, "world");
/// fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias("tp_read", "tp_write", "FileObject", "FileObjectThread", "FileObjectBlock"))]
pub struct File {
    file: AnyFile<std::fs::File>,
}

/// One of std's operations on an open file, sent off. What comes last is the example, with an open `file` at a `path`.
macro_rules! operation {
    (
        $(#[$documentation:meta])*
        $name:ident($($argument:ident: $Argument:ty)?) -> $Result:ty,
        $(#[$assertions:meta])+
    ) => {
        $(#[$documentation])*
        #[doc = ""]
        #[doc = concat!(
            "This is [`std::fs::File::", stringify!($name), "`] on another OS thread; see [the module](crate::fs)."
        )]
        ///
        /// # Examples
        ///
        /// ```
        /// use greenloop::fs::{self, File};
        ///
        #[doc = concat!(
            "let path = std::env::temp_dir().join(format!(\"greenloop-", stringify!($name), "-{}\", std::process::id()));"
        )]
        /// let file = File::create(&path)?;
        $(#[$assertions])+
        /// fs::remove_file(path)?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn $name(&self $(, $argument: $Argument)?) -> io::Result<$Result> {
            self.file.offload(move |file| file.$name($($argument)?))
        }
    };
}

impl File {
    /// Opens a file to read from. See [`OpenOptions::open`].
    ///
    /// # Errors
    ///
    /// As [`std::fs::File::open`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fs::File;
    /// use std::io::{BufRead, BufReader};
    ///
    /// let first = BufReader::new(File::open("/proc/self/status")?).lines().next().unwrap()?;
    /// assert!(first.starts_with("Name:"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn open<P: AsRef<Path>>(path: P) -> io::Result<File> {
        File::options().read(true).open(path)
    }

    /// Opens a file to write to. It is created if it is not there, and emptied if it is. See [`OpenOptions::open`].
    ///
    /// # Errors
    ///
    /// As [`std::fs::File::create`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fs::{self, File};
    /// use std::io::Write;
    ///
    /// let path = std::env::temp_dir().join(format!("greenloop-create-{}", std::process::id()));
    /// File::create(&path)?.write_all(b"one")?;
    /// File::create(&path)?.write_all(b"two")?;
    /// assert_eq!(fs::read(&path)?, b"two");
    /// fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn create<P: AsRef<Path>>(path: P) -> io::Result<File> {
        File::options().write(true).create(true).truncate(true).open(path)
    }

    /// Creates a file to read from and write to. It must not be there. See [`OpenOptions::open`].
    ///
    /// # Errors
    ///
    /// As [`std::fs::File::create_new`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fs::{self, File};
    /// use std::io::ErrorKind;
    ///
    /// let path = std::env::temp_dir().join(format!("greenloop-create-new-{}", std::process::id()));
    /// File::create_new(&path)?;
    /// assert_eq!(File::create_new(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
    /// fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn create_new<P: AsRef<Path>>(path: P) -> io::Result<File> {
        File::options().read(true).write(true).create_new(true).open(path)
    }

    /// Returns [`OpenOptions`] with everything off.
    ///
    /// # Examples
    ///
    /// ```
    /// let file = greenloop::fs::File::options().read(true).open("/dev/null")?;
    /// assert_eq!(std::io::read_to_string(file)?, "");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Waits until the contents and the metadata of the file are on its device.
    ///
    /// This is [`std::fs::File::sync_all`]; see [the module](crate::fs) for how it waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fs::{self, File};
    /// use std::io::Write;
    ///
    /// let path = std::env::temp_dir().join(format!("greenloop-sync-all-{}", std::process::id()));
    /// let mut file = File::create(&path)?;
    /// file.write_all(b"kept")?;
    /// file.sync_all()?;
    /// assert_eq!(fs::read(&path)?, b"kept");
    /// fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "fsync")]
    pub fn sync_all(&self) -> io::Result<()> {
        self.file.synchronize(false)
    }

    /// Waits until the contents of the file are on its device.
    ///
    /// This is [`std::fs::File::sync_data`]; see [the module](crate::fs) for how it waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fs::{self, File};
    /// use std::io::Write;
    ///
    /// let path = std::env::temp_dir().join(format!("greenloop-sync-data-{}", std::process::id()));
    /// let mut file = File::create(&path)?;
    /// file.write_all(b"kept")?;
    /// file.sync_data()?;
    /// assert_eq!(fs::read(&path)?, b"kept");
    /// fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "fdatasync")]
    pub fn sync_data(&self) -> io::Result<()> {
        self.file.synchronize(true)
    }

    operation! {
        /// Sets the length of the file: cuts it off, or fills it up with zeros.
        #[doc(alias = "ftruncate")]
        set_len(size: u64) -> (),
        /// file.set_len(3)?;
        /// assert_eq!(fs::read(&path)?, [0, 0, 0]);
    }
    operation! {
        /// Returns the metadata of the file.
        #[doc(alias = "fstat")]
        metadata() -> Metadata,
        /// assert!(file.metadata()?.is_file());
    }
    operation! {
        /// Changes the permissions of the file.
        #[doc(alias = "fchmod")]
        set_permissions(perm: Permissions) -> (),
        /// let mut permissions = file.metadata()?.permissions();
        /// permissions.set_readonly(true);
        /// file.set_permissions(permissions)?;
        /// assert!(file.metadata()?.permissions().readonly());
    }
    operation! {
        /// Changes when the file was last read and written.
        set_times(times: FileTimes) -> (),
        /// let yesterday = std::time::SystemTime::now() - std::time::Duration::from_secs(86_400);
        /// file.set_times(fs::FileTimes::new().set_accessed(yesterday).set_modified(yesterday))?;
        /// assert_eq!(file.metadata()?.accessed()?, yesterday);
    }
    operation! {
        /// Changes when the file was last written.
        set_modified(time: SystemTime) -> (),
        /// let yesterday = std::time::SystemTime::now() - std::time::Duration::from_secs(86_400);
        /// file.set_modified(yesterday)?;
        /// assert_eq!(file.metadata()?.modified()?, yesterday);
    }
    operation! {
        /// Releases the lock of [`lock`](File::lock) and its siblings.
        unlock() -> (),
        /// file.lock()?;
        /// assert!(File::open(&path)?.try_lock().is_err());
        /// file.unlock()?;
        /// assert!(File::open(&path)?.try_lock().is_ok());
    }

    /// Makes a second handle on the open file. Both share the position and the locks. Does not yield.
    ///
    /// # Errors
    ///
    /// Those of fcntl(2), for instance when no descriptor is left.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fs::{self, File};
    /// use std::io::Write;
    ///
    /// let path = std::env::temp_dir().join(format!("greenloop-clone-{}", std::process::id()));
    /// let mut file = File::create(&path)?;
    /// let mut clone = file.try_clone()?;
    /// file.write_all(b"one, ")?;
    /// clone.write_all(b"two")?;
    /// assert_eq!(fs::read(&path)?, b"one, two");
    /// fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_clone(&self) -> io::Result<File> {
        Ok(File { file: self.file.sibling(self.file.get_ref().try_clone()?) })
    }

    /// Locks the file for this handle and its clones alone: [`std::fs::File::lock`].
    ///
    /// While others hold the lock, the calling green thread sleeps for 1 to 50 ms at a time and tries again, since the kernel
    /// announces a free lock only to those that block in a system call. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait by unwinding, and does not leave the file locked.
    ///
    /// # Errors
    ///
    /// As [`std::fs::File::lock`]. [`Unwinding`](crate::error::Unwinding) if it would have to wait while the green thread unwinds.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fs::{self, File, TryLockError};
    ///
    /// let path = std::env::temp_dir().join(format!("greenloop-lock-{}", std::process::id()));
    /// let (one, other) = (File::create(&path)?, File::create(&path)?);
    /// one.lock()?;
    /// assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
    /// let waiter = greenloop::spawn(move || other.lock());
    /// one.unlock()?;
    /// waiter.join().unwrap()?;
    /// fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "flock")]
    pub fn lock(&self) -> io::Result<()> {
        self.lock_with(std::fs::File::try_lock)
    }

    /// Locks the file against [`lock`](File::lock). Any number of handles can hold the shared lock. Waits as [`lock`](File::lock)
    /// does.
    ///
    /// # Errors
    ///
    /// As [`lock`](File::lock).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fs::{self, File};
    ///
    /// let path = std::env::temp_dir().join(format!("greenloop-shared-{}", std::process::id()));
    /// let (one, other) = (File::create(&path)?, File::open(&path)?);
    /// one.lock_shared()?;
    /// other.lock_shared()?;
    /// assert!(File::open(&path)?.try_lock().is_err());
    /// fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn lock_shared(&self) -> io::Result<()> {
        self.lock_with(std::fs::File::try_lock_shared)
    }

    /// Locks the file as [`lock`](File::lock) does, if no other handle has locked it. See [the module](crate::fs) for how it waits
    /// for the answer.
    ///
    /// # Errors
    ///
    /// As [`std::fs::File::try_lock`]: [`WouldBlock`](TryLockError::WouldBlock) if another handle has locked it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fs::{self, File, TryLockError};
    ///
    /// let path = std::env::temp_dir().join(format!("greenloop-try-lock-{}", std::process::id()));
    /// let (one, other) = (File::create(&path)?, File::create(&path)?);
    /// one.try_lock()?;
    /// assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
    /// drop(one); // with its last handle a lock is released
    /// other.try_lock()?;
    /// fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        self.try_lock_with(std::fs::File::try_lock)
    }

    /// Locks the file as [`lock_shared`](File::lock_shared) does, if no other handle has locked it for itself alone.
    ///
    /// # Errors
    ///
    /// As [`try_lock`](File::try_lock).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fs::{self, File};
    ///
    /// let path = std::env::temp_dir().join(format!("greenloop-try-shared-{}", std::process::id()));
    /// let (one, other) = (File::create(&path)?, File::create(&path)?);
    /// one.try_lock_shared()?;
    /// other.try_lock_shared()?;
    /// other.unlock()?;
    /// one.unlock()?;
    /// one.lock()?;
    /// assert!(other.try_lock_shared().is_err());
    /// fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_lock_shared(&self) -> Result<(), TryLockError> {
        self.try_lock_with(std::fs::File::try_lock_shared)
    }

    fn lock_with(&self, take: TryLock) -> io::Result<()> {
        let mut pauses = Pauses::until(Time::NEVER);
        loop {
            match self.try_lock_with(take) {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) if pauses.pause() => {}
                Err(TryLockError::WouldBlock) => check_may_wait()?,
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    fn try_lock_with(&self, take: TryLock) -> Result<(), TryLockError> {
        let file = self.file.share();
        let taken = crate::threadpool::offload(move || {
            let taken = take(&file);
            Ok(taken.map(|()| Taken(Some(file))))
        });
        taken.map_err(TryLockError::Error)??.keep();
        Ok(())
    }
}

type TryLock = fn(&std::fs::File) -> Result<(), TryLockError>;

/// A lock on its way to who asked for it. If he is gone, it is undone.
struct Taken(Option<Arc<std::fs::File>>);

impl Taken {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            // Nobody is there to hear of an error.
            let _ = file.unlock();
        }
    }
}

impl Read for &File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }

    fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        if self.file.tells_readiness() {
            return io::Read::read_to_end(&mut Plain(self), bytes);
        }
        if let Some(result) = self.file.read_to_end(bytes) {
            return result;
        }
        // In one trip.
        let (mut more, result) = self.file.offload_at_position(|mut file| {
            let mut more = Vec::new();
            let result = file.read_to_end(&mut more);
            Ok((more, result))
        })?;
        bytes.append(&mut more);
        result
    }

    fn read_to_string(&mut self, text: &mut String) -> io::Result<usize> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        let more =
            String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        text.push_str(&more);
        Ok(more.len())
    }
}

/// A file read with nothing but `read`.
struct Plain<'a>(&'a File);

impl Read for Plain<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.file.read(buffer)
    }
}

impl Read for File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        (&*self).read_to_end(bytes)
    }

    fn read_to_string(&mut self, text: &mut String) -> io::Result<usize> {
        (&*self).read_to_string(text)
    }
}

impl Write for &File {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file.write(buffer)
    }

    /// Of no effect: nothing is kept back. For the device, see [`File::sync_all`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for File {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&*self).write(buffer)
    }

    /// Of no effect: nothing is kept back. For the device, see [`File::sync_all`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &File {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        // Where the end is may be known to a server only.
        if !matches!(position, SeekFrom::End(_))
            && let Some(result) = self.file.at_free_position(|mut file| file.seek(position))
        {
            return result;
        }
        if let Some(result) = self.file.at_position(|mut file| file.seek(position)) {
            return result;
        }
        // Not here: it would wait for a read that is under way.
        self.file.offload_at_position(move |mut file| file.seek(position))
    }
}

impl Seek for File {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        (&*self).seek(position)
    }
}

impl FileExt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(buffer, offset)
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_fd().as_raw_fd()
    }
}

/// Waits for nothing.
impl From<std::fs::File> for File {
    fn from(file: std::fs::File) -> File {
        File { file: AnyFile::new(file) }
    }
}

impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> File {
        std::fs::File::from(fd).into()
    }
}

/// If an operation that was given up is still under way, a duplicate: the descriptor itself closes after that.
///
/// # Panics
///
/// If there is no descriptor left for the duplicate.
impl From<File> for std::fs::File {
    fn from(file: File) -> std::fs::File {
        let file = file.file.into_inner();
        Arc::try_unwrap(file).unwrap_or_else(|shared| {
            shared.try_clone().unwrap_or_else(|error| panic!("no duplicate of a file in use: {error}"))
        })
    }
}

impl From<File> for OwnedFd {
    fn from(file: File) -> OwnedFd {
        std::fs::File::from(file).into()
    }
}

impl IntoRawFd for File {
    fn into_raw_fd(self) -> RawFd {
        OwnedFd::from(self).into_raw_fd()
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Stdio {
        std::fs::File::from(file).into()
    }
}

impl fmt::Debug for File {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("File").field("fd", &self.as_raw_fd()).finish_non_exhaustive()
    }
}
