//! Servers and clients over TCP on 127.0.0.1.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::clock::Stopwatch;
use super::memory;
use super::output::Output;
use super::runtime::Runtime;

/// The least that a page of the crawl has.
pub(crate) const PAGE_BYTES: usize = 10 * 1024;

/// Says where the server is, once it listens.
pub(crate) fn say_ready(port: u16) {
    println!("ready {port} pid {}", std::process::id());
    std::io::stdout().flush().expect("somebody waits for this line");
}

/// An echo server, a task per connection; it ends with the process.
pub(crate) fn echo<R: Runtime>(port: u16) {
    let listener = R::listen(port);
    say_ready(R::port(&listener));
    loop {
        let mut stream = R::accept(&listener);
        R::spawn(move || echo_connection(&mut stream));
    }
}

fn echo_connection(stream: &mut (impl Read + Write)) {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(length) => {
                if stream.write_all(&buffer[..length]).is_err() {
                    return;
                }
            }
        }
    }
}

/// A server that answers any request with a greeting and keeps the connection; it ends with the process.
pub(crate) fn http<R: Runtime>(port: u16) {
    let listener = R::listen(port);
    say_ready(R::port(&listener));
    loop {
        let mut stream = R::accept(&listener);
        R::spawn(move || http_connection(&mut stream));
    }
}

pub(crate) fn http_connection(stream: &mut (impl Read + Write)) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!";
    let mut buffer = [0; 2048];
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) | Err(_) => return,
            Ok(length) => filled += length,
        }
        let (requests, used) = whole_requests(&buffer[..filled]);
        for _ in 0..requests {
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
        buffer.copy_within(used..filled, 0);
        filled -= used;
    }
}

/// How many request heads end in `bytes`, and how many bytes they take.
fn whole_requests(bytes: &[u8]) -> (usize, usize) {
    let (mut requests, mut used, mut index) = (0, 0, 0);
    while index + 4 <= bytes.len() {
        if &bytes[index..index + 4] == b"\r\n\r\n" {
            requests += 1;
            index += 4;
            used = index;
        } else {
            index += 1;
        }
    }
    (requests, used)
}

/// Fetches `pages` pages with `concurrency` tasks, each on a connection of its own.
pub(crate) fn crawl<R: Runtime>(output: &Output, port: u16, pages: usize, concurrency: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let clock = Stopwatch::start();
    let handles: Vec<_> = (0..concurrency)
        .map(|_| {
            let next = next.clone();
            R::spawn(move || {
                while next.fetch_add(1, Ordering::SeqCst) < pages {
                    let length = fetch(&mut R::connect(port));
                    assert!(length > PAGE_BYTES, "a short page: {length}");
                }
            })
        })
        .collect();
    handles.into_iter().for_each(R::join);
    let spent = clock.stop();
    output.metric(&format!("crawl_wall.U={pages}"), spent.wall / 1e6, "ms");
    output.metric(&format!("crawl_cpu.U={pages}"), spent.processor / 1e6, "ms");
    let peak = memory::status("VmHWM") as f64 / (1024.0 * 1024.0);
    output.metric(&format!("crawl_peak_rss.U={pages}"), peak, "MiB");
}

/// Asks for a page and reads to the end; its length.
fn fetch(stream: &mut (impl Read + Write)) -> usize {
    stream.write_all(b"GET /page HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut buffer = [0; 4096];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => return total,
            length => total += length,
        }
    }
}

/// `connections` clients and the echo tasks they talk to in one process; `iterations` round trips of 64 bytes in all.
pub(crate) fn round_trips<R: Runtime>(output: &Output, connections: usize, iterations: usize) {
    let listener = R::listen(0);
    let port = R::port(&listener);
    // One after the other, so that no listener's backlog can overflow.
    let (mut servers, mut clients) = (Vec::new(), Vec::new());
    for _ in 0..connections {
        let client = R::connect(port);
        let mut server = R::accept(&listener);
        clients.push(client);
        servers.push(R::spawn(move || echo_connection(&mut server)));
    }
    let turns = (iterations / connections).max(2);
    let clock = Stopwatch::start();
    let handles: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            R::spawn(move || {
                for turn in 0..turns {
                    let message = [turn as u8; 64];
                    let mut answer = [0; 64];
                    client.write_all(&message).unwrap();
                    client.read_exact(&mut answer).unwrap();
                    assert_eq!(message, answer);
                }
            })
        })
        .collect();
    handles.into_iter().for_each(R::join);
    let spent = clock.stop();
    servers.into_iter().for_each(R::join);
    let total = (turns * connections) as f64;
    output.metric(&format!("roundtrip.C={connections}"), spent.wall / total, "ns");
    output.metric(&format!("roundtrip_cpu.C={connections}"), spent.processor / total, "ns");
}
