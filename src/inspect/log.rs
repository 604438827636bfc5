//! A recording that is written to a file while it goes on.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::names::Names;
use super::perfetto::{Trace, Track};
use super::ring::{self, Chapter, Event, Kind, Ring, Scribe};
use super::story::{Story, Wakes};
use crate::hub::bystander::Bystander;
use crate::sys::clock::Time;
use crate::sys::futex;
use crate::sys::os_thread::real;

/// At most 15 bytes, which is what the kernel shows.
const THREAD_NAME: &str = "greenloop-trace";
/// How long it rests between two looks at the rings, at least and at most: less if they fill.
const SHORTEST_REST: Duration = Duration::from_millis(1);
const LONGEST_REST: Duration = Duration::from_millis(50);
/// Which part of a ring may fill between two looks.
const PARTS: u64 = 8;
/// What is added to the name of the file before the last.
const FORMER: &str = ".1";

/// The OS thread that writes it.
#[derive(Debug)]
pub(super) struct Log {
    ended: Arc<AtomicU32>,
    lost: Arc<AtomicU64>,
    process: u32,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Log {
    /// Begins to write the recording of this number to the file at `path`, and when it is half as long as this, to another one.
    pub(super) fn begin(recording: u64, path: &Path, most_bytes: u64) -> io::Result<Log> {
        let (ended, lost) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU64::new(0)));
        let mut writer = Writer::begin(recording, path, most_bytes / 2, lost.clone())?;
        let is_ended = ended.clone();
        let attend = move || writer.attend(&is_ended, &Bystander::begin());
        let thread = real(|| thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(attend))?;
        Ok(Log { ended, lost, process: std::process::id(), thread: Some(thread) })
    }

    /// How many events were overwritten before they were written.
    pub(super) fn lost(&self) -> u64 {
        // Relaxed: a number, which stands for nothing else.
        self.lost.load(Ordering::Relaxed)
    }

    /// Has the rest written, when no hub writes any more, and waits for that. Nothing in the child of a fork, or the second time.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let Some(thread) = self.thread.take().filter(|_| self.process == std::process::id()) else {
            return Ok(());
        };
        self.ended.store(1, Ordering::SeqCst);
        futex::wake(&self.ended);
        real(|| thread.join())
            .unwrap_or_else(|_| Err(io::Error::other("the writer of a recording has panicked")))
    }
}

/// How far a ring has been read.
struct Reading {
    ring: &'static Ring,
    next: u64,
    /// The time of the last event, and the key of who has written it.
    last: Option<(u64, u64)>,
}

/// A hub of which events were read.
struct Hub {
    ring: &'static Ring,
    scribe: Scribe,
    story: Story,
    track: Option<Track>,
    names: Names,
    /// How many names had been noted when these were read.
    noted: u64,
    /// Another one writes to its ring.
    has_ended: bool,
}

struct Writer {
    recording: u64,
    path: PathBuf,
    most_bytes: u64,
    trace: Trace<BufWriter<File>>,
    readings: Vec<Reading>,
    /// By keys, the later ones of which are greater.
    hubs: BTreeMap<u64, Hub>,
    wakes: Wakes,
    /// What has been read, with the key of the hub. What is still to be read may have happened before.
    pending: Vec<(u64, Event)>,
    lost: Arc<AtomicU64>,
    rest: Duration,
}

impl Writer {
    fn begin(recording: u64, path: &Path, most_bytes: u64, lost: Arc<AtomicU64>) -> io::Result<Writer> {
        // The same file, whatever becomes of the working folder.
        let path = std::path::absolute(path)?;
        let trace = Trace::begin(BufWriter::new(File::create(&path)?))?;
        Ok(Writer {
            recording,
            path,
            most_bytes,
            trace,
            readings: Vec::new(),
            hubs: BTreeMap::new(),
            wakes: Wakes::default(),
            pending: Vec::new(),
            lost,
            rest: LONGEST_REST,
        })
    }

    fn attend(&mut self, ended: &AtomicU32, bystander: &Bystander) -> io::Result<()> {
        while ended.load(Ordering::SeqCst) == 0 {
            let until = Time::now().nanoseconds();
            self.read();
            self.tell(until)?;
            bystander.rest(|| futex::wait(ended, 0, Some(self.rest)));
        }
        self.read();
        self.tell(u64::MAX)
    }

