//! A small HTTP/1.1 server: `httparse` over any blocking stream, one green thread per connection.
//!
//! Everything is written as if each connection had a thread of its own: a handler that sleeps, a response that
//! never ends and a client that reads slowly hold up nobody else.

use greenloop::net::{TcpListener, TcpStream};
use std::io::{self, ErrorKind, Read, Write};

/// The longest request head that is accepted.
const HEAD_LIMIT: usize = 16 * 1024;

/// What a handler answers.
pub struct Response {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
}

/// The body of a [`Response`], or what goes wrong with it.
pub enum Body {
    Whole(Vec<u8>),
    /// The connection closes after these bytes, though the header promised as many more.
    BrokenOff(Vec<u8>),
    /// These bytes again and again, for as long as the client reads.
    Endless(Vec<u8>),
}

impl Response {
    /// A page of HTML.
    pub fn html(body: impl Into<Vec<u8>>) -> Response {
        Response::of_type("text/html; charset=utf-8", body)
    }

    /// A body of another media type.
    pub fn of_type(media_type: &str, body: impl Into<Vec<u8>>) -> Response {
        let headers = vec![("Content-Type", media_type.to_owned())];
        Response { status: 200, headers, body: Body::Whole(body.into()) }
    }

    /// A page that only names its status.
    pub fn status(status: u16) -> Response {
        Response { status, ..Response::html(format!("<p>{status} {}</p>", reason(status))) }
    }

    /// Sends the client elsewhere.
    pub fn redirect(status: u16, location: &str) -> Response {
        Response { status, headers: vec![("Location", location.to_owned())], body: Body::Whole(Vec::new()) }
    }
}

/// Accepts connections until it is killed, and its connections with it.
///
/// `wrap` makes of each connection the stream to speak HTTP on: itself, or TLS over it.
pub fn serve<S: Read + Write>(
    listener: &TcpListener,
    wrap: impl Fn(TcpStream) -> S,
    respond: impl Fn(&str) -> Response,
) -> io::Result<()> {
    let (wrap, respond) = (&wrap, &respond);
    greenloop::scope(|scope| {
        loop {
            let (stream, _) = listener.accept()?;
            scope.spawn(move || {
                // A client that goes away ends its own connection only.
                let _ = serve_connection(wrap(stream), respond);
            });
        }
    })
}

/// Answers the requests of one connection, in order, until the client closes it.
fn serve_connection<S: Read + Write>(mut stream: S, respond: impl Fn(&str) -> Response) -> io::Result<()> {
    let mut received = Vec::new();
    while let Some(path) = read_request(&mut stream, &mut received)? {
        let response = match &path {
            Some(path) => respond(path),
            None => Response::status(405),
        };
        if !write_response(&mut stream, response)? {
            break;
        }
    }
    Ok(())
}

/// Reads one request head: its path, `Some(None)` if it is not a GET, `None` at the end of the connection.
fn read_request(stream: &mut impl Read, received: &mut Vec<u8>) -> io::Result<Option<Option<String>>> {
    let mut chunk = [0; 1024];
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        let parsed =
            request.parse(received).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        if let httparse::Status::Complete(length) = parsed {
            let path = request.path.filter(|_| request.method == Some("GET")).map(str::to_owned);
            received.drain(..length);
            return Ok(Some(path));
        }
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(None);
        }
        received.extend_from_slice(&chunk[..count]);
        if received.len() > HEAD_LIMIT {
            return Err(io::Error::new(ErrorKind::InvalidData, "the request head is too long"));
        }
    }
}

/// Writes one response, and tells whether the connection can be used again.
fn write_response(stream: &mut impl Write, response: Response) -> io::Result<bool> {
    let mut head = format!("HTTP/1.1 {} {}\r\n", response.status, reason(response.status));
    for (name, value) in &response.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &match &response.body {
        Body::Whole(bytes) => format!("Content-Length: {}\r\n\r\n", bytes.len()),
        Body::BrokenOff(bytes) => format!("Content-Length: {}\r\n\r\n", bytes.len() * 2),
        Body::Endless(_) => "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
    };
    let mut message = head.into_bytes();
    let is_whole = matches!(response.body, Body::Whole(_));
    match response.body {
        Body::Whole(bytes) | Body::BrokenOff(bytes) => {
            message.extend_from_slice(&bytes);
            stream.write_all(&message)?;
            stream.flush()?;
            Ok(is_whole)
        }
        Body::Endless(bytes) => {
            stream.write_all(&message)?;
            let size = format!("{:x}\r\n", bytes.len()).into_bytes();
            let chunk = [size.as_slice(), &bytes, b"\r\n"].concat();
            loop {
                stream.write_all(&chunk)?;
            }
        }
    }
}

/// The usual words for a status.
fn reason(status: u16) -> &'static str {
    let known = ureq::http::StatusCode::from_u16(status).ok();
    known.and_then(|status| status.canonical_reason()).unwrap_or("Unknown")
}
