//! What goes wrong in a hub of a test, though nothing outside is wrong: with which chances, who is cut off from whom, which bytes are
//! still on their way, and which green threads a host has. Whether it does is the schedule's affair.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::wake::Wake;
use crate::sys::clock::Time;

/// What may go wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Nobody listens.
    Refusal,
    /// A connection ends.
    Reset,
    /// Fewer bytes are moved than could be.
    Short,
    /// A signal interrupts a call.
    #[cfg(feature = "monkey")]
    Interruption,
    /// A disk fails.
    Disk,
    /// A datagram does not arrive.
    Loss,
    /// A datagram arrives twice.
    Duplication,
    /// A datagram is overtaken by later ones.
    Reordering,
    /// A green thread is killed.
    Kill,
}

const KINDS: usize = Fault::Kill as usize + 1;

/// One direction of a connection: where its bytes come from, and where they go to.
pub(crate) type Way = (SocketAddr, SocketAddr);

/// What has been sent one way, and was not received.
#[derive(Default)]
struct Line {
    /// Who sends, as the kernel tells him from all others. The way may be another connection's later.
    sender: Option<u64>,
    /// How many bytes, and when they arrive.
    parts: VecDeque<(usize, Time)>,
}

impl Line {
    fn has_arrived(&self, now: Time) -> bool {
        self.parts.back().is_none_or(|last| last.1 <= now)
    }
}

/// At how many lines those are looked for that can be forgotten.
const MANY: usize = 64;

/// What a receiver finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Gate {
    /// It may take so many bytes.
    Open(usize),
    /// The next byte comes at that time.
    Until(Time),
    /// Nothing comes before a cut ends.
    Cut,
}

/// All of it.
#[derive(Default)]
pub(crate) struct Faults {
    chances: [Cell<f64>; KINDS],
    latency: Cell<Option<(Duration, Duration)>>,
    cuts: RefCell<Vec<(IpAddr, IpAddr)>>,
    /// Who waits for the end of a cut.
    cut_off: RefCell<Vec<Wake>>,
    on_their_way: RefCell<HashMap<Way, Line>>,
    /// How many lines were left when some were forgotten.
    remembered: Cell<usize>,
    /// How many bytes the call under way may move.
    #[cfg(feature = "monkey")]
    most: Cell<Option<usize>>,
    /// Operations that who runs may still do without waiting: the hub's own count is used up, so that each operation comes by here.
    pub(super) budget: Cell<u32>,
    pub(super) hosts: Hosts,
}

impl Faults {
    pub(crate) fn set_chance(&self, fault: Fault, chance: f64) {
        self.chances[fault as usize].set(chance);
    }

    pub(super) fn chance(&self, fault: Fault) -> f64 {
        self.chances[fault as usize].get()
    }

    pub(crate) fn set_latency(&self, latency: Option<(Duration, Duration)>) {
        self.latency.set(latency);
    }

    pub(crate) fn latency(&self) -> Option<(Duration, Duration)> {
        self.latency.get()
    }

    /// Nothing passes between the two until [`mend`](Faults::mend).
    pub(crate) fn cut(&self, one: IpAddr, other: IpAddr) {
        self.cuts.borrow_mut().push(pair(one, other));
    }

    pub(crate) fn mend(&self, one: IpAddr, other: IpAddr) {
        let mut cuts = self.cuts.borrow_mut();
        if let Some(place) = cuts.iter().position(|&cut| cut == pair(one, other)) {
            cuts.swap_remove(place);
        }
        drop(cuts);
        self.cut_off.take().into_iter().for_each(Wake::wake);
    }

    pub(crate) fn is_cut(&self, one: IpAddr, other: IpAddr) -> bool {
        self.cuts.borrow().iter().any(|&cut| cut == pair(one, other) || cut == pair(other, one))
    }

    /// Wakes `wake` when a cut ends.
    pub(crate) fn tell_of_end(&self, wake: Wake) {
        self.cut_off.borrow_mut().push(wake);
    }

    /// Whether it counts what is sent, and holds it back.
    pub(crate) fn holds_back(&self) -> bool {
        self.latency.get().is_some()
            || !self.cuts.borrow().is_empty()
            || !self.on_their_way.borrow().is_empty()
    }

    /// Whether there is something that was sent this way, and not received.
    pub(crate) fn has_sent(&self, way: Way) -> bool {
        self.on_their_way.borrow().contains_key(&way)
    }

