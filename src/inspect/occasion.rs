//! When a recording is saved by itself.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use super::recording::Recording;
use crate::fiber::report_text;
use crate::hub::bystander::Bystander;
use crate::hub::fork;
use crate::sys::lock::Lock;
use crate::sys::os_thread::real;

/// Something after which one wants to know what went before. For [`Recorder::save_on`](super::Recorder::save_on).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Occasion {
    /// A panic, of any OS thread, also one that is caught. A kill is none.
    Panic,
    /// A report of the [detector](fn@super::detect) that a hub is kept.
    HubBlocked,
    /// A [time limit](crate::with_timeout) that has passed.
    TimeLimit,
}

struct Save {
    recording: u64,
    occasion: Occasion,
    path: PathBuf,
}

static SAVES: Lock<Vec<Save>> = Lock::new(Vec::new());
/// In which process there are some: one more than its generation, or 0 for none.
static EXPECTED: AtomicU32 = AtomicU32::new(0);

/// Has the recording of this number saved when that occurs next.
pub(super) fn expect(recording: u64, occasion: Occasion, path: &Path) -> io::Result<()> {
    static HOOK: Once = Once::new();
    let path = std::path::absolute(path)?;
    if occasion == Occasion::Panic {
        // Also after a call that could not set it, since its OS thread panicked.
        HOOK.call_once_force(|_| {
            let former = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                occurs(Occasion::Panic);
                former(panic);
            }));
        });
    }
    let mut saves = SAVES.lock();
    if !is_any_expected() {
        // What is there in the child of a fork is the parent's.
        saves.clear();
    }
    saves.push(Save { recording, occasion, path });
    EXPECTED.store(fork::generation() + 1, Ordering::SeqCst);
    Ok(())
}

/// The recording of this number has ended.
pub(super) fn expect_no_more(recording: u64) {
    if is_any_expected() {
        SAVES.lock().retain(|save| save.recording != recording);
    }
}

/// In the child of a fork nothing is: the lock may be one that an OS thread of the parent held.
fn is_any_expected() -> bool {
    EXPECTED.load(Ordering::SeqCst) == fork::generation() + 1
}

fn due(occasion: Occasion) -> Vec<Save> {
    if !is_any_expected() {
        return Vec::new();
    }
    SAVES.lock().extract_if(.., |save| save.occasion == occasion).collect()
}

/// It has occurred. Returns when what was to be saved is.
pub(super) fn occurs(occasion: Occasion) {
    save(due(occasion));
}

/// The same in a hub, which does not wait for that.
pub(super) fn occurs_in_hub(occasion: Occasion) {
    let due = due(occasion);
    if due.is_empty() {
        return;
    }
    let attend = move || {
        let _bystander = Bystander::begin();
        save(due);
    };
    if let Err(error) = real(|| thread::Builder::new().spawn(attend)) {
        report_text(&format!("a recording was not saved: {error}"));
    }
}

fn save(due: Vec<Save>) {
    for Save { recording, path, .. } in due {
        // Also where a green thread may not wait.
        if let Err(error) = real(|| write(recording, &path)) {
            report_text(&format!("a recording was not saved at {}: {error}", path.display()));
        }
    }
}

/// It is there whole, or not at all.
fn write(recording: u64, path: &Path) -> io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let mut file = BufWriter::new(File::create(&part)?);
    Recording::of(recording).write_perfetto(&mut file)?;
    file.flush()?;
    fs::rename(part, path)
}
