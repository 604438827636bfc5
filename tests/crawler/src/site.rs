//! Sites to crawl.

use crate::server::{self, Response};
use greenloop::net::{TcpListener, TcpStream};
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread;

/// A site on an OS thread of its own, with a hub of its own.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    server: Arc<greenloop::JoinHandle<io::Result<()>>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Site {
    pub(crate) fn start(respond: impl Fn(&str) -> Response + Send + 'static) -> Site {
        Site::wrapped("127.0.0.1", |stream| stream, respond)
    }

    pub(crate) fn wrapped<S: io::Read + io::Write + 'static>(
        host: &str,
        wrap: impl Fn(TcpStream) -> S + Send + 'static,
        respond: impl Fn(&str) -> Response + Send + 'static,
    ) -> Site {
        Site::served(host, move |listener| server::serve(listener, wrap, respond))
    }

    /// A site whose answers are sent as they are. It is asked with the number of the request on its connection, from 0, and
    /// with its head; without an answer, or after one that says so, the connection ends.
    pub(crate) fn raw(respond: impl Fn(usize, &str) -> Option<Vec<u8>> + Send + 'static) -> Site {
        Site::served("127.0.0.1", move |listener| {
            greenloop::scope(|scope| {
                loop {
                    let (stream, _) = listener.accept()?;
                    // A client that goes away ends its own connection only.
                    scope.spawn(|| drop(converse(stream, &respond)));
                }
            })
        })
    }

    fn served(host: &str, serve: impl FnOnce(&TcpListener) -> io::Result<()> + Send + 'static) -> Site {
        let (sender, started) = mpsc::channel();
        let host = host.to_owned();
        let thread = thread::spawn(move || {
            let listener = TcpListener::bind((host.as_str(), 0)).expect("a port");
            let address = listener.local_addr().expect("its address");
            let server = Arc::new(greenloop::spawn(move || serve(&listener)));
            sender.send((address, Arc::clone(&server))).expect("the test waits for it");
            server.wait();
        });
        let (address, server) = started.recv().expect("a site that starts");
        Site { address, server, thread: Some(thread) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn secure_url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    /// A text with this site's changing parts named: its address is SITE.
    pub(crate) fn named(&self, text: &str) -> String {
        text.replace(&self.address.to_string(), "SITE")
    }
}

/// One connection to a raw site.
fn converse(mut stream: TcpStream, respond: impl Fn(usize, &str) -> Option<Vec<u8>>) -> io::Result<()> {
    let mut requests = BufReader::new(stream.try_clone()?);
    for number in 0.. {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if requests.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let Some(answer) = respond(number, &head) else { break };
        stream.write_all(&answer)?;
        if String::from_utf8_lossy(&answer).contains("Connection: close\r\n") {
            break;
        }
    }
    Ok(())
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.kill();
        let ended = self.thread.take().map(thread::JoinHandle::join);
        if !thread::panicking() {
            ended.expect("a site stops once").expect("a site that ends well");
        }
    }
}

/// A page that links to these places.
pub(crate) fn page(links: &[&str]) -> Response {
    Response::html(links.iter().map(|link| format!("<a href='{link}'>{link}</a>\n")).collect::<String>())
}

/// A little tree: `/` leads to `/a` and `/b`, those to `/c`, and that to `/d`. Anything else is missing.
pub(crate) fn tree(path: &str) -> Response {
    match path {
        "/" => page(&["/a", "b#part", "/a", "mailto:me@example.com"]),
        "/a" | "/b" => page(&["/c", "/"]),
        "/c" => page(&["/d"]),
        "/d" => Response::of_type("text/plain", "<a href='/e'>"),
        _ => Response::status(404),
    }
}
