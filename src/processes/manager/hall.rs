//! The connections of this process to a manager.
//!
//! A call takes a connection that nobody uses, or makes one, and gives it back when it has its answer. So one that waits has a connection
//! to itself, and so has a guard: the manager releases what a connection holds when that ends, as it does with the process at the latest.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};

use super::message::verb;
use crate::error::ManagerError;
use crate::process::{Incoming, Kind, Limit, Line, Outgoing, Packet, Sender, Wire};
use crate::sys::clock::Time;
use crate::sys::identity;
use crate::sys::lock::Lock;

/// An answer of more bytes is not kept by the manager after it has been read.
const HEAVY: usize = 4096;
/// So many that nobody uses are kept.
const MOST_IDLE: usize = 8;

/// Those of all managers that this process knows.
static HALLS: Lock<BTreeMap<u64, Weak<Hall>>> = Lock::new(BTreeMap::new());

/// Those to one manager.
#[derive(Debug)]
pub(super) struct Hall {
    manager: u64,
    idle: Lock<Idle>,
    /// The locks that are held here and may be locked again, by their numbers.
    recursions: Lock<BTreeMap<u64, Recursion>>,
}

/// A lock that a green thread holds, in this process or, after a fork, in its parent.
#[derive(Debug)]
pub(super) struct Recursion {
    pub(super) owner: u64,
    pub(super) depth: usize,
    pub(super) owner_died: bool,
    pub(super) connection: Connection,
}

/// In the child of a fork these are the parent's, until they are looked at.
#[derive(Debug)]
struct Idle {
    process: u64,
    lines: Vec<Line>,
}

impl Hall {
    pub(super) fn of(manager: u64) -> Arc<Hall> {
        let mut halls = HALLS.lock();
        if let Some(hall) = halls.get(&manager).and_then(Weak::upgrade) {
            return hall;
        }
        let idle = Lock::new(Idle { process: identity::own(), lines: Vec::new() });
        let hall = Arc::new(Hall { manager, idle, recursions: Lock::new(BTreeMap::new()) });
        halls.insert(manager, Arc::downgrade(&hall));
        hall
    }

    /// Takes one that nobody uses.
    fn take(&self) -> Option<Line> {
        let mut strangers = Vec::new();
        let mut idle = self.idle.lock();
        if idle.process != identity::own() {
            idle.process = identity::own();
            strangers = std::mem::take(&mut idle.lines);
        }
        let line = idle.lines.pop();
        drop(idle);
        drop(strangers);
        line
    }

    fn put(&self, line: Line, process: u64) {
        let mut idle = self.idle.lock();
        if idle.process == process && idle.lines.len() < MOST_IDLE {
            return idle.lines.push(line);
        }
        drop(idle);
        drop(line);
    }
}

impl Drop for Hall {
    fn drop(&mut self) {
        let mut halls = HALLS.lock();
        // Another may have taken its place meanwhile.
        if halls.get(&self.manager).is_some_and(|hall| hall.strong_count() == 0) {
            halls.remove(&self.manager);
        }
    }
}

/// The way to one thing that a manager keeps: its number there, and its door, by which connections are made.
///
/// The manager keeps the thing as long as somebody has its door, in whichever process or message.
#[derive(Debug, Clone)]
pub(super) struct Access {
    hall: Arc<Hall>,
    object: u64,
    door: Sender<OwnedFd>,
}

impl Access {
    pub(super) fn new(manager: u64, object: u64, door: Sender<OwnedFd>) -> Access {
        Access { hall: Hall::of(manager), object, door }
    }

    /// The error of an answer that is none.
    #[cold]
    pub(super) fn no_value() -> ManagerError {
        ManagerError::Undecodable("the answer is no value of that type".to_owned())
    }

    /// To another thing of the same manager.
    pub(super) fn beside(&self, object: u64, door: Sender<OwnedFd>) -> Access {
        Access { hall: self.hall.clone(), object, door }
    }

    pub(super) fn manager(&self) -> u64 {
        self.hall.manager
    }

    pub(super) fn door(&self) -> &Sender<OwnedFd> {
        &self.door
    }

