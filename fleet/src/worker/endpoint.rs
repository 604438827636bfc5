//! What a worker tells Prometheus.

use super::Counts;
use crate::{Broker, Status};
use greenloop::channel::{Receiver, Sender, bounded};
use greenloop::event::Event;
use greenloop::net::{TcpListener, TcpStream};
use greenloop::server::StreamServer;
use greenloop::{inspect, spawn, with_timeout};
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How long a connection may take, and how long the broker has for its part.
const LIMITS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// How many are served at a time.
const CONNECTIONS: usize = 16;
/// How long a request may be.
const LONGEST_REQUEST: usize = 8 * 1024;

/// An OS thread with a hub of its own, so that it answers also while jobs keep the worker's. It ends with this.
pub(super) struct Endpoint {
    end: Arc<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    pub(super) fn begin(
        listener: &net::TcpListener,
        counts: Arc<Counts>,
        broker: Arc<dyn Broker>,
    ) -> io::Result<Endpoint> {
        let listener = listener.try_clone()?;
        let end = Arc::new(Event::new());
        let until = Arc::clone(&end);
        let serve = move || {
            let listener = TcpListener::from(listener);
            let question = Question::new(broker);
            let server = StreamServer::new(listener).limit(CONNECTIONS).handle(move |stream, _| {
                // One that does not keep to the rules, or goes, is no concern of anybody's.
                let _ = with_timeout(LIMITS.0, || answer(stream, &counts, &question));
                Ok(())
            });
            if server.start().is_ok() {
                until.wait();
                server.stop(Duration::ZERO);
            }
        };
        let thread = Builder::new().name("fleet-metrics".to_owned()).spawn(serve)?;
        Ok(Endpoint { end, thread: Some(thread) })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.end.set();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: TcpStream, counts: &Counts, question: &Question) -> io::Result<()> {
    let Some(line) = read_request(&mut stream)? else { return Ok(()) };
    let mut words = line.split(' ');
    let path = |target: &str| target.split('?').next().unwrap_or_default().to_owned();
    let (status, body) = match (words.next(), words.next().map(path).as_deref()) {
        (Some("GET"), Some("/metrics")) => ("200 OK", text(counts, question)),
        (Some("GET"), _) => ("404 Not Found", "There is /metrics.\n".to_owned()),
        _ => ("405 Method Not Allowed", "Only GET is known here.\n".to_owned()),
    };
    let length = body.len();
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// What the broker is asked, by one at a time.
struct Question {
    broker: Arc<dyn Broker>,
    turn: Receiver<()>,
    next: Sender<()>,
}

/// Whose it is. The next one has it then.
struct Turn(Sender<()>);

impl Drop for Turn {
    fn drop(&mut self) {
        // The endpoint may have ended.
        let _ = self.0.try_send(());
    }
}

impl Question {
    fn new(broker: Arc<dyn Broker>) -> Question {
        let (next, turn) = bounded(1);
        drop(Turn(next.clone()));
        Question { broker, turn, next }
    }

    /// Asks in a green thread that is left behind if it takes too long: a lock of the broker's is waited for without a limit, also if a job
    /// keeps the OS thread of who holds it.
    fn ask(&self) -> Option<Status> {
        let start = Instant::now();
        self.turn.recv_timeout(LIMITS.1).ok()?;
        let (turn, broker) = (Turn(self.next.clone()), Arc::clone(&self.broker));
        let asked = spawn(move || {
            let _turn = turn;
            with_timeout(LIMITS.1, || broker.status()).ok()?.ok()
        });
        asked.join_timeout(LIMITS.1.saturating_sub(start.elapsed())).ok()?.ok()?
    }
}

fn text(counts: &Counts, question: &Question) -> String {
    let mut text = counts.prometheus();
    // Without it, if the broker is away.
    if let Some(status) = question.ask() {
        let jobs = [
            ("ready", status.ready),
            ("later", status.later),
            ("leased", status.leased),
            ("dead", status.dead),
        ];
        text.push_str("# TYPE fleet_jobs gauge\n");
        for (state, jobs) in jobs {
            // To a string it cannot fail.
            let _ = writeln!(text, "fleet_jobs{{state=\"{state}\"}} {jobs}");
        }
    }
    let _ = write!(text, "{}", inspect::metrics());
    text
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
