//! A dump whenever a signal comes.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::dump::Dump;
use super::history::keep_history;
use super::options::DumpOptions;
use crate::fiber::catch;
use crate::hub::bystander::Bystander;
use crate::hub::{hub, make_own_hub};
use crate::signal::Signals;
use crate::sys::os_thread::real;
use crate::task::yield_now;

/// At most 15 bytes, which is what the kernel shows.
const THREAD_NAME: &str = "greenloop-dump";
/// While reports have left green threads, after so long it is looked whether they still are there.
const PAUSE: Duration = Duration::from_secs(1);

/// Has `report` called with a dump of all hubs, with backtraces, whenever `signal` comes.
///
/// An OS thread of its own waits for the signal, takes the dump and calls `report`, so it comes also while a hub is kept, or all are. It is
/// there for as long as the process is. It is no reason for a hub to wait: a [`LoopExit`](crate::LoopExit) comes as without it, so let
/// nobody wait for what `report` sends. A signal that comes while a dump is taken has one more taken after it. What `report` raises goes
/// to the hook of [`set_uncaught_hook`](crate::hub::set_uncaught_hook). The child of a fork has no such thread.
///
/// From now on hubs [keep](super::keep_history) since when each waits, and who spawns whom.
///
/// With the environment variable `GREENLOOP_DUMP`, which is `USR1`, `USR2`, `QUIT`, `HUP` or the number of a signal, the first hub of the
/// process has such dumps written to standard error, or told to that hook, by itself.
///
/// Returns when the signal is listened to. It blocks for that, and does not yield.
///
/// # Errors
///
/// `InvalidInput` if the signal cannot be listened to. Those of making an OS thread and its hub.
///
/// # Examples
///
/// A program that tells on standard error what it does, at `kill -USR1`:
///
/// ```
/// use greenloop::{inspect, signal::SIGUSR1};
///
/// inspect::dump_on(SIGUSR1, |dump| eprintln!("{dump}"))?;
/// assert!(inspect::dump_on(9, |_| ()).is_err()); // no process can handle SIGKILL
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn dump_on(signal: i32, report: impl FnMut(&Dump) + Send + 'static) -> io::Result<()> {
    keep_history(true);
    let (sender, answer) = mpsc::channel();
    let attend = move || {
        make_own_hub();
        match Signals::new([signal]) {
            Ok(signals) => {
                let bystander = Bystander::begin();
                let _ = sender.send(Ok(()));
                attend(&signals, report, &bystander)
            }
            Err(error) => drop(sender.send(Err(error))),
        }
    };
    real(|| {
        thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(attend)?;
        answer.recv().unwrap_or(Err(io::ErrorKind::Other.into()))
    })
}

fn attend(signals: &Signals, mut report: impl FnMut(&Dump), bystander: &Bystander) -> ! {
    loop {
        wait(signals, bystander);
        let mut options = DumpOptions::new();
        let dump = options.all_hubs(true).backtraces(true).take();
        catch("the report of a dump on a signal", || report(&dump));
    }
}

/// Until a signal has come.
fn wait(signals: &Signals, bystander: &Bystander) {
    let mut came = signals.try_next();
    while came.is_none() {
        // Whoever a report has spawned goes on meanwhile.
        if hub().load().alive > 0 {
            came = signals.next_timeout(PAUSE);
        } else {
            bystander.rest(|| hub().door().sleep(None));
            // The hub looks what there is.
            yield_now();
            came = signals.try_next();
        }
    }
}
