//! The calls in which a green thread waits.

use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use crate::fiber::{SWITCH_NAMES, SWITCH_SOURCES};
use crate::sys::named_frame::backtrace_to;

/// Where the library's own sources were when it was compiled.
const OWN_SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/");
/// With what the names of its functions begin, by either way to mangle them.
const OWN_NAMES: &[&str] = &["greenloop::", "greenloop["];
/// The same of the functions that lie between it and its users.
const PLUMBING_NAMES: &[&str] = &["std::", "std[", "core::", "core[", "alloc::", "alloc[", "__rust_"];
/// Parts of the paths of std's sources, which lie elsewhere with the component `rust-src`.
const PLUMBING_SOURCES: &[&str] = &["/rustc/", "/rustlib/src/rust/"];

/// A call on a stack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    name: String,
    place: Option<String>,
}

impl Frame {
    /// Returns the name of the function; `<unknown>` or an address where that is not known.
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenloop::{inspect::DumpOptions, sleep, spawn, yield_now};
    /// # use std::time::Duration;
    /// #[inline(never)]
    /// fn takes_a_nap() {
    ///     sleep(Duration::from_secs(60));
    /// }
    ///
    /// let napper = spawn(|| takes_a_nap());
    /// yield_now();
    /// let dump = DumpOptions::new().backtraces(true).take();
    /// let frames = dump.green_threads().find_map(|thread| thread.backtrace()).unwrap().frames();
    /// assert!(frames[0].name().contains("takes_a_nap"));
    /// # napper.kill();
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the place in the source, as `file:line:column`, where debugging information tells it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenloop::{inspect::DumpOptions, sleep, spawn, yield_now};
    /// # use std::time::Duration;
    /// let napper = spawn(|| sleep(Duration::from_secs(60)));
    /// yield_now();
    /// let dump = DumpOptions::new().backtraces(true).take();
    /// for frame in dump.green_threads().find_map(|thread| thread.backtrace()).unwrap().frames() {
    ///     assert!(frame.place().is_none_or(|place| place.contains(':')));
    /// }
    /// # napper.kill();
    /// ```
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    fn unknown(address: usize) -> Frame {
        Frame { name: format!("{address:#x}"), place: None }
    }

    /// Whether the library has made the call.
    fn is_own(&self) -> bool {
        self.begins_with(OWN_NAMES) || self.place.as_ref().is_some_and(|place| place.starts_with(OWN_SOURCES))
    }

    /// Whether it only stands between others.
    fn is_plumbing(&self) -> bool {
        let is_of_those =
            |place: &String| PLUMBING_SOURCES.iter().chain(SWITCH_SOURCES).any(|part| place.contains(part));
        let is_so_named = self.begins_with(PLUMBING_NAMES) || self.begins_with(SWITCH_NAMES);
        self.is_own() || is_so_named || self.place.as_ref().is_some_and(is_of_those)
    }

    fn begins_with(&self, names: &[&str]) -> bool {
        let name = self.name.trim_start_matches('<');
        names.iter().any(|own| name.starts_with(own))
    }
}

/// `worker at src/main.rs:7:5`.
impl fmt::Display for Frame {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        self.place.as_ref().map_or(Ok(()), |place| write!(formatter, " at {place}"))
    }
}

/// The calls in which a green thread waits. [`GreenThread::backtrace`](super::GreenThread::backtrace) returns it.
///
/// The names are looked up on an OS thread of the [pool](crate::threadpool), before [`take`](super::DumpOptions::take) returns the dump, or
/// else when they are first asked for, on the asking OS thread. That takes a fifth of a second in a process where nobody has done so before,
/// and holds up other backtraces of std's meanwhile. A place of which nothing is known has its address as its name.
pub struct Backtrace {
    addresses: Vec<usize>,
    frames: OnceLock<Vec<Frame>>,
}

/// The calls at each address: what was inlined into a function has the address of that.
pub(super) type Names = HashMap<usize, Vec<Frame>>;

impl Backtrace {
    pub(super) fn new(addresses: Vec<usize>) -> Backtrace {
        Backtrace { addresses, frames: OnceLock::new() }
    }

    /// Looks the names up, those that are not among `names` yet.
    pub(super) fn look_up(&self, names: &mut Names) -> &[Frame] {
        self.frames.get_or_init(|| {
            let frames = self
                .addresses
                .iter()
                .flat_map(|&at| names.entry(at).or_insert_with(|| at_address(at)).clone());
            users(frames.collect())
        })
    }

