//! Runs every example as a process of its own and compares what it prints with what its header promises.
//!
//! A header ends with a block like this one, in which `[..]` stands for any text within a line:
//!
//! ```text
//! Expected output:
//!
//!     fetched 100 pages in [..] ms
//! ```

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

/// Those that are built with the feature `monkey` only.
const PATCHED: &[&str] = &["patched_ureq"];

#[test]
fn each_example_prints_what_its_header_promises() {
    let examples = examples();
    assert!(!examples.is_empty());
    let wrong: Vec<String> = examples.iter().filter_map(|(name, text)| complaint(name, text)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The name and the main file's text of each example: `NAME.rs`, or `NAME/main.rs`.
fn examples() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = fs::read_dir(folder).expect("the examples").map(|entry| entry.expect("an entry").path());
    let example = |path: PathBuf| {
        let main = if path.is_dir() { path.join("main.rs") } else { path.clone() };
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(main).expect("a readable example"))
    };
    let mut examples: Vec<_> = entries.map(example).collect();
    examples.sort();
    examples
}

fn complaint(name: &str, text: &str) -> Option<String> {
    let Some(expected) = expected_output(text) else {
        return Some(format!("{name}: the header has no `Expected output:`"));
    };
    if PATCHED.contains(&name) && cfg!(not(feature = "monkey")) {
        return None;
    }
    let run = support::finish(&mut Command::new(support::example(name)), LIMIT);
    if !run.status.success() {
        return Some(format!("{name}: {}\n{}{}", run.status, run.stdout, run.stderr));
    }
    difference(&expected, &run.stdout).map(|line| format!("{name}: {line}\n--- it printed\n{}", run.stdout))
}

/// The indented lines below `Expected output:` in the comment that opens `text`.
fn expected_output(text: &str) -> Option<Vec<&str>> {
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

fn difference(expected: &[&str], printed: &str) -> Option<String> {
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

/// What needs a feature cannot be one of the README's doctests.
#[test]
fn the_readme_shows_the_patched_program_as_it_is() {
    let source = include_str!("../examples/patched_ureq.rs");
    let (_header, program) = source.split_once("\n\n").expect("a header and a program");
    assert!(include_str!("../README.md").contains(&format!("\n```rs\n{program}```\n")));
}

#[test]
fn the_comparison_fails_when_it_should() {
    let source = "//! An example.\n//!\n//! Expected output:\n//!\n//!     one [..] two\n//!\n//!     three\n//!\n//! More.\nfn main() {}";
    let expected = expected_output(source).unwrap();
    assert_eq!(expected, ["one [..] two", "", "three"]);
    assert_eq!(difference(&expected, "one and two\n\nthree\n"), None);
    assert_eq!(
        difference(&expected, "one two\n\nthree\n").unwrap(),
        "line 1: expected `one [..] two`, got `one two`"
    );
    assert_eq!(difference(&expected, "one  two\n").unwrap(), "line 2: expected ``, got no more");
    assert_eq!(
        difference(&expected, "one  two\n\nthree\nfour\n").unwrap(),
        "line 4: expected no more, got `four`"
    );
    assert_eq!(expected_output("//! Nothing promised.\n"), None);
}
