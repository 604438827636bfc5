use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::time::Instant;

use super::*;
use crate::sys::descriptor::is_always_ready;

/// Who writes its name into the log when it is woken.
struct Told {
    log: Arc<Mutex<Vec<&'static str>>>,
    name: &'static str,
}

impl Wake for Told {
    fn wake(self: Arc<Told>) {
        self.log.lock().unwrap().push(self.name);
    }
}

/// A reactor without a hub, and a log of whom it woke.
struct Bench {
    reactor: Reactor,
    bell: Bell,
    log: Arc<Mutex<Vec<&'static str>>>,
}

impl Bench {
    fn on_each(run: fn(&Bench)) {
        for driver in Driver::all_available() {
            let bell = Bell::new().unwrap();
            let reactor = Reactor::new(Some(driver), &bell).unwrap();
            run(&Bench { reactor, bell, log: Arc::default() });
        }
    }

    fn notify(&self, name: &'static str) -> Notify {
        Notify::Task(Arc::new(Told { log: Arc::clone(&self.log), name }).into())
    }

    /// An operation that reads from `key` parks.
    fn park(&self, key: Key, name: &'static str) -> Turn<'_> {
        let turn = Turn::begin(&self.reactor, key, Direction::Read, || self.notify(name)).unwrap();
        if !self.reactor.tells_edges() {
            turn.wait_again(false, || self.notify(name));
        }
        turn
    }

    fn watch(&self, fd: &impl AsRawFd, interest: Interest, name: &'static str) -> Watch {
        self.reactor.watch(fd.as_raw_fd(), interest, self.notify(name)).unwrap()
    }

    fn woken(&self) -> Vec<&'static str> {
        self.reactor.poll(Some(Duration::ZERO)).unwrap();
        std::mem::take(&mut self.log.lock().unwrap())
    }

    fn entries(&self) -> usize {
        self.reactor.core.borrow().descriptors.len()
    }
}

fn pipe() -> (PipeReader, PipeWriter) {
    std::io::pipe().unwrap()
}

#[test]
fn an_event_on_its_way_does_not_reach_the_next_in_the_slot() {
    Bench::on_each(|bench| {
        let (old, mut writer) = pipe();
        let duplicate = old.try_clone().unwrap();
        let key = bench.reactor.register(old.as_raw_fd(), Direction::Read).unwrap();
        let turn = bench.park(key, "old");
        writer.write_all(b"x").unwrap();
        // Only forgotten, as when another thread's removal comes too late: the kernel still tells of it.
        bench.reactor.forget(key);
        drop(turn);
        assert_eq!(std::mem::take(&mut *bench.log.lock().unwrap()), ["old"]);
        let (new, _new_writer) = pipe();
        let new_key = bench.reactor.register(new.as_raw_fd(), Direction::Read).unwrap();
        assert_eq!(new_key.index(), key.index());
        let _turn = bench.park(new_key, "new");
        assert_eq!(bench.woken(), [""; 0]);
        drop(duplicate);
    });
}

#[test]
fn the_key_of_what_is_gone_names_nothing() {
    Bench::on_each(|bench| {
        let (reader, _writer) = pipe();
        let key = bench.reactor.register(reader.as_raw_fd(), Direction::Read).unwrap();
        assert!(!bench.reactor.is_free(key, Direction::Read));
        assert!(bench.reactor.is_free(key, Direction::Write));
        bench.reactor.deregister(reader.as_raw_fd(), key);
        bench.reactor.deregister(reader.as_raw_fd(), key);
        assert!(bench.reactor.is_free(key, Direction::Read), "the call itself will tell");
        assert!(Turn::begin(&bench.reactor, key, Direction::Read, || unreachable!()).is_none());
        assert_eq!((bench.entries(), bench.reactor.waiting()), (0, 0));
    });
}

#[test]
fn what_was_taken_out_ends_no_wait() {
    Bench::on_each(|bench| {
        let (reader, mut writer) = pipe();
        let _file = reader.try_clone().unwrap();
        let key = bench.reactor.register(reader.as_raw_fd(), Direction::Read).unwrap();
        bench.reactor.deregister(reader.as_raw_fd(), key);
        writer.write_all(b"x").unwrap();
        let start = Instant::now();
        bench.reactor.poll(Some(Duration::from_millis(2))).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(2));
    });
}

