use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use greenloop::process::{Codec, Incoming, Process, Receiver, Sender, Wire, channel, channel_with, pipe};
use greenloop::{Waitable, iwait, sleep, spawn, wait_any, wire, with_timeout, yield_now};

use crate::support::open_files;
use crate::{LIMIT, LONG, sleeper, tests, until};

tests! {
    n25_the_end_comes_with_the_last_sender,
    n26_the_parent_s_copy_is_closed_with_the_start,
    n27_sixteen_mebibytes,
    n28_an_empty_message_is_one,
    n29_polls_take_nothing,
    n30_messages_never_merge_nor_split,
    n33_a_descriptor_arrives_and_works,
    n35_three_hundred_descriptors_are_refused,
    n36_ten_thousand_ends_leave_nothing,
    n37_several_ends_and_processes_at_once,
    n38_a_signal_is_not_seen,
    n39_an_undecodable_value_is_one_error,
    n40_a_value_that_cannot_be_encoded,
    n41_a_sender_killed_in_the_middle,
    n42_a_receiver_killed_while_it_waits,
    n43_both_ends_in_one_process,
    n44_kills_and_time_limits_lose_nothing,
    an_end_that_was_not_handed_over_says_so,
    every_kind_of_value_comes_as_it_went,
    errors_come_with_their_number_or_kind_and_text,
    structs_and_enums_of_ones_own_come_as_they_went,
    batches_come_in_order_and_wake_all,
    a_pipe_asks_and_answers,
    an_end_sent_is_an_end_of_the_same_channel,
    what_a_dead_one_has_sent_comes_though_it_left_some_unread,
    a_full_channel_makes_wait,
    what_was_received_early_is_not_the_child_s,
}

fn n25_the_end_comes_with_the_last_sender() {
    let (sender, receiver) = channel::<u32>().unwrap();
    let (first, second) = (sender.clone(), sender);
    let ends = Process::start(move || first.send(&1).unwrap()).unwrap();
    assert_eq!(receiver.recv().unwrap(), 1);
    let killed = Process::start({
        let second = second.clone();
        move || {
            second.send(&2).unwrap();
            sleep(LONG);
        }
    });
    let killed = killed.unwrap();
    assert_eq!(receiver.recv().unwrap(), 2);
    ends.join().unwrap();
    drop(second);
    assert!(
        receiver
            .recv_timeout(Duration::from_millis(5))
            .is_err_and(|error| error.kind() == ErrorKind::TimedOut)
    );
    killed.kill().unwrap();
    assert_eq!(receiver.recv().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    killed.wait().unwrap();
}

fn n26_the_parent_s_copy_is_closed_with_the_start() {
    let (sender, receiver) = channel::<u32>().unwrap();
    // Begun before the other has its end: it must not keep the sender.
    let reader = Process::start(move || receiver.iter().map(Result::unwrap).sum::<u32>()).unwrap();
    let beside = sleeper();
    let writer = Process::start(move || (1..=10).for_each(|number| sender.send(&number).unwrap())).unwrap();
    writer.join().unwrap();
    assert_eq!(reader.join().unwrap(), 55);
    beside.kill().unwrap();
    beside.wait().unwrap();
}

fn n27_sixteen_mebibytes() {
    let (ours, theirs) = pipe::<Vec<u8>, Vec<u8>>().unwrap();
    let child = Process::start(move || {
        for _ in 0..2 {
            let mut bytes = theirs.recv().unwrap();
            bytes.reverse();
            theirs.send(&bytes).unwrap();
        }
    });
    for size in [16 << 20, (128 << 10) + 1] {
        let bytes: Vec<u8> = (0..size).map(|place: u32| (place % 251) as u8).collect();
        ours.send(&bytes).unwrap();
        let mut back = ours.recv().unwrap();
        back.reverse();
        assert!(back == bytes);
    }
    child.unwrap().join().unwrap();
}

fn n28_an_empty_message_is_one() {
    let (sender, receiver) = channel::<()>().unwrap();
    sender.send(&()).unwrap();
    sender.send_all(&[(), ()]).unwrap();
    drop(sender);
    assert_eq!(receiver.iter().map(Result::unwrap).count(), 3);
}

fn n29_polls_take_nothing() {
    let (sender, receiver) = channel::<u8>().unwrap();
    assert!(!receiver.poll(Duration::ZERO).unwrap());
    assert!(!receiver.poll(Duration::from_millis(2)).unwrap());
    sender.send_all(&[1, 2]).unwrap();
    for expected in [1, 2] {
        (0..10).for_each(|_| assert!(receiver.poll(Duration::ZERO).unwrap()));
        assert_eq!(receiver.recv().unwrap(), expected);
    }
    assert!(!receiver.poll(Duration::ZERO).unwrap());
    drop(sender);
    assert!(receiver.poll(LIMIT).unwrap(), "the end is something");
}

fn n30_messages_never_merge_nor_split() {
    let (sender, receiver) = channel::<Vec<u8>>().unwrap();
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let receiver = receiver.try_clone().unwrap();
            Process::start(move || {
                let mut lengths = Vec::new();
                for message in &receiver {
                    let message = message.unwrap();
                    assert!(message.iter().all(|&byte| usize::from(byte) == message.len() % 256));
                    lengths.push(message.len() as u64);
                }
                lengths
            })
            .unwrap()
        })
        .collect();
    drop(receiver);
    for length in 0..500 {
        sender.send(&vec![(length * 7 % 256) as u8; length * 7]).unwrap();
    }
    drop(sender);
    let mut lengths: Vec<u64> = readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect();
    lengths.sort_unstable();
    assert!(lengths.into_iter().eq((0..500).map(|length| length * 7)));
}

