//! Forwards connections to another address: two green threads for each, one for either direction.
//!
//! Run it with `cargo run --example port_forwarder` to see it forward to a server of its own, or with
//! `cargo run --example port_forwarder -- 127.0.0.1:8080 example.org:80` to forward until it is stopped.
//!
//! Expected output:
//!
//!     forwarding 127.0.0.1:[..] to 127.0.0.1:[..]
//!     100 clients through the forwarder: 100 answers are right
//!     a server that is down: the client is told by the end of its connection

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use greenloop::net::TcpStream;
use greenloop::pool::Pool;
use greenloop::server::{Server, StreamServer};

const CLIENTS: usize = 100;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    if let (Some(from), Some(to)) = (arguments.next(), arguments.next()) {
        return forwarder(&from, to)?.serve_forever();
    }
    // In the demonstration the other server answers with what it was sent, turned round.
    let other = StreamServer::bind("127.0.0.1:0")?.handle(|mut stream, _peer| {
        let text = io::read_to_string(&stream)?;
        stream.write_all(text.chars().rev().collect::<String>().as_bytes())
    });
    other.start()?;
    let server = forwarder("127.0.0.1:0", other.local_addr()?.to_string())?;
    server.start()?;
    let address = server.local_addr()?;
    let answers = Pool::new(20).map(0..CLIENTS, move |number| ask(address, &format!("client {number}")));
    let right =
        |(number, answer): (usize, String)| answer.chars().rev().eq(format!("client {number}").chars());
    let answers = answers.into_iter().map(|answer| answer.ok().and_then(Result::ok).unwrap_or_default());
    let count = answers.enumerate().filter(|answer| right(answer.clone())).count();
    println!("{CLIENTS} clients through the forwarder: {count} answers are right");
    other.stop(Duration::ZERO);
    if io::read_to_string(TcpStream::connect(address)?).is_ok_and(|text| text.is_empty()) {
        println!("a server that is down: the client is told by the end of its connection");
    }
    server.stop(Duration::ZERO);
    Ok(())
}

/// A server at `from` that passes everything on to `to`, which is looked up for each connection.
fn forwarder(from: &str, to: String) -> io::Result<Server<SocketAddr>> {
    let listening = StreamServer::bind(from)?;
    let target = to.clone();
    let server =
        listening.limit(10_000).on_error(|error| eprintln!("{error}")).handle(move |client, _peer| {
            forward(&client, &TcpStream::connect_within(&*target, Duration::from_secs(10))?)
        });
    println!("forwarding {} to {to}", server.local_addr()?);
    Ok(server)
}

/// Until both directions have ended, or one has failed.
fn forward(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    greenloop::scope(|scope| {
        let up = scope.spawn(|| pass(client, server));
        let down = pass(server, client);
        if down.is_err() {
            up.kill();
        }
        down.and(up.join().unwrap_or(Ok(())))
    })
}

/// One direction, its end included.
fn pass(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    io::copy(&mut from, &mut to)?;
    to.shutdown(Shutdown::Write)
}

/// One client of the demonstration.
fn ask(address: SocketAddr, text: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    io::read_to_string(&stream)
}
