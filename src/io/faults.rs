//! What becomes of a connection in a world in which things go wrong.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use crate::hub::amid_faults::{draw, has_crashed, own_address};
use crate::hub::faults::{Fault, Faults, Gate, Way};
use crate::hub::waiter::{Waiter, WaitingOn, Wakeup};
use crate::hub::{HubRef, hub, local_hub};
use crate::sys::clock::Time;
use crate::sys::socket::{Address, Datagram};
use crate::sys::{descriptor, socket};

pub(crate) use super::operation::Direction;

/// The words of who waits for what is cut off, or on its way.
pub(crate) const HELD_BACK: &str = "bytes that are on their way";

/// How many bytes a transfer that is short moves at most.
pub(crate) const FEW: usize = 3;

/// How long a connection to somebody who is cut off is tried: as long as Linux does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(127);

/// The way of a connection's bytes in this direction, where bytes are counted.
pub(crate) fn way(faults: &Faults, fd: BorrowedFd<'_>, direction: Direction) -> Option<Way> {
    let (own, other) = faults.holds_back().then(|| socket::ends(fd)).flatten()?;
    // A socket of IPv6 that speaks IPv4 has other words for the same two ends.
    let [own, other] = [own, other].map(|end| SocketAddr::new(end.ip().to_canonical(), end.port()));
    Some(match direction {
        Direction::Read => (other, own),
        Direction::Write => (own, other),
    })
}

/// A transfer is about to begin: which of these goes wrong with it. A reset is done.
///
/// # Errors
///
/// What the call says for a reset, and for a host that has crashed.
pub(crate) fn befall(fd: BorrowedFd<'_>, among: &[Fault]) -> io::Result<Option<Fault>> {
    if has_crashed() {
        return Err(descriptor::reset());
    }
    match draw(among) {
        Some(Fault::Reset) => {
            socket::reset(fd);
            Err(descriptor::reset())
        }
        fault => Ok(fault),
    }
}

/// So many bytes have been moved.
pub(crate) fn moved(hub: HubRef, fd: BorrowedFd<'_>, direction: Direction, count: usize) {
    let Some(faults) = hub.faults().filter(|_| count > 0) else { return };
    let Some(way) = way(faults, fd, direction) else { return };
    match direction {
        Direction::Read => faults.received(way, count),
        // Also what is not late, if it comes after what is.
        Direction::Write if faults.latency().is_some() || faults.has_sent(way) => {
            if faults.has_many()
                && let Some(open) = socket::open_cookies()
            {
                faults.forget(Time::now(), |sender| open.contains(&sender));
            }
            faults.sent(way, socket::cookie(fd.as_raw_fd()), count, hub.arrival(faults));
        }
        Direction::Write => {}
    }
}

/// How much later a datagram is that others overtake.
const OVERTAKEN: Duration = Duration::from_millis(1);

/// The most bytes of a datagram of UDP.
const MOST: usize = 65_507;

/// A datagram is about to be sent. Whether it is not to be: it is lost, or sent later.
///
/// # Errors
///
/// That no descriptor is left to send it from later.
pub(crate) fn is_taken(
    hub: HubRef,
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    to: Option<Address>,
) -> io::Result<bool> {
    let Some(faults) = hub.faults() else { return Ok(false) };
    let Some((own, other)) = socket::route(fd, to).filter(|_| bytes.len() <= MOST) else { return Ok(false) };
    let own = match own.is_unspecified() {
        true => own_address().unwrap_or_else(|| socket::loopback(other)),
        false => own,
    };
    if has_crashed() || faults.is_cut(own, other) {
        return Ok(true);
    }
    let fault = draw(&[Fault::Loss, Fault::Duplication, Fault::Reordering]);
    if fault == Some(Fault::Loss) {
        return Ok(true);
    }
    let mut latency = hub.latency(faults);
    match fault {
        Some(Fault::Duplication) => hub.deliver(hub.arrival(faults), Datagram::new(fd, bytes, to)?),
        Some(Fault::Reordering) => latency = latency.saturating_add(OVERTAKEN),
        _ => {}
    }
    if latency.is_zero() {
        return Ok(false);
    }
    hub.deliver(Time::after(latency), Datagram::new(fd, bytes, to)?);
    Ok(true)
}

/// What stands between who connects, and whom he connects to.
pub(crate) enum Hindrance {
    /// He is not there.
    Refused,
    /// Nothing arrives before the cut ends, or this time.
    Held(Gate),
}

/// About to connect to `address`.
pub(crate) fn hindrance(address: SocketAddr) -> Option<Hindrance> {
    let hub = local_hub()?;
    let faults = hub.faults()?;
    if has_crashed() || draw(&[Fault::Refusal]).is_some() {
        return Some(Hindrance::Refused);
    }
    if is_cut(faults, address) {
        return Some(Hindrance::Held(Gate::Cut));
    }
    let latency = hub.latency(faults);
    (!latency.is_zero()).then(|| Hindrance::Held(Gate::Until(Time::after(latency))))
}

/// Where the calling green thread's host has a socket connect from that is to connect to `to`, if it says so for that family.
pub(crate) fn own_address_towards(to: SocketAddr) -> Option<IpAddr> {
    match (own_address()?, to.ip()) {
        (IpAddr::V4(own), IpAddr::V6(to)) => to.to_ipv4_mapped().map(|_| own.to_ipv6_mapped().into()),
        (own, to) => (own.is_ipv4() == to.is_ipv4()).then_some(own),
    }
}

/// Whether the calling green thread's host, or the first address of loopback, is cut off from `address`.
pub(crate) fn is_cut(faults: &Faults, address: SocketAddr) -> bool {
    let other = address.ip().to_canonical();
    let own = own_address().unwrap_or_else(|| socket::loopback(other));
    faults.is_cut(own, other)
}

/// Whether a Unix socket's connection is refused.
pub(crate) fn is_refused() -> bool {
    has_crashed() || draw(&[Fault::Refusal]).is_some()
}

/// Waits behind a gate that is not open, at most until the deadline; `false` if that has passed.
///
/// A kill or an enclosing time limit ends the wait by unwinding.
pub(crate) fn wait_behind(gate: Gate, deadline: Option<Time>) -> bool {
    let waiter = Waiter::new(WaitingOn::Other(HELD_BACK));
    let until = match gate {
        Gate::Open(_) => return true,
        Gate::Until(time) => Some(deadline.map_or(time, |deadline| deadline.min(time))),
        Gate::Cut => {
            let hub = hub();
            if let Some(faults) = hub.faults() {
                faults.tell_of_end(waiter.wake());
            }
            deadline
        }
    };
    if let Wakeup::Interrupted(interrupt) = waiter.park(until) {
        drop(waiter);
        interrupt.raise();
    }
    deadline.is_none_or(|deadline| Time::now() < deadline)
}
