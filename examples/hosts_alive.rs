//! Which hosts and ports of a range answer: hundreds of connection attempts at once, each with a time limit.
//!
//! Run it with `cargo run --example hosts_alive` to look for three servers of its own among 254 loopback addresses, or with
//! `cargo run --example hosts_alive -- --hosts 127.0.0.1-127.0.0.9 --ports 22,8000-8010 --at-once 100 --timeout 500`.
//! Where fewer files may be open than that, as many are tried at once as may.
//!
//! Expected output:
//!
//!     trying 254 hosts, ports [..], 300 at once
//!     127.0.0.7:[..] answers
//!     127.0.0.8:[..] answers
//!     127.0.0.200:[..] answers
//!     3 of 762 answer

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use greenloop::net::{TcpListener, TcpStream};
use greenloop::scope;
use rustix::io::Errno;
use tool::{complain, say};

mod tool;

/// Tells which hosts and ports of a range accept TCP connections.
#[derive(Parser)]
#[command(
    after_help = "Exit status: 0 if all were tried, 1 if some could not be, 2 if the arguments are wrong."
)]
struct Options {
    /// First and last IPv4 address, or a single one
    #[arg(long, default_value = "127.0.0.1-127.0.0.254", value_parser = hosts)]
    hosts: RangeInclusive<u32>,
    /// Ports and ranges of ports, separated by commas [default: those of three servers of its own]
    #[arg(long, value_delimiter = ',', value_parser = ports)]
    ports: Vec<RangeInclusive<u16>>,
    /// Connection attempts at a time
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    at_once: u32,
    /// Time for each attempt, in milliseconds
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    timeout: u32,
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

fn main() -> ExitCode {
    tool::run(|| report(Options::parse()))
}

fn report(mut options: Options) -> Result<(), Box<dyn Error>> {
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
    let hosts = u64::from(options.hosts.end() - options.hosts.start()) + 1;
    let ports: u64 = options.ports.iter().map(|ports| ports.len() as u64).sum();
    let names: Vec<String> = options.ports.iter().map(words).collect();
    let at_once = options.at_once;
    say!("trying {hosts} hosts, ports {}, {at_once} at once", names.join(","));
    let limit = Duration::from_millis(options.timeout.into());
    let at_once = u64::from(at_once).min(hosts * ports);
    let found = look(targets(&options), at_once, limit);
    let alive = found.alive();
    alive.iter().for_each(|address| say!("{address} answers"));
    say!("{} of {} answer", alive.len(), hosts * ports);
    if found.fewer > 0 {
        complain!("no more than {} at once, for no more files may be open", at_once - found.fewer);
    }
    match found.first_error {
        Some(error) => Err(format!("{} could not be tried: {error}", found.untried).into()),
        None => Ok(()),
    }
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

/// What has come of the attempts.
#[derive(Default)]
struct Found {
    /// The connections: their number in the order of the targets, and their two ends.
    connections: Vec<(usize, SocketAddr, SocketAddr)>,
    untried: usize,
    first_error: Option<io::Error>,
    /// How many fewer were tried at once than were to be.
    fewer: u64,
}

impl Found {
    /// Those that accepted a connection, in the order of the targets.
    ///
    /// A port that nobody listens at may be where one of our own connections comes from, and two that come from where
    /// the other goes to are one. So may be a single one.
    fn alive(&self) -> Vec<SocketAddr> {
        let ends: HashSet<_> = self.connections.iter().map(|(_, local, peer)| (*local, *peer)).collect();
        let accepted = self.connections.iter().filter(|(_, local, peer)| !ends.contains(&(*peer, *local)));
        let mut accepted: Vec<_> = accepted.collect();
        accepted.sort_unstable();
        accepted.into_iter().map(|(_, _, peer)| *peer).collect()
    }
}

/// Tries all targets, up to `at_once` at a time: as many green threads take one after another.
fn look(targets: impl Iterator<Item = SocketAddr>, at_once: u64, limit: Duration) -> Found {
    let targets = RefCell::new(targets.enumerate());
    let (postponed, looking) = (RefCell::new(Vec::new()), Cell::new(at_once));
    let found = RefCell::new(Found::default());
    let work = || {
        loop {
            let next = postponed.borrow_mut().pop().or_else(|| targets.borrow_mut().next());
            let Some((number, target)) = next else { break };
            let outcome = TcpStream::connect_within(target, limit);
            let local = outcome.and_then(|stream| stream.local_addr());
            let mut found = found.borrow_mut();
            match local {
                Ok(local) => found.connections.push((number, local, target)),
                Err(error) if is_no_answer(&error) => {}
                Err(error) if is_full(&error) && looking.get() > 1 => {
                    // One of the others takes it, and this one no room any more.
                    postponed.borrow_mut().push((number, target));
                    found.fewer += 1;
                    break;
                }
                Err(error) => {
                    found.untried += 1;
                    found.first_error.get_or_insert(error);
                }
            }
        }
        looking.set(looking.get() - 1);
    };
    scope(|scope| (0..at_once).for_each(|_| drop(scope.spawn(work))));
    found.into_inner()
}

/// Whether it was tried, but nobody has accepted.
fn is_no_answer(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, TimedOut};
    matches!(
        error.kind(),
        ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable | TimedOut
    )
}

/// Whether there is no room for one more connection at a time.
fn is_full(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}
