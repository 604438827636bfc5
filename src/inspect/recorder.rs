//! What the hubs have done of late.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::codes;
use super::ring::{self, Event};
use super::watcher::{MAIN, begin_recording, end_recording};

/// What an event takes in memory.
const BYTES_PER_EVENT: usize = 16;
const LEAST_EVENTS: usize = 1024;

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
}

impl Recorder {
    /// Starts to record, with a ring of `bytes` for each hub. 16 bytes are an event, and a switch is two. Hubs other than the calling
    /// thread's begin when they next look for letters. Does not yield.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if another one records: there is one at a time in a process.
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
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        // Relaxed: only uniqueness counts.
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let events = (bytes / BYTES_PER_EVENT).max(LEAST_EVENTS).next_power_of_two();
        if !begin_recording(number, events) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "another recorder runs"));
        }
        Ok(Recorder { number })
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
        let rings = ring::all().filter(|ring| ring.belongs_to(self.number));
        let hub = |ring: &ring::Ring| HubRecording {
            thread: ring.thread(),
            // Relaxed would do: it belongs to the ring's recording, which was seen.
            thread_id: ring.thread_id.load(Ordering::SeqCst),
            events: ring.read(),
            names: ring.names(),
        };
        Recording { hubs: rings.map(hub).collect() }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        end_recording(self.number);
    }
}

/// What one hub did.
#[derive(Clone)]
pub(super) struct HubRecording {
    pub(super) thread: String,
    pub(super) thread_id: u32,
    pub(super) events: Vec<Event>,
    names: HashMap<u64, Arc<str>>,
}

impl HubRecording {
    pub(super) fn has_name(&self, id: u64) -> bool {
        self.names.contains_key(&id)
    }

    /// Who it is: its name, or its place of spawn.
    pub(super) fn name(&self, id: u64, place: u16) -> String {
        match (self.names.get(&id), codes::place(place)) {
            (Some(name), _) => name.to_string(),
            (None, Some(place)) => format!("{}:{}", place.file(), place.line()),
            (None, None) if place == MAIN => "main".to_owned(),
            (None, None) => "a greenlet".to_owned(),
        }
    }
}

/// What hubs did, to be written as a file. [`Recorder::snapshot`] returns it.
#[derive(Clone)]
pub struct Recording {
    pub(super) hubs: Vec<HubRecording>,
}

impl Recording {
    /// Returns how many events it has.
    ///
    /// # Examples
    ///
    /// ```
    /// let recorder = greenloop::inspect::Recorder::start(0)?;
    /// let before = recorder.snapshot().events();
    /// greenloop::spawn(|| ()).join().unwrap();
    /// assert!(recorder.snapshot().events() > before);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn events(&self) -> usize {
        self.hubs.iter().map(|hub| hub.events.len()).sum()
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Recording").field("events", &self.events()).finish_non_exhaustive()
    }
}