fn n33_a_descriptor_arrives_and_works() {
    let (sender, receiver) = channel::<(String, OwnedFd)>().unwrap();
    let child = Process::start(move || {
        while let Ok((text, file)) = receiver.recv() {
            std::fs::File::from(file).write_all(text.as_bytes()).unwrap();
        }
    });
    let (mut reader, writer) = std::io::pipe().unwrap();
    // SAFETY: takes no pointers.
    let high = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 300) };
    // SAFETY: it is new, and nobody else's.
    let high = unsafe { OwnedFd::from_raw_fd(high) };
    assert!(high.as_raw_fd() > 256);
    sender.send(&("low ".to_owned(), writer.into())).unwrap();
    sender.send(&("high".to_owned(), high)).unwrap();
    drop(sender);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "low high");
    child.unwrap().join().unwrap();
}

fn n35_three_hundred_descriptors_are_refused() {
    let (sender, receiver) = channel::<Vec<OwnedFd>>().unwrap();
    let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let many: Vec<OwnedFd> = (0..300).map(|_| file.try_clone().unwrap()).collect();
    let before = open_files().len();
    let error = sender.send(&many).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "a message carries 64 descriptors at most");
    assert_eq!(open_files().len(), before);
    let most: Vec<OwnedFd> = many.into_iter().take(64).collect();
    sender.send(&most).unwrap();
    drop(most);
    assert_eq!(receiver.recv().unwrap().len(), 64);
}

fn n36_ten_thousand_ends_leave_nothing() {
    let (sender, receiver) = channel::<(Receiver<u32>, Sender<u32>)>().unwrap();
    let before = open_files().len();
    for number in 0..10_000 {
        let (inner, end) = channel::<u32>().unwrap();
        sender.send(&(end, inner)).unwrap();
        let (end, inner) = receiver.recv().unwrap();
        if number % 100 == 0 {
            inner.send(&number).unwrap();
            assert_eq!(end.recv().unwrap(), number);
        }
    }
    assert_eq!(open_files().len(), before);
}

