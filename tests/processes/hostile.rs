use std::collections::{BTreeMap, HashMap};
use std::io::{self, ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use greenloop::process::{Incoming, Receiver, Sender, Wire, channel};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::support::{Random, open_files};
use crate::tests;

tests! {
    n34_a_message_without_its_descriptor,
    bad_packets_are_errors_of_their_own,
    bad_bytes_are_no_values,
    bad_bytes_with_descriptors_leak_none,
    memory_that_its_sender_has_not,
}

/// Sends a packet as it is, past what a channel sends.
fn send_raw<T: Wire>(sender: &Sender<T>, bytes: &[u8], descriptors: &[OwnedFd]) {
    let mut space = [MaybeUninit::uninit(); 2048];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    if !borrowed.is_empty() {
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)));
    }
    sendmsg(sender.as_fd(), &[IoSlice::new(bytes)], &mut ancillary, SendFlags::empty()).unwrap();
}

fn good_after<T: Wire + PartialEq + std::fmt::Debug>(sender: &Sender<T>, receiver: &Receiver<T>, value: T) {
    sender.send(&value).unwrap();
    assert_eq!(receiver.recv().unwrap(), value);
}

fn null() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

fn n34_a_message_without_its_descriptor() {
    let (sender, receiver) = channel::<Vec<OwnedFd>>().unwrap();
    let before = open_files().len();
    // One of a kind, with one descriptor promised; the number of them in the value; and too many.
    for (bytes, count) in [
        (&[0x10, 1, 1, 0, 0, 0, 0, 0, 0, 0][..], 0),
        (&[0x10, 0, 1, 0, 0, 0, 0, 0, 0, 0], 0),
        (&[0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0], 3),
    ] {
        let descriptors: Vec<_> = (0..count).map(|_| null()).collect();
        send_raw(&sender, bytes, &descriptors);
        drop(descriptors);
        assert_eq!(receiver.recv().unwrap_err().kind(), ErrorKind::InvalidData);
    }
    // More than the value asks for: what nobody takes is closed.
    send_raw(&sender, &[0x10, 3, 0, 0, 0, 0, 0, 0, 0, 0], &[null(), null(), null()]);
    assert_eq!(receiver.recv().unwrap().len(), 0);
    assert_eq!(open_files().len(), before);
    sender.send(&vec![null()]).unwrap();
    assert_eq!(receiver.recv().unwrap().len(), 1);
}

fn bad_packets_are_errors_of_their_own() {
    let (sender, receiver) = channel::<u32>().unwrap();
    let long = (1_u64 << 40).to_le_bytes();
    let mut large = vec![0x12, 1];
    large.extend(long);
    let bad: &[(&[u8], usize)] = &[
        (&[0x10], 0),
        (&[0x10, 0], 0),
        (&[0x10, 0, 1, 2, 3, 4, 5], 0),
        (&[0, 0, 1, 2, 3, 4], 0),
        (&[0x20, 0, 1, 2, 3, 4], 0),
        (&[0x11, 0, 9, 0, 0, 0, 1], 0),
        (&[0x11, 0, 1, 0], 0),
        (&[0x11, 0], 0),
        (&[0x12, 0, 1, 0, 0, 0, 0, 0, 0, 0], 0),
        (&[0x12, 1], 1),
        (&large, 1),
    ];
    for (bytes, count) in bad {
        let descriptors: Vec<_> = (0..*count).map(|_| null()).collect();
        send_raw(&sender, bytes, &descriptors);
        // An empty batch has nothing to complain of, and nothing in it.
        if *bytes != [0x11, 0] {
            let error = receiver.recv().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{bytes:?}");
        }
        good_after(&sender, &receiver, 7);
    }
    let mut random = Random::new(34);
    for _ in 0..20_000 {
        let length = 1 + random.below(64);
        let mut bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        if random.below(2) == 0 {
            bytes[0] = 0x10 + random.below(3) as u8;
            if let Some(count) = bytes.get_mut(1) {
                *count = random.below(2) as u8;
            }
        }
        send_raw(&sender, &bytes, &[]);
        while let Err(error) = receiver.try_recv() {
            if error.kind() == ErrorKind::WouldBlock {
                break;
            }
            assert_eq!(error.kind(), ErrorKind::InvalidData);
        }
        while receiver.try_recv().is_ok() {}
    }
    good_after(&sender, &receiver, 8);
}

type Nested = (
    Vec<Vec<String>>,
    HashMap<String, Option<Vec<u16>>>,
    BTreeMap<char, (bool, Duration)>,
    Result<PathBuf, SystemTime>,
    Vec<()>,
    Vec<[(); 5]>,
    SocketAddr,
    Result<Range<bool>, io::Error>,
);

fn bad_bytes_are_no_values() {
    let mut random = Random::new(39);
    let mut taken = 0;
    for round in 0..100_000_u32 {
        let length = random.below(80);
        // Small numbers are likelier to be counts and tags that are believed.
        let most = if round % 2 == 0 { 256 } else { 3 };
        let bytes: Vec<u8> = (0..length).map(|_| random.below(most) as u8).collect();
        taken += u32::from(<Nested as Wire>::take(&mut Incoming::new(&bytes)).is_some());
        let count = <Vec<()> as Wire>::take(&mut Incoming::new(&bytes)).map_or(0, |values| values.len());
        assert!(count <= bytes.len());
    }
    assert!(taken < 100_000);
    assert!(<Vec<()> as Wire>::take(&mut Incoming::new(&[255; 64])).is_none());
    assert!(<Vec<u64> as Wire>::take(&mut Incoming::new(&[255; 64])).is_none());
}

fn bad_bytes_with_descriptors_leak_none() {
    let (sender, receiver) = channel::<(String, Vec<OwnedFd>)>().unwrap();
    let mut random = Random::new(35);
    let before = open_files().len();
    for _ in 0..2000 {
        let count = random.below(4);
        let descriptors: Vec<_> = (0..count).map(|_| null()).collect();
        let mut bytes = vec![0x10, random.below(4) as u8];
        bytes.extend((0..random.below(30)).map(|_| random.below(3) as u8));
        send_raw(&sender, &bytes, &descriptors);
        drop(descriptors);
        drop(receiver.recv());
    }
    assert_eq!(open_files().len(), before);
}

/// A file in memory of this length with nothing in it, and these seals.
fn hollow(length: i64, seals: i32) -> OwnedFd {
    // SAFETY: the name is a C string.
    let number = unsafe { libc::memfd_create(c"hollow".as_ptr(), libc::MFD_ALLOW_SEALING) };
    assert!(number >= 0);
    // SAFETY: it has just been made, and nothing else owns it.
    let file = unsafe { OwnedFd::from_raw_fd(number) };
    // SAFETY: takes no pointers.
    assert_eq!(unsafe { libc::ftruncate(number, length) }, 0);
    // SAFETY: takes no pointers.
    assert_eq!(unsafe { libc::fcntl(number, libc::F_ADD_SEALS, seals) }, 0);
    file
}

fn memory_that_its_sender_has_not() {
    let (sender, receiver) = channel::<Vec<u8>>().unwrap();
    let all = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    for (length, seals) in [(1_i64 << 62, all), (1 << 40, all), (8192, all), (0, 0)] {
        let large = [&[0x12, 1][..], &length.to_le_bytes()].concat();
        send_raw(&sender, &large, &[hollow(length, seals)]);
        assert_eq!(receiver.recv().unwrap_err().kind(), ErrorKind::InvalidData, "{length}");
    }
    good_after(&sender, &receiver, vec![7; 300_000]);
}
