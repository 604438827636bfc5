//! Files and folders, what is a file by name only, and the standard input.

#[path = "../support/mod.rs"]
mod support;

/// Open files: reading, writing, seeking, locks.
mod file;
/// Operations that end early: nothing is lost but what was asked for.
mod interruption;
/// What is done with a path, beside what std does.
mod path;
/// Pipes, terminals and devices opened as files.
mod special;
/// The standard input, each time in a process of its own.
mod stdin;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::until;

const LIMIT: Duration = Duration::from_secs(60);

/// An empty folder, which goes with what is in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("greenloop-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a new folder");
        Folder(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A new named pipe.
    fn fifo(&self) -> PathBuf {
        let path = self.join("fifo");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).expect("a fifo");
        path
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether the open file is in nonblocking mode.
fn is_nonblocking(fd: impl std::os::fd::AsFd) -> bool {
    rustix::fs::fcntl_getfl(fd).expect("an open file").contains(rustix::fs::OFlags::NONBLOCK)
}
