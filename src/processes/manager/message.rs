//! What clients and the manager tell each other.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::ManagerError;
use crate::process::{Incoming, Outgoing, Sender, Wire};
use crate::sys::heirloom::Heirloom;

/// What is asked for.
pub(super) mod verb {
    /// The time of who waits on this connection is over. It is not answered by itself.
    pub(crate) const HURRY: u8 = 0;
    pub(crate) const CREATE: u8 = 1;
    /// The last answer on this connection has been read. It is not answered.
    pub(crate) const HAS_READ: u8 = 4;
    pub(crate) const COUNT: u8 = 2;
    pub(crate) const LISTEN: u8 = 3;

    pub(crate) const GET: u8 = 10;
    pub(crate) const SET: u8 = 11;
    pub(crate) const INSERT: u8 = 12;
    pub(crate) const REMOVE: u8 = 13;
    pub(crate) const LENGTH: u8 = 14;
    pub(crate) const CLEAR: u8 = 15;
    pub(crate) const POSITION: u8 = 16;
    pub(crate) const ALL: u8 = 17;
    pub(crate) const KEYS: u8 = 18;
    pub(crate) const PUSH: u8 = 19;
    pub(crate) const POP: u8 = 20;
    pub(crate) const EXTEND: u8 = 21;
    pub(crate) const REVERSE: u8 = 22;
    pub(crate) const DEFAULT: u8 = 23;
    pub(crate) const EXCHANGE: u8 = 24;
    /// A value with its stamp, for `EXCHANGE`.
    pub(crate) const READ: u8 = 25;

    pub(crate) const CALL: u8 = 26;

    pub(crate) const PUT: u8 = 30;
    pub(crate) const TRY_PUT: u8 = 31;
    pub(crate) const TAKE: u8 = 32;
    pub(crate) const TRY_TAKE: u8 = 33;
    pub(crate) const LEASE: u8 = 34;
    pub(crate) const TRY_LEASE: u8 = 35;
    pub(crate) const LEASE_DONE: u8 = 36;
    pub(crate) const LEASE_BACK: u8 = 37;
    pub(crate) const TASK_DONE: u8 = 38;
    pub(crate) const JOIN: u8 = 39;
    pub(crate) const CLOSE: u8 = 40;
    pub(crate) const UNFINISHED: u8 = 41;
    pub(crate) const IS_CLOSED: u8 = 42;

    pub(crate) const ACQUIRE: u8 = 50;
    pub(crate) const TRY_ACQUIRE: u8 = 51;
    pub(crate) const RELEASE: u8 = 52;
    /// The same by a destructor: it is not answered.
    pub(crate) const DROP: u8 = 53;
    pub(crate) const FORGET: u8 = 54;
    pub(crate) const ADD: u8 = 55;
    pub(crate) const IS_LEFT: u8 = 56;
    pub(crate) const CLEAR_LEFT: u8 = 57;

    pub(crate) const WAIT: u8 = 60;
    pub(crate) const NOTIFY: u8 = 61;
    pub(crate) const ACTED: u8 = 62;
    pub(crate) const ABORT: u8 = 63;
    pub(crate) const RESET: u8 = 64;
    pub(crate) const WAITING: u8 = 65;
    pub(crate) const IS_BROKEN: u8 = 66;
}

/// What can be created.
pub(super) mod kind {
    pub(crate) const DICT: u8 = 1;
    pub(crate) const LIST: u8 = 2;
    pub(crate) const VALUE: u8 = 3;
    pub(crate) const QUEUE: u8 = 4;
    pub(crate) const LOCK: u8 = 5;
    pub(crate) const CONDITION: u8 = 6;
    pub(crate) const SEMAPHORE: u8 = 7;
    pub(crate) const BOUNDED_SEMAPHORE: u8 = 8;
    pub(crate) const EVENT: u8 = 9;
    pub(crate) const BARRIER: u8 = 10;
}

/// A value as it travels. The manager keeps it, and never looks into it.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    pub(super) bytes: Rc<[u8]>,
    /// Children of this process are not to have them.
    pub(super) descriptors: Rc<[Heirloom]>,
    /// Which it is of all that have come here. Two whose bytes are equal may have other descriptors.
    pub(super) stamp: u64,
}