fn n37_several_ends_and_processes_at_once() {
    let ends: Vec<_> = (0..4_u32)
        .map(|number| {
            let (sender, receiver) = channel::<u32>().unwrap();
            (
                Process::start(move || (sleep(Duration::from_millis(5)), sender.send(&number).unwrap()).1)
                    .unwrap(),
                receiver,
            )
        })
        .collect();
    let long = sleeper();
    let mut all: Vec<&dyn Waitable> =
        ends.iter().flat_map(|(child, end)| [child as &dyn Waitable, end]).collect();
    all.push(&long);
    assert_eq!(iwait(all).timeout(Duration::from_secs(1)).take(8).count(), 8);
    for (number, (child, end)) in ends.into_iter().enumerate() {
        assert_eq!(end.recv().unwrap(), number as u32);
        child.join().unwrap();
    }
    let (_sender, never) = channel::<u32>().unwrap();
    let none: [&dyn Waitable; 2] = [&never, &long];
    assert_eq!(iwait(none).timeout(Duration::ZERO).count(), 0);
    assert_eq!(iwait(none).timeout(Duration::from_millis(2)).count(), 0);
    long.kill().unwrap();
    assert!(wait_any(none).is_some());
    long.wait().unwrap();
}

fn n38_a_signal_is_not_seen() {
    let (ours, theirs) = pipe::<u32, u32>().unwrap();
    let child = Process::start(move || {
        let _handler = greenloop::signal::on(libc::SIGUSR1, || ()).unwrap();
        theirs.send(&0).unwrap();
        for _ in 0..100 {
            let number = theirs.recv().unwrap();
            theirs.send(&number).unwrap();
        }
    });
    let child = child.unwrap();
    assert_eq!(ours.recv().unwrap(), 0);
    for number in 0..100 {
        child.send_signal(libc::SIGUSR1).unwrap();
        ours.send(&number).unwrap();
        child.send_signal(libc::SIGUSR1).unwrap();
        assert_eq!(ours.recv().unwrap(), number);
    }
    child.join().unwrap();
}

struct Words;

impl Codec<String> for Words {
    fn encode(value: &String, into: &mut Vec<u8>) -> io::Result<()> {
        into.extend(value.as_bytes());
        if value == "unspeakable" { Err(io::Error::other("no such word")) } else { Ok(()) }
    }

