//! Runs every example of this package as a process of its own and compares what it prints with what its header promises. An
//! example that is a package does so in a test of its own.

#[path = "support/promise.rs"]
mod promise;
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use promise::{difference, expected_output};

#[test]
fn each_example_prints_what_its_header_promises() {
    let examples = examples();
    assert!(!examples.is_empty());
    let wrong: Vec<String> = examples.iter().filter_map(|(name, text)| promise::broken(name, text)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The name and the text of each example `NAME.rs`.
fn examples() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = fs::read_dir(folder).expect("the examples").map(|entry| entry.expect("an entry").path());
    let example = |path: PathBuf| {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(path).expect("a readable example"))
    };
    let sources = entries.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let mut examples: Vec<_> = sources.map(example).collect();
    examples.sort();
    examples
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
