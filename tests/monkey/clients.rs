//! Real blocking crates, unmodified.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use greenloop::{joinall, spawn};

use crate::patched;

const DELAY: Duration = Duration::from_millis(100);

/// Serves `count` requests at once, each after [`DELAY`], from std's own listener on an OS thread of its own.
fn slow_server(count: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let handlers: Vec<_> = listener
            .incoming()
            .take(count)
            .map(|stream| {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        let mut byte = [0];
                        stream.read_exact(&mut byte).unwrap();
                        request.push(byte[0]);
                    }
                    std::thread::sleep(DELAY);
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                        .unwrap();
                })
            })
            .collect();
        handlers.into_iter().for_each(|handler| handler.join().unwrap());
    });
    port
}

fn fetch(url: &str) -> String {
    ureq::get(url).call().unwrap().body_mut().read_to_string().unwrap()
}

#[test]
fn two_hundred_fetches_of_ureq_take_little_longer_than_one() {
    let serial = 3;
    patched(move || {
        let port = slow_server(200 + serial);
        let url = format!("http://127.0.0.1:{port}/");
        let start = Instant::now();
        // A thread without a hub: the same code, one after another.
        (0..serial).for_each(|_| assert_eq!(fetch(&url), "ok"));
        let unpatched = start.elapsed();
        assert!(unpatched >= serial as u32 * DELAY);

        let start = Instant::now();
        let fetches: Vec<_> = (0..200)
            .map(|_| {
                let url = url.clone();
                spawn(move || fetch(&url))
            })
            .collect();
        joinall(&fetches);
        let patched = start.elapsed();
        fetches.into_iter().for_each(|fetch| assert_eq!(fetch.join().unwrap(), "ok"));
        assert!(
            patched < 200 * DELAY / 4,
            "200 fetches took {patched:?}, {serial} one after another {unpatched:?}"
        );
    });
}
