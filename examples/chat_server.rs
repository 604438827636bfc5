//! A chat: what one says, all others hear. The first line that a client sends is its name.
//!
//! Run it with `cargo run --example chat_server` to listen to three guests of its own, or with
//! `cargo run --example chat_server -- 127.0.0.1:7000` to serve others until it is stopped: `nc 127.0.0.1 7000`.
//! A guest who does not read what others say, or whose lines have no end, has to go.
//!
//! Expected output:
//!
//!     listening on 127.0.0.1:[..]
//!     ann hears: bob has come
//!     ann hears: bob: hello
//!     bob hears: ann: hello, bob
//!     ann hears: cid has come
//!     ann hears: bob has gone
//!     cid hears: bob has gone

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use greenloop::channel::{self, Sender};
use greenloop::net::TcpStream;
use greenloop::server::StreamServer;
use greenloop::{spawn, with_timeout, yield_now};
use tool::{failed_to, say};

mod tool;

/// How many may be there; more wait until one goes.
const GUESTS: usize = 1000;
/// The longest line, in bytes.
const LINE: usize = 1000;
/// How many lines a guest may be behind.
const LINES: usize = 100;
/// How long a guest may take to say its name.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lets guests talk. Without arguments it shows itself with three of its own.
#[derive(Parser)]
struct Options {
    /// Where to listen, HOST:PORT
    #[arg(value_parser = tool::address)]
    address: Option<String>,
}

/// Who is there: the connection, and where to send what is to be written to it.
type Guests = Rc<RefCell<BTreeMap<SocketAddr, (Rc<TcpStream>, Sender<Rc<str>>)>>>;

fn main() -> ExitCode {
    tool::run(|| serve(Options::parse().address.as_deref()))
}

fn serve(address: Option<&str>) -> Result<(), Box<dyn Error>> {
    let guests = Guests::default();
    let place = address.unwrap_or("127.0.0.1:0");
    let server = StreamServer::bind(place)
        .map_err(failed_to(format_args!("listen at {place}")))?
        .limit(GUESTS)
        .handle(move |stream, peer| chat(Rc::new(stream), peer, &guests));
    say!("listening on {}", server.local_addr()?);
    if address.is_some() {
        return Ok(server.serve_forever()?);
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
fn chat(stream: Rc<TcpStream>, peer: SocketAddr, guests: &Guests) -> io::Result<()> {
    let mut lines = BufReader::new(&*stream);
    let Some(name) = with_timeout(PATIENCE, || read_line(&mut lines)).map_err(io::Error::other)?? else {
        return Ok(());
    };
    let (sender, receiver) = channel::bounded::<Rc<str>>(LINES);
    let out = Rc::clone(&stream);
    // It ends when nobody can send any more.
    spawn(move || receiver.iter().try_for_each(|line| writeln!(&*out, "{line}")));
    let tell = |text: String| {
        let text: Rc<str> = text.into();
        for (_, (stream, guest)) in guests.borrow().iter().filter(|(other, _)| **other != peer) {
            if guest.try_send(Rc::clone(&text)).is_err() {
                // It does not read. Its own green thread finds the end of its lines, and takes it out.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        yield_now(); // Now they are written, unless there is no room in the kernel.
    };
    let _ = sender.try_send(format!("welcome, {name}").into());
    guests.borrow_mut().insert(peer, (Rc::clone(&stream), sender));
    tell(format!("{name} has come"));
    let end = loop {
        match read_line(&mut lines) {
            Ok(Some(line)) => tell(format!("{name}: {line}")),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    guests.borrow_mut().remove(&peer);
    tell(format!("{name} has gone"));
    let _ = stream.shutdown(Shutdown::Both); // What waits for it is not written any more.
    end
}

/// The next line, without what the terminals of others would obey; `None` after the last.
fn read_line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    from.take(LINE as u64).read_until(b'\n', &mut line)?;
    if line.len() == LINE && line.last() != Some(&b'\n') {
        return Err(io::Error::new(ErrorKind::InvalidData, "the line is too long"));
    }
    let text = String::from_utf8_lossy(&line);
    Ok((!line.is_empty()).then(|| text.chars().filter(|character| !character.is_control()).collect()))
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
        say!("{} hears: {}", self.0, line.trim_end());
        Ok(())
    }
}
