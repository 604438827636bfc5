//! A start signal: runners gather at the line, one event releases them all, and who comes late runs through.
//!
//! Run it with `cargo run --example event_start`.
//!
//! Expected output:
//!
//!     Ada is at the line
//!     Ben is at the line
//!     Cleo is at the line
//!     Dan is at the line
//!     nobody ran in the first 50 ms
//!     the starter says go
//!     Ada runs
//!     Ben runs
//!     Cleo runs
//!     Dan runs
//!     Eva, who is late, runs at once

use std::cell::Cell;
use std::time::Duration;

use greenloop::event::Event;
use greenloop::{scope, sleep, yield_now};
use tool::say;

mod tool;

const RUNNERS: [&str; 4] = ["Ada", "Ben", "Cleo", "Dan"];

fn main() {
    tool::takes_no_arguments(include_str!("event_start.rs"));
    let start = Event::new();
    let running = Cell::new(0);
    scope(|scope| {
        let runners = RUNNERS.map(|name| {
            let (start, running) = (&start, &running);
            scope.spawn(move || {
                say!("{name} is at the line");
                start.wait();
                running.set(running.get() + 1);
                say!("{name} runs");
            })
        });
        yield_now(); // They run until they wait.
        sleep(Duration::from_millis(50));
        assert_eq!(running.get(), 0);
        say!("nobody ran in the first 50 ms");

        say!("the starter says go");
        start.set(); // Wakes all of them, in the order in which they came; they run when main waits.
        runners.into_iter().for_each(|runner| runner.join().expect("a runner arrives"));
        assert_eq!(running.get(), RUNNERS.len());

        scope.spawn(|| {
            start.wait(); // It stays set, so this does not wait.
            say!("Eva, who is late, runs at once");
        });
    });
}
