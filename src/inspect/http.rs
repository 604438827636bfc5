//! Metrics and dumps over HTTP.

use std::io::{self, Read, Write};
use std::net;
use std::time::Duration;

use super::dump::Dump;
use super::listening::Listening;
use super::metrics::metrics;
use super::options::DumpOptions;
use crate::net::{TcpListener, TcpStream};
use crate::task::with_timeout;

/// At most 15 bytes, which is what the kernel shows.
const THREAD_NAME: &str = "greenloop-http";
/// How long a request may take to come, and the answer to be taken.
const LIMIT: Duration = Duration::from_secs(10);
/// How long a request may be.
const LONGEST_REQUEST: usize = 8 * 1024;
/// Of each hub, how many greenlets a page tells of.
const MOST_GREENLETS: usize = 100_000;

/// Serves [`metrics`](fn@super::metrics) to Prometheus, and dumps, over HTTP.
///
/// `GET /metrics` answers with the metrics of all hubs, `GET /dump` with a [`Dump`](super::Dump) of all, with backtraces, as text, and
/// `GET /dump.json` with the same as JSON. Everybody who can connect can read that, so `listener` must be bound to a loopback address;
/// [`serve_metrics_openly`] takes any.
///
/// An OS thread of its own serves them, so answers come also while hubs are kept. [`Listening`] says how it ends. Returns at once.
///
/// # Errors
///
/// `InvalidInput` if the listener is not bound to a loopback address. Those of making an OS thread.
///
/// # Examples
///
/// ```
/// use greenloop::inspect;
/// use std::{io::Write, net::{TcpListener, TcpStream}};
///
/// greenloop::spawn(|| ()).join().unwrap();
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let listening = inspect::serve_metrics(listener)?;
///
/// let mut stream = greenloop::net::TcpStream::connect(address)?;
/// stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
/// let answer = std::io::read_to_string(stream)?;
/// assert!(answer.contains("\ngreenloop_green_threads_ended_total{hub="));
/// # listening.stop();
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn serve_metrics(listener: net::TcpListener) -> io::Result<Listening> {
    if !listener.local_addr()?.ip().to_canonical().is_loopback() {
        let reason = "everybody could read it: `serve_metrics_openly` says that it is meant";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    serve_metrics_openly(listener)
}

/// As [`serve_metrics`], to everybody who can connect, wherever `listener` is bound to.
///
/// They see names of green threads, places in the source and names of functions, and may ask as often as they like.
///
/// # Errors
///
/// Those of making an OS thread.
///
/// # Examples
///
/// ```
/// use greenloop::inspect;
///
/// let listener = std::net::TcpListener::bind("0.0.0.0:0")?;
/// assert!(inspect::serve_metrics(listener.try_clone()?).is_err());
/// inspect::serve_metrics_openly(listener)?.stop();
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn serve_metrics_openly(listener: net::TcpListener) -> io::Result<Listening> {
    let open = move || {
        let listener = TcpListener::from(listener);
        move || listener.accept().map(|(stream, _)| stream)
    };
    // One that does not keep to the rules, or goes, is no concern of anybody's.
    let serve = |stream| drop(serve(stream));
    Listening::begin(THREAD_NAME, open, serve, || ())
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    let Some(line) = with_timeout(LIMIT, || read_request(&mut stream))?? else { return Ok(()) };
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let path = target.split('?').next().unwrap_or("");
    let (status, kind, body) = match (method, path) {
        ("GET", "/metrics") => ("200 OK", "text/plain; version=0.0.4; charset=utf-8", metrics().to_string()),
        ("GET", "/dump") => ("200 OK", "text/plain; charset=utf-8", format!("{}\n", take_dump())),
        ("GET", "/dump.json") => {
            let mut json = Vec::new();
            take_dump().write_json(&mut json)?;
            ("200 OK", "application/json", String::from_utf8_lossy(&json).into_owned())
        }
        ("GET", _) => {
            ("404 Not Found", "text/plain", "There are /metrics, /dump and /dump.json.\n".to_owned())
        }
        _ => ("405 Method Not Allowed", "text/plain", "Only GET is known here.\n".to_owned()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    with_timeout(LIMIT, || {
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())
    })?
}

fn take_dump() -> Dump {
    DumpOptions::new().all_hubs(true).backtraces(true).limit(MOST_GREENLETS).take()
}

/// The first line of a request whose head is there; `None` if it is none.
fn read_request(stream: &mut impl Read) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = stream.read(&mut part)?;
        if length == 0 || head.len() + length > LONGEST_REQUEST {
            return Ok(None);
        }
        head.extend_from_slice(&part[..length]);
    }
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    Ok(std::str::from_utf8(line).ok().map(str::to_owned))
}
