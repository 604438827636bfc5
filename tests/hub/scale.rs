//! Large numbers, and long sequences of accidents: what holds for three green threads holds for a hundred thousand.

#[path = "../support/mod.rs"]
mod support;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::panic::{catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::event::Event;
use greenloop::hub::Hub;
use greenloop::net::unix::UnixStream;
use greenloop::net::{TcpListener, TcpStream};
use greenloop::sync::Semaphore;
use greenloop::{
    GreenletExit, JoinHandle, channel, joinall, killall, scope, sleep, spawn, spawn_later, with_timeout,
    yield_now,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Random, finish, resident_bytes, run_child, this_program, within};

const LIMIT: Duration = Duration::from_secs(300);
const LONG: Duration = Duration::from_secs(3600);

/// How many green threads may be parked at once: before Linux 6.13 each stack needs two of the 65,530 memory mappings that
/// a process may have by default.
fn many() -> usize {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's release");
    let mut numbers =
        release.split(|other: char| !other.is_ascii_digit()).map(|number| number.parse::<u32>());
    let mut next = || numbers.next().and_then(Result::ok).expect("a number in the release");
    if (next(), next()) >= (6, 13) { 100_000 } else { 30_000 }
}

#[test]
fn a_hundred_thousand_are_parked_and_woken() {
    let Some(child) = run_child(LIMIT, || {
        let count = many();
        let start = Instant::now();
        let event = Arc::new(Event::new());
        let before = resident_bytes();
        let tasks: Vec<_> = (0..count)
            .map(|number| {
                let event = event.clone();
                spawn(move || {
                    event.wait();
                    number
                })
            })
            .collect();
        greenloop::idle();
        let each = (resident_bytes() - before) / count;
        assert_eq!(Hub::current().alive(), count);
        event.set();
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.join().unwrap(), number);
        }
        // Again, on the stacks that are warm now, and by timers.
        let tasks: Vec<_> = (0..count).map(|_| spawn(|| sleep(Duration::from_millis(100)))).collect();
        assert_eq!(joinall(&tasks).len(), count);
        let parked: Vec<_> = (0..count).map(|_| spawn(|| sleep(LONG))).collect();
        yield_now();
        killall(&parked);
        assert_eq!(Hub::current().alive(), 0);
        println!("{count} parked three times in {:?}, {each} bytes each", start.elapsed());
        assert!(each < if cfg!(debug_assertions) { 24 << 10 } else { 12 << 10 }, "{each} bytes each");
    }) else {
        return;
    };
    println!("{}", child.stdout);
    assert!(child.status.success(), "{child:?}");
}

/// Conformance 175.
#[test]
fn a_million_spawns_and_joins_leave_no_memory() {
    let Some(child) = run_child(LIMIT, || {
        let start = Instant::now();
        let round = |number: usize| {
            let batch: Vec<_> = (0..100).map(|add| spawn(move || number + add)).collect();
            for (add, task) in batch.into_iter().enumerate() {
                assert_eq!(task.join().unwrap(), number + add);
            }
        };
        (0..1_000).for_each(round);
        let before = resident_bytes();
        (0..10_000).for_each(round);
        assert_flat(before, "a million spawns and joins");
        // Detached, killed before they begin, begun later, failing: a hundred thousand each.
        for _ in 0..100_000 {
            drop(spawn(|| ()));
            spawn(|| ()).kill();
            drop(spawn_later(Duration::ZERO, || ()));
            let fails: JoinHandle<()> = spawn(|| resume_unwind(Box::new(7)));
            assert!(fails.join().is_err());
        }
        Hub::current().join();
        assert_flat(before, "of every kind");
        // In one scope that lasts.
        scope(|scope| {
            for number in 0..200_000 {
                let child = scope.spawn(move || number);
                if number % 2 == 0 {
                    assert_eq!(child.join().unwrap(), number);
                } else if number % 64 == 1 {
                    yield_now();
                }
            }
        });
        assert_flat(before, "in one scope");
        println!("1,000,000 spawned and joined, and 600,000 of every kind, in {:?}", start.elapsed());
    }) else {
        return;
    };
    println!("{}", child.stdout);
    assert!(child.status.success(), "{child:?}");
}

