//! Which hosts and ports of a range answer: hundreds of connection attempts at once, each with a time limit.
//!
//! Run it with `cargo run --example hosts_alive` to look for three servers of its own among 254 loopback addresses, or with
//! `cargo run --example hosts_alive -- --hosts 127.0.0.1-127.0.0.9 --ports 22,8000-8010 --at-once 100 --timeout 500`.
//!
//! Expected output:
//!
//!     trying 254 hosts, ports [..], 300 at once
//!     127.0.0.7:[..] answers
//!     127.0.0.8:[..] answers
//!     127.0.0.200:[..] answers
//!     3 of 762 answer

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use greenloop::net::{TcpListener, TcpStream};
use greenloop::spawn;
use greenloop::sync::Semaphore;

/// Tells which hosts and ports of a range accept TCP connections.
#[derive(Parser)]
struct Options {
    /// First and last IPv4 address, or a single one
    #[arg(long, default_value = "127.0.0.1-127.0.0.254", value_parser = hosts)]
    hosts: RangeInclusive<u32>,
    /// Ports and ranges of ports, separated by commas
    #[arg(long, value_delimiter = ',', value_parser = ports)]
    ports: Vec<RangeInclusive<u16>>,
    /// Connection attempts at a time
    #[arg(long, default_value_t = 300)]
    at_once: usize,
    /// Time for each attempt, in milliseconds
    #[arg(long, default_value_t = 1000)]
    timeout: u64,
}

fn hosts(text: &str) -> Result<RangeInclusive<u32>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let address = |part: &str| part.parse::<Ipv4Addr>().map_err(|error| format!("`{part}`: {error}"));
    let range = u32::from(address(first)?)..=u32::from(address(last)?);
    if range.is_empty() { Err(format!("`{text}` ends before it begins")) } else { Ok(range) }
}

fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |part: &str| part.parse::<u16>().map_err(|error| format!("`{part}`: {error}"));
    let range = port(first)?..=port(last)?;
    if range.is_empty() { Err(format!("`{text}` ends before it begins")) } else { Ok(range) }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::parse();
    // Without ports there would be nothing to find: three servers of our own.
    let own = if options.ports.is_empty() {
        [7, 8, 200].into_iter().map(|host| TcpListener::bind((Ipv4Addr::new(127, 0, 0, host), 0))).collect()
    } else {
        Ok(Vec::new())
    };
    let own = own?;
    for listener in &own {
        let port = listener.local_addr()?.port();
        options.ports.push(port..=port);
    }
    let targets: Vec<SocketAddr> = targets(&options).collect();
    let ports: Vec<String> = options.ports.iter().map(words).collect();
    let at_once = options.at_once;
    println!("trying {} hosts, ports {}, {at_once} at once", options.hosts.clone().count(), ports.join(","));
    let alive = look(&targets, at_once.max(1), Duration::from_millis(options.timeout.max(1)));
    alive.iter().for_each(|address| println!("{address} answers"));
    println!("{} of {} answer", alive.len(), targets.len());
    Ok(())
}

fn words(ports: &RangeInclusive<u16>) -> String {
    let (first, last) = (ports.start(), ports.end());
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

fn targets(options: &Options) -> impl Iterator<Item = SocketAddr> + '_ {
    options.hosts.clone().map(Ipv4Addr::from).flat_map(|host| {
        let ports = options.ports.iter().cloned().flatten();
        ports.map(move |port| SocketAddr::V4(SocketAddrV4::new(host, port)))
    })
}

/// Those of `targets` that accept a connection, in the order given.
fn look(targets: &[SocketAddr], at_once: usize, limit: Duration) -> Vec<SocketAddr> {
    let room = Rc::new(Semaphore::new(at_once));
    let attempts: Vec<_> = targets
        .iter()
        .map(|&target| {
            let room = Rc::clone(&room);
            spawn(move || {
                let _permit = room.acquire();
                TcpStream::connect_within(target, limit).is_ok()
            })
        })
        .collect();
    let answers = attempts.into_iter().map(|attempt| attempt.join().unwrap_or(false));
    targets.iter().zip(answers).filter_map(|(target, alive)| alive.then_some(*target)).collect()
}
