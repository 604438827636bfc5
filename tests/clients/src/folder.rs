//! A folder of a test's own.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A new folder, which goes with this.
#[derive(Debug)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
}

impl Folder {
    /// Makes one, with `name` in its own.
    ///
    /// # Panics
    ///
    /// Panics if that fails.
    pub fn new(name: &str) -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("greenloop-clients-{name}-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // One of this number may have been left behind.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a new folder");
        Folder { path }
    }

    /// Its path as text, with `name` in it.
    ///
    /// # Panics
    ///
    /// Panics if it is not in UTF-8.
    pub fn file(&self, name: &str) -> String {
        self.path.join(name).to_str().expect("a path in UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
