//! How a file is to be opened.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::File;
use crate::io::performer;
use crate::sys::uring::{Entry, Opening};
use crate::threadpool::offload;

/// How a file is to be opened: [`std::fs::OpenOptions`], whose [`open`](OpenOptions::open) lets other green threads run.
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

/// One of std's switches.
macro_rules! switch {
    ($(#[$documentation:meta])* $name:ident) => {
        $(#[$documentation])*
        #[doc = concat!("See [`std::fs::OpenOptions::", stringify!($name), "`].")]
        pub fn $name(&mut self, $name: bool) -> &mut OpenOptions {
            self.options.$name($name);
            self.opening.$name = $name;
            self
        }
    };
}

impl OpenOptions {
    /// With everything off: at least one of read, write and append is needed.
    #[expect(clippy::new_without_default, reason = "std's has no Default either")]
    pub fn new() -> OpenOptions {
        OpenOptions { options: std::fs::OpenOptions::new(), opening: Opening::new() }
    }

    switch! {
        /// Whether it can be read from.
        read
    }
    switch! {
        /// Whether it can be written to.
        write
    }
    switch! {
        /// Whether each write goes to the end.
        append
    }
    switch! {
        /// Whether it is emptied.
        truncate
    }
    switch! {
        /// Whether it is created if it is not there.
        create
    }
    switch! {
        /// Whether it is created, and must not be there.
        create_new
    }

    /// Opens the file at a path. See [the module](crate::fs) for how it waits.
    ///
    /// Opening a named pipe waits for who opens its other end, and keeps a thread of the pool meanwhile, even if the caller is
    /// killed. (With `custom_flags(O_NONBLOCK)`, or with io_uring, it does not.)
    ///
    /// # Errors
    ///
    /// As [`std::fs::OpenOptions::open`].
    pub fn open<P: AsRef<Path>>(&self, path: P) -> io::Result<File> {
        let path = path.as_ref();
        if let Some(hub) = performer()
            && let Some(flags) = self.opening.flags()
            && let Ok(path) = CString::new(path.as_os_str().as_bytes())
        {
            let (opened, _) =
                hub.reactor().perform(Entry::open(path, flags, self.opening.mode), "File::open");
            return opened?.opened().map(File::from);
        }
        let (options, path) = (self.options.clone(), path.to_owned());
        offload(move || options.open(path).map(File::from))
    }
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
