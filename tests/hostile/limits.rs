//! What can be done where nothing more is to be had.

#![expect(unsafe_code, reason = "descriptors are closed by who does not own them")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Stream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use greenloop::event::Event;
use greenloop::hub::{Config, Driver, configure, set_uncaught_hook};
use greenloop::io::wait_readable;
use greenloop::net::UdpSocket;
use greenloop::net::unix::UnixStream;
use greenloop::process::{Child, Command};
use greenloop::sync::Mutex as GreenMutex;
use greenloop::{Waitable, channel, fs, idle, sleep, spawn, wait_any, wait_timeout};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::LIMIT;
use super::support::{Finished, open_files, run_child, spawn_parked};

/// Every driver that this machine has.
fn drivers() -> impl Iterator<Item = Driver> {
    [Driver::Epoll, Driver::Poll, Driver::IoUring].into_iter().filter(|driver| driver.is_available())
}

/// Runs it on a hub of its own with this driver.
fn on(driver: Driver, run: impl FnOnce() + Send + 'static) {
    let hub = move || {
        configure(Config::new().driver(driver)).unwrap();
        run();
    };
    thread::spawn(hub).join().unwrap();
}

fn assert_success(child: Option<Finished>) {
    if let Some(child) = child {
        assert!(child.status.success(), "{child:?}");
    }
}

fn lower(resource: Resource, to: u64) {
    setrlimit(resource, Rlimit { current: Some(to), ..getrlimit(resource) }).unwrap();
}

/// All descriptors that there are, until it is dropped.
struct Exhausted {
    files: Vec<File>,
}

impl Exhausted {
    fn new() -> Exhausted {
        lower(Resource::Nofile, 64);
        let mut files = Vec::new();
        loop {
            match File::open("/dev/null") {
                Ok(file) => files.push(file),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::MFILE.raw_os_error()));
                    return Exhausted { files };
                }
            }
        }
    }
}

fn is_shortage(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error())
}

fn sleeping(seconds: &str) -> Child {
    Command::new("sleep").arg(seconds).spawn().unwrap()
}

#[test]
fn children_are_waited_for_without_descriptors() {
    assert_success(run_child(LIMIT, || {
        for driver in drivers() {
            for hub_has_descriptors in [true, false] {
                on(driver, move || {
                    if hub_has_descriptors {
                        sleep(Duration::from_millis(1));
                    }
                    let (mut one, mut other, third) = (sleeping("0.1"), sleeping("1000"), sleeping("0.1"));
                    let _none = Exhausted::new();
                    let event = Event::new();
                    let objects: [&dyn Waitable; 2] = [&event, &third];
                    assert!(wait_any(objects).is_some() && third.is_ready());
                    assert!(one.wait().unwrap().success());
                    assert!(other.wait_timeout(Duration::from_millis(5)).unwrap().is_none());
                    assert_eq!(wait_timeout([&other], Duration::from_millis(5)).len(), 0);
                    other.kill().unwrap();
                    assert!(!other.wait().unwrap().success());
                    assert_eq!(wait_timeout([&other], Duration::ZERO).len(), 1);
                });
            }
        }
    }));
}

#[test]
fn a_hub_without_descriptors_goes_on() {
    assert_success(run_child(LIMIT, || {
        // None at all, and too few: for the bell, or the driver as well.
        for (driver, left) in drivers().flat_map(|driver| [(driver, 0), (driver, 1)]) {
            on(driver, move || {
                let (reader, mut writer) = std::io::pipe().unwrap();
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                let mut none = Exhausted::new();
                none.files.truncate(none.files.len() - left);
                // So that it may sleep for long: a letter that is not heard is not found by chance.
                let not_alone = spawn(|| sleep(Duration::from_secs(1000)));
                // Timers, locks and joins.
                sleep(Duration::from_millis(2));
                let lock = Arc::new(GreenMutex::new(0));
                let adding: Vec<_> = (0..10)
                    .map(|_| {
                        let lock = lock.clone();
                        spawn(move || {
                            let mut number = lock.lock().unwrap();
                            sleep(Duration::from_micros(10));
                            *number += 1;
                        })
                    })
                    .collect();
                adding.into_iter().for_each(|adding| adding.join().unwrap());
                assert_eq!(*lock.lock().unwrap(), 10);
                // Letters, that find it asleep and awake.
                let (sender, receiver) = channel::bounded(1);
                let other = thread::spawn(move || {
                    for number in 0..100 {
                        if number % 10 == 0 {
                            thread::sleep(Duration::from_millis(1));
                        }
                        sender.send(number).unwrap();
                    }
                });
                assert!(receiver.iter().eq(0..100));
                other.join().unwrap();
                // Descriptors are what it cannot wait for.
                if left == 0 {
                    assert!(is_shortage(&wait_readable(&reader).unwrap_err()));
                    assert!(is_shortage(&socket.recv(&mut [0]).unwrap_err()));
                }
                sleep(Duration::from_millis(1));
                // And as soon as there are some, it can.
                drop(none);
                let waiter = spawn_parked(move || wait_readable(&reader));
                writer.write_all(b"a").unwrap();
                waiter.join().unwrap().unwrap();
                not_alone.kill();
            });
        }
    }));
}