    /// Takes from the rings what is new.
    fn read(&mut self) {
        let mut is_filling = false;
        let recording = self.recording;
        for ring in ring::all().filter(|ring| ring.belongs_to(recording)) {
            let known = self.readings.iter().position(|reading| ptr::eq(reading.ring, ring));
            let place = known.unwrap_or(self.readings.len());
            if known.is_none() {
                self.readings.push(Reading { ring, next: 0, last: None });
            }
            let before = self.readings[place].next;
            for chapter in ring.read(before) {
                self.take(place, chapter);
            }
            is_filling |= self.readings[place].next - before > ring.capacity() as u64 / PARTS;
        }
        let rest = if is_filling { self.rest / 2 } else { self.rest * 2 };
        self.rest = rest.clamp(SHORTEST_REST, LONGEST_REST);
    }

    fn take(&mut self, place: usize, Chapter { scribe, first, events }: Chapter) {
        let reading = &mut self.readings[place];
        let Some(newest) = events.last().map(|event| event.time) else { return };
        let last = reading.last.filter(|(_, key)| self.hubs.contains_key(key));
        if let Some((time, key)) = last
            && first > reading.next
        {
            // Relaxed: as in `lost`.
            self.lost.fetch_add(first - reading.next, Ordering::Relaxed);
            // Nobody knows how long he went on who ran.
            self.pending.push((key, Event { time, kind: Kind::Sleep, id: 0, code: 0 }));
        }
        let former = last.map(|(_, key)| key);
        let key = match former.filter(|key| self.hubs[key].scribe == scribe) {
            Some(key) => key,
            None => {
                if let Some(hub) = former.and_then(|key| self.hubs.get_mut(&key)) {
                    hub.has_ended = true;
                }
                let key = self.hubs.last_key_value().map_or(0, |(last, _)| last + 1);
                let story = Story::of_hub(scribe.hub);
                let ring = reading.ring;
                let (names, noted, has_ended) = (Names::default(), 0, false);
                self.hubs.insert(key, Hub { ring, scribe, story, track: None, names, noted, has_ended });
                key
            }
        };
        (reading.next, reading.last) = (first + events.len() as u64, Some((newest, key)));
        self.pending.extend(events.into_iter().map(|event| (key, event)));
    }

    /// Writes what has happened until then: who calls another hub is heard before that one wakes.
    fn tell(&mut self, until: u64) -> io::Result<()> {
        self.pending.sort_by_key(|(_, event)| event.time);
        let count = self.pending.partition_point(|(_, event)| event.time <= until);
        for (key, event) in self.pending.drain(..count) {
            if let Some(hub) = self.hubs.get_mut(&key) {
                hub.story.hear(&event, &mut self.wakes);
            }
        }
        if self.trace.bytes() > self.most_bytes {
            self.turn_over()?;
        }
        let pending = &self.pending;
        let is_over = |key: &u64, hub: &Hub| {
            until == u64::MAX || hub.has_ended && pending.iter().all(|(pending, _)| pending != key)
        };
        for (key, hub) in &mut self.hubs {
            if is_over(key, hub) {
                hub.story.close();
            }
            hub.write(&mut self.trace)?;
        }
        self.hubs.retain(|key, hub| !is_over(key, hub));
        self.trace.flush()
    }

    /// Goes on in another file, in place of the one before the last.
    fn turn_over(&mut self) -> io::Result<()> {
        let mut former = self.path.clone().into_os_string();
        former.push(FORMER);
        fs::rename(&self.path, former)?;
        self.trace = Trace::begin(BufWriter::new(File::create(&self.path)?))?;
        self.hubs.values_mut().for_each(|hub| hub.track = None);
        Ok(())
    }
}

impl Hub {
    fn write(&mut self, trace: &mut Trace<BufWriter<File>>) -> io::Result<()> {
        self.story.waits.clear();
        if let Some((names, noted)) = self.ring.names_after(self.noted) {
            (self.names, self.noted) = (Names::from(names), noted);
        }
        for slice in self.story.slices.drain(..) {
            let track = match &mut self.track {
                Some(track) => track,
                none => none.insert(trace.add_track(&self.scribe, slice.start)?),
            };
            trace.write_slice(track, &slice, &self.names)?;
        }
        Ok(())
    }
}
