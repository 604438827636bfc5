//! Says what greenloop cannot run on, before it is compiled. Cargo also wants a build script of a package that says
//! what it `links`, by which two versions of greenloop in one program, whose functions would have the same names, fail with a
//! clear message.

use std::env;

/// Set to 1, it says that the program does without what ends a green thread.
const PANIC_ABORT: &str = "GREENLOOP_PANIC_ABORT";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={PANIC_ABORT}");
    println!("cargo::rustc-check-cfg=cfg(greenloop_panic_abort)");
    if env::var_os(PANIC_ABORT).is_some_and(|value| value == "1") {
        println!("cargo::rustc-cfg=greenloop_panic_abort");
    }
    let system = env::var("CARGO_CFG_TARGET_OS").expect("Cargo tells the target's system");
    if system != "linux" {
        println!(
            "cargo::error=greenloop runs on Linux only, and this build is for {system}. It is built on epoll, eventfd and pidfd, which \
             other systems do not have. Build it in a container or a virtual machine with Linux"
        );
    }
}