    fn decode(bytes: &[u8]) -> io::Result<String> {
        if bytes == b"unreadable" {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        String::from_utf8(bytes.to_vec()).map_err(io::Error::other)
    }
}

fn n39_an_undecodable_value_is_one_error() {
    let (sender, receiver) = channel_with::<String, Words>().unwrap();
    sender.send(&"first".to_owned()).unwrap();
    sender.send(&"unreadable".to_owned()).unwrap();
    sender.send_all(["a", "unreadable", "b"].map(str::to_owned).iter()).unwrap();
    drop(sender);
    let read: Vec<_> = receiver.iter().map(|word| word.map_err(|error| error.kind())).collect();
    let bad = Err(ErrorKind::InvalidData);
    assert_eq!(read, [Ok("first".to_owned()), bad.clone(), Ok("a".to_owned()), bad, Ok("b".to_owned())]);
}

fn n40_a_value_that_cannot_be_encoded() {
    let (sender, receiver) = channel_with::<String, Words>().unwrap();
    for _ in 0..20 {
        assert_eq!(sender.send(&"unspeakable".to_owned()).unwrap_err().to_string(), "no such word");
        sender.send(&"word".to_owned()).unwrap();
        assert_eq!(receiver.recv().unwrap(), "word");
    }
    assert!(!receiver.poll(Duration::ZERO).unwrap());
}

fn n41_a_sender_killed_in_the_middle() {
    let (sender, receiver) = channel::<Vec<u8>>().unwrap();
    let mut random = crate::support::Random::new(41);
    for round in 0..40_u8 {
        let sender = sender.clone();
        let writer = Process::start(move || {
            for size in [1000, 150_000, 1 << 20].into_iter().cycle() {
                sender.send(&vec![round; size]).unwrap();
            }
        });
        let writer = writer.unwrap();
        let until = random.below(20);
        for _ in 0..until {
            let bytes = receiver.recv().unwrap();
            assert!([1000, 150_000, 1 << 20].contains(&bytes.len()));
            assert!(bytes.iter().all(|&byte| byte == round));
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        while let Ok(bytes) = receiver.try_recv() {
            assert!(
                [1000, 150_000, 1 << 20].contains(&bytes.len()) && bytes.iter().all(|&byte| byte == round)
            );
        }
    }
    assert_eq!(receiver.try_recv().unwrap_err().kind(), ErrorKind::WouldBlock);
}

fn n42_a_receiver_killed_while_it_waits() {
    let (sender, receiver) = channel::<u32>().unwrap();
    for number in 0..20 {
        let (ready, begun) = channel::<()>().unwrap();
        let taker = receiver.try_clone().unwrap();
        let waits = Process::start(move || {
            ready.send(&()).unwrap();
            drop(taker.recv());
        });
        let waits = waits.unwrap();
        begun.recv().unwrap();
        waits.kill().unwrap();
        waits.wait().unwrap();
        sender.send(&number).unwrap();
        assert_eq!(receiver.recv_timeout(LIMIT).unwrap(), number);
    }
}

fn n43_both_ends_in_one_process() {
    let (sender, receiver) = channel::<u64>().unwrap();
    let reader = spawn(move || receiver.iter().map(Result::unwrap).sum::<u64>());
    (0..10_000).for_each(|number| sender.send(&number).unwrap());
    drop(sender);
    assert_eq!(reader.join().unwrap(), (0..10_000).sum());
}

fn n44_kills_and_time_limits_lose_nothing() {
    let (sender, receiver) = channel::<u64>().unwrap();
    let (sender, receiver) = (Rc::new(sender), Rc::new(receiver));
    let got = Rc::new(std::cell::RefCell::new(Vec::new()));
    let writer = spawn({
        let sender = sender.clone();
        move || {
            for number in 0..2000 {
                // Sent or not, and it says which.
                while with_timeout(Duration::from_micros(50), || sender.send(&number).unwrap()).is_err() {}
            }
        }
    });
    while got.borrow().len() < 2000 {
        let reader = spawn({
            let (receiver, got) = (receiver.clone(), got.clone());
            move || loop {
                let number = receiver.recv().unwrap();
                got.borrow_mut().push(number);
                if number % 7 == 0 {
                    yield_now();
                }
            }
        });
        sleep(Duration::from_micros(200));
        reader.kill();
        drop(reader.join());
    }
    writer.join().unwrap();
    assert!(got.borrow().iter().copied().eq(0..2000));
}

fn an_end_that_was_not_handed_over_says_so() {
    let (sender, receiver) = channel::<u32>().unwrap();
    let child = Process::start(|| {
        let kinds = [sender.send(&1).unwrap_err().kind(), receiver.recv().unwrap_err().kind()];
        assert!(receiver.iter().take(2).count() == 1 && receiver.poll(Duration::ZERO).is_err());
        kinds.iter().all(|kind| *kind == ErrorKind::NotConnected)
    });
    assert!(child.unwrap().join().unwrap());
    sender.send(&1).unwrap();
    assert_eq!(receiver.recv().unwrap(), 1);
}

type Everything = (
    (u8, u16, u32, u64, u128, usize),
    (i8, i16, i32, i64, i128, isize),
    (f32, f64, bool, char, String, PathBuf),
    (Vec<u64>, Vec<()>, [Option<u8>; 3], Result<Box<u8>, String>, Duration, SystemTime),
    (IpAddr, SocketAddr, SocketAddr, HashMap<String, Vec<u8>>, Vec<Vec<[(); 0]>>, Range<u64>),
);

fn every_kind_of_value_comes_as_it_went() {
    let (sender, receiver) = channel::<Everything>().unwrap();
    let everything: Everything = (
        (1, 2, 3, 4, 5, usize::MAX),
        (-1, -2, -3, -4, i128::MIN, isize::MIN),
        (0.5, f64::MAX, true, 'ß', "text".to_owned(), "/a/path".into()),
        (
            vec![7; 1000],
            vec![(); 1000],
            [None, Some(1), Some(0)],
            Err("error".to_owned()),
            Duration::new(7, 8),
            SystemTime::UNIX_EPOCH - Duration::from_millis(1500),
        ),
        (
            "127.0.0.1".parse().unwrap(),
            "[::1]:80".parse().unwrap(),
            "127.1.2.3:65535".parse().unwrap(),
            HashMap::from([("key".to_owned(), vec![1, 2]), (String::new(), Vec::new())]),
            vec![vec![[]; 3]; 2],
            7..u64::MAX,
        ),
    );
    let child = Process::start(move || receiver.recv().unwrap()).unwrap();
    sender.send(&everything).unwrap();
    assert_eq!(child.join().unwrap(), everything);
}

fn errors_come_with_their_number_or_kind_and_text() {
    let (sender, receiver) = channel::<io::Error>().unwrap();
    let there_and_back = |error: &io::Error| {
        sender.send(error).unwrap();
        receiver.recv().unwrap()
    };
    let of_the_system = there_and_back(&io::Error::from_raw_os_error(111));
    assert_eq!(of_the_system.raw_os_error(), Some(111));
    let kind = there_and_back(&ErrorKind::TimedOut.into());
    assert_eq!((kind.kind(), &*kind.to_string()), (ErrorKind::TimedOut, "timed out"));
    let with_text = there_and_back(&io::Error::new(ErrorKind::UnexpectedEof, "half a line"));
    assert_eq!((with_text.kind(), &*with_text.to_string()), (ErrorKind::UnexpectedEof, "half a line"));
    let child = Process::start(|| std::fs::read("/no/such/file")).unwrap();
    assert_eq!(child.join().unwrap().unwrap_err().kind(), ErrorKind::NotFound);
}

#[derive(Debug, PartialEq)]
struct Nothing;
wire!(Nothing);

#[derive(Debug, PartialEq)]
struct Pair(u8, String);
wire!(Pair(first, second));

#[derive(Debug, PartialEq)]
struct Named {
    pair: Pair,
    nothing: Nothing,
}
wire!(struct Named { pair, nothing });

#[derive(Debug, PartialEq)]
enum Any {
    One,
    Two(Pair, Vec<u8>),
    Three { named: Named, from: u8 },
}
wire!(enum Any { One, Two(pair, bytes), Three { named, from } });

fn structs_and_enums_of_ones_own_come_as_they_went() {
    let pair = || Pair(7, "text".to_owned());
    let all = || {
        [
            Any::One,
            Any::Two(pair(), vec![1, 2]),
            Any::Three { named: Named { pair: pair(), nothing: Nothing }, from: 3 },
        ]
    };
    let (sender, receiver) = channel::<Any>().unwrap();
    let child = Process::start(move || receiver.iter().map(Result::unwrap).eq(all())).unwrap();
    sender.send_all(&all()).unwrap();
    drop(sender);
    assert!(child.join().unwrap());
    // What the enum has no variant for, and what ends too early.
    assert_eq!(Any::take(&mut Incoming::new(&[3, 0, 0])), None);
    assert_eq!(Any::take(&mut Incoming::new(&[1, 7])), None);
    assert_eq!(Any::take(&mut Incoming::new(&[])), None);
}

fn batches_come_in_order_and_wake_all() {
    let (sender, receiver) = channel::<u64>().unwrap();
    let child = Process::start(move || {
        let numbers: Vec<u64> = (0..100_000).collect();
        sender.send_all(&numbers).unwrap();
    });
    assert!(receiver.iter().map(Result::unwrap).eq(0..100_000));
    child.unwrap().join().unwrap();
    // One packet, and nobody waits at the socket while it is there.
    let (sender, receiver) = channel::<u64>().unwrap();
    let receiver = Rc::new(receiver);
    let takers: Vec<_> = (0..10)
        .map(|_| {
            let receiver = receiver.clone();
            spawn(move || receiver.recv().unwrap())
        })
        .collect();
    yield_now();
    sender.send_all(&(0..10).collect::<Vec<_>>()).unwrap();
    assert_eq!(takers.into_iter().map(|taker| taker.join().unwrap()).sum::<u64>(), 45);
    // Too large for a batch, between others.
    let (sender, receiver) = channel::<Vec<u8>>().unwrap();
    let sizes = [1, 2, 100_000, 3, 300_000, 0];
    let messages: Vec<_> = sizes.iter().map(|&size| vec![1; size]).collect();
    sender.send_all(&messages).unwrap();
    drop(sender);
    assert!(receiver.iter().map(|bytes| bytes.unwrap().len()).eq(sizes));
}

fn a_pipe_asks_and_answers() {
    let (ours, theirs) = pipe::<u32, String>().unwrap();
    let child = Process::start(move || {
        while let Ok(number) = theirs.recv() {
            theirs.send(&number.to_string()).unwrap();
        }
    });
    for number in 0..100 {
        ours.send(&number).unwrap();
        assert_eq!(ours.recv().unwrap(), number.to_string());
    }
    drop(ours);
    child.unwrap().join().unwrap();
}

fn an_end_sent_is_an_end_of_the_same_channel() {
    let (ends, received) = channel::<Sender<u32>>().unwrap();
    let child = Process::start(move || received.recv().unwrap().send(&7).unwrap()).unwrap();
    let (sender, receiver) = channel::<u32>().unwrap();
    ends.send(&sender).unwrap();
    drop(sender);
    assert_eq!(receiver.recv().unwrap(), 7);
    assert_eq!(receiver.recv().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    child.join().unwrap();
}

fn what_a_dead_one_has_sent_comes_though_it_left_some_unread() {
    let (ours, theirs) = pipe::<u32, u32>().unwrap();
    ours.send(&1).unwrap();
    let child = Process::start(move || (2..5).for_each(|number| theirs.send(&number).unwrap())).unwrap();
    child.join().unwrap();
    let received: Vec<_> = (0..4).map(|_| ours.recv().map_err(|error| error.kind())).collect();
    assert_eq!(received, [Ok(2), Ok(3), Ok(4), Err(ErrorKind::UnexpectedEof)]);
    assert_eq!(ours.send(&5).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

fn a_full_channel_makes_wait() {
    let (sender, receiver) = channel::<[u8; 1000]>().unwrap();
    let mut sent = 0;
    while sender.try_send(&[1; 1000]).is_ok() {
        sent += 1;
    }
    assert!((20..1000).contains(&sent), "{sent}");
    let timed = sender.send_timeout(&[1; 1000], Duration::from_millis(1)).unwrap_err();
    assert_eq!(timed.kind(), ErrorKind::TimedOut);
    let waits = spawn(move || sender.send(&[2; 1000]).unwrap());
    yield_now();
    until("there is room", || receiver.recv().unwrap() == [2; 1000]);
    waits.join().unwrap();
}

fn what_was_received_early_is_not_the_child_s() {
    let (sender, receiver) = channel::<u8>().unwrap();
    sender.send_all(&[1, 2, 3]).unwrap();
    assert_eq!(receiver.recv().unwrap(), 1);
    let child = Process::start(|| receiver.recv().is_err()).unwrap();
    assert!(child.join().unwrap());
    assert_eq!(receiver.recv().unwrap(), 2);
    // Moved, it goes along.
    let child = Process::start(move || receiver.recv().unwrap()).unwrap();
    assert_eq!(child.join().unwrap(), 3);
}
