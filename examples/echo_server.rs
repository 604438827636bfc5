//! An echo server in blocking style: a green thread per connection.
//!
//! Run it with `cargo run --example echo_server` to see it serve a thousand clients of its own, or with
//! `cargo run --example echo_server -- 127.0.0.1:7000` to serve others until it is stopped.
//!
//! Expected output:
//!
//!     listening on 127.0.0.1:[..]
//!     1000 clients, each with 3 lines answered: 3000 lines came back as they were sent
//!     connections still open: 0

use std::cell::Cell;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use greenloop::net::{TcpListener, TcpStream};
use greenloop::{JoinHandle, sleep, spawn};
use tool::{complain, failed_to, say};

mod tool;

const CLIENTS: usize = 1000;
const LINES: usize = 3;

/// Sends back what it is sent. Without arguments it shows itself with a thousand clients of its own.
#[derive(Parser)]
struct Options {
    /// Where to listen, HOST:PORT
    #[arg(value_parser = tool::address)]
    address: Option<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    tool::run(|| match options.address {
        Some(address) => {
            let listener = TcpListener::bind(&*address);
            let listener = listener.map_err(failed_to(format_args!("listen at {address}")))?;
            Ok(serve(&listener, &Rc::default())?)
        }
        None => demonstrate(),
    })
}

fn demonstrate() -> Result<(), Box<dyn Error>> {
    let open = Rc::new(Cell::new(0));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = spawn({
        let open = Rc::clone(&open);
        move || serve(&listener, &open)
    });
    let clients: Vec<JoinHandle<io::Result<usize>>> =
        (0..CLIENTS).map(|number| spawn(move || talk(address, number))).collect();
    let mut same = 0;
    for client in clients {
        same += client.join()??;
    }
    say!("{CLIENTS} clients, each with {LINES} lines answered: {same} lines came back as they were sent");
    greenloop::idle();
    say!("connections still open: {}", open.get());
    server.kill();
    Ok(())
}

/// Accepts for ever.
fn serve(listener: &TcpListener, open: &Rc<Cell<usize>>) -> io::Result<()> {
    say!("listening on {}", listener.local_addr()?);
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                // As many files are open as may be, for instance: when others have gone there is room again.
                complain!("cannot accept: {error}");
                sleep(Duration::from_millis(100));
                continue;
            }
        };
        let open = Rc::clone(open);
        spawn(move || {
            open.set(open.get() + 1);
            // A client that breaks off is no concern of the others.
            let _ = echo(&stream);
            open.set(open.get() - 1);
        });
    }
}

/// Sends back what comes, until the client has no more.
fn echo(mut stream: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}

/// One client: how many of its lines came back as they were sent.
fn talk(server: SocketAddr, number: usize) -> io::Result<usize> {
    let stream = TcpStream::connect(server)?;
    let mut answers = BufReader::new(&stream);
    let mut same = 0;
    for line in 0..LINES {
        let sent = format!("line {line} of client {number}\n");
        (&stream).write_all(sent.as_bytes())?;
        let mut answer = String::new();
        answers.read_line(&mut answer)?;
        same += usize::from(answer == sent);
    }
    Ok(same)
}
