//! Nothing is built. Cargo wants a build script of a package that says what it `links`, by which two versions of greenloop in
//! one program, whose functions would have the same names, fail with a clear message.

fn main() {
    println!("cargo::rerun-if-changed=src/monkey/build.rs");
}
