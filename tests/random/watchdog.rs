//! Ends the process when a program does not end, and says where everybody is.

use std::env;
use std::process;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

use super::program::Program;
use super::world::{World, locked, replaced, taken};

/// What the process says before it ends itself.
pub(crate) const HANG: &str = "hang";
/// How many seconds a program may take. They take milliseconds; but the machine may be busy, and a check waits for seconds for
/// what does not come.
pub(crate) const PATIENCE: &str = "GREENLOOP_RANDOM_PATIENCE";
const DEFAULT_PATIENCE: u64 = 30;

static WATCHED: Mutex<Option<Watched>> = Mutex::new(None);
static WATCHDOG: Once = Once::new();

struct Watched {
    text: String,
    world: Arc<World>,
    since: Instant,
}

/// A program is watched until this is dropped.
pub(crate) struct Watch;

pub(crate) fn watch(program: &Program, world: &Arc<World>) -> Watch {
    WATCHDOG.call_once(|| drop(thread::spawn(look)));
    let watched = Watched { text: program.to_string(), world: world.clone(), since: Instant::now() };
    drop(replaced(&WATCHED, watched));
    Watch
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(taken(&WATCHED));
    }
}

/// How long a program may take.
pub(crate) fn patience() -> Duration {
    let patience =
        env::var(PATIENCE).ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(DEFAULT_PATIENCE);
    Duration::from_secs(patience)
}

fn look() {
    let patience = patience();
    loop {
        thread::sleep(Duration::from_millis(100));
        let watched = locked(&WATCHED);
        if let Some(watched) = watched.as_ref().filter(|watched| watched.since.elapsed() > patience) {
            println!("fault {HANG}: no end after {patience:?}");
            println!("{}", annotated(&watched.text, &watched.world));
            process::abort();
        }
    }
}

/// The program, with the number of those who are in a step at its line.
fn annotated(text: &str, world: &World) -> String {
    let line = |(line, inside): (&str, &std::sync::atomic::AtomicU32)| match inside.load(SeqCst) {
        0 => format!("{line}\n"),
        count => format!("{line:40} # {count} here\n"),
    };
    text.lines().zip(&world.inside).map(line).collect()
}