impl Wire for Parcel {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        put_lengths(self.bytes.len(), self.descriptors.len(), into);
        into.put_bytes(&self.bytes);
        self.descriptors.iter().for_each(|descriptor| into.put_descriptor(descriptor.as_fd()));
    }

    fn take(from: &mut Incoming<'_>) -> Option<Parcel> {
        let (bytes, descriptors) = take_raw(from)?;
        Some(Parcel::new(bytes, descriptors))
    }
}

impl Parcel {
    fn new(bytes: &[u8], descriptors: Vec<OwnedFd>) -> Parcel {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Parcel {
            bytes: bytes.into(),
            descriptors: descriptors.into_iter().map(Heirloom::new).collect(),
            // Relaxed: a number that nobody else gets is all that is asked for.
            stamp: NEXT.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// One with a value of the manager's process, whose descriptors it has copies of.
    pub(super) fn of<T: Wire>(value: &T) -> io::Result<Parcel> {
        let mut message = Outgoing::new();
        value.put(&mut message);
        message.check()?;
        let (bytes, descriptors) = message.into_parts();
        let copies = descriptors.into_iter().map(|descriptor| descriptor.try_clone_to_owned());
        Ok(Parcel::new(&bytes, copies.collect::<io::Result<_>>()?))
    }
}

fn put_lengths(bytes: usize, descriptors: usize, into: &mut Outgoing<'_>) {
    into.put_bytes(&(bytes as u64).to_le_bytes());
    into.put_bytes(&(descriptors as u32).to_le_bytes());
}

fn take_raw<'a>(from: &mut Incoming<'a>) -> Option<(&'a [u8], Vec<OwnedFd>)> {
    let (length, count) = (usize::take(from)?, u32::take(from)?);
    let bytes = from.take_bytes(length)?;
    let descriptors = (0..count).map_while(|_| from.take_descriptor()).collect::<Vec<_>>();
    (descriptors.len() == count as usize).then_some((bytes, descriptors))
}

/// Writes a value in the form of a [`Parcel`].
pub(super) fn pack<'a, T: Wire>(value: &'a T, into: &mut Outgoing<'a>) {
    pack_from(Outgoing::new(), value, into);
}

/// The same, with a number before it.
pub(super) fn pack_with<'a, T: Wire>(tag: u64, value: &'a T, into: &mut Outgoing<'a>) {
    let mut inner = Outgoing::new();
    inner.put_bytes(&tag.to_le_bytes());
    pack_from(inner, value, into);
}

/// Writes what is a `String` there.
pub(super) fn pack_text(text: &str, into: &mut Outgoing<'_>) {
    let length = (text.len() as u64).to_le_bytes();
    put_lengths(length.len() + text.len(), 0, into);
    into.put_bytes(&length);
    into.put_bytes(text.as_bytes());
}

fn pack_from<'a, T: Wire>(mut inner: Outgoing<'a>, value: &'a T, into: &mut Outgoing<'a>) {
    value.put(&mut inner);
    let (bytes, descriptors) = inner.into_parts();
    put_lengths(bytes.len(), descriptors.len(), into);
    into.put_bytes(&bytes);
    descriptors.into_iter().for_each(|descriptor| into.put_descriptor(descriptor));
}

/// Writes many, with their number before them.
pub(super) fn pack_all<'a, T: Wire + 'a>(
    values: impl ExactSizeIterator<Item = &'a T>,
    into: &mut Outgoing<'a>,
) {
    into.put_bytes(&(values.len() as u64).to_le_bytes());
    values.for_each(|value| pack(value, into));
}

/// Reads a value that was written as a [`Parcel`].
pub(super) fn unpack<T: Wire>(from: &mut Incoming<'_>) -> Option<T> {
    let (bytes, descriptors) = take_raw(from)?;
    let mut inner = Incoming::with_descriptors(bytes, descriptors);
    T::take(&mut inner).filter(|_| inner.is_empty())
}

pub(super) fn unpack_maybe<T: Wire>(from: &mut Incoming<'_>) -> Option<Option<T>> {
    if bool::take(from)? { unpack(from).map(Some) } else { Some(None) }
}

/// What one is told that has waited for a lock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grant {
    pub(super) is_locked: bool,
    /// Whether a condition was notified that it had waited for.
    pub(super) is_notified: bool,
    /// Whether a client has ended while it held the lock.
    pub(super) owner_died: bool,
}

