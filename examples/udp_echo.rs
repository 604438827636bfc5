//! A server of datagrams that sends each back to where it came from.
//!
//! Run it with `cargo run --example udp_echo` to see it answer clients of its own, or with
//! `cargo run --example udp_echo -- 127.0.0.1:7007` to serve others until it is stopped: `nc -u 127.0.0.1 7007`.
//!
//! Expected output:
//!
//!     listening on 127.0.0.1:[..]
//!     the first client got "one", "two" and "three" back
//!     50 clients at once: 50 answers

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use greenloop::net::UdpSocket;
use greenloop::pool;
use greenloop::server::DatagramServer;
use tool::{complain, failed_to, say};

mod tool;

const CLIENTS: usize = 50;
/// How long a client waits for an answer before it asks again: datagrams may get lost.
const PATIENCE: Duration = Duration::from_millis(500);

/// Sends datagrams back. Without arguments it shows itself with clients of its own.
#[derive(Parser)]
struct Options {
    /// Where to receive, HOST:PORT
    #[arg(value_parser = tool::address)]
    address: Option<String>,
}

fn main() -> ExitCode {
    tool::run(|| serve(Options::parse().address.as_deref()))
}

fn serve(address: Option<&str>) -> Result<(), Box<dyn Error>> {
    let place = address.unwrap_or("127.0.0.1:0");
    let server = DatagramServer::bind(place)
        .map_err(failed_to(format_args!("receive at {place}")))?
        .limit(1000)
        .on_error(|error| complain!("{error}"))
        .handle(|socket, datagram, peer| socket.send_to(&datagram, peer).map(|_sent| ()));
    say!("listening on {}", server.local_addr()?);
    if address.is_some() {
        return Ok(server.serve_forever()?);
    }
    server.start()?;

    let client = Client::new(server.local_addr()?)?;
    let [one, two, three] = ["one", "two", "three"].map(|text| client.ask(text));
    say!("the first client got {:?}, {:?} and {:?} back", one?, two?, three?);
    let address = server.local_addr()?;
    let answers = pool::scope(CLIENTS, |pool| {
        pool.map(0..CLIENTS, |number| Client::new(address)?.ask(&format!("client {number}")))
    });
    let answered = answers.iter().filter(|answer| matches!(answer, Ok(Ok(_)))).count();
    say!("{CLIENTS} clients at once: {answered} answers");
    server.stop(Duration::ZERO);
    Ok(())
}

struct Client(UdpSocket);

impl Client {
    fn new(server: SocketAddr) -> io::Result<Client> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Client(socket))
    }

    /// Sends `text` until it comes back.
    fn ask(&self, text: &str) -> io::Result<String> {
        let mut answer = [0; 1500];
        loop {
            self.0.send(text.as_bytes())?;
            match self.0.recv(&mut answer) {
                Ok(length) if answer[..length] == *text.as_bytes() => return Ok(text.to_owned()),
                // An answer to an earlier question that was asked twice.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
