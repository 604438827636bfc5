//! Messages that came together with others, and that nobody has taken yet.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use super::contents::Contents;
use super::wire::Incoming;

/// What most messages that share a packet have room in.
const SHORT: usize = 64;

/// One message.
pub(super) enum Message {
    /// So many of these bytes, so that nothing is allocated for one of many.
    Short([u8; SHORT], usize),
    Long(Contents),
}

impl Message {
    /// To be read, with its descriptors. Once only.
    pub(super) fn incoming(&self, descriptors: Vec<OwnedFd>) -> Incoming<'_> {
        match self {
            Message::Short(bytes, length) => Incoming::with_descriptors(&bytes[..*length], descriptors),
            Message::Long(contents) => Incoming::of(contents, descriptors),
        }
    }

    /// All of it.
    pub(super) fn to_vec(&self) -> Option<Vec<u8>> {
        match self {
            Message::Short(bytes, length) => Some(bytes[..*length].to_vec()),
            Message::Long(contents) => contents.to_vec(),
        }
    }
}

/// Those of one receiver, in order.
#[derive(Default)]
pub(super) struct Early {
    /// Those that were put back.
    first: VecDeque<Vec<u8>>,
    /// Each with its length before it.
    batch: Vec<u8>,
    /// Where the next one is in the batch.
    place: usize,
}

impl Early {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.place == self.batch.len()
    }

    /// Takes in a packet of many, once all that came before are taken. `None` if it is no such packet.
    pub(super) fn fill(&mut self, batch: Contents) -> Option<()> {
        let batch = batch.to_vec()?;
        let mut rest = &batch[..];
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk()?;
            rest = after.get(u32::from_le_bytes(*length) as usize..)?;
        }
        if self.place == self.batch.len() {
            (self.batch, self.place) = (batch, 0);
        } else {
            // Another OS thread was as quick.
            self.batch.extend_from_slice(&batch);
        }
        Some(())
    }

    pub(super) fn put_back(&mut self, message: Vec<u8>) {
        self.first.push_front(message);
    }

    pub(super) fn take(&mut self) -> Option<Message> {
        if let Some(message) = self.first.pop_front() {
            return Some(Message::Long(message.into()));
        }
        let (length, rest) = self.batch[self.place..].split_first_chunk()?;
        let length = u32::from_le_bytes(*length) as usize;
        let message = &rest[..length];
        let message = if length <= SHORT {
            let mut bytes = [0; SHORT];
            bytes[..length].copy_from_slice(message);
            Message::Short(bytes, length)
        } else {
            Message::Long(message.to_vec().into())
        };
        self.place += size_of::<u32>() + length;
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(messages: &[&[u8]]) -> Contents {
        let one = |message: &&[u8]| [&(message.len() as u32).to_le_bytes(), *message].concat();
        messages.iter().flat_map(one).collect::<Vec<u8>>().into()
    }

    #[test]
    fn they_come_in_order() {
        let long = [7; SHORT + 1];
        let mut early = Early::default();
        assert!(early.is_empty() && early.take().is_none());
        early.fill(batch(&[b"", b"a", &long, &[1; SHORT]])).unwrap();
        early.put_back(b"first".to_vec());
        early.fill(batch(&[b"last"])).unwrap();
        for expected in [b"first", &b""[..], b"a", &long, &[1; SHORT], b"last"] {
            assert!(!early.is_empty());
            assert_eq!(early.take().unwrap().to_vec().unwrap(), expected);
        }
        assert!(early.is_empty() && early.take().is_none());
    }

    #[test]
    fn lengths_that_are_not_true_are_refused() {
        let mut early = Early::default();
        for bad in [&b"\x01\0\0"[..], b"\x01\0\0\0", b"\x01\0\0\0a\xff\xff\xff\xffb"] {
            assert!(early.fill(bad.to_vec().into()).is_none());
            assert!(early.is_empty());
        }
    }
}
