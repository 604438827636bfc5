//! The crate `tungstenite`, on both sides.

use std::net::{TcpListener, TcpStream};
use std::thread;

use ::tungstenite::{Error, Message, WebSocket};
use clients::interrupted::interrupted;
use clients::measure::at_once;

use crate::{DELAY, MANY};

type Client = WebSocket<TcpStream>;

/// A server that sends back, after [`DELAY`], what it gets, but for the text `never`.
fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            // One that is interrupted leaves in the middle.
            thread::spawn(move || drop(serve(stream)));
        }
    });
    port
}

fn serve(stream: TcpStream) -> Result<(), Error> {
    let mut socket = ::tungstenite::accept(stream).unwrap();
    loop {
        let message = socket.read()?;
        if message.is_text() && message.to_text()? != "never" {
            thread::sleep(DELAY);
            socket.send(message)?;
        }
    }
}

fn connect(port: u16) -> Client {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    ::tungstenite::client(format!("ws://127.0.0.1:{port}/"), stream).unwrap().0
}

fn ask(client: &mut Client, text: &str) -> Result<String, Error> {
    client.send(Message::text(text))?;
    Ok(client.read()?.to_text()?.to_owned())
}

#[test]
fn fifty_messages_at_once() {
    let port = server();
    at_once(
        "tungstenite",
        MANY,
        move |_| connect(port),
        |number, client| {
            let text = number.to_string();
            assert_eq!(ask(client, &text).unwrap(), text);
        },
    );
}

/// The connection goes on as if nothing had been.
#[test]
fn an_interrupted_read_fails() {
    let port = server();
    let call = |client: &mut Client| ask(client, "never").map(drop);
    let again = |mut client: Client| assert_eq!(ask(&mut client, "7").unwrap(), "7");
    interrupted("tungstenite", move || connect(port), call, again);
}