/// Stacks of a burst go back to the kernel, but for those that threads keep warm, in a process that does next to nothing.
#[test]
fn idle_stacks_leave_no_memory_in_use() {
    const COUNT: usize = 30_000;
    const KEPT: usize = 16 * 1024 + 4096 + 64;
    let Some(child) = run_child(LIMIT, || {
        let event = Arc::new(Event::new());
        let tasks: Vec<_> = (0..COUNT)
            .map(|_| {
                let event = event.clone();
                spawn(move || event.wait())
            })
            .collect();
        greenloop::idle();
        event.set();
        assert_eq!(joinall(&tasks).len(), COUNT);
        let before = resident_bytes();
        // Half of it, for this process has other memory too.
        let returned = (COUNT - KEPT) / 2 * 4096;
        while resident_bytes() + returned > before {
            sleep(Duration::from_millis(50));
        }
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

fn assert_flat(before: usize, what: &str) {
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 2 << 20, "{what}: {grown} bytes more");
}

/// Descriptors that a process keeps for itself here.
const OTHER_FILES: u64 = 100;
/// Tells the child how often to connect, and to which addresses.
const CLIENTS: &str = "GREENLOOP_TEST_CLIENTS";
/// Listeners that share the connections: the kernel looks long for a free local port once most of those for one are taken.
const LISTENERS: usize = 16;

/// As many of 20,000 as the limit of open files allows, which is raised as far as it may be; on poll(2), whose every call
/// costs what all descriptors cost, a tenth.
fn connections() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("the soft limit can be raised");
    let most =
        if std::env::var("GREENLOOP_DRIVER").is_ok_and(|driver| driver == "poll") { 2_000 } else { 20_000 };
    let allowed = maximum.map_or(u64::MAX, |maximum| maximum.saturating_sub(OTHER_FILES));
    allowed.min(most) as usize
}

#[test]
fn twenty_thousand_connections() {
    if let Ok(clients) = std::env::var(CLIENTS) {
        let (count, addresses) = clients.split_once(' ').expect("a count and addresses");
        let addresses = addresses.split(' ').map(|address| address.parse().expect("an address"));
        return run_clients(count.parse().expect("a count"), addresses.collect());
    }
    let count = connections();
    let start = Instant::now();
    let (sender, addresses) = mpsc::channel();
    let server = thread::spawn(move || within(LIMIT, move || serve(count, &sender)));
    let addresses = addresses.recv().expect("the server listens");
    let mut command = this_program();
    command
        .args(["twenty_thousand_connections", "--exact", "--nocapture"])
        .env(CLIENTS, format!("{count} {addresses}"));
    let child = finish(&mut command, LIMIT);
    assert!(child.status.success() && child.stdout.contains("running 1 test"), "{child:?}");
    server.join().unwrap();
    println!("{count} connections at once, each answered three times, in {:?}", start.elapsed());
}

/// Answers each request of each connection with its successor, once all are connected.
fn serve(count: usize, addresses: &mpsc::Sender<String>) {
    let all = Arc::new(Event::new());
    let (sender, connections) = channel::unbounded();
    let listeners: Vec<_> = (1..=LISTENERS)
        .map(|number| {
            let listener = TcpListener::bind(format!("127.0.0.{number}:0")).unwrap();
            // A full backlog drops connections in the making, which are tried again a second later.
            rustix::net::listen(&listener, 4096).unwrap();
            listener
        })
        .collect();
    let listened: Vec<_> =
        listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
    let accept = |listener: TcpListener| {
        let (sender, all) = (sender.clone(), all.clone());
        spawn(move || {
            for stream in listener.incoming() {
                let (stream, all) = (stream.unwrap(), all.clone());
                sender.send(spawn(move || answer(stream, &all))).unwrap();
            }
        })
    };
    let acceptors: Vec<_> = listeners.into_iter().map(accept).collect();
    addresses.send(listened.join(" ")).unwrap();
    let connections: Vec<_> = connections.iter().take(count).collect();
    killall(&acceptors);
    all.set();
    for connection in connections {
        assert_eq!(connection.join().unwrap(), 3);
    }
}

fn answer(mut stream: TcpStream, all: &Event) -> u32 {
    all.wait();
    let mut answered = 0;
    while let Some(request) = read_number(&mut stream) {
        stream.write_all(&(request + 1).to_ne_bytes()).unwrap();
        answered += 1;
    }
    answered
}

fn run_clients(count: usize, addresses: Vec<SocketAddr>) {
    connections();
    within(LIMIT, move || {
        // Not more at a time than the backlog takes.
        let connecting = Arc::new(Semaphore::new(64));
        let answered = Arc::new(Semaphore::new(0));
        let close = Arc::new(Event::new());
        let clients: Vec<_> = (0..count)
            .map(|number| {
                let (connecting, answered, close) = (connecting.clone(), answered.clone(), close.clone());
                let address = addresses[number % addresses.len()];
                spawn(move || {
                    let mut stream = {
                        let _permit = connecting.acquire();
                        TcpStream::connect(address).unwrap()
                    };
                    for round in 0..3 {
                        let request = (10 * number + round) as u64;
                        stream.write_all(&request.to_ne_bytes()).unwrap();
                        assert_eq!(read_number(&mut stream), Some(request + 1));
                    }
                    answered.release(1);
                    close.wait();
                })
            })
            .collect();
        (0..count).for_each(|_| answered.acquire().forget());
        close.set();
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
}

fn read_number(stream: &mut TcpStream) -> Option<u64> {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes).ok().map(|()| u64::from_ne_bytes(bytes))
}

/// Counts those of a kind that are there.
#[derive(Clone, Default)]
struct Census(Rc<Cell<i64>>);

struct Counted(Census);

impl Census {
    fn enter(&self) -> Counted {
        self.0.set(self.0.get() + 1);
        Counted(self.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() - 1);
    }
}

/// A tree of green threads that sleep, yield, spawn, join, set limits and catch what is raised, each as chance has it.
fn grow(seed: u64, depth: u32, census: Census) -> u64 {
    let _counted = census.enter();
    let mut random = Random::new(seed);
    let mut ended = 1;
    for _ in 0..random.below(4) {
        match random.below(7) {
            0 => sleep(Duration::from_micros(random.below(300) as u64)),
            1 => yield_now(),
            2 if depth > 0 => {
                let (seed, census) = (random.next(), census.clone());
                let child = spawn(move || grow(seed, depth - 1, census));
                match child.join() {
                    Ok(count) => ended += count,
                    Err(error) => assert!(error.is_killed(), "{error:?}"),
                }
            }
            3 if depth > 0 => {
                let children: Vec<_> = (0..3)
                    .map(|_| {
                        let (seed, census) = (random.next(), census.clone());
                        spawn(move || grow(seed, depth - 1, census))
                    })
                    .collect();
                // One that is interrupted here leaves its children to themselves, detached.
                joinall(&children[..random.below(4)]);
                children[random.below(3)].try_kill();
            }
            4 if depth > 0 => {
                let seeds = [random.next(), random.next()];
                let counts = [Cell::new(0), Cell::new(0)];
                scope(|scope| {
                    for (seed, count) in seeds.into_iter().zip(&counts) {
                        let census = census.clone();
                        let child = scope.spawn(move || count.set(grow(seed, depth - 1, census)));
                        if seed.is_multiple_of(3) {
                            child.kill();
                        }
                    }
                });
                ended += counts.iter().map(Cell::get).sum::<u64>();
            }
            5 => {
                let limit = Duration::from_micros(random.below(400) as u64);
                let work = Duration::from_micros(random.below(400) as u64);
                if let Err(elapsed) = with_timeout(limit, || sleep(work)) {
                    assert_eq!(elapsed.limit(), limit);
                }
            }
            _ => {
                // Cleanup that waits.
                if let Err(payload) = catch_unwind(|| sleep(Duration::from_micros(50))) {
                    assert!(payload.is::<GreenletExit>());
                    yield_now();
                    resume_unwind(payload);
                }
            }
        }
    }
    ended
}

#[test]
fn kills_and_limits_at_random_among_sleeps_joins_and_scopes() {
    for seed in 1..=20 {
        within(LIMIT, move || {
            let mut random = Random::new(seed);
            let census = Census::default();
            let mut ended = 0;
            for _ in 0..40 {
                let tasks: Vec<_> = (0..10)
                    .map(|_| {
                        let (seed, census) = (random.next(), census.clone());
                        spawn(move || grow(seed, 4, census))
                    })
                    .collect();
                for _ in 0..random.below(8) {
                    match random.below(3) {
                        0 => sleep(Duration::from_micros(random.below(200) as u64)),
                        1 => yield_now(),
                        _ => drop(tasks[random.below(10)].try_kill()),
                    }
                }
                if random.below(4) == 0 {
                    killall(&tasks);
                }
                for task in tasks {
                    match task.join() {
                        Ok(count) => ended += count,
                        Err(error) => assert!(error.is_killed(), "seed {seed}: {error:?}"),
                    }
                }
            }
            Hub::current().join();
            assert!(ended > 0, "seed {seed}");
            assert_eq!((census.0.get(), Hub::current().alive()), (0, 0), "seed {seed}");
        });
    }
}

/// What passes through sockets while readers and writers are killed, replaced and timed out, arrives in order and whole.
#[test]
fn kills_and_limits_at_random_lose_no_byte() {
    const BYTES: usize = 20_000;
    for seed in 1..=4 {
        within(LIMIT, move || {
            let pairs: Vec<_> = (0..8).map(|_| UnixStream::pair().unwrap()).collect();
            let done: Vec<_> = pairs
                .into_iter()
                .enumerate()
                .map(|(number, (writer, reader))| {
                    let seed = seed * 100 + number as u64;
                    let writes = spawn(move || {
                        let sent = Rc::new(Cell::new(0));
                        let writer = Rc::new(writer);
                        in_relays(seed, move |random| {
                            let (writer, sent) = (writer.clone(), sent.clone());
                            let limit = Duration::from_micros(random.below(500) as u64);
                            move || write_some(&writer, &sent, BYTES, limit)
                        })
                    });
                    let reads = spawn(move || {
                        let received = Rc::new(RefCell::new(Vec::new()));
                        let (reader, arrived) = (Rc::new(reader), received.clone());
                        in_relays(seed + 50, move |random| {
                            let (reader, received) = (reader.clone(), arrived.clone());
                            let limit = Duration::from_micros(random.below(500) as u64);
                            move || read_some(&reader, &received, limit)
                        });
                        received.take()
                    });
                    (writes, reads)
                })
                .collect();
            for (writes, reads) in done {
                writes.join().unwrap();
                let expected: Vec<u8> = (0..BYTES).map(|number| number as u8).collect();
                assert!(reads.join().unwrap() == expected, "seed {seed}");
            }
        });
    }
}

/// Has green threads work one after another, each killed at some moment, until one comes to the end of the work.
fn in_relays<W: FnOnce() -> bool + 'static>(seed: u64, mut next: impl FnMut(&mut Random) -> W) {
    let mut random = Random::new(seed);
    loop {
        let worker = spawn(next(&mut random));
        match random.below(3) {
            0 => yield_now(),
            1 => sleep(Duration::from_micros(random.below(300) as u64)),
            _ => drop(worker.wait_timeout(Duration::from_micros(random.below(2000) as u64))),
        }
        worker.kill();
        match worker.join() {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => assert!(error.is_killed(), "seed {seed}: {error:?}"),
        }
    }
}

/// Writes until all is written, in pieces, each of them under a time limit; what was written is counted at once.
fn write_some(mut writer: &UnixStream, sent: &Cell<usize>, all: usize, limit: Duration) -> bool {
    while sent.get() < all {
        let end = (sent.get() + 300).min(all);
        let piece: Vec<u8> = (sent.get()..end).map(|number| number as u8).collect();
        // A write that is interrupted before it could write anything has written nothing.
        if let Ok(written) = with_timeout(limit, || writer.write(&piece)) {
            sent.set(sent.get() + written.unwrap());
        }
        if sent.get().is_multiple_of(7) {
            yield_now();
        }
    }
    writer.shutdown(std::net::Shutdown::Write).unwrap();
    true
}

/// Reads to the end, under a time limit each time.
fn read_some(mut reader: &UnixStream, received: &RefCell<Vec<u8>>, limit: Duration) -> bool {
    let mut piece = [0; 200];
    loop {
        match with_timeout(limit, || reader.read(&mut piece)) {
            Ok(Ok(0)) => return true,
            Ok(count) => received.borrow_mut().extend(&piece[..count.unwrap()]),
            Err(_) => yield_now(),
        }
    }
}

/// Clients of an echo server that are killed, or give up, while others go on.
#[test]
fn kills_and_limits_at_random_among_connections() {
    for seed in 1..=3 {
        within(LIMIT, move || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let census = Census::default();
            let served = census.clone();
            let server = spawn(move || {
                for stream in listener.incoming() {
                    let (mut stream, counted) = (stream.unwrap(), served.enter());
                    drop(spawn(move || {
                        let _counted = counted;
                        // The end, or a reset by a client that was killed before it had read its answer.
                        while let Some(request) = read_number(&mut stream) {
                            if stream.write_all(&(request + 1).to_ne_bytes()).is_err() {
                                break;
                            }
                        }
                    }));
                }
            });
            let mut random = Random::new(seed);
            let mut outcomes = BTreeMap::new();
            for _ in 0..30 {
                let clients: Vec<_> = (0..20)
                    .map(|_| {
                        // Some never give up, so that some are answered on the slowest machine too.
                        let limit = match random.below(4) {
                            0 => Duration::MAX,
                            _ => Duration::from_micros(random.below(5000) as u64),
                        };
                        let counted = census.enter();
                        spawn(move || {
                            let _counted = counted;
                            let answered = with_timeout(limit, || {
                                let mut stream = TcpStream::connect(address).unwrap();
                                for request in 0..10 {
                                    stream.write_all(&u64::to_ne_bytes(request)).unwrap();
                                    assert_eq!(read_number(&mut stream), Some(request + 1));
                                }
                            });
                            answered.is_ok()
                        })
                    })
                    .collect();
                sleep(Duration::from_micros(random.below(2000) as u64));
                clients.iter().filter(|_| random.below(3) == 0).for_each(|client| _ = client.try_kill());
                for client in clients {
                    let outcome = match client.join() {
                        Ok(true) => "answered",
                        Ok(false) => "gave up",
                        Err(error) if error.is_killed() => "killed",
                        Err(error) => panic!("seed {seed}: {error:?}"),
                    };
                    *outcomes.entry(outcome).or_insert(0) += 1;
                }
            }
            assert_eq!(outcomes.values().sum::<u32>(), 600);
            assert_eq!(outcomes.len(), 3, "seed {seed}: {outcomes:?}");
            // One more that nothing happens to.
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&7u64.to_ne_bytes()).unwrap();
            assert_eq!(read_number(&mut stream), Some(8));
            drop(stream);
            server.kill();
            Hub::current().join();
            assert_eq!(census.0.get(), 0, "seed {seed}");
        });
    }
}
