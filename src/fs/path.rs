//! What is done with a path.

use std::fs::{Metadata, Permissions};
use std::io;
use std::path::{Path, PathBuf};

use crate::threadpool::offload;

/// A function of std's over one path or two, sent off.
macro_rules! of_path {
    ($(#[$documentation:meta])* $name:ident($path:ident) -> $Result:ty, $example:literal) => {
        $(#[$documentation])*
        #[doc = ""]
        #[doc = concat!("This is [`std::fs::", stringify!($name), "`] on another OS thread; see [the module](crate::fs).")]
        ///
        /// # Examples
        ///
        /// ```
        #[doc = concat!("use greenloop::fs::", stringify!($name), ";")]
        ///
        #[doc = $example]
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn $name<P: AsRef<Path>>($path: P) -> io::Result<$Result> {
            let $path = $path.as_ref().to_owned();
            offload(move || std::fs::$name($path))
        }
    };
    ($(#[$documentation:meta])* $name:ident($one:ident, $other:ident) -> $Result:ty) => {
        $(#[$documentation])*
        #[doc = ""]
        #[doc = concat!("This is [`std::fs::", stringify!($name), "`] on another OS thread; see [the module](crate::fs).")]
        pub fn $name<P: AsRef<Path>, Q: AsRef<Path>>($one: P, $other: Q) -> io::Result<$Result> {
            let ($one, $other) = ($one.as_ref().to_owned(), $other.as_ref().to_owned());
            offload(move || std::fs::$name($one, $other))
        }
    };
}

of_path! {
    /// The whole contents of a file.
    read(path) -> Vec<u8>,
    "assert_eq!(read(\"/dev/null\")?, []);"
}
of_path! {
    /// The whole contents of a file that is UTF-8.
    read_to_string(path) -> String,
    "assert!(read_to_string(\"/proc/self/status\")?.starts_with(\"Name:\"));"
}
of_path! {
    /// What is known of the file at a path, through symbolic links.
    metadata(path) -> Metadata,
    "assert!(metadata(\"/\")?.is_dir());"
}
of_path! {
    /// What is known of the file at a path, or of the symbolic link that is there.
    symlink_metadata(path) -> Metadata,
    "assert!(symlink_metadata(\"/proc/self\")?.is_symlink());"
}
of_path! {
    /// The absolute path of an existing file, without symbolic links.
    canonicalize(path) -> PathBuf,
    "assert_eq!(canonicalize(\"/proc/..\")?, std::path::Path::new(\"/\"));"
}
of_path! {
    /// Where a symbolic link leads.
    read_link(path) -> PathBuf,
    "assert_eq!(read_link(\"/proc/self\")?.to_str(), Some(&*std::process::id().to_string()));"
}
of_path! {
    /// Whether something is at a path. An error is one of finding out.
    exists(path) -> bool,
    "assert!(exists(\"/proc\")? && !exists(\"/no/such/path\")?);"
}
of_path! {
    /// Removes a file's name, and the file with its last name.
    remove_file(path) -> (),
    "assert_eq!(remove_file(\"/no/such/path\").unwrap_err().kind(), std::io::ErrorKind::NotFound);"
}
of_path! {
    /// Removes an empty folder.
    remove_dir(path) -> (),
    "assert_eq!(remove_dir(\"/no/such/path\").unwrap_err().kind(), std::io::ErrorKind::NotFound);"
}
of_path! {
    /// Removes a folder and all that is in it.
    remove_dir_all(path) -> (),
    "assert_eq!(remove_dir_all(\"/no/such/path\").unwrap_err().kind(), std::io::ErrorKind::NotFound);"
}
of_path! {
    /// Gives a file another name, in the place of whatever has that.
    rename(from, to) -> ()
}
of_path! {
    /// Copies a file's contents and permissions; how many bytes that were.
    copy(from, to) -> u64
}
of_path! {
    /// Gives a file one more name.
    hard_link(original, link) -> ()
}

/// Makes `contents` the whole contents of a file, which is created if it is not there.
///
/// This is [`std::fs::write`] on another OS thread; see [the module](crate::fs). The bytes are copied for it.
pub fn write<P: AsRef<Path>, C: AsRef<[u8]>>(path: P, contents: C) -> io::Result<()> {
    let (path, contents) = (path.as_ref().to_owned(), contents.as_ref().to_owned());
    offload(move || std::fs::write(path, contents))
}

/// Changes the permissions of a file.
///
/// This is [`std::fs::set_permissions`] on another OS thread; see [the module](crate::fs).
pub fn set_permissions<P: AsRef<Path>>(path: P, perm: Permissions) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    offload(move || std::fs::set_permissions(path, perm))
}
