use std::io::{Read, Write};
use std::time::Duration;

use greenloop::net::{TcpListener, TcpStream};
use greenloop::{joinall, sleep, spawn};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::pair;
use crate::support::{Random, each_driver};

const CONNECTIONS: usize = 1_000;

/// For two tests at once, with two descriptors for each connection.
fn raise_the_limit_of_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("the soft limit can be raised");
}

each_driver! {
    fn a_thousand_connections_at_once() {
        raise_the_limit_of_files();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 4096).unwrap();
        let address = listener.local_addr().unwrap();
        let server = spawn(move || {
            let echoes: Vec<_> = listener
                .incoming()
                .take(CONNECTIONS)
                .map(|stream| {
                    let mut stream = stream.unwrap();
                    spawn(move || {
                        let mut buffer = [0; 64];
                        while let count @ 1.. = stream.read(&mut buffer).unwrap() {
                            stream.write_all(&buffer[..count]).unwrap();
                        }
                    })
                })
                .collect();
            joinall(&echoes).len()
        });
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    for round in 0..5 {
                        let message = (number * 10 + round).to_ne_bytes();
                        stream.write_all(&message).unwrap();
                        let mut answer = [0; 8];
                        stream.read_exact(&mut answer).unwrap();
                        assert_eq!(answer, message);
                    }
                    // All are open at once before the first closes.
                    sleep(Duration::from_millis(1));
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        assert_eq!(server.join().unwrap(), CONNECTIONS);
    }

    /// Conformance 143: much more than the kernel's buffers hold, in pieces of every size, to a reader who begins late.
    fn much_through_one_connection() {
        let (client, server) = pair();
        let bytes: Vec<u8> = { let mut random = Random::new(7); (0..4_000_000).map(|_| random.below(256) as u8).collect() };
        let expected = bytes.clone();
        let writer = spawn(move || {
            let mut random = Random::new(8);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let length = (1 + random.below(100_000)).min(rest.len());
                let count = (&client).write(&rest[..length]).unwrap();
                rest = &rest[count..];
            }
        });
        sleep(Duration::from_millis(10));
        let mut random = Random::new(9);
        let mut got = Vec::new();
        let mut buffer = vec![0; 100_000];
        loop {
            let length = 1 + random.below(buffer.len());
            match (&server).read(&mut buffer[..length]).unwrap() {
                0 => break,
                count => got.extend_from_slice(&buffer[..count]),
            }
        }
        writer.join().unwrap();
        assert!(got == expected);
    }
}
