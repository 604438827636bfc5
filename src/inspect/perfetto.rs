//! A recording as Perfetto's own format: `perfetto.protos.Trace`, written by hand.

use std::collections::HashMap;
use std::io::{self, Write};

use super::names::Names;
use super::recording::Recording;
use super::ring::Scribe;
use super::story::Slice;

// Fields of `Trace` and of `TracePacket`.
const PACKET: u32 = 1;
const CLOCKS: u32 = 6;
const TIMESTAMP: u32 = 8;
const SEQUENCE: u32 = 10;
const TRACK_EVENT: u32 = 11;
const INTERNED_DATA: u32 = 12;
const SEQUENCE_FLAGS: u32 = 13;
const DEFAULTS: u32 = 59;
const TRACK_DESCRIPTOR: u32 = 60;
// Of `TrackDescriptor`, `ProcessDescriptor` and `ThreadDescriptor`.
const UUID: u32 = 1;
const PROCESS: u32 = 3;
const THREAD: u32 = 4;
const PARENT: u32 = 5;
const PROCESS_ID: u32 = 1;
const PROCESS_NAME: u32 = 6;
const THREAD_ID: u32 = 2;
const THREAD_NAME: u32 = 5;
// Of `ClockSnapshot` and its `Clock`, and the numbers of clocks.
const CLOCK: u32 = 1;
const CLOCK_ID: u32 = 1;
const CLOCK_TIME: u32 = 2;
const IS_INCREMENTAL: u32 = 3;
/// What times are of that say nothing else.
const BOOT_TIME: u64 = 6;
/// One of those that each sequence has of its own: here what has passed since the packet before.
const SINCE_LAST: u64 = 64;
// Of `TracePacketDefaults` and `TrackEventDefaults`.
const DEFAULT_CLOCK: u32 = 58;
const DEFAULT_EVENT: u32 = 11;
// Of `TrackEvent`, which has its track in common with its defaults, and values of its type.
const TYPE: u32 = 9;
const NAME_ID: u32 = 10;
const TRACK: u32 = 11;
const FLOWS: u32 = 47;
const ENDING_FLOWS: u32 = 48;
const SLICE_BEGIN: u64 = 1;
const SLICE_END: u64 = 2;
const INSTANT: u64 = 3;
// Of `InternedData` and `EventName`.
const EVENT_NAMES: u32 = 2;
const ID: u32 = 1;
const NAME: u32 = 2;
// Of `SequenceFlags`.
const CLEARED: u64 = 1;
const NEEDED: u64 = 2;

