//! What the hubs have done of late.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::log::Log;
use super::occasion::{Occasion, expect, expect_no_more};
use super::recording::Recording;
use super::watcher::{begin_recording, end_recording};

/// What an event takes in memory.
const BYTES_PER_EVENT: usize = 16;
const LEAST_EVENTS: usize = 1024;
/// The ring of a hub whose events are written to a file.
const BYTES_BESIDE_FILE: usize = 4 << 20;

/// Has all hubs of the process write down what they do, until it is dropped: who runs, who waits and on what, who woke whom, who ends. Each
/// hub keeps the last of that in a ring of its own, so it may go on for ever.
///
/// A switch takes about twice the time of a look at the clock more meanwhile, and nothing when it is over. The memory of a ring is kept
/// for the next recording. The child of a fork records nothing.
///
/// # Examples
///
/// The last that happened before a panic, for <https://ui.perfetto.dev>:
///
/// ```
/// use greenloop::inspect::Recorder;
/// use std::{fs::File, io::BufWriter, panic, sync::Arc};
///
/// let recorder = Arc::new(Recorder::start(1 << 20)?);
/// let seen = recorder.clone();
/// # let path = std::env::temp_dir().join(format!("greenloop-doc-{}.json", std::process::id()));
/// # let of_hook = path.clone();
/// panic::set_hook(Box::new(move |panic| {
///     eprintln!("{panic}");
/// #   let path = &of_hook;
///     if let Ok(file) = File::create(path) {
///         let _ = seen.snapshot().write_json(BufWriter::new(file));
///     }
/// }));
///
/// assert!(greenloop::spawn(|| panic!("on purpose")).join().is_err());
/// assert!(std::fs::read_to_string(&path)?.contains("\"traceEvents\""));
/// # drop(panic::take_hook());
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Recorder {
    number: u64,
    log: Option<Log>,
}

impl Recorder {
    /// Starts to record, with a ring of `bytes` for each hub. 16 bytes are an event, and a switch is two. Hubs other than the calling
    /// thread's begin when they next look for letters. Does not yield.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if another one records: there is one at a time in a process. `InvalidInput` if `bytes` is more than any memory has.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::inspect::Recorder;
    ///
    /// let recorder = Recorder::start(1 << 20)?;
    /// assert!(Recorder::start(1 << 20).is_err());
    /// drop(recorder);
    /// assert!(Recorder::start(1 << 20).is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn start(bytes: usize) -> io::Result<Recorder> {
        begin(bytes).map(|number| Recorder { number, log: None })
    }

    /// Starts to record, as [`start`](Recorder::start), and writes all of it to the file at `path` in Perfetto's format, while it goes on. When
    /// the file is half as long as `most_bytes`, it gets the suffix `.1`, in place of the one before, and another one begins. So both
    /// together tell of the time until now, and grow no further. Does not yield.
    ///
    /// An OS thread of its own writes, twenty times a second or more often; it is no reason for a hub to wait. Each hub has a ring of 4 MiB.
    /// What is overwritten in that before it is written, in a process whose processors are all at work, is [counted](Recorder::lost). When
    /// the recorder is dropped, the rest is written, which blocks. The child of a fork writes nothing.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Recorder::start), of making the file, and of making an OS thread. Those of writing later end the file, and are
    /// returned by [`finish`](Recorder::finish).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::inspect::Recorder;
    ///
    /// # let path = std::env::temp_dir().join(format!("greenloop-doc-file-{}", std::process::id()));
    /// let recorder = Recorder::file(&path, 64 << 20)?;
    /// greenloop::Builder::new().name("worker").spawn(|| ())?.join().unwrap();
    /// recorder.finish()?;
    /// assert!(std::fs::read(&path)?.windows(6).any(|name| name == b"worker"));
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn file(path: impl AsRef<Path>, most_bytes: u64) -> io::Result<Recorder> {
        let number = begin(BYTES_BESIDE_FILE)?;
        match Log::begin(number, path.as_ref(), most_bytes) {
            Ok(log) => Ok(Recorder { number, log: Some(log) }),
            Err(error) => {
                end_recording(number);
                Err(error)
            }
        }
    }

    /// Ends the recording. If it goes to a file, blocks until the rest is written. Does not yield.
    ///
    /// # Errors
    ///
    /// The first one of writing the file.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::inspect::Recorder;
    ///
    /// let full = Recorder::file("/dev/full", 1 << 20)?;
    /// assert_eq!(full.finish().unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    /// assert!(Recorder::start(0)?.finish().is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn finish(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        end_recording(self.number);
        expect_no_more(self.number);
        self.log.take().map_or(Ok(()), |mut log| log.end())
    }

    /// Returns how many events are missing in the file, since they were overwritten too early. 0 if there is no file.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::inspect::Recorder::start(0)?.lost(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn lost(&self) -> u64 {
        self.log.as_ref().map_or(0, Log::lost)
    }

    /// Returns what the rings hold now, while the recording goes on.
    ///
    /// It reads them from outside: it may be called anywhere, on any OS thread, also while a green thread keeps its hub. So what a hub has
    /// done up to now is seen in a panic hook, and in a report of who keeps it. Does not yield.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect::Recorder, spawn, yield_now};
    ///
    /// let recorder = Recorder::start(1 << 20)?;
    /// spawn(yield_now).join().unwrap();
    /// assert!(recorder.snapshot().events() >= 4); // it began, yielded, went on, ended
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn snapshot(&self) -> Recording {
        Recording::of(self.number)
    }

    /// Saves a [snapshot](Recorder::snapshot) in Perfetto's format at `path` when that occurs next, once. Call it again, from there or later, to
    /// have it saved again. Does not yield.
    ///
    /// After a panic it is saved by a hook, before the one that was set when this was first called, and not if somebody has set another one
    /// since. After a time limit an OS thread of its own saves it. Who ends the recorder before, has nothing saved, and neither has the
    /// child of a fork. That it could not be saved is told by the hook of [`set_uncaught_hook`](crate::hub::set_uncaught_hook).
    ///
    /// # Errors
    ///
    /// That of an empty path, or of a working folder that is gone.
    ///
    /// # Panics
    ///
    /// For [`Occasion::Panic`] while the OS thread panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::inspect::{Occasion, Recorder};
    ///
    /// # let path = std::env::temp_dir().join(format!("greenloop-doc-save-{}", std::process::id()));
    /// let recorder = Recorder::start(1 << 20)?;
    /// recorder.save_on(Occasion::Panic, &path)?;
    /// let failing = greenloop::Builder::new().name("failing").spawn(|| panic!("on purpose"))?;
    /// assert!(failing.join().is_err());
    /// assert!(std::fs::read(&path)?.windows(7).any(|name| name == b"failing"));
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn save_on(&self, occasion: Occasion, path: impl AsRef<Path>) -> io::Result<()> {
        expect(self.number, occasion, path.as_ref())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Who wants to know how it went asks before.
        let _ended = self.end();
    }
}

/// Begins a recording with rings of so many bytes, and returns its number.
fn begin(bytes: usize) -> io::Result<u64> {
    static NUMBERS: AtomicU64 = AtomicU64::new(1);
    // Relaxed: only uniqueness counts.
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    let events = (bytes / BYTES_PER_EVENT).max(LEAST_EVENTS).next_power_of_two();
    if events > isize::MAX as usize / BYTES_PER_EVENT {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no memory is as large as such a ring"));
    }
    if begin_recording(number, events) {
        Ok(number)
    } else {
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "another recorder runs"))
    }
}