#[test]
fn the_bell_ends_a_wait() {
    Bench::on_each(|bench| {
        bench.bell.notify();
        assert_eq!(bench.reactor.poll(None).unwrap(), Heard::Bell);
        bench.bell.clear();
        let start = Instant::now();
        assert_eq!(bench.reactor.poll(Some(Duration::from_millis(2))).unwrap(), Heard::Nothing);
        assert!(start.elapsed() >= Duration::from_millis(2));
    });
}

#[test]
fn a_number_that_was_leaked_goes_to_the_next_owner() {
    Bench::on_each(|bench| {
        let (reader, mut writer) = pipe();
        let stale = bench.reactor.register(reader.as_raw_fd(), Direction::Read).unwrap();
        let turn = bench.park(stale, "stale");
        let key = bench.reactor.register(reader.as_raw_fd(), Direction::Read).unwrap();
        assert_ne!(key, stale);
        assert_eq!(bench.woken(), ["stale"]);
        assert_eq!(turn.may_try(), None);
        drop(turn);
        let _turn = bench.park(key, "owner");
        writer.write_all(b"x").unwrap();
        assert_eq!(bench.woken(), ["owner"]);
    });
}

#[test]
fn each_watcher_is_told_once_of_what_it_asked_for() {
    Bench::on_each(|bench| {
        let (one, mut other) = std::os::unix::net::UnixStream::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        while (&one).write(&[0; 4096]).is_ok() {}
        let reads = bench.watch(&one, Interest::READABLE, "reads");
        let writes = bench.watch(&one, Interest::WRITABLE, "writes");
        let both = bench.watch(&one, Interest::BOTH, "both");
        assert_eq!((bench.entries(), bench.reactor.waiting()), (1, 3));
        assert_eq!(bench.woken(), [""; 0]);
        other.write_all(b"x").unwrap();
        assert_eq!(bench.woken(), ["reads", "both"]);
        assert_eq!(bench.woken(), [""; 0]);
        other.set_nonblocking(true).unwrap();
        while std::io::Read::read(&mut other, &mut [0; 65_536]).is_ok() {}
        assert_eq!(bench.woken(), ["writes"]);
        [reads, writes, both].iter().for_each(|watch| bench.reactor.unwatch(watch));
        assert_eq!((bench.entries(), bench.reactor.waiting()), (0, 0));
    });
}

#[test]
fn watchers_of_an_owned_descriptor_hear_of_its_end() {
    Bench::on_each(|bench| {
        let (reader, mut writer) = pipe();
        let before = bench.watch(&reader, Interest::READABLE, "before");
        let key = bench.reactor.register(reader.as_raw_fd(), Direction::Read).unwrap();
        let after = bench.watch(&reader, Interest::READABLE, "after");
        let turn = bench.park(key, "owner");
        writer.write_all(b"x").unwrap();
        assert_eq!(bench.woken(), ["owner", "before", "after"]);
        let third = bench.watch(&reader, Interest::READABLE, "third");
        turn.finish(false);
        bench.reactor.deregister(reader.as_raw_fd(), key);
        assert_eq!(bench.woken(), ["third"]);
        [before, after, third].iter().for_each(|watch| bench.reactor.unwatch(watch));
        assert_eq!((bench.entries(), bench.reactor.waiting()), (0, 0));
    });
}

#[test]
fn what_cannot_be_watched_leaves_no_trace() {
    let bell = Bell::new().unwrap();
    let reactor = Reactor::new(Some(Driver::Epoll), &bell).unwrap();
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let result = reactor.watch(file.as_raw_fd(), Interest::READABLE, Notify::Task(Waker::noop().clone()));
    assert!(is_always_ready(&result.unwrap_err().0));
    assert!(reactor.register(file.as_raw_fd(), Direction::Read).is_err());
    assert_eq!((reactor.core.borrow().descriptors.len(), reactor.waiting()), (0, 0));
}

#[test]
fn a_thousand_descriptors_come_and_go() {
    Bench::on_each(|bench| {
        let (mut reader, mut writer) = pipe();
        for _ in 0..1_000 {
            let key = bench.reactor.register(reader.as_raw_fd(), Direction::Read).unwrap();
            let turn = bench.park(key, "woken");
            writer.write_all(b"x").unwrap();
            assert_eq!(bench.woken(), ["woken"]);
            std::io::Read::read_exact(&mut reader, &mut [0]).unwrap();
            turn.finish(true);
            assert!(!bench.reactor.is_free(key, Direction::Read));
            bench.reactor.deregister(reader.as_raw_fd(), key);
        }
        assert_eq!((bench.entries(), bench.reactor.core.borrow().descriptors.capacity() < 10), (0, true));
    });
}