/// A message that is being made.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(mut self, field: u32, value: u64) -> Message {
        self.varint(u64::from(field) << 3);
        self.varint(value);
        self
    }

    fn fixed(mut self, field: u32, value: u64) -> Message {
        self.varint(u64::from(field) << 3 | 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u32, value: &[u8]) -> Message {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn message(self, field: u32, value: Message) -> Message {
        self.bytes(field, &value.0)
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

impl Recording {
    /// Writes it as Perfetto's own format, which <https://ui.perfetto.dev> and its trace processor open. It is a tenth as long as the
    /// JSON, and has no lines of waits.
    ///
    /// # Errors
    ///
    /// Those of `writer`.
    ///
    /// # Examples
    ///
    /// ```
    /// let recorder = greenloop::inspect::Recorder::start(1 << 20)?;
    /// greenloop::Builder::new().name("worker").spawn(|| ())?.join().unwrap();
    /// let mut trace = Vec::new();
    /// recorder.snapshot().write_perfetto(&mut trace)?;
    /// assert!(trace.windows(6).any(|name| name == b"worker"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_perfetto(&self, writer: impl Write) -> io::Result<()> {
        let mut trace = Trace::begin(writer)?;
        for (hub, story) in self.stories() {
            let start = hub.events.first().map_or(0, |event| event.time);
            let mut track = trace.add_track(&hub.scribe, start)?;
            for slice in &story.slices {
                trace.write_slice(&mut track, slice, &hub.names)?;
            }
        }
        Ok(())
    }
}

/// A trace that is being written.
pub(super) struct Trace<W> {
    writer: W,
    process: u64,
    tracks: u64,
    bytes: u64,
}

/// That of a hub.
pub(super) struct Track {
    sequence: u64,
    /// The names that it has told already.
    told: HashMap<(u64, u16), u64>,
    last: u64,
}

impl<W: Write> Trace<W> {
    pub(super) fn begin(writer: W) -> io::Result<Trace<W>> {
        let process = u64::from(std::process::id());
        let mut trace = Trace { writer, process, tracks: 0, bytes: 0 };
        let own = Message::default().number(PROCESS_ID, process).bytes(PROCESS_NAME, b"greenloop");
        let of_process = Message::default().number(UUID, process).message(PROCESS, own);
        trace.write(&Message::default().message(TRACK_DESCRIPTOR, of_process))?;
        Ok(trace)
    }

    /// How much has been written.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn write(&mut self, packet: &Message) -> io::Result<()> {
        let mut head = Message::default();
        head.varint(u64::from(PACKET) << 3 | 2);
        head.varint(packet.0.len() as u64);
        self.bytes += (head.0.len() + packet.0.len()) as u64;
        self.writer.write_all(&head.0)?;
        self.writer.write_all(&packet.0)
    }

    /// One for a hub whose first event was then.
    pub(super) fn add_track(&mut self, scribe: &Scribe, start: u64) -> io::Result<Track> {
        self.tracks += 1;
        let track = Track { sequence: self.tracks, told: HashMap::new(), last: start };
        let uuid = self.process << 32 | track.sequence;
        let clock = |id| Message::default().number(CLOCK_ID, id).number(CLOCK_TIME, start);
        let clocks = Message::default()
            .message(CLOCK, clock(BOOT_TIME))
            .message(CLOCK, clock(SINCE_LAST).number(IS_INCREMENTAL, 1));
        let defaults = Message::default()
            .message(DEFAULT_EVENT, Message::default().number(TRACK, uuid))
            .number(DEFAULT_CLOCK, SINCE_LAST);
        let of_sequence =
            |flags| Message::default().number(SEQUENCE, track.sequence).number(SEQUENCE_FLAGS, flags);
        self.write(&of_sequence(CLEARED).message(CLOCKS, clocks).message(DEFAULTS, defaults))?;
        let thread = Message::default()
            .number(PROCESS_ID, self.process)
            .number(THREAD_ID, u64::from(scribe.thread_id))
            .bytes(THREAD_NAME, scribe.thread.as_bytes());
        let of_thread =
            Message::default().number(UUID, uuid).number(PARENT, self.process).message(THREAD, thread);
        self.write(&of_sequence(0).message(TRACK_DESCRIPTOR, of_thread))?;
        Ok(track)
    }

    pub(super) fn write_slice(&mut self, track: &mut Track, slice: &Slice, names: &Names) -> io::Result<()> {
        let (name, interned) = track.name(slice, names);
        let mut begin = event(SLICE_BEGIN).number(NAME_ID, name);
        if let Some(wake) = slice.woken_by {
            begin = begin.fixed(ENDING_FLOWS, wake);
        }
        let mut packet = track.packet(slice.start, begin);
        if let Some(interned) = interned {
            packet = packet.message(INTERNED_DATA, interned);
        }
        self.write(&packet)?;
        for &(time, wake) in &slice.wakes {
            self.write(&track.packet(time, event(INSTANT).fixed(FLOWS, wake)))?;
        }
        self.write(&track.packet(slice.end, event(SLICE_END)))
    }
}

fn event(kind: u64) -> Message {
    Message::default().number(TYPE, kind)
}

impl Track {
    fn packet(&mut self, time: u64, event: Message) -> Message {
        let passed = time.saturating_sub(self.last);
        self.last += passed;
        Message::default()
            .number(TIMESTAMP, passed)
            .number(SEQUENCE, self.sequence)
            .number(SEQUENCE_FLAGS, NEEDED)
            .message(TRACK_EVENT, event)
    }

    /// The number of who ran, and what tells it, the first time.
    fn name(&mut self, slice: &Slice, names: &Names) -> (u64, Option<Message>) {
        let next = self.told.len() as u64 + 1;
        // Those without a name of their own share that of their place.
        let key = if names.has(slice.id) { (slice.id, 0) } else { (0, slice.place) };
        let number = *self.told.entry(key).or_insert(next);
        if number != next {
            return (number, None);
        }
        let name = names.of(slice.id, slice.place);
        let told = Message::default().number(ID, number).bytes(NAME, name.as_bytes());
        (number, Some(Message::default().message(EVENT_NAMES, told)))
    }
}
