//! What is done with a path.

use std::fs::{Metadata, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::File;
#[cfg(doc)]
use super::OpenOptions;
use super::open_options::Attempt;
use crate::threadpool::{offload, stops};

/// A function of std's over one path or two, sent off. What comes last is the example; one over two paths has a `folder`.
macro_rules! of_path {
    ($(#[$documentation:meta])* $name:ident($path:ident) -> $Result:ty, $assertions:literal) => {
        $(#[$documentation])*
        #[doc = ""]
        #[doc = concat!("This is [`std::fs::", stringify!($name), "`] on another OS thread; see [the module](crate::fs).")]
        ///
        /// # Examples
        ///
        /// ```
        #[doc = concat!("use greenloop::fs::", stringify!($name), ";")]
        ///
        #[doc = $assertions]
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn $name<P: AsRef<Path>>($path: P) -> io::Result<$Result> {
            let $path = $path.as_ref().to_owned();
            offload(move || std::fs::$name($path))
        }
    };
    ($(#[$documentation:meta])* $name:ident($one:ident, $other:ident) -> $Result:ty, $(#[$assertions:meta])+) => {
        $(#[$documentation])*
        #[doc = ""]
        #[doc = concat!("This is [`std::fs::", stringify!($name), "`] on another OS thread; see [the module](crate::fs).")]
        ///
        /// # Examples
        ///
        /// ```
        /// use greenloop::fs;
        ///
        #[doc = concat!(
            "let folder = std::env::temp_dir().join(format!(\"greenloop-", stringify!($name), "-{}\", std::process::id()));"
        )]
        /// fs::create_dir(&folder)?;
        $(#[$assertions])+
        /// fs::remove_dir_all(folder)?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn $name<P: AsRef<Path>, Q: AsRef<Path>>($one: P, $other: Q) -> io::Result<$Result> {
            let ($one, $other) = ($one.as_ref().to_owned(), $other.as_ref().to_owned());
            offload(move || std::fs::$name($one, $other))
        }
    };
}

/// Reads the whole contents of a file.
///
/// This is [`std::fs::read`] on another OS thread; see [the module](crate::fs). A named pipe is [waited for](OpenOptions::open)
/// and read to its end.
///
/// # Examples
///
/// ```
/// assert_eq!(greenloop::fs::read("/dev/null")?, []);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read<P: AsRef<Path>>(path: P) -> io::Result<Vec<u8>> {
    fn all(mut file: impl Read) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
    File::options().read(true).open_and(path.as_ref(), all, all)
}

/// Reads the whole contents of a file as UTF-8.
///
/// This is [`std::fs::read_to_string`] on another OS thread; see [the module](crate::fs), and [`read`] for a named pipe.
///
/// # Examples
///
/// ```
/// assert!(greenloop::fs::read_to_string("/proc/self/status")?.starts_with("Name:"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_to_string<P: AsRef<Path>>(path: P) -> io::Result<String> {
    File::options().read(true).open_and(path.as_ref(), io::read_to_string, io::read_to_string)
}

of_path! {
    /// Returns the metadata of the file at a path. Follows symbolic links.
    metadata(path) -> Metadata,
    "assert!(metadata(\"/\")?.is_dir());"
}
of_path! {
    /// Returns the metadata of the file at a path, or of the symbolic link that is there.
    symlink_metadata(path) -> Metadata,
    "assert!(symlink_metadata(\"/proc/self\")?.is_symlink());"
}
of_path! {
    /// Returns the absolute path of an existing file, without symbolic links.
    canonicalize(path) -> PathBuf,
    "assert_eq!(canonicalize(\"/proc/..\")?, std::path::Path::new(\"/\"));"
}
of_path! {
    /// Returns the path that a symbolic link leads to.
    read_link(path) -> PathBuf,
    "assert_eq!(read_link(\"/proc/self\")?.to_str(), Some(&*std::process::id().to_string()));"
}
of_path! {
    /// Returns `true` if a file of any kind is at the path. An error means that this could not be found out.
    exists(path) -> bool,
    "assert!(exists(\"/proc\")? && !exists(\"/no/such/path\")?);"
}
of_path! {
    /// Removes a name of a file, and with its last name the file.
    remove_file(path) -> (),
    "assert_eq!(remove_file(\"/no/such/path\").unwrap_err().kind(), std::io::ErrorKind::NotFound);"
}
of_path! {
    /// Removes an empty folder.
    remove_dir(path) -> (),
    "assert_eq!(remove_dir(\"/no/such/path\").unwrap_err().kind(), std::io::ErrorKind::NotFound);"
}
of_path! {
    /// Removes a folder and everything in it.
    remove_dir_all(path) -> (),
    "assert_eq!(remove_dir_all(\"/no/such/path\").unwrap_err().kind(), std::io::ErrorKind::NotFound);"
}
of_path! {
    /// Gives a file another name. A file that has that name is replaced.
    rename(from, to) -> (),
    /// fs::write(folder.join("a"), "one")?;
    /// fs::write(folder.join("b"), "two")?;
    /// fs::rename(folder.join("a"), folder.join("b"))?;
    /// assert_eq!(fs::read(folder.join("b"))?, b"one");
    /// assert!(!fs::exists(folder.join("a"))?);
}
of_path! {
    /// Gives a file one more name.
    hard_link(original, link) -> (),
    /// fs::write(folder.join("a"), "one")?;
    /// fs::hard_link(folder.join("a"), folder.join("b"))?;
    /// fs::write(folder.join("a"), "two")?;
    /// assert_eq!(fs::read(folder.join("b"))?, b"two");
}

/// Makes `contents` the whole contents of a file, which is created if it is not there.
///
/// This is [`std::fs::write`] on another OS thread; see [the module](crate::fs). The bytes are copied for it. A named pipe is
/// [waited for](OpenOptions::open).
///
/// # Examples
///
/// ```
/// use greenloop::fs;
///
/// let path = std::env::temp_dir().join(format!("greenloop-write-{}", std::process::id()));
/// fs::write(&path, "one")?;
/// fs::write(&path, "two")?;
/// assert_eq!(fs::read(&path)?, b"two");
/// fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write<P: AsRef<Path>, C: AsRef<[u8]>>(path: P, contents: C) -> io::Result<()> {
    let contents: Arc<[u8]> = contents.as_ref().into();
    let same = Arc::clone(&contents);
    File::options().write(true).create(true).truncate(true).open_and(
        path.as_ref(),
        move |mut file| file.write_all(&contents),
        move |mut file| file.write_all(&same),
    )
}

