//! Finds std's own tests in the source that belongs to the compiler (`rustup component add rust-src`), and makes modules of them.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A module with the tests of a file, and with the names that these take from std's module around them.
struct Module {
    name: &'static str,
    names: &'static str,
    file: &'static str,
}

const fn module(name: &'static str, names: &'static str, file: &'static str) -> Module {
    Module { name, names, file }
}

const MODULES: [Module; 15] = [
    module("tcp", "", "src/net/tcp/tests.rs"),
    module("udp", "", "src/net/udp/tests.rs"),
    module("tcp_of_linux", "", "src/os/net/linux_ext/tests.rs"),
    module("unix_sockets", "pub use std::os::unix::net::*;", "src/os/unix/net/tests.rs"),
    module("process", "pub use std::process::*;", "src/process/tests.rs"),
    module("unix_process", "", "src/sys/process/unix/unix/tests.rs"),
    module("process_spawning", "", "tests/process_spawning.rs"),
    module("pipe", "", "src/io/pipe/tests.rs"),
    module("stdio", "pub use std::io::*; pub use std::sync::{Arc, Mutex};", "src/io/stdio/tests.rs"),
    module("fs", "pub use std::fs::*;", "src/fs/tests.rs"),
    module(
        "unix_fs",
        "pub use std::fs::{self, Permissions}; pub use std::io::{self, Read, Write}; pub use std::os::unix::fs::*;",
        "src/os/unix/fs/tests.rs",
    ),
    module("thread", "pub use crate::of_std::current_os_id; pub use std::thread::*;", "src/thread/tests.rs"),
    module("thread_from_outside", "", "tests/thread.rs"),
    module("thread_local_variables", "", "tests/thread_local/lib.rs"),
    module("sync", "pub use std::sync::*;", "tests/sync/lib.rs"),
];

/// What is private in std, and how everybody else says it.
const PRIVATE: [(&str, &str); 2] = [
    ("udpsock.0.socket().as_raw()", "std::os::fd::AsRawFd::as_raw_fd(&udpsock)"),
    ("dir_entry.0.path()", "dir_entry.path()"),
];

fn main() {
    let rustc = env::var_os("RUSTC").expect("cargo names the compiler");
    let said = Command::new(rustc).args(["--print", "sysroot"]).output().expect("the compiler runs");
    let sysroot = String::from_utf8(said.stdout).expect("a path in UTF-8");
    let library = PathBuf::from(sysroot.trim()).join("lib/rustlib/src/rust/library/std");
    assert!(library.exists(), "std's source is not there: rustup component add rust-src");
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names a folder"));
    let mut text = String::new();
    for Module { name, names, file } in MODULES {
        let file = public(&library.join(file), &folder.join(name));
        write!(text, "pub mod {name} {{ {names} #[path = {file:?}] mod tests; }}\n").expect("text");
    }
    // What several of them have in common, and a program.
    let file = |file| library.join(file);
    let common = [("test_helpers", file("src/test_helpers.rs")), ("common", file("tests/common/mod.rs"))];
    for (name, file) in common {
        write!(text, "#[path = {file:?}] pub mod {name};\n").expect("text");
    }
    write!(
        text,
        "pub mod net {{ pub use std::net::*; #[path = {:?}] pub mod test; }}\n",
        file("src/net/test.rs")
    )
    .expect("text");
    write!(
        text,
        "pub mod pipe_of_a_child {{ include!({:?}); #[test] pub fn whole_program() {{ main(); }} }}\n",
        file("tests/pipe_subprocess.rs")
    )
    .expect("text");
    fs::write(folder.join("tests.rs"), text).expect("the folder can be written to");
    println!("cargo::rerun-if-changed=build.rs");
}

/// `file`, or if it names what is private in std, a copy that does not.
fn public(file: &Path, copy: &Path) -> PathBuf {
    let text = fs::read_to_string(file).expect("a file of std's");
    let changed = PRIVATE.iter().fold(text.clone(), |text, (private, public)| text.replace(private, public));
    if changed == text {
        return file.to_owned();
    }
    fs::write(copy, changed).expect("the folder can be written to");
    copy.to_owned()
}
