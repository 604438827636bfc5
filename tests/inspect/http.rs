use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use greenloop::inspect::{self, Listening};
use greenloop::{Builder, sleep};

use crate::support::{settle, within};
use crate::{LIMIT, LONG};

fn served() -> (SocketAddr, Listening) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap(), inspect::serve_metrics(listener).unwrap())
}

/// What comes back for `request`, asked by an OS thread so that the hub is free to answer.
fn ask(address: SocketAddr, request: &[u8]) -> String {
    let request = request.to_owned();
    let client = thread::spawn(move || {
        let mut stream = TcpStream::connect(address)?;
        // It may have been refused before all of it was sent.
        let _ = stream.write_all(&request).and_then(|()| stream.shutdown(Shutdown::Write));
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
            _ => Ok(String::from_utf8(answer).unwrap()),
        }
    });
    while !client.is_finished() {
        settle();
    }
    client.join().unwrap().unwrap()
}

#[test]
fn pages_are_served_with_their_length() {
    within(LIMIT, || {
        let (address, listening) = served();
        let sleeper = Builder::new().name("seen over HTTP").spawn(|| sleep(LONG)).unwrap();
        settle();
        for (path, kind, part) in [
            ("/metrics", "text/plain; version=0.0.4", "greenloop_green_threads_alive{hub="),
            ("/metrics?x=1", "text/plain; version=0.0.4", "greenloop_green_threads_alive{hub="),
            ("/dump", "text/plain", "'seen over HTTP'"),
            ("/dump.json", "application/json", "\"seen over HTTP\""),
        ] {
            let answer = ask(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            assert!(head.contains(&format!("Content-Type: {kind}")), "{head}");
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
            assert!(body.contains(part), "{body}");
        }
        sleeper.kill();
        listening.stop();
        assert!(TcpStream::connect(address).is_err());
    });
}

#[test]
fn what_is_no_request_for_it_is_refused() {
    within(LIMIT, || {
        let (address, listening) = served();
        for (request, answer) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "HTTP/1.1 404 Not Found\r\n"),
            (b"POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\n"),
            (b"\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\n"),
            (b"\xff\xfe\r\n\r\n", ""),
            (b"GET /metrics HTTP/1.1\r\n", ""),
            (b"", ""),
            (&[b'a'; 100_000], ""),
        ] {
            let got = ask(address, request);
            assert!(if answer.is_empty() { got.is_empty() } else { got.starts_with(answer) }, "{got}");
        }
        assert!(ask(address, b"GET /metrics HTTP/1.1\r\n\r\n").contains("greenloop_"));
        listening.stop();
    });
}

#[test]
fn who_says_nothing_keeps_nobody_from_the_end() {
    within(LIMIT, || {
        let (address, listening) = served();
        // More than are served at a time.
        let silent: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
        listening.stop();
        for mut stream in silent {
            assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
        }
    });
}

#[test]
fn everybody_is_served_only_when_that_is_meant() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let error = inspect::serve_metrics(listener.try_clone().unwrap()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    inspect::serve_metrics_openly(listener).unwrap().stop();
}
