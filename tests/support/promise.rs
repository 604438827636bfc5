//! What the header of an example promises, compared with what the example prints.
//!
//! A header ends with a block like this one, in which `[..]` stands for any text within a line:
//!
//! ```text
//! Expected output:
//!
//!     fetched 100 pages in [..] ms
//! ```

use std::process::Command;
use std::time::Duration;

use crate::support;

const LIMIT: Duration = Duration::from_secs(120);

/// How the example `name`, whose source is `text`, breaks its promise, if it does.
pub(crate) fn broken(name: &str, text: &str) -> Option<String> {
    let Some(expected) = expected_output(text) else {
        return Some(format!("{name}: the header has no `Expected output:`"));
    };
    let run = support::finish(&mut Command::new(support::example(name)), LIMIT);
    if !run.status.success() {
        return Some(format!("{name}: {}\n{}{}", run.status, run.stdout, run.stderr));
    }
    difference(&expected, &run.stdout).map(|line| format!("{name}: {line}\n--- it printed\n{}", run.stdout))
}

/// The indented lines below `Expected output:` in the comment that opens `text`.
pub(crate) fn expected_output(text: &str) -> Option<Vec<&str>> {
    let header = text.lines().map_while(|line| line.strip_prefix("//!"));
    let mut block = header.skip_while(|line| line.trim() != "Expected output:");
    block.next()?;
    let indented = |line: &&str| line.is_empty() || line.starts_with("     ");
    let lines = block.skip_while(|line| line.is_empty()).take_while(indented);
    let mut lines: Vec<&str> = lines.map(|line| line.get(5..).unwrap_or("")).collect();
    while lines.last() == Some(&"") {
        lines.pop();
    }
    Some(lines)
}

/// The first line in which they differ, and how.
pub(crate) fn difference(expected: &[&str], printed: &str) -> Option<String> {
    let printed: Vec<&str> = printed.lines().collect();
    let longer = expected.len().max(printed.len());
    (0..longer).find_map(|at| match (expected.get(at), printed.get(at)) {
        (Some(pattern), Some(line)) if matches(pattern, line) => None,
        (Some(pattern), Some(line)) => Some(format!("line {}: expected `{pattern}`, got `{line}`", at + 1)),
        (Some(pattern), None) => Some(format!("line {}: expected `{pattern}`, got no more", at + 1)),
        (None, line) => Some(format!("line {}: expected no more, got `{}`", at + 1, line.unwrap_or(&""))),
    })
}

/// Whether `line` is `pattern`, with any text for each `[..]`.
fn matches(pattern: &str, line: &str) -> bool {
    match pattern.split_once("[..]") {
        None => pattern == line,
        Some((before, after)) => line.strip_prefix(before).is_some_and(|rest| {
            let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.into_iter().any(|at| matches(after, &rest[at..]))
        }),
    }
}
