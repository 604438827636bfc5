//! The first steps: green threads that wait let others run, and hand over a value when they have ended.
//!
//! Run it with `cargo run --example hello`.
//!
//! Expected output:
//!
//!     main goes first
//!     hello
//!     world, and the answer is 42

use greenloop::{sleep, spawn};
use std::time::Duration;

fn main() {
    let slow = spawn(|| {
        sleep(Duration::from_millis(20)); // Meanwhile the others run.
        42
    });
    let quick = spawn(|| println!("hello"));
    println!("main goes first");
    quick.join().expect("it does not panic");
    let answer = slow.join().expect("nor does this one");
    println!("world, and the answer is {answer}");
}
