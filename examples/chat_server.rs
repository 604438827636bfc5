//! A chat: what one says, all others hear. The first line that a client sends is its name.
//!
//! Run it with `cargo run --example chat_server` to listen to three guests of its own, or with
//! `cargo run --example chat_server -- 127.0.0.1:7000` to serve others until it is stopped: `nc 127.0.0.1 7000`.
//!
//! Expected output:
//!
//!     ann hears: bob has come
//!     ann hears: bob: hello
//!     bob hears: ann: hello, bob
//!     ann hears: cid has come
//!     ann hears: bob has gone
//!     cid hears: bob has gone

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use greenloop::channel::{self, Sender};
use greenloop::net::TcpStream;
use greenloop::server::StreamServer;
use greenloop::spawn;

/// Who is there: what is sent here is written to that guest.
type Guests = Rc<RefCell<BTreeMap<SocketAddr, Sender<String>>>>;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    let guests = Guests::default();
    let server = StreamServer::bind(address.as_deref().unwrap_or("127.0.0.1:0"))?
        .handle(move |stream, peer| chat(&stream, peer, &guests));
    if address.is_some() {
        return server.serve_forever();
    }
    server.start()?;
    let address = server.local_addr()?;
    let (mut ann, mut bob) = (Guest::enter(address, "ann")?, Guest::enter(address, "bob")?);
    ann.hear()?;
    bob.say("hello")?;
    ann.hear()?;
    ann.say("hello, bob")?;
    bob.hear()?;
    let mut cid = Guest::enter(address, "cid")?;
    ann.hear()?;
    drop(bob);
    ann.hear()?;
    cid.hear()?;
    server.stop(Duration::ZERO);
    Ok(())
}

/// Serves one guest until it goes.
fn chat(stream: &TcpStream, peer: SocketAddr, guests: &Guests) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let Some(name) = lines.next().transpose()? else { return Ok(()) };
    let (sender, receiver) = channel::unbounded::<String>();
    // One that is slow to read delays nobody: its lines wait here. The writer ends when nobody can send any more.
    let mut out = stream.try_clone()?;
    spawn(move || receiver.iter().try_for_each(|line| writeln!(out, "{line}")));
    let tell = |text: String| {
        for (_, guest) in guests.borrow().iter().filter(|(other, _)| **other != peer) {
            let _ = guest.send(text.clone());
        }
    };
    let _ = sender.send(format!("welcome, {name}"));
    guests.borrow_mut().insert(peer, sender);
    tell(format!("{name} has come"));
    lines.map_while(Result::ok).for_each(|line| tell(format!("{name}: {line}")));
    guests.borrow_mut().remove(&peer);
    tell(format!("{name} has gone"));
    Ok(())
}

/// A guest of the demonstration.
struct Guest(&'static str, BufReader<TcpStream>);

impl Guest {
    fn enter(server: SocketAddr, name: &'static str) -> io::Result<Guest> {
        let mut guest = Guest(name, BufReader::new(TcpStream::connect(server)?));
        guest.say(name)?;
        guest.1.read_line(&mut String::new())?; // The welcome.
        Ok(guest)
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.1.get_mut(), "{text}")
    }

    fn hear(&mut self) -> io::Result<()> {
        let mut line = String::new();
        self.1.read_line(&mut line)?;
        println!("{} hears: {}", self.0, line.trim_end());
        Ok(())
    }
}
