//! The process itself.

/// How many OS threads the process has; `None` where /proc does not tell.
pub(crate) fn thread_count() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("Threads:"))?.trim().parse().ok()
}

/// Whether the calling OS thread is the one that runs `main`: when it ends, the process does.
pub(crate) fn on_main_thread() -> bool {
    // SAFETY: the call has no argument and cannot fail.
    let thread = unsafe { libc::gettid() };
    u32::try_from(thread) == Ok(std::process::id())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_test_runs_beside_its_harness() {
        assert!(super::thread_count().is_some_and(|count| count >= 1));
        let elsewhere = std::thread::spawn(super::on_main_thread);
        assert!(!elsewhere.join().unwrap());
    }
}
