//! Forwards connections to another address: two green threads for each, one for either direction. What one end does the other is told:
//! that it has no more to send, and that it has broken off.
//!
//! Run it with `cargo run --example port_forwarder` to see it forward to a server of its own, or with
//! `cargo run --example port_forwarder -- 127.0.0.1:8080 example.org:80` to forward until it is stopped.
//!
//! Expected output:
//!
//!     forwarding 127.0.0.1:[..] to 127.0.0.1:[..]
//!     100 clients through the forwarder: 100 answers are right
//!     a server that is down: the client is told by the end of its connection

use std::error::Error;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use greenloop::channel;
use greenloop::net::TcpStream;
use greenloop::pool::Pool;
use greenloop::server::{Server, StreamServer};
use rustix::net::sockopt::{set_socket_keepalive, set_socket_linger};
use tool::{complain, failed_to, say};

mod tool;

const CLIENTS: usize = 100;

/// Forwards connections to another address. Without arguments it shows itself on a server of its own.
#[derive(Parser)]
struct Options {
    /// Where to listen, HOST:PORT
    #[arg(requires = "to", value_parser = tool::address)]
    from: Option<String>,
    /// Where to forward to, HOST:PORT, looked up for each connection
    #[arg(value_parser = tool::address)]
    to: Option<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    tool::run(|| match (options.from, options.to) {
        (Some(from), Some(to)) => Ok(forwarder(&from, to)?.serve_forever()?),
        _ => demonstrate(),
    })
}

fn demonstrate() -> Result<(), Box<dyn Error>> {
    // The other server answers with what it was sent, turned round.
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
    say!("{CLIENTS} clients through the forwarder: {count} answers are right");
    other.stop(Duration::ZERO);
    if io::read_to_string(TcpStream::connect(address)?).is_ok_and(|text| text.is_empty()) {
        say!("a server that is down: the client is told by the end of its connection");
    }
    server.stop(Duration::ZERO);
    Ok(())
}

/// A server at `from` that passes everything on to `to`.
fn forwarder(from: &str, to: String) -> Result<Server<SocketAddr>, Box<dyn Error>> {
    let listening = StreamServer::bind(from).map_err(failed_to(format_args!("listen at {from}")))?;
    let target = to.clone();
    let server =
        listening.limit(10_000).on_error(|error| complain!("{error}")).handle(move |client, _peer| {
            forward(&client, &TcpStream::connect_within(&*target, Duration::from_secs(10))?)
        });
    say!("forwarding {} to {to}", server.local_addr()?);
    Ok(server)
}

/// Until both directions have ended, or one has failed: then both ends see the connection break off.
fn forward(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    for end in [client, server] {
        // The kernel finds out who is gone without a word.
        set_socket_keepalive(end, true)?;
    }
    greenloop::scope(|scope| {
        let (ended, ends) = channel::unbounded();
        let directions = [(client, server), (server, client)].map(|(from, to)| {
            let ended = ended.clone();
            scope.spawn(move || ended.send(pass(from, to)))
        });
        drop(ended);
        let outcome: io::Result<()> = ends.iter().collect();
        if outcome.is_err() {
            directions.iter().for_each(|direction| direction.kill());
            for end in [client, server] {
                // Closing resets it then.
                set_socket_linger(end, Some(Duration::ZERO))?;
            }
        }
        outcome
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
