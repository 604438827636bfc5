//! Metrics, dumps and recordings for who attaches from outside.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::Add;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::dump::Dump;
use super::history::keep_history;
use super::json::{Known, Text};
use super::listening::Listening;
use super::metrics::{metrics, time_slices};
use super::options::DumpOptions;
use super::recorder::Recorder;
use crate::net::unix::{UnixListener, UnixStream};
use crate::sys::credentials;
use crate::task::{sleep, with_timeout};

/// At most 15 bytes, which is what the kernel shows.
const THREAD_NAME: &str = "greenloop-door";
/// How long the other end may say nothing.
const IDLE: Duration = Duration::from_secs(600);
const LONGEST_REQUEST: u64 = 256;
/// Of each hub, how many greenlets a dump tells of.
const MOST_GREENLETS: usize = 1_000_000;
/// How many names a group of them tells.
const MOST_NAMES: usize = 3;
/// Of a recording: how long it may last, and the ring of each hub.
const LONGEST_RECORDING: u64 = 60;
const RING: usize = 4 << 20;

/// Listens on a Unix socket at `path` for programs of the same user that look into this one: the example `top` is one.
///
/// Who connects writes lines, and gets one line of JSON for each:
///
/// | line | answer |
/// |---|---|
/// | `metrics` | what [`Metrics::write_json`](super::Metrics::write_json) writes |
/// | `places` | the green threads of all hubs, counted by place of spawn, state and what they wait on; who of them has waited for longest; and, where hubs [time](super::time_slices), how often they have gone on, and how long they ran |
/// | `dump` | what [`Dump::write_json`](super::Dump::write_json) writes, of all hubs, with backtraces |
/// | `report` | the same as text, in `text` |
/// | `time on`, `time off` | [`time_slices`](super::time_slices), and `done` |
/// | `record SECONDS` | what a [`Recorder`](super::Recorder) has seen in so many seconds, 60 at most, as [`write_json`](super::Recording::write_json) writes it |
///
/// Anything else is answered with an `error`, and after a line of more than 255 bytes the connection ends. No answer has anything of what is in the program's memory, but names, places and numbers.
///
/// The socket has mode 0600, and who connects must be of this process's user, or root; he is asked by SO_PEERCRED. A socket at `path` to
/// which nobody listens is replaced. An OS thread of its own answers, so answers come also while hubs are kept. [`Listening`] says how it
/// ends; a stop removes the socket. From now on hubs [keep](super::keep_history) since when each waits, and who spawns whom. Returns at
/// once.
///
/// # Errors
///
/// `AddrInUse` if there is something at `path` that is no socket, or somebody listens there. Others of bind(2), and those of making an OS
/// thread.
///
/// # Examples
///
/// ```
/// use greenloop::{inspect, net::unix::UnixStream};
/// use std::io::{BufRead, BufReader, Write};
///
/// greenloop::spawn(|| ()).join().unwrap();
/// # let path = std::env::temp_dir().join(format!("greenloop-doc-{}", std::process::id()));
/// let listening = inspect::listen(&path)?;
///
/// let mut stream = UnixStream::connect(&path)?;
/// stream.write_all(b"metrics\n")?;
/// let mut answer = String::new();
/// BufReader::new(stream).read_line(&mut answer)?;
/// assert!(answer.starts_with(r#"{"process":"#) && answer.contains(r#""ended":1"#));
/// listening.stop();
/// assert!(!path.exists());
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "backdoor")]
pub fn listen(path: impl AsRef<Path>) -> io::Result<Listening> {
    let path = path.as_ref().to_owned();
    let listener = bind(&path)?;
    let made = identity(&path)?;
    // The same socket, whatever becomes of the working folder. A longer path may be one that no socket can have.
    let path = std::path::absolute(path)?;
    let open = move || {
        let listener = UnixListener::from(listener);
        move || listener.accept().map(|(stream, _)| stream)
    };
    keep_history(true);
    // Who goes amid an answer is no concern of anybody's.
    Listening::begin(THREAD_NAME, open, |stream| drop(serve(stream)), move || remove(&path, made))
}

fn bind(path: &Path) -> io::Result<net::UnixListener> {
    let listener = match net::UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
            fs::remove_file(path)?;
            net::UnixListener::bind(path)?
        }
        bound => bound?,
    };
    // Who has connected before is asked who he is anyway.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Whether there is a socket to which nobody listens.