#[test]
fn a_hub_goes_on_that_waits_for_more_descriptors_than_there_may_be_now() {
    assert_success(run_child(LIMIT, || {
        for (driver, most) in drivers().flat_map(|driver| [(driver, 16), (driver, 0)]) {
            on(driver, move || {
                let before = getrlimit(Resource::Nofile);
                let pairs = (0..40).map(|_| Stream::pair().unwrap());
                let (here, there): (Vec<_>, Vec<_>) = pairs.unzip();
                let reading: Vec<_> = here
                    .into_iter()
                    .map(|stream| {
                        let mut stream = UnixStream::from(OwnedFd::from(stream));
                        spawn(move || {
                            let mut bytes = [0; 2];
                            stream.read_exact(&mut bytes).map(|()| bytes)
                        })
                    })
                    .collect();
                idle();
                lower(Resource::Nofile, most);
                // Timers, letters, and descriptors.
                sleep(Duration::from_millis(1));
                let (sender, receiver) = channel::bounded(0);
                let writer = thread::spawn(move || {
                    sender.send(()).unwrap();
                    there.iter().rev().for_each(|mut stream| stream.write_all(b"ab").unwrap());
                    there
                });
                receiver.recv().unwrap();
                for reading in reading {
                    assert_eq!(reading.join().unwrap().unwrap(), *b"ab");
                }
                drop(writer.join().unwrap());
                setrlimit(Resource::Nofile, before).unwrap();
            });
        }
    }));
}

/// Closes what the hubs of this process wait with, of these kinds.
fn close_what_hubs_wait_with(kinds: &[&str]) -> usize {
    let files = open_files();
    let own = files.iter().filter(|(_, target)| {
        kinds.iter().any(|kind| target.to_str() == Some(&format!("anon_inode:[{kind}]")))
    });
    own.map(|(number, _)| {
        // SAFETY: nothing relies on what a number means but who owns it, which is told an error.
        unsafe { rustix::io::close(number.parse().unwrap()) };
    })
    .count()
}

/// What a hub does that waits for descriptors, timers and letters after somebody has closed some of what it waits with.
fn goes_on_after(close: &'static [&'static str]) {
    let (one, mut other) = Stream::pair().unwrap();
    let (watched, mut other_watched) = Stream::pair().unwrap();
    let watching = spawn(move || wait_readable(&watched));
    let mut stream = UnixStream::from(OwnedFd::from(one));
    let reading = spawn(move || {
        let mut bytes = [0; 2];
        stream.read_exact(&mut bytes).map(|()| bytes)
    });
    // A bell that is gone ends no sleep: the hub notices when something else does.
    let waking = spawn(|| {
        loop {
            sleep(Duration::from_millis(20));
        }
    });
    idle();
    assert!(close_what_hubs_wait_with(close) > 0);
    // With room, so that the sender gets no hub, whose descriptors would take the numbers of those that were closed.
    let (sender, receiver) = channel::bounded(1);
    let (told, heard) = std::sync::mpsc::channel();
    sleep(Duration::from_millis(2));
    // Told by a letter while it sleeps, and by descriptors.
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(5));
        sender.send(()).unwrap();
        heard.recv().unwrap();
        thread::sleep(Duration::from_millis(5));
        other.write_all(b"ab").unwrap();
        other_watched.write_all(b"c").unwrap();
        [other, other_watched]
    });
    receiver.recv().unwrap();
    told.send(()).unwrap();
    watching.join().unwrap().unwrap();
    assert_eq!(reading.join().unwrap().unwrap(), *b"ab");
    drop(thread.join().unwrap());
    waking.kill();
}

/// How often it was reported that something was closed.
fn reports(run: impl FnOnce()) -> usize {
    let reports = Arc::new(Mutex::new(Vec::new()));
    set_uncaught_hook(Some(Arc::new({
        let reports = reports.clone();
        move |uncaught| reports.lock().unwrap().push(uncaught.to_string())
    })));
    run();
    set_uncaught_hook(None);
    let reports = reports.lock().unwrap();
    assert!(reports.iter().all(|report| report.contains("somebody has closed a descriptor")), "{reports:?}");
    reports.len()
}

#[test]
fn a_hub_whose_descriptors_somebody_closes_reports_that_and_goes_on() {
    assert_success(run_child(LIMIT, || {
        for driver in drivers() {
            assert_eq!(
                reports(|| on(driver, || goes_on_after(&["eventfd"]))),
                1,
                "the bell alone, {driver:?}"
            );
            let (close, expected): (&[&str], usize) = match driver {
                Driver::Epoll => (&["eventpoll", "eventfd"], 1),
                // Its number is not needed.
                Driver::IoUring => (&["io_uring"], 0),
                _ => continue,
            };
            assert_eq!(reports(|| on(driver, || goes_on_after(close))), expected, "{driver:?}");
        }
        assert_eq!(reports(|| on(Driver::Epoll, || goes_on_after(&["eventpoll"]))), 1);
    }));
}

/// The address space that this process has, in bytes.
fn address_space() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn without_os_threads_what_needs_one_gives_the_error() {
    assert_success(run_child(LIMIT, || {
        spawn(|| sleep(Duration::from_millis(1))).join().unwrap();
        let before = getrlimit(Resource::As);
        // Less than a thread's stack.
        lower(Resource::As, address_space() + (1 << 20));
        assert!(thread::Builder::new().spawn(|| ()).is_err());
        assert!(fs::metadata("/proc/self/stat").is_err());
        assert!(fs::read("/proc/self/stat").is_err());
        assert!(greenloop::net::lookup_host("localhost:80").is_err());
        assert!(sleeping("0.01").wait().unwrap().success());
        spawn(|| sleep(Duration::from_millis(1))).join().unwrap();
        setrlimit(Resource::As, before).unwrap();
        assert!(!fs::read("/proc/self/stat").unwrap().is_empty());
    }));
}
