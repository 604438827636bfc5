//! What greenloop refuses to be built for, and how it says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What rustc says of `source`, whose program or library goes to the folder for what tests make.
fn compile(source: &Path, arguments: &[&str]) -> String {
    let mut rustc = Command::new(option_env!("RUSTC").unwrap_or("rustc"));
    rustc.args(["--edition", "2024", "--out-dir", env!("CARGO_TARGET_TMPDIR")]).arg(source).args(arguments);
    text(&rustc.output().expect("rustc").stderr)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_build_that_aborts_at_a_panic_says_why_not() {
    // The check alone: what the library depends on is not to be found without Cargo.
    let library = include_str!("../src/lib.rs");
    let check = library
        .split("\n\n")
        .find(|part| part.starts_with("#[cfg(all(panic = \"abort\""))
        .expect("the check");
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("refusing_library.rs");
    fs::write(&source, check).expect("a file to write");
    let said = |arguments: &[&str]| {
        compile(
            &source,
            &[&["--crate-type", "lib", "--check-cfg", "cfg(greenloop_panic_abort)"], arguments].concat(),
        )
    };
    let refused = said(&["-C", "panic=abort"]);
    assert!(refused.starts_with("error: greenloop needs `panic = \"unwind\"`"), "{refused}");
    assert_eq!(
        refused.matches("error: ").count(),
        2,
        "and that it aborts due to 1 previous error: {refused}"
    );
    assert_eq!(said(&["-C", "panic=unwind"]), "");
    assert_eq!(said(&["-C", "panic=abort", "--cfg", "greenloop_panic_abort"]), "");
}

/// The build script's program.
fn build_script() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs");
    assert_eq!(compile(&source, &["--crate-name", "refusing_build_script"]), "");
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("refusing_build_script")
}

/// The lines in which the build script tells Cargo `what`.
fn told(script: &Path, what: &str, system: &str, panic_abort: Option<&str>) -> Vec<String> {
    let mut command = Command::new(script);
    command.env("CARGO_CFG_TARGET_OS", system).env_remove("GREENLOOP_PANIC_ABORT");
    command.envs(panic_abort.map(|value| ("GREENLOOP_PANIC_ABORT", value)));
    let Output { status, stdout, .. } = command.output().expect("the build script");
    assert!(status.success());
    let lines = text(&stdout);
    lines
        .lines()
        .filter_map(|line| line.strip_prefix(&format!("cargo::{what}=")))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_build_script_refuses_other_systems_and_lets_through_who_knows() {
    let script = build_script();
    assert_eq!(told(&script, "error", "linux", None), [""; 0]);
    for system in ["macos", "windows", "freebsd", "android"] {
        let errors = told(&script, "error", system, None);
        let expected = format!("greenloop runs on Linux only, and this build is for {system}. ");
        assert!(matches!(&errors[..], [only] if only.starts_with(&expected)), "{errors:?}");
    }
    assert_eq!(told(&script, "rustc-cfg", "linux", Some("1")), ["greenloop_panic_abort"]);
    for other in [None, Some(""), Some("0")] {
        assert_eq!(told(&script, "rustc-cfg", "linux", other), [""; 0]);
    }
}
