//! A batch survival test: which addresses of a network are in use, by a child process `ping -c1 -w1` for each, and by TCP.
//!
//! Run it with `cargo run --example ping_hosts`. The network is one of this machine, where everybody answers a ping; three of its
//! addresses have a server. [hosts_alive](hosts_alive.rs) looks elsewhere.
//!
//! Expected output:
//!
//!     254 addresses of 127.0.7.0/24, a green thread for each
//!     by ping: [..]
//!     by TCP: 3 are in use: 127.0.7.1, 127.0.7.77, 127.0.7.254
//!     by TCP: 251 are not: 127.0.7.2, 127.0.7.3, 127.0.7.4, …

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

use greenloop::net::{TcpListener, TcpStream};
use greenloop::process::{Command, Stdio};
use greenloop::{spawn, try_joinall};
use tool::say;

mod tool;

/// What `ping -w1` has too.
const LIMIT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    tool::takes_no_arguments(include_str!("ping_hosts.rs"));
    tool::run(survey)
}

fn survey() -> Result<(), Box<dyn Error>> {
    say!("{} addresses of {}/24, a green thread for each", addresses().count(), host(0));
    match ask_all(answers_ping) {
        Err(error) if error.kind() == ErrorKind::NotFound => say!("by ping: there is no such program here"),
        answers => report("ping", &answers?),
    }
    let (_servers, port) = servers()?;
    report("TCP", &ask_all(move |address| answers_tcp(address, port))?);
    Ok(())
}

fn host(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 7, number)
}

fn addresses() -> impl Iterator<Item = Ipv4Addr> {
    (1..=254).map(host)
}

/// Asks all addresses at once, and returns which answer, in order.
fn ask_all(ask: impl Fn(Ipv4Addr) -> io::Result<bool> + Clone + 'static) -> io::Result<Vec<bool>> {
    let asked = addresses().map(|address| {
        let ask = ask.clone();
        spawn(move || ask(address))
    });
    try_joinall(asked).expect("none of them panics").into_iter().collect()
}

/// Without a shell, which would start the same program.
fn answers_ping(address: Ipv4Addr) -> io::Result<bool> {
    let mut command = Command::new("ping");
    command.args(["-c1", "-w1", &address.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.status()?.success())
}

fn answers_tcp(address: Ipv4Addr, port: u16) -> io::Result<bool> {
    match TcpStream::connect_within((address, port), LIMIT) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::TimedOut) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Three servers at one port. The kernel accepts for them.
fn servers() -> io::Result<([TcpListener; 3], u16)> {
    let first = TcpListener::bind((host(1), 0))?;
    let port = first.local_addr()?.port();
    Ok(([first, TcpListener::bind((host(77), port))?, TcpListener::bind((host(254), port))?], port))
}

fn report(by: &str, answers: &[bool]) {
    for (is_used, what) in [(true, "are in use"), (false, "are not")] {
        let found = addresses().zip(answers).filter(|(_, answers)| **answers == is_used);
        let found: Vec<String> = found.map(|(address, _)| address.to_string()).collect();
        let (some, more) = (found.iter().take(3), if found.len() > 3 { ", …" } else { "" });
        let some: Vec<&str> = some.map(String::as_str).collect();
        if found.is_empty() {
            say!("by {by}: none {what}");
        } else {
            say!("by {by}: {} {what}: {}{more}", found.len(), some.join(", "));
        }
    }
}
