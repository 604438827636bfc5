//! How a file is to be opened.

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use super::File;
use crate::error::Unwinding;
use crate::io::{Interest, Pauses, performer, wait_fd};
use crate::sys::clock::Time;
use crate::sys::descriptor;
use crate::sys::uring::{Done, Entry, Opening};
use crate::threadpool::{offload, offload_apart, stops};

/// Options for opening a file: [`std::fs::OpenOptions`], whose [`open`](OpenOptions::open) lets other green threads run.
///
/// What std has for Unix alone, the mode and further flags, is set through [`std::os::unix::fs::OpenOptionsExt`].
///
/// # Examples
///
/// ```
/// use greenloop::fs::{self, OpenOptions};
/// use std::io::Write;
///
/// let path = std::env::temp_dir().join(format!("greenloop-options-{}", std::process::id()));
/// fs::write(&path, "one")?;
/// OpenOptions::new().append(true).open(&path)?.write_all(b", two")?;
/// assert_eq!(fs::read(&path)?, b"one, two");
/// fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions {
    options: std::fs::OpenOptions,
    /// The same for who makes the system call otherwise: std's cannot be looked into.
    opening: Opening,
}

/// One of std's switches. What comes last is the example, with the `path` of a file that holds "one".
macro_rules! switch {
    ($(#[$documentation:meta])* $name:ident, $(#[$assertions:meta])+) => {
        $(#[$documentation])*
        #[doc = concat!("See [`std::fs::OpenOptions::", stringify!($name), "`].")]
        ///
        /// # Examples
        ///
        /// ```
        /// use greenloop::fs::{self, OpenOptions};
        /// use std::io::{ErrorKind, Write};
        ///
        #[doc = concat!(
            "let path = std::env::temp_dir().join(format!(\"greenloop-option-", stringify!($name), "-{}\", std::process::id()));"
        )]
        /// fs::write(&path, "one")?;
        $(#[$assertions])+
        /// fs::remove_file(path)?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn $name(&mut self, $name: bool) -> &mut OpenOptions {
            self.options.$name($name);
            self.opening.$name = $name;
            self
        }
    };
}

impl OpenOptions {
    /// Starts with everything off. At least one of [`read`](Self::read), [`write`](Self::write) and [`append`](Self::append) is
    /// needed.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fs::OpenOptions;
    /// use std::io::ErrorKind;
    ///
    /// assert_eq!(OpenOptions::new().open("/dev/null").unwrap_err().kind(), ErrorKind::InvalidInput);
    /// assert!(OpenOptions::new().read(true).open("/dev/null").is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[expect(clippy::new_without_default, reason = "std's has no Default either")]
    pub fn new() -> OpenOptions {
        OpenOptions { options: std::fs::OpenOptions::new(), opening: Opening::new() }
    }

    switch! {
        /// Sets whether the file can be read from.
        read,
        /// let file = OpenOptions::new().read(true).open(&path)?;
        /// assert_eq!(std::io::read_to_string(&file)?, "one");
        /// assert!((&file).write(b"two").is_err());
    }
    switch! {
        /// Sets whether the file can be written to.
        write,
        /// OpenOptions::new().write(true).open(&path)?.write_all(b"t")?;
        /// assert_eq!(fs::read(&path)?, b"tne");
    }
    switch! {
        /// Sets whether each write goes to the end of the file.
        append,
        /// OpenOptions::new().append(true).open(&path)?.write_all(b", two")?;
        /// assert_eq!(fs::read(&path)?, b"one, two");
    }
    switch! {
        /// Sets whether the file is emptied.
        truncate,
        /// OpenOptions::new().write(true).truncate(true).open(&path)?;
        /// assert_eq!(fs::read(&path)?, b"");
    }
    switch! {
        /// Sets whether the file is created if it is not there.
        create,
        /// fs::remove_file(&path)?;
        /// let mut options = OpenOptions::new();
        /// assert_eq!(options.write(true).open(&path).unwrap_err().kind(), ErrorKind::NotFound);
        /// options.create(true).open(&path)?;
    }
    switch! {
        /// Sets whether the file is created, and must not be there.
        create_new,
        /// let mut options = OpenOptions::new();
        /// options.write(true).create_new(true);
        /// assert_eq!(options.open(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
    }

