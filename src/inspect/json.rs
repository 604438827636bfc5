//! A dump for programs.

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::io::{self, Write};
use std::panic::Location;
use std::ptr;
use std::time::UNIX_EPOCH;

use super::dump::{Dump, HubDump};
use super::green_thread::GreenThread;

impl Dump {
    /// Writes it as one JSON object, in one line.
    ///
    /// It has `taken_at_ms` (since 1970), `took_us`, `silent_hubs`, `hubs`, `cycles` and `unreachable`. A hub has `thread`, `thread_id`, `alive`, `ready`,
    /// `unstarted`, `timers`, `descriptors`, `left_out`, `green_threads` and `backtraces`. One of those has `id`, `name`, `spawned_at` (`file`, `line`,
    /// `column`), `spawned_by`, `standing`, `waits_on`, `waited_ms`, `switches`, `ran_us`, `waits_for`, `held_by`, `other_ends`, `stack_size`, `stack_used`, `backtrace` and
    /// `isolated`. What is not known is `null`. A cycle, and `unreachable`, is an array of ids, `null` for main. A backtrace is an array of objects with `name` and `place`, and a green thread has its number in the hub's `backtraces`.
    ///
    /// # Errors
    ///
    /// Those of `writer`.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut json = Vec::new();
    /// greenloop::inspect::dump().write_json(&mut json)?;
    /// let json = String::from_utf8(json).unwrap();
    /// assert!(json.starts_with(r#"{"taken_at_ms":"#) && json.contains(r#""name":"main""#));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_json(&self, writer: impl Write) -> io::Result<()> {
        write(self, writer)
    }
}

fn write(dump: &Dump, mut writer: impl Write) -> io::Result<()> {
    let taken_at = dump.taken_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let (took, silent) = (dump.took.as_micros(), dump.silent);
    write!(writer, r#"{{"taken_at_ms":{taken_at},"took_us":{took},"silent_hubs":{silent},"hubs":["#)?;
    for (place, hub) in dump.hubs.iter().enumerate() {
        write_hub(hub, separator(place), &mut writer)?;
    }
    write!(writer, r#"],"cycles":["#)?;
    for (place, cycle) in dump.cycles().iter().enumerate() {
        let ids: Vec<_> = cycle.iter().map(|thread| Known(thread.id()).to_string()).collect();
        write!(writer, "{}[{}]", separator(place), ids.join(","))?;
    }
    let unreachable: Vec<_> =
        dump.unreachable().iter().map(|thread| Known(thread.id()).to_string()).collect();
    writeln!(writer, r#"],"unreachable":[{}]}}"#, unreachable.join(","))
}

fn separator(place: usize) -> &'static str {
    if place == 0 { "" } else { "," }
}

fn write_hub(hub: &HubDump, separator_before: &str, writer: &mut impl Write) -> io::Result<()> {
    let load = hub.load;
    write!(writer, r#"{separator_before}{{"thread":{},"thread_id":{}"#, Text(&hub.thread), hub.thread_id)?;
    write!(writer, r#","alive":{},"ready":{},"unstarted":{}"#, load.alive, load.ready, load.unstarted)?;
    write!(writer, r#","timers":{},"descriptors":{}"#, load.timers, load.descriptors)?;
    write!(writer, r#","left_out":{},"green_threads":["#, hub.left_out)?;
    let (mut backtraces, mut numbers) = (Vec::new(), HashMap::new());
    for (place, thread) in hub.green_threads.iter().enumerate() {
        let number = thread.backtrace().map(|backtrace| {
            *numbers.entry(ptr::from_ref(backtrace)).or_insert_with(|| {
                backtraces.push(backtrace);
                backtraces.len() - 1
            })
        });
        write!(writer, "{}{}", separator(place), Object(thread, number))?;
    }
    write!(writer, r#"],"backtraces":["#)?;
    for (place, backtrace) in backtraces.into_iter().enumerate() {
        write!(writer, "{}[", separator(place))?;
        for (place, frame) in backtrace.frames().iter().enumerate() {
            let (name, place_of_frame) = (Text(frame.name()), Known(frame.place().map(Text)));
            write!(writer, r#"{}{{"name":{name},"place":{place_of_frame}}}"#, separator(place))?;
        }
        writer.write_all(b"]")?;
    }
    writer.write_all(b"]}")
}

/// A green thread as an object, with the number of its backtrace.
struct Object<'a>(&'a GreenThread, Option<usize>);

impl Display for Object<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Object(thread, backtrace) = *self;
        write!(formatter, r#"{{"id":{},"name":{}"#, Known(thread.id()), Text(thread.name()))?;
        write!(formatter, r#","spawned_at":{}"#, Known(thread.spawned_at().map(Place)))?;
        write!(formatter, r#","spawned_by":{}"#, Known(thread.spawned_by()))?;
        write!(formatter, r#","standing":{}"#, Text(&thread.standing().to_string()))?;
        write!(formatter, r#","waits_on":{}"#, Known(thread.waits_on().as_deref().map(Text)))?;
        write!(formatter, r#","waited_ms":{}"#, Known(thread.waited().map(|waited| waited.as_millis())))?;
        write!(formatter, r#","switches":{}"#, Known(thread.switches()))?;
        write!(formatter, r#","ran_us":{}"#, Known(thread.ran().map(|ran| ran.as_micros())))?;
        write!(formatter, r#","waits_for":{}"#, Known(thread.waits_for()))?;
        write!(formatter, r#","held_by":{}"#, Known(thread.held_by()))?;
        write!(formatter, r#","other_ends":{}"#, Known(thread.other_ends()))?;
        write!(formatter, r#","stack_size":{}"#, Known(thread.stack_size()))?;
        write!(formatter, r#","stack_used":{}"#, Known(thread.stack_used()))?;
        write!(formatter, r#","backtrace":{}"#, Known(backtrace))?;
        write!(formatter, r#","isolated":{}}}"#, thread.is_isolated())
    }
}

struct Place(&'static Location<'static>);

impl Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place(place) = self;
        let (file, line, column) = (Text(place.file()), place.line(), place.column());
        write!(formatter, r#"{{"file":{file},"line":{line},"column":{column}}}"#)
    }
}

/// `null` if it is not known.
pub(super) struct Known<T>(pub(super) Option<T>);

impl<T: Display> Display for Known<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(formatter),
            None => formatter.write_str("null"),
        }
    }
}

/// A string, in quotes, with what JSON wants escaped (RFC 8259, section 7).
pub(super) struct Text<'a>(pub(super) &'a str);

impl Display for Text<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"")?;
        for character in self.0.chars() {
            match character {
                '"' => formatter.write_str("\\\"")?,
                '\\' => formatter.write_str("\\\\")?,
                '\n' => formatter.write_str("\\n")?,
                control if control < ' ' => write!(formatter, "\\u{:04x}", u32::from(control))?,
                other => write!(formatter, "{other}")?,
            }
        }
        formatter.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_as_the_rfc_says() {
        assert_eq!(Text("a \"name\" \\ of\nö\u{1}\t").to_string(), r#""a \"name\" \\ of\nö\u0001\u0009""#);
    }
}