    /// Returns the calls, the innermost first. Those that the library and std have made on the way to the wait are left out, and so is what
    /// began the green thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect::DumpOptions, sleep, spawn, yield_now};
    /// use std::time::Duration;
    ///
    /// let napper = spawn(|| sleep(Duration::from_secs(60)));
    /// yield_now();
    /// let dump = DumpOptions::new().backtraces(true).take();
    /// let backtrace = dump.green_threads().find_map(|thread| thread.backtrace()).unwrap();
    /// assert!(!backtrace.frames().is_empty());
    /// # napper.kill();
    /// ```
    pub fn frames(&self) -> &[Frame] {
        self.look_up(&mut Names::new())
    }
}

/// One call in each line.
impl fmt::Display for Backtrace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, frame) in self.frames().iter().enumerate() {
            let separator = if place == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{frame}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Backtrace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.frames()).finish()
    }
}

/// The frames of std's long form, each with its address; what was inlined into a function has the address of that.
fn parse(text: &str) -> Vec<(usize, Frame)> {
    let mut frames: Vec<(usize, Frame)> = Vec::new();
    for line in text.lines() {
        let words = line.trim();
        if let Some(place) = words.strip_prefix("at ") {
            if let Some((_, frame)) = frames.last_mut() {
                frame.place = Some(place.to_owned());
            }
            continue;
        }
        let begun = words.split_once(": ").filter(|(number, _)| number.parse::<usize>().is_ok());
        let words = begun.map_or(words, |(_, rest)| rest.trim_start());
        let addressed = words.strip_prefix("0x").and_then(|rest| rest.split_once(" - "));
        let (address, name) = match addressed {
            Some((address, name)) => (usize::from_str_radix(address, 16).unwrap_or(0), name),
            None => (frames.last().map_or(0, |&(address, _)| address), words.trim_start_matches("- ")),
        };
        frames.push((address, Frame { name: name.to_owned(), place: None }));
    }
    frames
}

/// Those of a call that returns to this address.
fn at_address(address: usize) -> Vec<Frame> {
    let Some(backtrace) = backtrace_to(address) else { return vec![Frame::unknown(address)] };
    let frames: Vec<_> = parse(&format!("{backtrace:#}"))
        .into_iter()
        .filter(|&(at, _)| at == address)
        .map(|(_, frame)| frame)
        .collect();
    if frames.is_empty() { vec![Frame::unknown(address)] } else { frames }
}

/// Those from the first that is a user's to the last; all if none is.
fn users(frames: Vec<Frame>) -> Vec<Frame> {
    let is_users = |frame: &Frame| !frame.is_plumbing();
    match (frames.iter().position(is_users), frames.iter().rposition(is_users)) {
        (Some(first), Some(last)) => frames[first..=last].to_vec(),
        _ => frames,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG_FORM: &str =
        "   0:     0x5601c324209f - <std[e28293b1aa0f68bd]::backtrace::Backtrace>::force_capture
                               at /rustc/5980/library/std/src/backtrace.rs:47:9
   1:     0x5601c324307a - greenloop::fiber::visit::answer::h284235f533826e93
   2:     0x5601c3049aaa - program::waits::h6c768a4435c15574
                               at /home/me/src/main.rs:78:9
                           - inlined_into<program::waits>
                               at /home/me/src/main.rs:80:9
   3:     0x5601c304ffff - <greenloop[1f]::task::body::Task as greenloop[1f]::hub::state::Job>::run
   4:     0x7fc690932000 - program::main
";

    #[test]
    fn the_long_form_is_read_and_cut() {
        let parsed = parse(LONG_FORM);
        let addresses: Vec<_> = parsed.iter().map(|&(address, _)| address & 0xffff).collect();
        assert_eq!(addresses, [0x209f, 0x307a, 0x9aaa, 0x9aaa, 0xffff, 0x2000]);
        let those = |at: &[usize]| {
            let is_of = |(address, _): &&(usize, Frame)| at.contains(address);
            parsed.iter().filter(is_of).map(|(_, frame)| frame.clone()).collect()
        };
        let frames = those(&[0x5601c324307a, 0x5601c3049aaa, 0x5601c304ffff]);
        let told: Vec<_> = users(frames).iter().map(Frame::to_string).collect();
        assert_eq!(
            told,
            [
                "program::waits::h6c768a4435c15574 at /home/me/src/main.rs:78:9",
                "inlined_into<program::waits> at /home/me/src/main.rs:80:9"
            ]
        );
    }
}
