//! What the environment asks for, without a line in the program.
//!
//! The first hub of a process is made in a room below, which does not know this one, and so are deadlocks found there: so functions are left
//! there before `main` begins.

#![expect(unsafe_code, reason = "what runs before `main` is named to the linker")]

use std::env;
use std::io;
use std::time::Duration;

use super::detector::detect;
use super::dump::dump_of_most;
use super::on_signal::dump_on;
use crate::fiber::report_text;
use crate::hub::birth_of_first::at_first_hub;
use crate::hub::deadlock::tell_at_deadlocks;
use crate::signal::{SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

// SAFETY: the section holds functions that the C library's start calls, before `main` and after the C library is ready.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

/// Of how many greenlets the report of a deadlock tells.
const MOST_AT_DEADLOCK: usize = 10_000;

/// Keeps functions, and no more: nothing of std is used that needs its start.
extern "C" fn before_main() {
    at_first_hub(begin);
    tell_at_deadlocks(|| dump_of_most(MOST_AT_DEADLOCK).to_string());
}

/// Called when the first hub has been made.
fn begin() {
    if let Ok(limit) = env::var("GREENLOOP_BLOCK_MS") {
        let begun = match limit.parse() {
            Ok(0) => Ok(()),
            Ok(limit) => detect(Duration::from_millis(limit)).start().map(drop),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
        };
        tell_failure("GREENLOOP_BLOCK_MS", begun);
    }
    if let Ok(name) = env::var("GREENLOOP_DUMP") {
        let signal = match name.trim_start_matches("SIG") {
            "USR1" => Some(SIGUSR1),
            "USR2" => Some(SIGUSR2),
            "QUIT" => Some(SIGQUIT),
            "HUP" => Some(SIGHUP),
            other => other.parse().ok(),
        };
        let begun = match signal {
            Some(signal) => dump_on(signal, |dump| report_text(&dump.to_string())),
            None => {
                let error = format!("'{name}' is none of USR1, USR2, QUIT and HUP, and no number");
                Err(io::Error::new(io::ErrorKind::InvalidInput, error))
            }
        };
        tell_failure("GREENLOOP_DUMP", begun);
    }
}

fn tell_failure(variable: &str, result: io::Result<()>) {
    if let Err(error) = result {
        report_text(&format!("{variable} is of no effect: {error}"));
    }
}