    /// The door that this descriptor is.
    pub(super) fn door_of(descriptor: OwnedFd) -> Option<Sender<OwnedFd>> {
        Sender::take(&mut Incoming::with_descriptors(&[], vec![descriptor]))
    }

    pub(super) fn object(&self) -> u64 {
        self.object
    }

    /// The beginning of a request.
    pub(super) fn request<'a>(&self, verb: u8) -> Outgoing<'a> {
        let mut request = Outgoing::new();
        request.put_bytes(&self.object.to_le_bytes());
        request.put_bytes(&[verb]);
        request
    }

    /// Sends a request, and waits for the answer.
    pub(super) fn call<T>(
        &self,
        request: &Outgoing<'_>,
        take: impl FnOnce(&mut Incoming<'_>) -> Option<T>,
    ) -> Result<T, ManagerError> {
        self.call_until(request, None, take).map(|(value, connection)| {
            connection.give_back();
            value
        })
    }

    /// Sends a request without more to it.
    pub(super) fn ask<T: Wire>(&self, verb: u8) -> Result<T, ManagerError> {
        self.call(&self.request(verb), T::take)
    }

    /// The same with an answer that the manager keeps back, until `deadline` at most, and the connection, which may hold something now.
    pub(super) fn call_until<T>(
        &self,
        request: &Outgoing<'_>,
        deadline: Option<Time>,
        take: impl FnOnce(&mut Incoming<'_>) -> Option<T>,
    ) -> Result<(T, Connection), ManagerError> {
        let connection = self.connect()?;
        match connection.send(request) {
            Ok(()) => {}
            Err(error @ ManagerError::Undecodable(_)) => {
                connection.give_back();
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        let answer = connection.answer(self.object, deadline, take)?;
        match answer {
            Ok(value) => Ok((value, connection)),
            Err(error) => {
                connection.give_back();
                Err(error)
            }
        }
    }

    /// Sends a request that has an answer in parts.
    pub(super) fn call_for_all<T>(
        &self,
        request: &Outgoing<'_>,
        mut take: impl FnMut(&mut Incoming<'_>) -> Option<T>,
    ) -> Result<Vec<T>, ManagerError> {
        let connection = self.connect()?;
        connection.send(request)?;
        let mut values = Vec::new();
        loop {
            let part = connection.answer(self.object, None, |from| {
                let (more, count) = (bool::take(from)?, u64::take(from)?);
                (0..count).try_for_each(|_| take(from).map(|value| values.push(value)))?;
                Some(more)
            })?;
            match part {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    connection.give_back();
                    return Err(error);
                }
            }
        }
        connection.give_back();
        Ok(values)
    }

    /// Locks what this green thread holds. Returns whether a process had ended that held it, or `None` if it does not hold it.
    pub(super) fn lock_again(&self, me: u64) -> Option<bool> {
        let mut recursions = self.hall.recursions.lock();
        let held = recursions.get_mut(&self.object)?;
        (held.owner == me && held.connection.is_own()).then(|| {
            held.depth += 1;
            held.owner_died
        })
    }

    pub(super) fn lock_first(&self, recursion: Recursion) {
        let parents = self.hall.recursions.lock().insert(self.object, recursion);
        drop(parents);
    }

    /// Unlocks it once. Returns the connection that holds it, if it is to be unlocked.
    pub(super) fn unlock_once(&self) -> Option<Connection> {
        let mut recursions = self.hall.recursions.lock();
        let held = recursions.get_mut(&self.object)?;
        held.depth -= 1;
        if held.depth > 0 {
            return None;
        }
        recursions.remove(&self.object).map(|held| held.connection)
    }

    fn connect(&self) -> Result<Connection, ManagerError> {
        let process = identity::own();
        if let Some(line) = self.hall.take() {
            return Ok(Connection { line, process, hall: self.hall.clone(), is_heavy: Cell::new(false) });
        }
        let (line, theirs) = Line::pair()?;
        // Not as a descriptor of its own, which a child that is forked meanwhile would keep: `theirs` is given up by children.
        self.door.send_copy(theirs.as_fd())?;
        Ok(Connection { line, process, hall: self.hall.clone(), is_heavy: Cell::new(false) })
    }
}

impl Access {
    pub(super) fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        into.put_bytes(&self.hall.manager.to_le_bytes());
        into.put_bytes(&self.object.to_le_bytes());
        self.door.put(into);
    }

    pub(super) fn take(from: &mut Incoming<'_>) -> Option<Access> {
        Some(Access::new(u64::take(from)?, u64::take(from)?, Sender::take(from)?))
    }
}

/// One connection, which is closed if it is not given back: then the manager releases what it holds, and forgets that it waits.
#[derive(Debug)]
pub(super) struct Connection {
    line: Line,
    process: u64,
    hall: Arc<Hall>,
    /// Whether the last answer was one that the manager should not keep until the next request here.
    is_heavy: Cell<bool>,
}

impl Connection {
    /// Leaves it to the next call.
    pub(super) fn give_back(self) {
        let Connection { line, process, hall, .. } = self;
        hall.put(line, process);
    }

    /// The same after an answer that is the manager's again if it has not been read. If that is much, or descriptors, it is told at once.
    pub(super) fn has_read(self, access: &Access) {
        match self.is_heavy.get() {
            true => self.tell(&access.request(verb::HAS_READ)),
            false => self.give_back(),
        }
    }

    /// Whether it is this process's, and not its parent's.
    pub(super) fn is_own(&self) -> bool {
        self.process == identity::own()
    }

    pub(super) fn send(&self, request: &Outgoing<'_>) -> Result<(), ManagerError> {
        request.check()?;
        self.line.send(Kind::One, request, Limit::Until(None)).map_err(ManagerError::from)
    }

    /// Sends what gives up something that it holds. Does not yield, where a kill would end the connection first.
    pub(super) fn send_at_once(&self, request: &Outgoing<'_>) -> Result<(), ManagerError> {
        match self.line.send(Kind::One, request, Limit::Now) {
            // The manager has not read earlier requests, none of which it answers.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.send(request),
            sent => sent.map_err(ManagerError::from),
        }
    }

    /// Asks for something that it holds for the last time, and leaves it to the next call.
    pub(super) fn finish(self, access: &Access, verb: u8) -> Result<(), ManagerError> {
        if !self.is_own() {
            return Err(ManagerError::NotHeld);
        }
        self.send_at_once(&access.request(verb))?;
        let told = self.answer(access.object, None, <()>::take)?;
        self.give_back();
        told
    }

    /// Tells something that is not answered. It never waits, so a destructor may call it. If it cannot be told, it is told by the
    /// connection's end.
    pub(super) fn tell(self, request: &Outgoing<'_>) {
        if self.is_own() && self.line.send(Kind::One, request, Limit::Now).is_ok() {
            self.give_back();
        }
    }

    /// The answer, which after `deadline` is that the time is over.
    pub(super) fn answer<T>(
        &self,
        object: u64,
        deadline: Option<Time>,
        take: impl FnOnce(&mut Incoming<'_>) -> Option<T>,
    ) -> Result<Result<T, ManagerError>, ManagerError> {
        let received = match self.line.receive(Limit::Until(deadline)) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                let mut hurry = Outgoing::new();
                hurry.put_bytes(&object.to_le_bytes());
                hurry.put_bytes(&[verb::HURRY]);
                self.send(&hurry)?;
                self.line.receive(Limit::Until(None))
            }
            received => received,
        };
        let Packet { bytes, descriptors, .. } = received?.ok_or(ManagerError::Ended)?;
        self.is_heavy.set(bytes.length() > HEAVY || !descriptors.is_empty());
        let mut from = Incoming::of(&bytes, descriptors);
        // With an answer that is none, nobody knows what the connection holds, or what more comes on it: it ends.
        match bool::take(&mut from).ok_or_else(Access::no_value)? {
            true => take(&mut from).filter(|_| from.is_empty()).map(Ok).ok_or_else(Access::no_value),
            false => Ok(Err(ManagerError::take(&mut from).ok_or_else(Access::no_value)?)),
        }
    }
}
