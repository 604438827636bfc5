//! The most that can be: of descriptors, in a process and in a message, and of bytes.

use std::error::Error;
use std::fs::File;
use std::os::fd::OwnedFd;

use greenloop::error::ProcessError;
use greenloop::process::{Process, Zygote, channel};
use greenloop::processes::{ProcessPool, WorkError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::attacks::{SOON, ends};
use crate::{tests, until};

tests! {
    few_descriptors_left,
    no_descriptors_left,
    a_zygote_without_descriptors,
    values_of_all_sizes,
    many_ends,
}

/// Holds all descriptors but so many.
pub(super) fn all_but(free: usize) -> Vec<File> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(200), maximum }).unwrap();
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    files.truncate(files.len() - free);
    files
}

fn few_descriptors_left() {
    for free in 0..18 {
        let held = all_but(free);
        match Process::start(|| 7_u32) {
            Ok(child) => assert_eq!(child.join_timeout(SOON).expect("it ends").unwrap(), 7),
            Err(error) => assert!(free < 6, "{free} {error}"),
        }
        match Zygote::start() {
            Ok(zygote) => match zygote.run(|n: u32| n, 7) {
                Ok(child) => {
                    assert_eq!(child.join_timeout(SOON).expect("it ends").unwrap(), 7)
                }
                Err(error) => assert!(free < 12, "{free} {error}"),
            },
            Err(error) => assert!(free < 10, "{free} {error}"),
        }
        match ProcessPool::new(1, |n: u32| n) {
            Ok(pool) => {
                let result = pool.submit(7).join_timeout(SOON).expect("it is told");
                match result {
                    Ok(value) => assert_eq!(value, 7),
                    Err(error) => assert!(free < 16, "{free} {error}"),
                }
                pool.terminate();
                assert!(pool.join_timeout(SOON), "{free}");
            }
            Err(error) => assert!(free < 10, "{free} {error}"),
        }
        drop(held);
    }
}

fn no_descriptors_left() {
    let large = || vec![7_u8; 300_000];
    let child = Process::start(large).unwrap();
    until("it has ended", || !child.is_alive());
    let pool = ProcessPool::new(1, move |()| large()).unwrap();
    assert_eq!(pool.apply(()).unwrap().len(), 300_000);
    let (sender, receiver) = channel::<Vec<u8>>().unwrap();
    sender.send(&large()).unwrap();
    sender.send(&vec![1]).unwrap();
    let (other, _receiver) = channel::<Vec<u8>>().unwrap();
    let held = all_but(0);
    assert!(receiver.recv().is_err());
    assert_eq!(receiver.recv().unwrap(), [1]);
    assert!(other.send(&large()).is_err());
    // It has memory from before, which nobody will read.
    sender.send(&large()).unwrap();
    assert!(receiver.recv().is_err());
    sender.send(&vec![2]).unwrap();
    assert_eq!(receiver.recv().unwrap(), [2]);
    let result = pool.apply(());
    assert!(matches!(result, Err(WorkError::Undecodable(_))), "{result:?}");
    let joined = child.join();
    assert!(matches!(joined, Err(ProcessError::Undecodable(_))), "{joined:?}");
    drop(held);
    assert_eq!(pool.apply(()).unwrap().len(), 300_000);
    ends(&pool);
}

fn files(count: u32) -> Vec<OwnedFd> {
    (0..count).map(|_| File::open("/dev/null").unwrap().into()).collect()
}

fn counted(files: Vec<OwnedFd>) -> u32 {
    files.len() as u32
}

fn values_of_all_sizes() {
    let zygote = Zygote::start().unwrap();
    // What goes into a packet, or beside it; the socket's buffer.
    for size in [0, 1, 131_058, 131_059, 131_062, 131_063, 131_064, 131_072, 131_073, 212_960, 1_000_000] {
        let value = vec![3_u8; size];
        assert_eq!(Process::start(|| value.clone()).unwrap().join().unwrap(), value);
        let back = zygote.run(|value: Vec<u8>| value, value.clone()).unwrap();
        assert_eq!(back.join().unwrap(), value);
    }
    let much = |value: (Vec<OwnedFd>, Vec<u8>)| value;
    let (back, bytes) = zygote.run(much, (files(64), vec![1; 500_000])).unwrap().join().unwrap();
    assert_eq!((back.len(), bytes.len()), (64, 500_000));
    assert!(zygote.run(counted, files(65)).is_err());
    assert!(matches!(Process::start(|| files(65)).unwrap().join(), Err(ProcessError::Undecodable(_))));
    assert_eq!(zygote.run(counted, files(1)).unwrap().join().unwrap(), 1);
}

fn many_ends() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let ends: Vec<_> = (0..1000).map(|_| channel::<u32>().unwrap()).collect();
    let kept: Vec<_> = ends[..500].iter().map(|(sender, _)| sender.clone()).collect();
    let child = Process::start(move || kept.iter().all(|sender| sender.send(&1).is_ok())).unwrap();
    assert!(child.join().unwrap());
    assert!(ends[..500].iter().all(|(_, receiver)| receiver.recv().unwrap() == 1));
    assert!(ends[500..].iter().all(|(_, receiver)| receiver.try_recv().is_err()));
}

fn a_zygote_without_descriptors() {
    let held = all_but(40);
    let zygote = Zygote::start().unwrap();
    drop(held);
    let id = zygote.id();
    let refused = zygote.run(counted, files(64)).unwrap_err();
    let why = refused.source().expect("the system's reason").to_string();
    assert!(why.contains("no descriptor left"), "{why}");
    assert_eq!(zygote.run(counted, files(10)).unwrap().join().unwrap(), 10);
    assert_eq!(zygote.id(), id, "it is the same");
}
