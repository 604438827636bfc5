//! Runs programs in a child process, and tells what became of them.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, Stdio};
use std::{env, io, thread};

use super::check::{check, install_hooks};
use super::generate::generate;
use super::program::{Patch, Program, parse};
use super::support::this_program;
use super::watchdog;
use super::world::Fault;

use greenloop::hub::Driver;

/// Verbs to leave out, with commas between them: while a fault is known that they show.
const WITHOUT: &str = "GREENLOOP_RANDOM_WITHOUT";

/// What is left out unless somebody says otherwise: without the feature nobody is isolated.
const STANDING: &str = if cfg!(feature = "monkey") { "" } else { "spawn-isolated" };
/// The first argument of a child that runs the programs of seeds.
const SEEDS: &str = "child-seeds";
/// The first argument of a child that runs the program that it reads.
const TEXT: &str = "child-text";

/// How programs ended.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Of the program that failed, if they came from seeds.
    pub(crate) seed: Option<u64>,
    /// The first fault, or the signal.
    pub(crate) kind: String,
    /// All that was said.
    pub(crate) report: String,
}

/// Which programs a seed stands for.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) drivers: Vec<Driver>,
    /// Verbs to leave out.
    pub(crate) without: Vec<String>,
}

impl Setting {
    pub(crate) fn new() -> Setting {
        let all = [Driver::Epoll, Driver::Poll, Driver::IoUring];
        let drivers = match env::var("GREENLOOP_DRIVER").as_deref() {
            Ok("epoll") => vec![Driver::Epoll],
            Ok("poll") => vec![Driver::Poll],
            Ok("io_uring") => vec![Driver::IoUring],
            _ => all.to_vec(),
        };
        let without = env::var(WITHOUT).unwrap_or_else(|_| STANDING.to_owned());
        Setting { drivers, without: without.split(',').map(str::to_owned).collect() }
    }

    pub(crate) fn program(&self, seed: u64) -> Program {
        // A process is patched for good, so all seeds of a batch are.
        let patch = match (seed / BATCH) % 4 {
            1 if cfg!(feature = "monkey") => Patch::Functions,
            3 if cfg!(feature = "monkey") => Patch::All,
            _ => Patch::Nothing,
        };
        generate(seed, patch, self)
    }
}

/// How many seeds a child runs, at most.
pub(crate) const BATCH: u64 = 64;

/// Runs the programs of the seeds from `first` to the end of its batch, in one child.
pub(crate) fn try_seeds(first: u64) -> io::Result<Result<(), Failure>> {
    run(&[SEEDS, &first.to_string()], "", None)
}

/// Runs a program so many times, in one child; each may take so many seconds.
pub(crate) fn try_program(
    program: &Program,
    times: usize,
    patience: Option<u64>,
) -> io::Result<Result<(), Failure>> {
    run(&[TEXT, &times.to_string()], &program.to_string(), patience)
}

fn run(arguments: &[&str], input: &str, patience: Option<u64>) -> io::Result<Result<(), Failure>> {
    let mut child = this_program()
        .args(arguments)
        .envs(patience.map(|seconds| (watchdog::PATIENCE, seconds.to_string())))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    if let Some(mut stdin) = stdin {
        stdin.write_all(input.as_bytes())?;
    }
    let errors = thread::spawn(move || read(stderr));
    let output = read(stdout);
    let status = child.wait()?;
    if status.success() {
        return Ok(Ok(()));
    }
    let errors = errors.join().unwrap_or_default();
    let find = |what: &str| output.lines().filter_map(|line| line.strip_prefix(what)).next_back();
    let seed = find("seed ").and_then(|seed| seed.parse().ok());
    let told = output.lines().find_map(|line| line.strip_prefix("fault "));
    let kind = match (told, status.signal()) {
        (Some(told), _) => told.split(':').next().unwrap_or(told).to_owned(),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => format!("{status}"),
    };
    let said = output.lines().skip_while(|line| line.starts_with("seed "));
    let report = format!("{status}\n{}\n{errors}", said.collect::<Vec<_>>().join("\n"));
    Ok(Err(Failure { seed, kind, report }))
}

fn read(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    // What came before an error is worth having.
    let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a child does, if this is one.
pub(crate) fn child(arguments: &[String]) -> Option<ExitCode> {
    let [kind, number] = arguments else { return None };
    let number: u64 = number.parse().ok()?;
    match kind.as_str() {
        SEEDS => {
            let setting = Setting::new();
            prepare(setting.program(number).patch);
            for seed in number..(number / BATCH + 1) * BATCH {
                println!("seed {seed}");
                if let Some(code) = told(&check(&setting.program(seed))) {
                    return Some(code);
                }
            }
        }
        TEXT => {
            let mut text = String::new();
            let program = io::stdin().read_to_string(&mut text).map_err(|error| error.to_string());
            let program = match program.and_then(|_| parse(&text)) {
                Ok(program) => program,
                Err(error) => {
                    eprintln!("{error}");
                    return Some(ExitCode::from(2));
                }
            };
            prepare(program.patch);
            for _ in 0..number {
                if let Some(code) = told(&check(&program)) {
                    return Some(code);
                }
            }
        }
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

fn prepare(patch: Patch) {
    install_hooks();
    #[cfg(feature = "monkey")]
    match patch {
        Patch::Nothing => {}
        Patch::Functions => {
            use greenloop::monkey::{Parts, patch};
            patch(Parts::ALL - Parts::THREAD_LOCALS);
        }
        Patch::All => {
            greenloop::monkey::patch_all();
        }
    }
    #[cfg(not(feature = "monkey"))]
    let _ = patch;
}

fn told(faults: &[Fault]) -> Option<ExitCode> {
    for fault in faults {
        println!("fault {}: {}", fault.kind, fault.detail);
    }
    (!faults.is_empty()).then_some(ExitCode::FAILURE)
}
