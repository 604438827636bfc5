//! What the process has, for tests that count what is left over.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// Every open file descriptor of this process with what it refers to.
pub(crate) fn open_files() -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    let files = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        // The descriptor of this very listing is gone or shows its own directory.
        let target = fs::read_link(entry.path()).ok()?;
        let listing = target.starts_with("/proc") && target.ends_with("fd");
        (!listing).then(|| (entry.file_name().to_string_lossy().into_owned(), target))
    });
    files.collect()
}

/// Resident memory of this process, in bytes.
pub(crate) fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
    let pages: usize =
        statm.split(' ').nth(1).and_then(|field| field.parse().ok()).expect("statm's second field");
    pages * 4096
}
