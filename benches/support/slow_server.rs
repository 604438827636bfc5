//! The far end of a crawl: a server that thinks for a while before it answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use greenloop::net::TcpListener;

use crate::support::network::{PAGE_BYTES, say_ready};

/// Serves for ever: each request is answered after `delay` with a page, and its connection closed.
pub(crate) fn serve(delay: Duration) -> ! {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    // As long as the kernel allows: a thousand clients come at once.
    rustix::net::listen(&listener, 4096).unwrap();
    say_ready(listener.local_addr().unwrap().port());
    let mut page =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {PAGE_BYTES}\r\nConnection: close\r\n\r\n").into_bytes();
    page.resize(page.len() + PAGE_BYTES, b'x');
    let page: &'static [u8] = page.leak();
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        greenloop::spawn(move || {
            let mut request = [0; 1024];
            let mut filled = 0;
            while !request[..filled].ends_with(b"\r\n\r\n") {
                match stream.read(&mut request[filled..]) {
                    Ok(0) | Err(_) => return,
                    Ok(length) => filled += length,
                }
            }
            greenloop::sleep(delay);
            // A client that has gone is its own loss.
            drop(stream.write_all(page));
        });
    }
}

/// Such a server in a process of its own: this program, called with `slow-server`. It ends when this is dropped.
pub(crate) struct SlowServer {
    process: Child,
    pub(crate) port: u16,
}

impl SlowServer {
    pub(crate) fn start() -> SlowServer {
        let program = std::env::current_exe().expect("the program's own path");
        let mut process = Command::new(program).arg("slow-server").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.split_whitespace().nth(1).and_then(|port| port.parse().ok());
        SlowServer { process, port: port.expect("a line `ready PORT`") }
    }
}

impl Drop for SlowServer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
