//! OS threads, with std's calls, crossbeam's channels, and a pool by hand.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::thread;

use crossbeam_channel::{Receiver, Select, Sender, bounded, select, unbounded};

use crate::calls::Calls;
use crate::choosing::Choosing;
use crate::operating_system::OperatingSystem;

/// As many as call at once.
const THREADS: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

/// The pool by hand: threads that take jobs from one channel.
static JOBS: LazyLock<Sender<Job>> = LazyLock::new(|| {
    let (sender, receiver) = unbounded::<Job>();
    for _ in 0..THREADS {
        let jobs = receiver.clone();
        thread::spawn(move || jobs.iter().for_each(|job| job()));
    }
    sender
});

impl Calls for OperatingSystem {
    type File = File;
    fn open(path: &Path) -> File {
        File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap()
    }
    fn synchronize(file: &File) {
        file.sync_data().unwrap();
    }
    fn read_whole(path: &Path) -> Vec<u8> {
        std::fs::read(path).unwrap()
    }
    fn unblock(f: impl FnOnce() -> u64 + Send + 'static) -> u64 {
        let (sender, receiver) = bounded(1);
        JOBS.send(Box::new(move || sender.send(f()).unwrap())).unwrap();
        receiver.recv().unwrap()
    }
    fn look_up(name: &str) -> usize {
        std::net::ToSocketAddrs::to_socket_addrs(&(name, 80)).unwrap().count()
    }
    fn run_child(program: &str) -> bool {
        Command::new(program).status().unwrap().success()
    }
}

impl Choosing for OperatingSystem {
    type Source = Sender<u64>;
    type Sink = Receiver<u64>;
    fn source_and_sink(capacity: usize) -> (Sender<u64>, Receiver<u64>) {
        bounded(capacity)
    }
    fn put(source: &Sender<u64>, value: u64) -> bool {
        source.send(value).is_ok()
    }
    fn get(sink: &Receiver<u64>) -> Option<u64> {
        sink.recv().ok()
    }
    #[expect(clippy::disallowed_methods, reason = "crossbeam's macro erases lifetimes so")]
    fn choose(sinks: &[Receiver<u64>], times: usize, mut each: impl FnMut(u64)) {
        if let [one, other] = sinks {
            for _ in 0..times {
                select! {
                    recv(one) -> value => each(value.unwrap()),
                    recv(other) -> value => each(value.unwrap()),
                }
            }
            return;
        }
        let mut select = Select::new();
        for sink in sinks {
            select.recv(sink);
        }
        for _ in 0..times {
            let operation = select.select();
            let sink = &sinks[operation.index()];
            each(operation.recv(sink).unwrap());
        }
    }
}
