//! Servers of HTTP that take their time, from std's own listener and OS threads.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::measure::runs;

/// What the server answers.
pub const ANSWER: &str = r#"{"country":"Sweden"}"#;

/// Serves as many requests as [`compare`](crate::measure::compare) makes of `count`, each after `delay`, and returns its port. `wrap` makes
/// of a connection what HTTP is spoken on.
///
/// # Panics
///
/// Panics if it cannot listen.
pub fn slow_server<S: Read + Write>(
    count: u32,
    delay: Duration,
    wrap: impl Fn(TcpStream) -> S + Clone + Send + 'static,
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let serve = |stream: std::io::Result<TcpStream>| {
            let (stream, wrap) = (stream.unwrap(), wrap.clone());
            std::thread::spawn(move || answer(wrap(stream), delay))
        };
        let handlers: Vec<_> = listener.incoming().take(runs(count) as usize).map(serve).collect();
        handlers.into_iter().for_each(|handler| handler.join().unwrap());
    });
    port
}

fn answer(mut stream: impl Read + Write, delay: Duration) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    std::thread::sleep(delay);
    let length = ANSWER.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(ANSWER.as_bytes()).unwrap();
    stream.flush().unwrap();
}

/// A server of HTTP that lets each odd connection wait until the client ends it, and answers the others at once. It takes `count`
/// connections, and has ended when all have.
#[derive(Debug)]
pub struct SilentServer {
    /// Of 127.0.0.1.
    pub port: u16,
    thread: JoinHandle<()>,
}

impl SilentServer {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// Panics if it cannot listen.
    pub fn start(count: usize) -> SilentServer {
        SilentServer::start_with(count, |stream| stream)
    }

    /// Starts one that speaks HTTP on what `wrap` makes of a connection.
    ///
    /// # Panics
    ///
    /// Panics if it cannot listen.
    pub fn start_with<S: Read + Write>(
        count: usize,
        wrap: impl Fn(TcpStream) -> S + Send + 'static,
    ) -> SilentServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            for number in 1..=count {
                let mut stream = wrap(listener.accept().unwrap().0);
                if number % 2 == 0 {
                    let length = ANSWER.len();
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{ANSWER}"
                    );
                    stream.write_all(answer.as_bytes()).unwrap();
                }
                let _ = stream.flush();
                // An error is an end too: of a connection that is closed before all was read.
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        SilentServer { port, thread }
    }

    /// Where it is asked.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Waits until the clients have ended every connection.
    ///
    /// # Panics
    ///
    /// Panics if one of them has not asked.
    pub fn end(self) {
        self.thread.join().unwrap();
    }
}
