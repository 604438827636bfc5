//! Python's selectors echo server, line by line: one event loop, no green thread per connection. Its clients are in
//! the main function, which the loop's `select` lets run.
//!
//! Run it with `cargo run --example selector_echo`.
//!
//! Expected output:
//!
//!     accepted a connection from 127.0.0.1:[..]
//!     echoing "hello from 1"
//!     closing
//!     accepted a connection from 127.0.0.1:[..]
//!     echoing "hello from 2"
//!     closing
//!     the clients got back what they had sent

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;

use greenloop::io::Interest;
use greenloop::net::{TcpListener, TcpStream};
use greenloop::select::Selector;
use greenloop::spawn;
use tool::say;

mod tool;

/// What is registered with a descriptor: the object, and which function it is for.
#[derive(Clone)]
enum Callback {
    Accept(Rc<TcpListener>),
    Read(Rc<TcpStream>),
}

fn accept(selector: &Selector<Callback>, listener: &TcpListener) -> io::Result<()> {
    let (connection, address) = listener.accept()?; // should be ready
    say!("accepted a connection from {address}");
    connection.set_nonblocking(true)?;
    let connection = Rc::new(connection);
    selector.register(&connection, Interest::READABLE, Callback::Read(connection.clone()))
}

fn read(selector: &Selector<Callback>, mut connection: &TcpStream) -> io::Result<()> {
    let mut data = [0; 1000];
    let count = connection.read(&mut data)?; // should be ready
    if count > 0 {
        say!("echoing {:?}", String::from_utf8_lossy(&data[..count]));
        connection.write_all(&data[..count]) // hope it won't block
    } else {
        say!("closing");
        selector.unregister(connection)?;
        connection.close()
    }
}

fn serve(listener: TcpListener) -> io::Result<()> {
    let selector = Selector::new()?;
    let listener = Rc::new(listener);
    listener.set_nonblocking(true)?;
    selector.register(&listener, Interest::READABLE, Callback::Accept(listener.clone()))?;
    loop {
        for (key, _events) in selector.select(None)? {
            match key.data {
                Callback::Accept(listener) => accept(&selector, &listener)?,
                Callback::Read(connection) => read(&selector, &connection)?,
            }
        }
    }
}

fn main() -> io::Result<()> {
    tool::takes_no_arguments(include_str!("selector_echo.rs"));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = spawn(|| serve(listener));
    for number in 1..=2 {
        let mut stream = TcpStream::connect(address)?;
        let sent = format!("hello from {number}");
        stream.write_all(sent.as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        let mut received = String::new();
        stream.read_to_string(&mut received)?;
        assert_eq!(received, sent);
    }
    say!("the clients got back what they had sent");
    server.kill(); // its loop has no end
    Ok(())
}