    /// Opens the file at a path. See [the module](crate::fs) for how it waits.
    ///
    /// A named pipe opens when its other end is opened. The kernel does not announce that in all cases, so the calling green thread
    /// looks every 1 to 50 ms. No OS thread waits meanwhile, and if the green thread is killed, nothing is open. Opening a device may
    /// have to wait, for a carrier or a medium, and takes an OS thread of its own until then, even if the caller is killed; on
    /// io_uring it does not wait for those.
    ///
    /// # Errors
    ///
    /// As [`std::fs::OpenOptions::open`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fs::OpenOptions;
    ///
    /// let file = OpenOptions::new().read(true).open("/proc/self/status")?;
    /// assert!(std::io::read_to_string(file)?.starts_with("Name:"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn open<P: AsRef<Path>>(&self, path: P) -> io::Result<File> {
        let path = path.as_ref();
        if stops() {
            return self.options.open(path).map(File::from);
        }
        let attempt = self.attempt_elsewhere(path)?;
        self.finish(path, attempt)
    }

    /// Opens the file at a path and, if it is a regular one, does `now` with it in the same trip to another OS thread; with any other,
    /// which may be waited for, it does `later`.
    pub(super) fn open_and<T: Send + 'static>(
        &self,
        path: &Path,
        now: impl FnOnce(std::fs::File) -> io::Result<T> + Send + 'static,
        later: impl FnOnce(File) -> io::Result<T>,
    ) -> io::Result<T> {
        if stops() {
            return now(self.options.open(path)?);
        }
        let (options, owned) = (self.clone(), path.to_owned());
        let tried = offload(move || match options.attempt(&owned)? {
            Attempt::Opened(file) => now(file).map(Ok),
            attempt => Ok(Err(attempt)),
        });
        match tried? {
            Ok(done) => Ok(done),
            Err(attempt) => later(self.finish(path, attempt)?),
        }
    }

    /// Opens without waiting for anybody, on an OS thread that may wait for a disk.
    pub(super) fn attempt(&self, path: &Path) -> io::Result<Attempt> {
        if self.opening.may_wait() && is_device(path) {
            return Ok(Attempt::MayWait);
        }
        self.sort(self.options.clone().custom_flags(self.opening.without_waiting()).open(path), path)
    }

    /// [`attempt`](OpenOptions::attempt), wherever it can be made.
    fn attempt_elsewhere(&self, path: &Path) -> io::Result<Attempt> {
        if let Some(hub) = performer()
            && let Some(flags) = self.opening.flags()
            && let Ok(name) = CString::new(path.as_os_str().as_bytes())
        {
            let (opened, _) =
                hub.reactor().perform(Entry::open(name, flags, self.opening.mode), "File::open");
            return self.sort(opened.and_then(Done::opened).map(std::fs::File::from), path);
        }
        let (options, path) = (self.clone(), path.to_owned());
        offload(move || options.attempt(&path))
    }

    /// What came of opening in nonblocking mode.
    fn sort(&self, opened: io::Result<std::fs::File>, path: &Path) -> io::Result<Attempt> {
        match opened {
            Ok(file) if !self.opening.may_wait() => Ok(Attempt::Opened(file)),
            Ok(file) if descriptor::tells_readiness(file.as_fd()) => Ok(Attempt::Special(file)),
            Ok(file) => {
                descriptor::set_nonblocking(file.as_fd(), false)?;
                Ok(Attempt::Opened(file))
            }
            Err(error) if !self.opening.may_wait() => Err(error),
            // Another process has a lease on it.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Attempt::MayWait),
            Err(error) if descriptor::is_nobody_there(&error) && is_pipe(path) => Ok(Attempt::Unread),
            Err(error) => Err(error),
        }
    }

    /// Waits for what an attempt has not waited for.
    pub(super) fn finish(&self, path: &Path, mut attempt: Attempt) -> io::Result<File> {
        let mut pauses = Pauses::until(Time::NEVER);
        loop {
            match attempt {
                Attempt::Opened(file) => return Ok(file.into()),
                Attempt::Special(file) => {
                    if self.opening.only_reads() && file.metadata()?.file_type().is_fifo() {
                        wait_for_writer(&file, pauses)?;
                    }
                    descriptor::set_nonblocking(file.as_fd(), false)?;
                    return Ok(file.into());
                }
                Attempt::MayWait => {
                    let (options, path) = (self.options.clone(), path.to_owned());
                    return offload_apart(move || options.open(path)).map(File::from);
                }
                Attempt::Unread if pauses.pause() => attempt = self.attempt_elsewhere(path)?,
                Attempt::Unread => return Err(Unwinding.into()),
            }
        }
    }
}

/// What came of opening without waiting for anybody.
pub(super) enum Attempt {
    /// A regular file or a folder, as it was asked for.
    Opened(std::fs::File),
    /// A pipe or a device, still in nonblocking mode.
    Special(std::fs::File),
    /// A named pipe to be written to, which nobody has open to be read from.
    Unread,
    /// Nothing yet: only the opening itself can tell how long it takes.
    MayWait,
}

fn is_device(path: &Path) -> bool {
    let kind = std::fs::metadata(path).map(|metadata| metadata.file_type());
    // An error is told by opening.
    kind.is_ok_and(|kind| kind.is_char_device() || kind.is_block_device())
}

fn is_pipe(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// Waits until somebody has `pipe` open to be written to, or has had since it was opened.
fn wait_for_writer(pipe: &std::fs::File, mut pauses: Pauses) -> io::Result<()> {
    let (_reader, scratch) = io::pipe()?;
    while !descriptor::has_writer(pipe.as_fd(), scratch.as_fd())? {
        // Bytes and an end are told of, a writer that waits is not.
        match wait_fd(pipe, Interest::READABLE, Some(pauses.next())) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            result => return result.map(drop),
        }
    }
    Ok(())
}

impl OpenOptionsExt for OpenOptions {
    fn mode(&mut self, mode: u32) -> &mut OpenOptions {
        self.options.mode(mode);
        self.opening.mode = mode;
        self
    }

    fn custom_flags(&mut self, flags: i32) -> &mut OpenOptions {
        self.options.custom_flags(flags);
        self.opening.custom_flags = flags;
        self
    }
}
