//! A folder for as long as the program runs.

use crate::tool;
use rustix::process::{Pid, test_kill_process};
use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// What the name of each begins with, before the number of its process.
const NAME: &str = "fleet-demo-";

/// A new folder, which goes with this. One whose process was killed goes when the next one is made.
pub struct Folder {
    pub path: PathBuf,
    /// Locked: no program of another container, for which this process is not there, takes the folder for one that was left.
    _lock: File,
}

impl Folder {
    pub fn new() -> Result<Folder, Box<dyn Error>> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        let path = parent.join(format!("{NAME}{}", std::process::id()));
        let failed = || tool::failed_to(format!("make {}", path.display()));
        fs::create_dir(&path).map_err(failed())?;
        let lock = File::create(path.join("lock")).map_err(failed())?;
        lock.try_lock().map_err(|error| failed()(error.into()))?;
        Ok(Folder { path, _lock: lock })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes what was left by programs that were killed. Those of other users stay.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(NAME)?.parse().ok());
        if number.is_some_and(is_left) && is_unlocked(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether nobody of this number is there but who asks.
fn is_left(number: i32) -> bool {
    let Some(process) = Pid::from_raw(number) else { return false };
    // Of another user's process it is not said that it is not there.
    number.unsigned_abs() == std::process::id() || test_kill_process(process) == Err(rustix::io::Errno::SRCH)
}

fn is_unlocked(folder: &Path) -> bool {
    File::open(folder.join("lock")).is_ok_and(|lock| lock.try_lock().is_ok())
}
