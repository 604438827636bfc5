//! The process itself.

/// How many OS threads the process has; `None` where /proc does not tell.
pub(crate) fn thread_count() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("Threads:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_test_runs_beside_its_harness() {
        assert!(super::thread_count().is_some_and(|count| count >= 1));
    }
}
