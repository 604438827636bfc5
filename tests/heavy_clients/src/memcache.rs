//! The crate `memcache`, against memcached.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use ::memcache::{Client, MemcacheError};
use clients::interrupted::interrupted;
use clients::measure::{at_once, runs};
use clients::program::{Program, Stop, unprivileged};

use crate::{DELAY, MANY};

fn server() -> Program {
    Program::start(Stop::TERMINATE, "server listening", |port| {
        // It says that it listens only if it is to say everything.
        unprivileged(&["memcached", "-l", "127.0.0.1", "-p", &port.to_string(), "-U", "0", "-vv"])
    })
}

/// What stands between the clients and the server, for that has nothing to wait for: it takes [`DELAY`] to pass on who asks for a value,
/// and ten times as long for that of `later`. Returns its port.
fn slow_way(to: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
            let (mut answers, mut asks) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || {
                let _ = io::copy(&mut answers, &mut asks);
            });
            thread::spawn(move || {
                let _ = pass_on(&client, &server);
                let _ = server.shutdown(Shutdown::Both);
            });
        }
    });
    port
}

fn pass_on(mut client: &TcpStream, mut server: &TcpStream) -> io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        let count = client.read(&mut bytes)?;
        let bytes = &bytes[..count];
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.starts_with(b"get") {
            thread::sleep(if bytes.ends_with(b" later\r\n") { 10 * DELAY } else { DELAY });
        }
        server.write_all(bytes)?;
    }
}

fn client(port: u16, connections: u32) -> Client {
    Client::with_pool_size(format!("memcache://127.0.0.1:{port}?protocol=ascii"), connections).unwrap()
}

#[test]
fn fifty_values_at_once() {
    let server = server();
    let client = client(slow_way(server.port), MANY);
    for number in 0..runs(MANY) {
        client.set(&format!("key-{number}"), number, 600).unwrap();
    }
    at_once(
        "memcache",
        MANY,
        |_| (),
        move |number, ()| {
            assert_eq!(client.get::<u32>(&format!("key-{number}")).unwrap(), Some(number));
        },
    );
}

/// No connection of the pool gives the old answer to a new question.
#[test]
fn an_interrupted_get_fails() {
    let server = server();
    let client = client(slow_way(server.port), 2);
    client.set("key", 7, 600).unwrap();
    let again = |client: Client| {
        for _ in 0..4 {
            assert_eq!(client.get::<u32>("key").unwrap(), Some(7));
        }
    };
    let for_calls = client.clone();
    let call = |client: &mut Client| -> Result<(), MemcacheError> { client.get::<u32>("later").map(drop) };
    interrupted("memcache", move || for_calls.clone(), call, again);
    again(client);
}
