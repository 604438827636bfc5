//! How a connection of TCP is opened: several addresses of one host race, each with a start of 250 ms (RFC 8305, "happy
//! eyeballs"), so that one that never answers costs that much and not minutes.

use std::collections::VecDeque;
use std::io;
use std::iter;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::time::Duration;

use super::resolve::ToSocketAddrs;
use crate::hub::faults::Gate;
use crate::hub::reactor::Reactor;
use crate::hub::waiter::may_wait;
use crate::hub::{hub, local_hub};
use crate::io::Source;
use crate::io::faults::{Hindrance, PATIENCE, hindrance, is_cut, own_address_towards, wait_behind};
use crate::io::socket::Connect;
use crate::sys::clock::Time;
use crate::sys::descriptor;
use crate::sys::socket::{self, Address};
use crate::task::{JoinHandle, iwait, spawn, with_timeout};

/// How long an attempt is alone before the next one begins.
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to one of the addresses.
pub(super) fn any(addr: impl ToSocketAddrs) -> io::Result<Source<TcpStream>> {
    race(addr.to_socket_addrs()?, Time::NEVER)
}

/// Connects to one of the addresses, with a limit for that and the lookup together.
pub(super) fn within(addr: impl ToSocketAddrs, timeout: Duration) -> io::Result<Source<TcpStream>> {
    if timeout.is_zero() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "cannot set a 0 duration timeout"));
    }
    let deadline = Time::after(timeout);
    let addresses = with_timeout(timeout, || addr.to_socket_addrs()).map_err(|_elapsed| timed_out())??;
    race(addresses, deadline)
}

/// Begins an attempt at each address in turn: the next when one has failed, or when the last has had its start.
fn race(addresses: impl Iterator<Item = SocketAddr>, deadline: Time) -> io::Result<Source<TcpStream>> {
    let mut waiting = VecDeque::from(alternate(addresses));
    let mut running = Running::default();
    let mut failure = Failure::default();
    while let Some((place, address)) = waiting.pop_front() {
        let is_alone = running.is_empty() && waiting.is_empty();
        match Attempt::begin(address, is_alone && may_wait() && pays_as_a_whole(address)) {
            Err(error) => failure.note(place, error),
            Ok(attempt) if attempt.rest.is_none() => return attempt.finish(deadline),
            // There is nobody to race with, or the green thread unwinds and may not wait, whatever for.
            Ok(attempt) if is_alone || !may_wait() => match attempt.finish(deadline) {
                Ok(stream) => return Ok(stream),
                Err(error) => failure.note(place, error),
            },
            Ok(attempt) => running.begin(place, attempt, deadline),
        }
        // The last to begin has no need of a start: this waits for all.
        let start = if waiting.is_empty() { Time::NEVER } else { Time::after(HEAD_START) };
        while let Some((place, result)) = running.next(start.min(deadline)) {
            match result {
                Ok(stream) => return Ok(stream),
                Err(error) => failure.note(place, error),
            }
            if !waiting.is_empty() {
                break;
            }
        }
        if deadline <= Time::now() {
            return Err(timed_out());
        }
    }
    Err(failure.into_error())
}

/// The addresses, each with its place, with those of the two families by turns from the first one's on: if a host cannot
/// be reached by one family, the other is tried next.
fn alternate(addresses: impl Iterator<Item = SocketAddr>) -> Vec<(usize, SocketAddr)> {
    let mut ahead = addresses.enumerate().peekable();
    let first_is_v6 = ahead.peek().is_some_and(|(_, address)| address.is_ipv6());
    let (one, other): (Vec<_>, Vec<_>) = ahead.partition(|(_, address)| address.is_ipv6() == first_is_v6);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let pairs = iter::from_fn(|| match (one.next(), other.next()) {
        (None, None) => None,
        pair => Some(pair),
    });
    pairs.flat_map(|(one, other)| one.into_iter().chain(other)).collect()
}

/// Whether to have the kernel connect as a whole, if the calling thread's driver, which may not be there yet, does that. To this machine
/// the call connects at once, so it costs less unless others are ready, with whom the wait for the kernel is shared.
fn pays_as_a_whole(address: SocketAddr) -> bool {
    local_hub().is_some_and(|hub| {
        hub.made_reactor().is_some_and(Reactor::performs) && (!address.ip().is_loopback() || hub.has_ready())
    })
}

/// A socket that connects, or has done so.
struct Attempt {
    source: Source<TcpStream>,
    /// What is left to do.
    rest: Option<Rest>,
}

/// What is left to do of an attempt.
enum Rest {
    /// It waits for the kernel.
    Connect(Connect),
    /// It has not begun: in the world of a test, something is in its way.
    Held(SocketAddr, Gate),
}

