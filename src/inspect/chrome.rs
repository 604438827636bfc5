//! A recording as Chrome's JSON (the "Trace Event Format").

use std::fmt::{self, Display};
use std::io::{self, Write};

use super::codes;
use super::json::Text;
use super::recording::{HubRecording, Recording};
use super::story::{Slice, Waited};

impl Recording {
    /// Writes it as Chrome's JSON, which <https://ui.perfetto.dev> and `chrome://tracing` open.
    ///
    /// Each hub is a thread with a slice for each run of a greenlet, named for that or for its place of spawn; an arrow leads from who
    /// woke it to where it went on; and each wait is a line of the green thread's own, named for what it waited on.
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
    /// let mut json = Vec::new();
    /// recorder.snapshot().write_json(&mut json)?;
    /// assert!(String::from_utf8(json).unwrap().contains(r#""name":"worker""#));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_json(&self, writer: impl Write) -> io::Result<()> {
        write(self, writer)
    }
}

fn write(recording: &Recording, mut writer: impl Write) -> io::Result<()> {
    let process = std::process::id();
    write!(writer, r#"{{"displayTimeUnit":"ns","traceEvents":[{{"ph":"M","name":"process_name","#)?;
    write!(writer, r#""pid":{process},"args":{{"name":"greenloop"}}}}"#)?;
    for (hub, story) in recording.stories() {
        let track = Track { process, hub };
        track.write_name(&mut writer)?;
        for slice in &story.slices {
            track.write_slice(slice, &mut writer)?;
        }
        for wait in &story.waits {
            track.write_wait(wait, &mut writer)?;
        }
    }
    writeln!(writer, "]}}")
}

/// A hub's.
struct Track<'a> {
    process: u32,
    hub: &'a HubRecording,
}

impl Track<'_> {
    fn write_name(&self, writer: &mut impl Write) -> io::Result<()> {
        let name = Text(&self.hub.scribe.thread);
        write!(writer, r#",{{"ph":"M","name":"thread_name",{self},"args":{{"name":{name}}}}}"#)
    }

    fn write_slice(&self, slice: &Slice, writer: &mut impl Write) -> io::Result<()> {
        let name = self.hub.names.of(slice.id, slice.place);
        let (start, took) = (Microseconds(slice.start), Microseconds(slice.end - slice.start));
        write!(writer, r#",{{"ph":"X","name":{},"ts":{start},"dur":{took},{self}"#, Text(&name))?;
        let then = slice.then.map_or("", codes::words);
        write!(writer, r#","args":{{"id":{},"then waits on":{}}}}}"#, slice.id, Text(then))?;
        // The arrows begin and end in slices.
        if let Some(wake) = slice.woken_by {
            let head = r#""ph":"f","bp":"e","cat":"wake","name":"wake""#;
            write!(writer, r#",{{{head},"id":{wake},"ts":{start},{self}}}"#)?;
        }
        for &(time, wake) in &slice.wakes {
            let (head, time) = (r#""ph":"s","cat":"wake","name":"wake""#, Microseconds(time));
            write!(writer, r#",{{{head},"id":{wake},"ts":{time},{self}}}"#)?;
        }
        Ok(())
    }

    fn write_wait(&self, wait: &Waited, writer: &mut impl Write) -> io::Result<()> {
        let (id, on) = (wait.id, codes::words(wait.on));
        for (phase, time) in [("b", wait.start), ("e", wait.end)] {
            let (on, time) = (Text(on), Microseconds(time));
            let head = format!(r#""ph":"{phase}","cat":"green thread {id}","id":{id},"name":{on}"#);
            write!(writer, r#",{{{head},"ts":{time},{self}}}"#)?;
        }
        Ok(())
    }
}

/// Where it stands: the process and the thread.
impl Display for Track<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, r#""pid":{},"tid":{}"#, self.process, self.hub.scribe.thread_id)
    }
}

/// As the format has times, which are given in nanoseconds.
struct Microseconds(u64);

impl Display for Microseconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}