impl Grant {
    pub(super) fn take(from: &mut Incoming<'_>) -> Option<Grant> {
        let [is_locked, is_notified, owner_died] = <[bool; 3]>::take(from)?;
        Some(Grant { is_locked, is_notified, owner_died })
    }
}

/// The number of an arrival that is to act for all before the others are told.
pub(super) const ACT: u64 = u64::MAX;

/// What the manager answers.
#[derive(Debug)]
pub(super) enum Reply {
    Done,
    Flag(bool),
    Number(u64),
    One(Parcel),
    Maybe(Option<Parcel>),
    /// The same, with its stamp.
    Stamped(Option<Parcel>),
    /// Some of many, and whether more come.
    Part(bool, Vec<Parcel>),
    /// What has come of the wait for a lock.
    Granted(Grant),
    /// What was created: its number, and its door.
    Created(u64, Sender<OwnedFd>),
    Failed(ManagerError),
}

impl Reply {
    pub(super) fn write(&self) -> Outgoing<'_> {
        let mut into = Outgoing::new();
        into.put_bytes(&[u8::from(!matches!(self, Reply::Failed(_)))]);
        match self {
            Reply::Done => {}
            Reply::Flag(flag) => flag.put(&mut into),
            Reply::Number(number) => number.put(&mut into),
            Reply::One(parcel) => parcel.put(&mut into),
            Reply::Maybe(parcel) => parcel.put(&mut into),
            Reply::Stamped(None) => false.put(&mut into),
            Reply::Stamped(Some(parcel)) => {
                true.put(&mut into);
                parcel.stamp.put(&mut into);
                parcel.put(&mut into);
            }
            Reply::Part(more, parcels) => {
                more.put(&mut into);
                parcels.put(&mut into);
            }
            Reply::Granted(Grant { is_locked, is_notified, owner_died }) => {
                [is_locked, is_notified, owner_died].into_iter().for_each(|flag| flag.put(&mut into));
            }
            Reply::Created(number, door) => {
                number.put(&mut into);
                door.put(&mut into);
            }
            Reply::Failed(error) => error.put(&mut into),
        }
        into
    }
}

const CODES: [(u8, ManagerError); 9] = [
    (0, ManagerError::Ended),
    (1, ManagerError::Full),
    (2, ManagerError::Empty),
    (3, ManagerError::TimedOut),
    (4, ManagerError::Closed),
    (5, ManagerError::TooMany),
    (6, ManagerError::NotHeld),
    (7, ManagerError::BrokenBarrier),
    (8, ManagerError::Undecodable(String::new())),
];
const OUT_OF_RANGE: u8 = 20;
const TOLD: u8 = 21;
const REFUSED: u8 = 22;
const SYSTEM: u8 = 23;
const PANICKED: u8 = 24;

/// Only what a manager itself says: what goes wrong on the way is found out by the client.
impl Wire for ManagerError {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        if let Some((code, _)) = CODES.iter().find(|(_, error)| error == self) {
            return into.put_bytes(&[*code]);
        }
        match self {
            ManagerError::OutOfRange { index, length } => {
                into.put_bytes(&[OUT_OF_RANGE]);
                index.put(into);
                length.put(into);
            }
            ManagerError::Undecodable(why) => {
                into.put_bytes(&[TOLD]);
                why.put(into);
            }
            ManagerError::Refused(why) => {
                into.put_bytes(&[REFUSED]);
                why.put(into);
            }
            ManagerError::Panicked(text) => {
                into.put_bytes(&[PANICKED]);
                text.put(into);
            }
            ManagerError::System { text, .. } => {
                into.put_bytes(&[SYSTEM]);
                text.put(into);
            }
            error => unreachable!("{error:?} has a code"),
        }
    }

    fn take(from: &mut Incoming<'_>) -> Option<ManagerError> {
        let code = u8::take(from)?;
        match code {
            OUT_OF_RANGE => {
                Some(ManagerError::OutOfRange { index: usize::take(from)?, length: usize::take(from)? })
            }
            TOLD => String::take(from).map(ManagerError::Undecodable),
            REFUSED => String::take(from).map(ManagerError::Refused),
            PANICKED => String::take(from).map(ManagerError::Panicked),
            // The kind does not travel: it is for those whose system it is.
            SYSTEM => {
                String::take(from).map(|text| ManagerError::System { kind: io::ErrorKind::Other, text })
            }
            _ => CODES.into_iter().find(|(known, _)| *known == code).map(|(_, error)| error),
        }
    }
}