    pub(crate) fn sent(&self, way: Way, sender: Option<u64>, count: usize, arrival: Time) {
        let mut all = self.on_their_way.borrow_mut();
        let line = all.entry(way).or_default();
        if line.sender != sender {
            *line = Line { sender, parts: VecDeque::new() };
        }
        // A stream keeps its order.
        let arrival = line.parts.back().map_or(arrival, |&(_, last)| arrival.max(last));
        line.parts.push_back((count, arrival));
    }

    /// Whether [`forget`](Faults::forget) may be worth its price.
    pub(crate) fn has_many(&self) -> bool {
        self.on_their_way.borrow().len() >= MANY.max(2 * self.remembered.get())
    }

    /// Forgets what has arrived, and was sent by somebody who sends no more.
    pub(crate) fn forget(&self, now: Time, sends: impl Fn(u64) -> bool) {
        let mut all = self.on_their_way.borrow_mut();
        all.retain(|_, line| !line.has_arrived(now) || line.sender.is_none_or(&sends));
        self.remembered.set(all.len());
    }

    pub(crate) fn received(&self, way: Way, mut count: usize) {
        let mut all = self.on_their_way.borrow_mut();
        let Some(line) = all.get_mut(&way) else { return };
        while let Some(first) = line.parts.front_mut() {
            let part = first.0.min(count);
            first.0 -= part;
            count -= part;
            if first.0 > 0 {
                return;
            }
            line.parts.pop_front();
        }
        all.remove(&way);
    }

    /// What who receives there finds now.
    pub(crate) fn gate(&self, way: Way, now: Time) -> Gate {
        if self.is_cut(way.0.ip(), way.1.ip()) {
            return Gate::Cut;
        }
        let all = self.on_their_way.borrow();
        let Some(line) = all.get(&way) else { return Gate::Open(usize::MAX) };
        match line.parts.front() {
            Some(&(_, arrival)) if arrival > now => Gate::Until(arrival),
            _ if line.has_arrived(now) => Gate::Open(usize::MAX),
            _ => Gate::Open(line.parts.iter().take_while(|part| part.1 <= now).map(|part| part.0).sum()),
        }
    }

    /// Lets the call under way move at most so many bytes.
    #[cfg(feature = "monkey")]
    pub(crate) fn set_most(&self, most: Option<usize>) {
        self.most.set(most);
    }

    #[cfg(feature = "monkey")]
    pub(crate) fn most(&self) -> usize {
        self.most.get().unwrap_or(usize::MAX)
    }
}

/// The two, each by its one name: an address of IPv4 has another in IPv6.
fn pair(one: IpAddr, other: IpAddr) -> (IpAddr, IpAddr) {
    (one.to_canonical(), other.to_canonical())
}

/// Which green threads are on which host.
#[derive(Default)]
pub(super) struct Hosts {
    /// Of each host its address.
    addresses: RefCell<Vec<IpAddr>>,
    /// Of each green thread that was spawned on one, which.
    of: RefCell<HashMap<u64, usize>>,
    crashed: RefCell<HashSet<u64>>,
    /// Who runs, or ran last.
    runs: Cell<u64>,
    /// Up to which number green threads have been looked at.
    seen: Cell<u64>,
}

impl Hosts {
    pub(super) fn add(&self, address: IpAddr) -> usize {
        let mut addresses = self.addresses.borrow_mut();
        addresses.push(address);
        addresses.len() - 1
    }

    pub(super) fn are_none(&self) -> bool {
        self.addresses.borrow().is_empty()
    }

    /// Where the green thread `id` runs.
    pub(super) fn address_of(&self, id: u64) -> Option<IpAddr> {
        let host = *self.of.borrow().get(&id)?;
        Some(self.addresses.borrow()[host])
    }

    pub(super) fn put(&self, id: u64, host: usize) {
        self.of.borrow_mut().insert(id, host);
    }

    pub(super) fn has_crashed(&self, id: u64) -> bool {
        self.crashed.borrow().contains(&id)
    }

    pub(super) fn has_who_ran_crashed(&self) -> bool {
        self.has_crashed(self.runs.get())
    }

