//! What examples have in common as programs: standard output that may be gone, arguments, and an end that says why.

#![allow(dead_code, unused_macros, unused_imports, reason = "each example takes what it needs")]

use std::error::Error;
use std::fmt::{Arguments, Display};
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

/// Prints a line as `println!` does, but ends the program where that panics: see [`written`].
macro_rules! say {
    ($($text:tt)*) => {
        $crate::tool::say_line(format_args!($($text)*))
    };
}

/// Prints a line to standard error as `eprintln!` does, but does without where that panics.
macro_rules! complain {
    ($($text:tt)*) => {
        $crate::tool::complain_line(format_args!($($text)*))
    };
}
pub(crate) use {complain, say};

pub(crate) fn say_line(line: Arguments<'_>) {
    written(writeln!(io::stdout(), "{line}"));
}

pub(crate) fn complain_line(line: Arguments<'_>) {
    // Nobody is left to be told.
    let _ = writeln!(io::stderr(), "{}: {line}", name());
}

/// Ends the program if standard output could not be written. It has done well if its reader has seen enough, as with `| head`.
pub(crate) fn written(result: io::Result<()>) {
    match result {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            complain!("cannot write the results: {error}");
            std::process::exit(1);
        }
    }
}

/// In debug builds, has standard error told if something keeps a hub, and so all others, for half a second. Called by
/// each example that calls one of the two functions below.
fn watch() {
    if cfg!(debug_assertions) {
        // Dropped it goes on. A second one is refused, and one is enough.
        drop(greenloop::inspect::detect(Duration::from_millis(500)).start());
    }
}

/// Runs a tool; its error becomes a line on standard error and the exit code 1.
pub(crate) fn run<E: Display>(tool: impl FnOnce() -> Result<(), E>) -> ExitCode {
    watch();
    match tool() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// For an example without arguments: prints its header if help is asked for, and refuses anything else.
///
/// `source` is the example itself.
pub(crate) fn takes_no_arguments(source: &str) {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match &arguments[..] {
        [] => watch(),
        [help] if help == "--help" || help == "-h" => {
            let header = source.lines().map_while(|line| line.strip_prefix("//!"));
            header.for_each(|line| say!("{}", line.strip_prefix(' ').unwrap_or(line)));
            std::process::exit(0);
        }
        [first, ..] => {
            complain!("unexpected argument {first:?}: this example takes none but --help");
            std::process::exit(2);
        }
    }
}

/// Reads an address to listen at or to connect to, `HOST:PORT`; the host is looked up when it is used.
pub(crate) fn address(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').ok_or("no port: expected HOST:PORT")?;
    let port: Result<u16, _> = port.parse();
    port.map_err(|error| format!("expected HOST:PORT, and the port is wrong: {error}"))?;
    let is_whole =
        !host.is_empty() && (!host.contains(':') || (host.starts_with('[') && host.ends_with(']')));
    is_whole.then(|| text.to_owned()).ok_or_else(|| "expected HOST:PORT, or [IPV6]:PORT".to_owned())
}

/// An error that says what was tried.
pub(crate) fn failed_to(what: impl Display) -> impl FnOnce(io::Error) -> Box<dyn Error> {
    move |error| format!("cannot {what}: {error}").into()
}

/// What the program was called by.
fn name() -> String {
    let path = std::env::args_os().next().map(std::path::PathBuf::from);
    let name = path.as_ref().and_then(|path| path.file_name());
    name.map_or_else(|| "example".to_owned(), |name| name.to_string_lossy().into_owned())
}
