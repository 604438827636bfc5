//! What a child and who started it tell each other.

use std::os::fd::OwnedFd;

use super::contents::Contents;
use super::line::{Kind, Limit, Line, Packet};
use super::wire::{Incoming, Outgoing, Wire};

fn put_tagged<'a, T: Wire>(tag: u8, value: &'a T, into: &mut Outgoing<'a>) {
    into.put_bytes(&[tag]);
    value.put(into);
}

/// One thing that is told.
#[derive(Debug)]
pub(super) enum Report {
    /// To the child: the ends that its closure owns.
    Handed(Vec<u64>),
    /// By a zygote: the child's number, and its descriptor if there are such.
    Started(u32, Option<OwnedFd>),
    /// By a zygote: there is no child, for this reason of the kernel's.
    Failed(i32),
    /// By the child: its value follows.
    Returned(Value),
    /// By the child: text and place.
    Panicked(String, String),
    /// By the child: its value cannot be sent.
    Unsendable(String),
    /// By a zygote: the raw status of a child that has ended.
    Ended(i32),
    /// By a zygote: a child has ended, and nobody can tell how.
    Untold,
}

/// A value as it came.
#[derive(Debug)]
pub(super) struct Value {
    bytes: Contents,
    descriptors: Vec<OwnedFd>,
}

const HANDED: u8 = 0;
const STARTED: u8 = 1;
const FAILED: u8 = 2;
pub(super) const RETURNED: u8 = 3;
const PANICKED: u8 = 4;
const UNSENDABLE: u8 = 5;
const ENDED: u8 = 6;
const UNTOLD: u8 = 7;

impl Value {
    pub(super) fn decode<T: Wire>(self) -> Option<T> {
        let mut incoming = Incoming::of(&self.bytes, self.descriptors);
        incoming.take_bytes(1)?;
        T::take(&mut incoming).filter(|_| incoming.is_empty())
    }
}

impl Report {
    /// Sends it. The socket has room: these few are all that ever goes this way. If nobody is there, there is nobody to tell.
    pub(super) fn tell(&self, line: &Line) {
        let mut message = Outgoing::new();
        self.put(&mut message);
        let _ = line.send(Kind::One, &message, Limit::Now);
    }

    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        match self {
            Report::Handed(names) => put_tagged(HANDED, names, into),
            Report::Started(id, pidfd) => {
                put_tagged(STARTED, id, into);
                pidfd.put(into);
            }
            Report::Failed(number) => put_tagged(FAILED, number, into),
            Report::Returned(value) => into.put_bytes(&value.bytes.to_vec().unwrap_or_default()),
            Report::Panicked(text, place) => {
                put_tagged(PANICKED, text, into);
                place.put(into);
            }
            Report::Unsendable(why) => put_tagged(UNSENDABLE, why, into),
            Report::Ended(status) => put_tagged(ENDED, status, into),
            Report::Untold => into.put_bytes(&[UNTOLD]),
        }
    }

    /// `None` for what is none.
    pub(super) fn read(packet: Packet) -> Option<Report> {
        let Packet { bytes, descriptors, .. } = packet;
        if bytes.first().first() == Some(&RETURNED) {
            return Some(Report::Returned(Value { bytes, descriptors }));
        }
        let mut from = Incoming::of(&bytes, descriptors);
        Some(match u8::take(&mut from)? {
            HANDED => Report::Handed(Vec::take(&mut from)?),
            STARTED => Report::Started(u32::take(&mut from)?, Wire::take(&mut from)?),
            FAILED => Report::Failed(i32::take(&mut from)?),
            PANICKED => Report::Panicked(String::take(&mut from)?, String::take(&mut from)?),
            UNSENDABLE => Report::Unsendable(String::take(&mut from)?),
            ENDED => Report::Ended(i32::take(&mut from)?),
            UNTOLD => Report::Untold,
            _ => return None,
        })
    }
}