impl Attempt {
    /// Begins to connect, and does not wait. To an address of this machine it is done at once. What is to go to the kernel as a whole
    /// is not begun: it would do what is left.
    fn begin(address: SocketAddr, as_a_whole: bool) -> io::Result<Attempt> {
        let held = match hindrance(address) {
            None => None,
            Some(Hindrance::Refused) => return Err(descriptor::refused()),
            Some(Hindrance::Held(gate)) => Some(Rest::Held(address, gate)),
        };
        let own = own_address_towards(address);
        let address = Address::from(address);
        let inner = TcpStream::from(socket::stream(&address)?);
        if let Some(own) = own {
            socket::connect_from(inner.as_fd(), own)?;
        }
        if held.is_some() {
            return Ok(Attempt { source: Source::new(inner), rest: held });
        }
        let rest = match as_a_whole {
            true => Some(Rest::Connect(Connect::whole(address))),
            false => match socket::connect(inner.as_fd(), &address) {
                Ok(()) => None,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Some(Rest::Connect(Connect::begun(address)))
                }
                Err(error) => return Err(error),
            },
        };
        Ok(Attempt { source: Source::new(inner), rest })
    }

    /// Waits until it is connected.
    fn finish(mut self, deadline: Time) -> io::Result<Source<TcpStream>> {
        if let Some(Rest::Held(address, gate)) = self.rest {
            self.rest = Some(Rest::Connect(self.begin_late(address, gate, deadline)?));
        }
        if let Some(Rest::Connect(connect)) = self.rest {
            let deadline = (deadline != Time::NEVER).then_some(deadline);
            self.source.run_until(connect, deadline).map_err(|error| match error.kind() {
                // Not the kernel's own ETIMEDOUT.
                io::ErrorKind::TimedOut if error.raw_os_error().is_none() => timed_out(),
                _ => error,
            })?;
        }
        // It blocks for whoever gets the descriptor; only the connecting could not be asked not to wait.
        self.source.get_ref().set_nonblocking(false)?;
        Ok(self.source)
    }
}

impl Attempt {
    /// Begins when nothing is in its way any more. The kernel tells its end.
    #[cold]
    fn begin_late(&self, address: SocketAddr, mut gate: Gate, deadline: Time) -> io::Result<Connect> {
        if !may_wait() {
            return Err(timed_out());
        }
        let own = Time::after(PATIENCE);
        let hub = hub();
        loop {
            if !wait_behind(gate, Some(deadline.min(own))) {
                return Err(if own < deadline { descriptor::unreachable() } else { timed_out() });
            }
            match gate {
                Gate::Cut if hub.faults().is_some_and(|faults| is_cut(faults, address)) => {}
                Gate::Cut => {
                    gate = Gate::Until(Time::after(
                        hub.faults().map_or(Duration::ZERO, |faults| hub.latency(faults)),
                    ))
                }
                _ => break,
            }
        }
        let address = Address::from(address);
        match socket::connect(self.source.get_ref().as_fd(), &address) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(Connect::begun(address)),
        }
    }
}

/// The attempts under way, by place. Those that are left when this is dropped are given up.
#[derive(Default)]
struct Running(Vec<(usize, JoinHandle<io::Result<Source<TcpStream>>>)>);

impl Running {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn begin(&mut self, place: usize, attempt: Attempt, deadline: Time) {
        self.0.push((place, spawn(move || attempt.finish(deadline))));
    }

    /// The next that ends; `None` if there is none, or none has ended by then.
    fn next(&mut self, until: Time) -> Option<(usize, io::Result<Source<TcpStream>>)> {
        let handles = self.0.iter().map(|(_, handle)| handle);
        let ended = iwait(handles).timeout(Time::now().until(until)).next()?.id();
        let index = self.0.iter().position(|(_, handle)| handle.id() == ended)?;
        let (place, handle) = self.0.remove(index);
        let result = handle.join().unwrap_or_else(|error| match error.stack_error() {
            Some(_) => Err(error.into()),
            // Not who asked is meant: the kill is a fault in a world, or its whole hub ends.
            None if error.is_killed() => Err(io::ErrorKind::ConnectionAborted.into()),
            None => resume_unwind(error.into_payload()),
        });
        Some((place, result))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for (_, handle) in &self.0 {
            handle.try_kill();
        }
    }
}

/// The error to report: that of the address that came last, as if they had been tried one after the other.
#[derive(Default)]
struct Failure(Option<(usize, io::Error)>);

impl Failure {
    fn note(&mut self, place: usize, error: io::Error) {
        if self.0.as_ref().is_none_or(|&(last, _)| last < place) {
            self.0 = Some((place, error));
        }
    }

    fn into_error(self) -> io::Error {
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "could not resolve to any addresses");
        self.0.map_or_else(none, |(_, error)| error)
    }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "connection timed out")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(addresses: &[&str]) -> Vec<usize> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        alternate(addresses).into_iter().map(|(place, _)| place).collect()
    }

    #[test]
    fn families_alternate_from_the_first_ones_on() {
        assert_eq!(order(&["[::1]:1", "[::2]:1", "[::3]:1", "127.0.0.1:1"]), [0, 3, 1, 2]);
        assert_eq!(order(&["127.0.0.1:1", "[::1]:1", "[::2]:1", "127.0.0.2:1"]), [0, 1, 3, 2]);
        assert_eq!(order(&["127.0.0.1:1"]), [0]);
        assert_eq!(order(&[]), [0; 0]);
    }

    #[test]
    fn the_error_is_that_of_the_last_address() {
        let mut failure = Failure::default();
        for (place, kind) in [(2, io::ErrorKind::TimedOut), (0, io::ErrorKind::ConnectionRefused)] {
            failure.note(place, kind.into());
        }
        assert_eq!(failure.into_error().kind(), io::ErrorKind::TimedOut);
        assert_eq!(Failure::default().into_error().kind(), io::ErrorKind::InvalidInput);
    }
}
