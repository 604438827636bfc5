//! The bytes of a message that has come, of which much may not have been read yet.

use std::cell::OnceCell;

use crate::sys::carrier::Source;

/// How much of what is beside a packet is read at once: what comes before a long vector of bytes, which is read to where it is to be.
const FIRST: usize = 4096;

/// A message's bytes.
#[derive(Debug)]
pub(crate) struct Contents {
    first: Vec<u8>,
    rest: Option<Rest>,
}

/// What is read when it is asked for.
#[derive(Debug)]
pub(super) struct Rest {
    source: Source,
    /// All of it from some place on, with some of what was before it.
    read: OnceCell<Vec<u8>>,
}

impl Contents {
    /// Of a message beside a packet. `None` if nothing can be read there.
    pub(super) fn beside(source: Source) -> Option<Contents> {
        let first = source.length().min(FIRST);
        let mut bytes = Vec::new();
        source.append_to(&mut bytes, 0, first).ok()?;
        let rest = (first < source.length()).then(|| Rest { source, read: OnceCell::new() });
        Some(Contents { first: bytes, rest })
    }

    pub(crate) fn length(&self) -> usize {
        self.rest.as_ref().map_or(self.first.len(), |rest| rest.source.length())
    }

    /// What has been read of it.
    pub(super) fn first(&self) -> &[u8] {
        &self.first
    }

    /// What comes after that. It can be read as a whole once.
    pub(super) fn unread(&self) -> Option<Unread<'_>> {
        self.rest.as_ref().map(|rest| Unread { rest, place: self.first.len() })
    }

    /// All of it, read again if need be.
    pub(crate) fn to_vec(&self) -> Option<Vec<u8>> {
        let mut all = self.first.clone();
        if let Some(Rest { source, .. }) = &self.rest {
            source.append_to(&mut all, self.first.len(), source.length() - self.first.len()).ok()?;
        }
        Some(all)
    }
}

impl From<Vec<u8>> for Contents {
    fn from(first: Vec<u8>) -> Contents {
        Contents { first, rest: None }
    }
}

/// What has not been read of a message.
#[derive(Debug)]
pub(super) struct Unread<'a> {
    rest: &'a Rest,
    place: usize,
}

impl<'a> Unread<'a> {
    pub(super) fn length(&self) -> usize {
        self.rest.source.length() - self.place
    }

    /// Reads the next bytes to where they are to be.
    pub(super) fn append_to(&mut self, bytes: &mut Vec<u8>, count: usize) -> Option<()> {
        self.rest.source.append_to(bytes, self.place, count).ok()?;
        self.place += count;
        Some(())
    }

    /// Reads all, after what was read before.
    pub(super) fn read(mut self, before: &[u8]) -> Option<&'a [u8]> {
        let mut all = before.to_vec();
        let length = self.length();
        self.append_to(&mut all, length)?;
        self.rest.read.set(all).ok()?;
        self.rest.read.get().map(Vec::as_slice)
    }
}