/// Copies the contents and the permissions of a file. Returns the number of bytes.
///
/// This is [`std::fs::copy`] on another OS thread; see [the module](crate::fs). A named pipe to copy to is
/// [waited for](OpenOptions::open).
///
/// # Examples
///
/// ```
/// use greenloop::fs;
///
/// let folder = std::env::temp_dir().join(format!("greenloop-copy-{}", std::process::id()));
/// fs::create_dir(&folder)?;
/// fs::write(folder.join("a"), "one")?;
/// assert_eq!(fs::copy(folder.join("a"), folder.join("b"))?, 3);
/// assert_eq!(fs::read(folder.join("b"))?, b"one");
/// fs::remove_dir_all(folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn copy<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<u64> {
    let (from, to) = (from.as_ref().to_owned(), to.as_ref().to_owned());
    if stops() {
        return std::fs::copy(from, to);
    }
    let mut writing = File::options();
    writing.write(true).create(true).truncate(true);
    let (mut writing_there, to_there) = (writing.clone(), to.clone());
    let copied = offload(move || {
        let Attempt::Opened(mut reader) = File::options().read(true).attempt(&from)? else {
            return Err(no_file());
        };
        let metadata = reader.metadata()?;
        if !metadata.is_file() {
            return Err(no_file());
        }
        match writing_there.mode(metadata.permissions().mode()).attempt(&to_there)? {
            Attempt::Opened(mut writer) => {
                if writer.metadata()?.is_file() {
                    writer.set_permissions(metadata.permissions())?;
                }
                io::copy(&mut reader, &mut writer).map(Ok)
            }
            attempt => Ok(Err((reader, attempt))),
        }
    });
    match copied? {
        Ok(count) => Ok(count),
        Err((reader, attempt)) => io::copy(&mut File::from(reader), &mut writing.finish(&to, attempt)?),
    }
}

/// std's error for what is no file to copy.
fn no_file() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "the source path is neither a regular file nor a symlink to a regular file",
    )
}

/// Changes the permissions of a file.
///
/// This is [`std::fs::set_permissions`] on another OS thread; see [the module](crate::fs).
///
/// # Examples
///
/// ```
/// use greenloop::fs;
/// use std::os::unix::fs::PermissionsExt;
///
/// let path = std::env::temp_dir().join(format!("greenloop-permissions-{}", std::process::id()));
/// fs::write(&path, "")?;
/// fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
/// assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
/// fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn set_permissions<P: AsRef<Path>>(path: P, perm: Permissions) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    offload(move || std::fs::set_permissions(path, perm))
}