    /// Those who were spawned since the last look, in ranges of numbers, are where their maker is, who ran meanwhile.
    pub(super) fn see(&self, numbers: [std::ops::Range<u64>; 2]) {
        let runs = self.runs.get();
        if self.has_crashed(runs) {
            // As it unwinds, it spawns.
            return self.crashed.borrow_mut().extend(numbers.into_iter().flatten());
        }
        let mut of = self.of.borrow_mut();
        let Some(&host) = of.get(&runs) else { return };
        for id in numbers.into_iter().flatten() {
            of.entry(id).or_insert(host);
        }
    }

    /// Up to which number those were looked at; from now on up to `next`.
    pub(super) fn seen(&self, next: u64) -> u64 {
        self.seen.replace(next)
    }

    pub(super) fn set_running(&self, id: u64) {
        self.runs.set(id);
    }

    /// All of them have crashed: their numbers.
    pub(super) fn crash(&self, host: usize) -> HashSet<u64> {
        let gone: HashSet<u64> =
            self.of.borrow().iter().filter(|&(_, &on)| on == host).map(|(&id, _)| id).collect();
        self.of.borrow_mut().retain(|_, on| *on != host);
        self.crashed.borrow_mut().extend(&gone);
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanoseconds: u64) -> Time {
        Time::from_nanoseconds(nanoseconds)
    }

    #[test]
    fn bytes_arrive_in_order_each_at_its_time() {
        let faults = Faults::default();
        let way = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 2], 2)));
        assert_eq!(faults.gate(way, at(0)), Gate::Open(usize::MAX));
        faults.sent(way, None, 10, at(5));
        faults.sent(way, None, 20, at(3));
        faults.sent(way, None, 30, at(9));
        assert_eq!(faults.gate(way, at(4)), Gate::Until(at(5)));
        assert_eq!(faults.gate(way, at(5)), Gate::Open(30));
        faults.received(way, 25);
        assert_eq!(faults.gate(way, at(5)), Gate::Open(5));
        faults.received(way, 5);
        assert_eq!(faults.gate(way, at(5)), Gate::Until(at(9)));
        assert_eq!(faults.gate(way, at(9)), Gate::Open(usize::MAX));
        faults.cut(way.1.ip(), way.0.ip());
        assert_eq!(faults.gate(way, at(9)), Gate::Cut);
        faults.mend(way.1.ip(), way.0.ip());
        faults.received(way, 31);
        assert!(!faults.holds_back());
    }

    #[test]
    fn what_nobody_will_send_more_of_is_forgotten() {
        let faults = Faults::default();
        let way = |port| (SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from(([127, 0, 0, 2], 2)));
        let lines = || (1..=500).filter(|&port| faults.has_sent(way(port))).count();
        for port in 1..=500 {
            // Of these 50 one may still send, and of one the bytes are late.
            let sender = u64::from(port).min(451);
            faults.sent(way(port), Some(sender), 10, at(if port == 7 { 9000 } else { 5 }));
            if faults.has_many() {
                faults.forget(at(u64::from(port) + 5), |sender| sender == 1 || sender == 451);
            }
            assert!(lines() <= MANY + 50, "{} after {port}", lines());
        }
        assert!(faults.has_sent(way(1)) && faults.has_sent(way(7)) && !faults.has_sent(way(2)));
        faults.forget(at(9000), |_| false);
        assert!(!faults.holds_back());
    }

    #[test]
    fn another_connection_on_the_same_way_begins_anew() {
        let faults = Faults::default();
        let way = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 2], 2)));
        faults.sent(way, Some(1), 10, at(5));
        faults.sent(way, Some(2), 10, at(3));
        assert_eq!(faults.gate(way, at(3)), Gate::Open(usize::MAX));
        faults.received(way, 10);
        assert!(!faults.has_sent(way));
    }

    #[test]
    fn who_is_spawned_on_a_host_is_there_too() {
        let hosts = Hosts::default();
        let host = hosts.add(IpAddr::from([127, 0, 0, 2]));
        hosts.put(3, host);
        hosts.see([4..6, 0..0]);
        assert_eq!(hosts.address_of(4), None);
        hosts.set_running(3);
        hosts.see([6..8, 20..22]);
        assert_eq!(hosts.address_of(21), Some(IpAddr::from([127, 0, 0, 2])));
        assert_eq!(hosts.crash(host), HashSet::from([3, 6, 7, 20, 21]));
        assert!(hosts.has_crashed(7) && !hosts.has_crashed(4) && hosts.address_of(7).is_none());
        hosts.see([8..9, 0..0]);
        assert!(hosts.has_crashed(8) && hosts.address_of(8).is_none());
    }
}
