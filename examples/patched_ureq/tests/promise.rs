//! The example prints what its header promises.

#[path = "../../../tests/support/promise.rs"]
mod promise;
#[path = "../../../tests/support/mod.rs"]
mod support;

#[test]
fn it_prints_what_its_header_promises() {
    assert_eq!(promise::broken("patched_ureq", include_str!("../src/main.rs")), None);
}

/// What needs a feature cannot be one of the README's doctests.
#[test]
fn the_readme_shows_the_program_as_it_is() {
    let source = include_str!("../src/main.rs");
    let (_header, program) = source.split_once("\n\n").expect("a header and a program");
    assert!(include_str!("../../../README.md").contains(&format!("\n```rs\n{program}```\n")));
}
