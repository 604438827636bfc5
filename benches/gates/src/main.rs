//! Instructions per operation of the paths that must stay short, counted by callgrind and held to `counts.txt`: if one has
//! grown by more than a twentieth, this fails. From the folder of the library:
//!
//!     cargo run --locked --profile gates --manifest-path benches/gates/Cargo.toml --target-dir target/gates
//!     cargo run --locked --profile gates --manifest-path benches/gates/Cargo.toml --target-dir target/gates -- --write
//!
//! The second writes what it counts, for a growth that is meant and for a gain that is to be kept. Valgrind is needed.
//!
//! Each path runs twice, in processes of their own, N times and 2 N times: the difference is N operations, without what begins
//! and ends a process. What the kernel does is not counted, so a path that calls it may grow slower unseen.

mod counts;
mod paths;

use std::process::{Child, Command, ExitCode, Stdio};

use counts::Counts;
use paths::{PATHS, Path};

/// N. Whole batches; the first of them, with all that is done once, is in both runs.
const OPERATIONS: usize = 10_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => check(),
        ["--write"] => write(),
        [name, times] => return run(name, times),
        _ => Err("no argument holds the counts to the committed ones, --write writes them".to_owned()),
    }
    .map_or_else(
        |reason| {
            eprintln!("{reason}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

/// What callgrind counts: one path, so many times.
fn run(name: &str, times: &str) -> ExitCode {
    let path = PATHS.iter().find(|path| path.name == name);
    let (Some(path), Ok(times)) = (path, times.parse()) else { return ExitCode::FAILURE };
    (path.run)(times);
    ExitCode::SUCCESS
}

fn write() -> Result<(), String> {
    let counts = Counts { compiler: compiler()?, of_paths: count_all()? };
    counts.print();
    counts.write()
}

fn check() -> Result<(), String> {
    let committed = Counts::read()?;
    let counts = Counts { compiler: compiler()?, of_paths: count_all()? };
    let grown = counts.compare(&committed);
    if grown.is_empty() {
        return Ok(());
    }
    let mut reason = format!("grown by more than 5 %: {}", grown.join(", "));
    if counts.compiler != committed.compiler {
        reason += &format!(
            "\nthe committed counts are those of {}, these are of {}: if the code before the change grows alike, write them anew",
            committed.compiler, counts.compiler
        );
    }
    Err(reason)
}

/// The version of the compiler, by its own words.
fn compiler() -> Result<String, String> {
    let output =
        Command::new("rustc").arg("--version").output().map_err(|error| format!("rustc: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The instructions of one operation of each path.
fn count_all() -> Result<Vec<(String, f64)>, String> {
    PATHS.iter().map(|path| Ok((path.name.to_owned(), count(path)?))).collect()
}

fn count(path: &Path) -> Result<f64, String> {
    // Both at once, for there may be two processors.
    let [once, twice] = [1, 2].map(|factor| start(path, factor * OPERATIONS));
    let (once, twice) = (instructions(once?)?, instructions(twice?)?);
    Ok((twice as f64 - once as f64) / OPERATIONS as f64)
}

/// This program under callgrind.
fn start(path: &Path, times: usize) -> Result<Child, String> {
    Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().map_err(|error| error.to_string())?)
        .args([path.name, &times.to_string()])
        .env_remove("GREENLOOP_DRIVER")
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("valgrind: {error}"))
}

/// Waits for it; the number in the line `==pid== Collected : number`.
fn instructions(run: Child) -> Result<u64, String> {
    let output = run.wait_with_output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    collected.filter(|_| output.status.success()).ok_or_else(|| format!("{}: {text}", output.status))
}