fn is_abandoned(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && net::UnixStream::connect(path).is_err_and(refused)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Removes the socket, unless something else is there by now.
fn remove(path: &PathBuf, made: (u64, u64)) {
    if identity(path).is_ok_and(|found| found == made) {
        // Nobody is left to whom an error could be told.
        let _ = fs::remove_file(path);
    }
}

fn serve(stream: UnixStream) -> io::Result<()> {
    if !credentials::is_of_own_user(stream.as_fd()) {
        return Ok(());
    }
    let (mut requests, mut answers) = (BufReader::new(&stream), &stream);
    loop {
        let mut line = Vec::new();
        let read = || (&mut requests).take(LONGEST_REQUEST).read_until(b'\n', &mut line);
        let Ok(length) = with_timeout(IDLE, read) else { return Ok(()) };
        let mut answer = Vec::new();
        if length? as u64 == LONGEST_REQUEST && !line.ends_with(b"\n") {
            refuse("the line is too long", &mut answer)?;
            return answers.write_all(&answer);
        }
        if line.pop() != Some(b'\n') {
            return Ok(());
        }
        let request = String::from_utf8_lossy(&line);
        answer_to(request.trim(), &mut answer)?;
        answers.write_all(&answer)?;
    }
}

fn answer_to(request: &str, answer: &mut Vec<u8>) -> io::Result<()> {
    let (word, rest) = request.split_once(' ').unwrap_or((request, ""));
    match (word, rest) {
        ("metrics", "") => metrics().write_json(answer),
        ("places", "") => write_places(&take_dump(false), answer),
        ("dump", "") => take_dump(true).write_json(answer),
        ("report", "") => writeln!(answer, r#"{{"text":{}}}"#, Text(&take_dump(true).to_string())),
        ("time", "on" | "off") => {
            time_slices(rest == "on");
            writeln!(answer, r#"{{"done":true}}"#)
        }
        ("record", seconds) => match seconds.parse() {
            Ok(seconds @ 1..=LONGEST_RECORDING) => record(seconds, answer),
            _ => refuse("from 1 to 60 seconds are recorded", answer),
        },
        _ => refuse("there are: metrics, places, dump, report, time on, time off, record SECONDS", answer),
    }
}

fn refuse(reason: &str, answer: &mut Vec<u8>) -> io::Result<()> {
    writeln!(answer, r#"{{"error":{}}}"#, Text(reason))
}

fn record(seconds: u64, answer: &mut Vec<u8>) -> io::Result<()> {
    match Recorder::start(RING) {
        Ok(recorder) => {
            sleep(Duration::from_secs(seconds));
            recorder.snapshot().write_json(answer)
        }
        Err(error) => refuse(&error.to_string(), answer),
    }
}

fn take_dump(backtraces: bool) -> Dump {
    let mut options = DumpOptions::new();
    options.all_hubs(true).backtraces(backtraces).limit(MOST_GREENLETS).take()
}

/// Those of a group.
#[derive(Default)]
struct Group<'a> {
    count: usize,
    stack: usize,
    longest: Option<Duration>,
    switches: Option<u64>,
    ran: Option<Duration>,
    names: Vec<&'a str>,
}

/// The sum of what is known.
fn add<T: Add<Output = T>>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    }
}

fn write_places(dump: &Dump, answer: &mut Vec<u8>) -> io::Result<()> {
    let mut groups: HashMap<_, Group<'_>> = HashMap::new();
    for thread in dump.green_threads() {
        let group = groups.entry((thread.spawned_at(), thread.standing(), thread.wait_words())).or_default();
        group.count += 1;
        group.stack = group.stack.max(thread.stack_used().unwrap_or(0));
        group.longest = group.longest.max(thread.waited());
        group.switches = add(group.switches, thread.switches());
        group.ran = add(group.ran, thread.ran());
        if group.names.len() < MOST_NAMES && thread.name() != "<unnamed>" {
            group.names.push(thread.name());
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups
        .sort_by_key(|((place, ..), group)| (usize::MAX - group.count, place.map(|place| place.to_string())));
    let mut text = String::new();
    for ((place, standing, words), group) in groups {
        let separator = if text.is_empty() { "" } else { "," };
        let (place, standing) = (place.map_or("main".to_owned(), ToString::to_string), standing.to_string());
        let waits_on = words.unwrap_or("").replace("{}", "(each its own)");
        let names: Vec<_> = group.names.iter().map(|name| Text(name).to_string()).collect();
        // A text grows without an error.
        let _ = write!(text, r#"{separator}{{"spawned_at":{},"standing":{}"#, Text(&place), Text(&standing));
        let _ = write!(text, r#","waits_on":{},"count":{}"#, Text(&waits_on), group.count);
        let longest = Known(group.longest.map(|longest| longest.as_millis()));
        let _ = write!(text, r#","most_stack_used":{},"longest_wait_ms":{longest}"#, group.stack);
        let (switches, ran) = (Known(group.switches), Known(group.ran.map(|ran| ran.as_micros())));
        let _ = write!(text, r#","switches":{switches},"ran_us":{ran},"names":[{}]}}"#, names.join(","));
    }
    writeln!(answer, r#"{{"silent_hubs":{},"places":[{text}]}}"#, dump.silent_hubs())
}
