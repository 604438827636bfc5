//! A dump for people: who does the same stands together.

use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::backtrace::Backtrace;
use super::dump::{Dump, HubDump};
use super::green_thread::{GreenThread, Standing};

/// How many of a group are named.
const NAMED: usize = 4;

impl fmt::Display for Dump {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self, formatter)
    }
}

fn write(dump: &Dump, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (place, hub) in dump.hubs.iter().enumerate() {
        if place > 0 {
            formatter.write_str("\n")?;
        }
        write_hub(hub, formatter)?;
    }
    match dump.silent {
        0 => {}
        1 => formatter.write_str("\n1 hub has not answered: a green thread keeps it")?,
        silent => write!(formatter, "\n{silent} hubs have not answered: a green thread keeps each")?,
    }
    for cycle in dump.cycles() {
        write!(formatter, "\nthese wait for one another, for ever or until a time limit:")?;
        cycle.iter().try_for_each(|thread| write!(formatter, "\n  {thread}"))?;
    }
    let in_cycles = dump.cycles().iter().map(Vec::len).sum();
    match dump.unreachable().len().saturating_sub(in_cycles) {
        0 => Ok(()),
        more => write!(formatter, "\nand so many wait for them: {more}"),
    }
}

fn write_hub(hub: &HubDump, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let load = hub.load;
    write!(formatter, "hub of the OS thread '{}' ({}): ", hub.thread, hub.thread_id)?;
    write!(formatter, "{} alive, {} ready, {} unstarted; ", load.alive, load.ready, load.unstarted)?;
    write!(formatter, "{} timers, {} waits for descriptors", load.timers, load.descriptors)?;
    for group in groups(&hub.green_threads) {
        write_group(&group, formatter)?;
    }
    match hub.left_out {
        0 => Ok(()),
        more => write!(formatter, "\n  and {more} more"),
    }
}

/// What those of a group have in common.
type Likeness = (
    Option<&'static Location<'static>>,
    Standing,
    Option<&'static str>,
    Option<usize>,
    Option<*const Backtrace>,
);

/// The groups of those that do the same, the largest first, then in order of the first of each; but main is first.
fn groups(threads: &[GreenThread]) -> Vec<Vec<&GreenThread>> {
    let mut places: HashMap<Likeness, usize> = HashMap::new();
    let mut groups: Vec<Vec<&GreenThread>> = Vec::new();
    for thread in threads {
        let likeness = (
            thread.spawned_at(),
            thread.standing(),
            thread.wait_words(),
            thread.holder(),
            thread.backtrace().map(std::ptr::from_ref),
        );
        let place = *places.entry(likeness).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[place].push(thread);
    }
    groups.sort_by_key(|group| (group[0].spawned_at().is_some(), usize::MAX - group.len()));
    groups
}

fn write_group(group: &[&GreenThread], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let [first, others @ ..] = group else { return Ok(()) };
    if others.is_empty() {
        write!(formatter, "\n  {first}")?;
        write_stack(group, formatter)?;
        write_turns(group, formatter)?;
        return write_calls(first, formatter);
    }
    write!(formatter, "\n  {} green threads", group.len())?;
    if let Some(place) = first.spawned_at() {
        write!(formatter, ", spawned at {place}")?;
    }
    if let Some(id) = first.spawned_by().filter(|_| have_same(group, GreenThread::spawned_by)) {
        write!(formatter, " by green thread {id}")?;
    }
    write!(formatter, ", {}", first.standing())?;
    if let Some(on) = first.waits_on() {
        let same = have_same(group, GreenThread::waits_on);
        let words = first.wait_words().map(|words| words.replace("{}", "(each its own)"));
        write!(formatter, ", waiting on {}", if same { on } else { words.unwrap_or(on) })?;
        let ends = first.counted_ends().filter(|_| have_same(group, GreenThread::counted_ends));
        ends.map_or(Ok(()), |ends| write!(formatter, ", {ends}"))?;
        first.named_holder().map_or(Ok(()), |holder| write!(formatter, ", {holder}"))?;
    }
    let longest = group.iter().filter_map(|thread| thread.long_waited()).max();
    write_stack(group, formatter)?;
    write_turns(group, formatter)?;
    longest.map_or(Ok(()), |longest| write!(formatter, "; for {longest:?} so far at most"))?;
    formatter.write_str("\n    ")?;
    for (place, thread) in group.iter().take(NAMED).enumerate() {
        let separator = if place == 0 { "" } else { ", " };
        write!(formatter, "{separator}'{}'", thread.name())?;
        thread.id().map_or(Ok(()), |id| write!(formatter, " ({id})"))?;
    }
    match group.len().saturating_sub(NAMED) {
        0 => {}
        more => write!(formatter, " and {more} more")?,
    }
    write_calls(first, formatter)
}

/// How often all of a group have gone on, and how long they ran, if that is timed.
fn write_turns(group: &[&GreenThread], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let ran: Vec<Duration> = group.iter().filter_map(|thread| thread.ran()).collect();
    if ran.is_empty() {
        return Ok(());
    }
    let (switches, ran): (u64, Duration) =
        (group.iter().filter_map(|thread| thread.switches()).sum(), ran.into_iter().sum());
    write!(formatter, "; ran {ran:?} in {switches} turns")
}

fn have_same<T: PartialEq>(group: &[&GreenThread], what: fn(&GreenThread) -> T) -> bool {
    group.windows(2).all(|pair| what(pair[0]) == what(pair[1]))
}

fn write_calls(thread: &GreenThread, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let frames = thread.backtrace().map_or(&[][..], |backtrace| backtrace.frames());
    frames.iter().try_for_each(|frame| write!(formatter, "\n      {frame}"))
}

/// The most that one of them uses of its stack.
fn write_stack(group: &[&GreenThread], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let most = group.iter().filter_map(|thread| Some((thread.stack_used()?, thread.stack_size()?))).max();
    match most {
        Some((used, size)) if group[0].standing() == Standing::Parked => {
            let most = if group.len() > 1 { " at most" } else { "" };
            write!(formatter, "; stack: {} of {} KiB{most}", used.div_ceil(1024), size.div_ceil(1024))
        }
        _ => Ok(()),
    }
}
