//! Workloads in processes of their own, where what one leaves behind costs the next nothing.

use std::process::Command;

/// Runs this program with the words of `line`; what it printed, or why it failed.
pub(crate) fn run(line: &str) -> Result<String, String> {
    let mut command = Command::new(std::env::current_exe().expect("the program's own path"));
    let output = command.args(line.split_whitespace()).env_remove("PEER_NAME").output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().lines().next().unwrap_or("").to_owned();
    Err(format!("{}, {words}", output.status))
}

/// The value of a metric in lines `metric.N=… peer value unit`, if it is there.
pub(crate) fn value_of(text: &str, metric: &str) -> Option<f64> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        if words.next()?.split('.').next() != Some(metric) {
            return None;
        }
        words.nth(1)?.parse().ok()
    })
}
