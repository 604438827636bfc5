//! Supervisors, their workers, and clients of these.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloop::io::{Interest, PipeReader, wait_fd};
use greenloop::net::TcpStream;
use greenloop::process::wait_pid;
use greenloop::processes::shared::Value;
use greenloop::processes::{Reload, Supervisor, SupervisorError, SupervisorEvent, Worker};
use greenloop::{sleep, spawn, with_timeout};
use rustix::process::{Pid, Signal, kill_process};

use crate::children::{Forked, Word, for_ever, forked};
use crate::support::Random;

const LONG: Duration = Duration::from_secs(60);

/// A supervisor in a process of its own.
struct Site {
    process: Forked,
    address: SocketAddr,
    events: BufReader<PipeReader>,
}

/// Runs a supervisor that `set_up` has set up, with `serve` for its workers. Its process has to have as much at the end as before.
fn site(
    set_up: impl FnOnce(Supervisor) -> Supervisor,
    serve: impl Fn(Worker) -> io::Result<()> + 'static,
) -> Site {
    let supervisor = Supervisor::new().workers(2).bind("127.0.0.1:0").expect("a port");
    let address = supervisor.local_addr().expect("its address");
    let (events, writer) = greenloop::io::pipe().expect("a pipe");
    let supervisor = set_up(supervisor);
    let mut running = Some((supervisor, serve));
    let process = forked(|| {
        let (supervisor, serve) = running.take().expect("it runs once");
        let executed = Rc::new(Cell::new(0));
        let noting = Rc::clone(&executed);
        let supervisor = supervisor.on_event(move |event| {
            if let SupervisorEvent::Executed { pid } = event {
                noting.set(*pid);
            }
            // Whoever has seen enough reads no more.
            let _ = writeln!(&writer, "{}", line(event));
        });
        // The hub's own descriptors are there before.
        let silent = Word::new();
        let waited = wait_fd(silent.reader(), Interest::READABLE, Some(Duration::from_millis(1)));
        assert!(waited.is_err());
        drop(silent);
        let open = open_files();
        supervisor.run(serve).expect("it ends well");
        // The listener, and what the hook has.
        assert_eq!(open_files(), open - 2, "descriptors are left");
        let children = fs::read_to_string("/proc/thread-self/children").expect("/proc is mounted");
        let successor = executed.get().to_string();
        assert!(["", &successor].contains(&children.trim_end()), "children are left: {children}");
    });
    drop(running);
    Site { process, address, events: BufReader::new(events) }
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc is mounted").count()
}

/// An event in few words, the process last.
fn line(event: &SupervisorEvent) -> String {
    match event {
        SupervisorEvent::Started { pid, generation } => format!("started {generation} {pid}"),
        SupervisorEvent::Ready { pid, generation } => format!("ready {generation} {pid}"),
        SupervisorEvent::Ended { pid, status, error, .. } => {
            format!("ended {status} {} {pid}", error.as_deref().unwrap_or("-"))
        }
        SupervisorEvent::NotReady { pid } => format!("late {pid}"),
        SupervisorEvent::Stuck { pid } => format!("stuck {pid}"),
        SupervisorEvent::Spent { pid } => format!("spent {pid}"),
        SupervisorEvent::Resized { workers } => format!("resized {workers}"),
        SupervisorEvent::Reloading { generation } => format!("reloading {generation} 0"),
        SupervisorEvent::ReloadFailed { error } => format!("reload failed: {error} 0"),
        SupervisorEvent::Executed { pid } => format!("executed {pid}"),
        SupervisorEvent::ExecutionFailed { error } => format!("execution failed: {error} 0"),
        SupervisorEvent::Stopping => "stopping 0".to_owned(),
        other => format!("{other:?}"),
    }
}

fn kill(pid: u32, signal: Signal) {
    // One that has ended by itself meanwhile hears nothing.
    let _ = kill_process(Pid::from_raw(pid as i32).expect("a number"), signal);
}

impl Site {
    /// The next event that begins so: its process.
    fn until(&mut self, event: &str) -> u32 {
        with_timeout(LONG, || {
            loop {
                let mut line = String::new();
                assert_ne!(
                    self.events.read_line(&mut line).expect("a pipe"),
                    0,
                    "it has ended before `{event}`"
                );
                if line.starts_with(event) {
                    let pid = line.trim_end().rsplit_once(' ').expect("a process").1;
                    return pid.parse().expect("a number");
                }
            }
        })
        .unwrap_or_else(|_| panic!("no `{event}`"))
    }

    fn stops(self) {
        self.process.signal(Signal::TERM);
        drop(self.events);
        with_timeout(LONG, || self.process.succeeds()).expect("it stops");
    }
}

/// A client with one connection after the other.
struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
    /// Who has served it last, on this connection.
    worker: Option<u32>,
}

impl Client {
    fn new(address: SocketAddr) -> Client {
        Client { address, connection: None, worker: None }
    }

    /// Asks, over the connection that is open or a new one, which is never refused. The answer: process, generation.
    fn ask(&mut self) -> io::Result<(u32, u64)> {
        let result = self.try_ask();
        if result.is_err() {
            self.connection = None;
        }
        result
    }

    fn try_ask(&mut self) -> io::Result<(u32, u64)> {
        if self.connection.is_none() {
            let stream = TcpStream::connect(self.address).expect("a connection is never refused");
            self.worker = None;
            self.connection = Some(BufReader::new(stream));
        }
        let connection = self.connection.as_mut().expect("it was made");
        connection.get_mut().write_all(b"?\n")?;
        let mut line = String::new();
        connection.read_line(&mut line)?;
        // Who is killed may have sent half of it.
        if !line.ends_with('\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut words = line.split_whitespace();
        let pid = words.next().and_then(|word| word.parse().ok()).expect("a process");
        let generation = words.next().and_then(|word| word.parse().ok()).expect("a generation");
        self.worker = Some(pid);
        if words.next() == Some("close") {
            self.connection = None;
        }
        Ok((pid, generation))
    }
}

/// Answers each request with the process and the generation, and says so when it is the last of the connection.
fn serve(worker: Worker) -> io::Result<()> {
    let answering = worker.clone();
    worker.serve(move |mut stream, _peer| {
        let mut requests = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        loop {
            line.clear();
            if requests.read_line(&mut line)? == 0 {
                return Ok(());
            }
            sleep(Duration::from_micros(200));
            let is_last = answering.is_stopping();
            let last = if is_last { " close" } else { "" };
            writeln!(stream, "{} {}{last}", std::process::id(), answering.generation())?;
            answering.request_served();
            if is_last {
                return Ok(());
            }
        }
    })
}

pub(crate) fn it_serves_and_ends_when_it_is_told_to() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut site = site(|supervisor| supervisor, serve);
        let workers = [site.until("ready 1"), site.until("ready 1")];
        for _ in 0..20 {
            let (pid, generation) = Client::new(site.address).ask().expect("an answer");
            assert!(workers.contains(&pid) && generation == 1);
        }
        site.process.signal(signal);
        site.until("stopping");
        with_timeout(LONG, || site.process.succeeds()).expect("it stops");
    }
}

pub(crate) fn what_was_begun_is_finished_in_the_time_that_there_is() {
    let begun = Word::new();
    let (told, asked) = (Rc::new(begun), Word::new());
    let saying = Rc::clone(&told);
    let mut site = site(
        |supervisor| supervisor.workers(1).grace(Duration::from_millis(500)),
        move |worker| {
            let saying = Rc::clone(&saying);
            worker.serve(move |mut stream, _peer| {
                let mut kind = [0];
                stream.read_exact(&mut kind)?;
                saying.say();
                sleep(if kind == *b"s" { Duration::from_millis(100) } else { LONG });
                stream.write_all(b"done")
            })
        },
    );
    site.until("ready");
    let ask = |kind: &'static [u8]| {
        let address = site.address;
        spawn(move || {
            let mut stream = TcpStream::connect(address).expect("a connection");
            stream.write_all(kind).expect("a connection");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        })
    };
    let (short, long) = (ask(b"s"), ask(b"l"));
    told.hear();
    told.hear();
    drop(asked);
    let began = Instant::now();
    site.process.signal(Signal::TERM);
    assert_eq!(short.join().expect("it returns").expect("an answer"), "done");
    assert_ne!(long.join().expect("it returns").unwrap_or_default(), "done");
    assert!(began.elapsed() >= Duration::from_millis(400));
    with_timeout(LONG, || site.process.succeeds()).expect("it stops");
}

pub(crate) fn a_second_signal_ends_it_at_once() {
    let mut site = site(
        |supervisor| supervisor.grace(LONG * 10),
        |worker| {
            worker.ready();
            for_ever();
        },
    );
    site.until("ready");
    site.until("ready");
    site.process.signal(Signal::TERM);
    site.until("stopping");
    sleep(Duration::from_millis(20));
    site.process.signal(Signal::TERM);
    with_timeout(LONG, || site.process.succeeds()).expect("it stops");
}

pub(crate) fn a_worker_that_ends_is_replaced() {
    let mut site = site(|supervisor| supervisor, serve);
    let mut workers = BTreeSet::from([site.until("ready"), site.until("ready")]);
    for round in 0..5 {
        let gone = workers.pop_first().expect("one of two");
        kill(gone, if round == 0 { Signal::ABORT } else { Signal::KILL });
        assert_eq!(site.until("ended"), gone);
        assert!(workers.insert(site.until("ready 1")));
    }
    // It stops by itself upon SIGTERM, and is replaced too.
    let gone = workers.pop_first().expect("one of two");
    kill(gone, Signal::TERM);
    assert_eq!(site.until("ended exit status: 0"), gone);
    site.until("ready 1");
    site.stops();
}

pub(crate) fn workers_that_never_start_are_an_error() {
    let fails = |supervisor: Supervisor, serve: fn(Worker) -> io::Result<()>| {
        let error = supervisor.workers(3).run(serve).expect_err("no worker was ready");
        let SupervisorError::Boot { failures: 5, last } = error else { panic!("{error:?}") };
        last
    };
    std::panic::set_hook(Box::new(|_| {}));
    assert_eq!(fails(Supervisor::new(), |_| Err(io::Error::other("no database"))), "no database");
    assert_eq!(fails(Supervisor::new(), |_| panic!("a panic")), "a panic");
    assert_eq!(fails(Supervisor::new(), |_| std::process::exit(3)), "exit status: 3");
    let late = Supervisor::new().ready_within(Duration::from_millis(20));
    assert_eq!(fails(late, |_| for_ever()), "it was not ready in time");
    let _ = std::panic::take_hook();
    // What is no failure of a start is none.
    let thread = std::thread::spawn(|| std::thread::sleep(Duration::from_millis(200)));
    let error = Supervisor::new().run(serve).expect_err("it has a thread");
    assert!(matches!(error, SupervisorError::ForeignThreads { count: 1 }), "{error:?}");
    thread.join().expect("it returns");
    let killed = with_timeout(Duration::from_millis(100), || {
        Supervisor::new().run(|worker| {
            worker.ready();
            for_ever()
        })
    });
    assert!(killed.is_err());
    assert_eq!(fs::read_to_string("/proc/thread-self/children").expect("/proc is mounted"), "");
}

pub(crate) fn a_hub_that_does_not_run_is_seen() {
    let mut site = site(
        |supervisor| supervisor.workers(2).stuck_after(Duration::from_millis(400)),
        |worker| {
            worker.ready();
            worker.wait_stopping();
            Ok(())
        },
    );
    let workers = [site.until("ready"), site.until("ready")];
    // One that is stopped does not run its hub.
    kill(workers[0], Signal::STOP);
    assert_eq!(site.until("stuck"), workers[0]);
    site.until("ready");
    assert_eq!(site.until("ended signal: 9"), workers[0]);
    site.stops();
    let mut site = self::site(
        |supervisor| supervisor.workers(1).stuck_after(Duration::from_millis(400)),
        |worker| {
            worker.ready();
            if worker.generation() == 1 {
                std::thread::sleep(LONG);
            }
            worker.wait_stopping();
            Ok(())
        },
    );
    let blocked = site.until("ready");
    assert_eq!(site.until("stuck"), blocked);
    site.process.signal(Signal::HUP);
    site.until("ready 2");
    site.stops();
}

pub(crate) fn a_reload_waits_for_the_new_ones() {
    let gate = Value::new(1u64).expect("a value");
    let opened = gate.clone();
    let mut site = site(
        |supervisor| supervisor,
        move |worker| {
            while gate.get() < worker.generation() {
                sleep(Duration::from_millis(1));
            }
            serve(worker)
        },
    );
    let old = [site.until("ready 1"), site.until("ready 1")];
    let mut client = Client::new(site.address);
    let (pid, _) = client.ask().expect("an answer");
    site.process.signal(Signal::HUP);
    site.until("started 2");
    for _ in 0..50 {
        assert_eq!(client.ask().expect("an answer"), (pid, 1), "the new ones are not ready");
    }
    opened.set(2);
    // The connection that is open ends with an answer, and the next is with a new one.
    while client.ask().expect("no request fails").1 == 1 {}
    drop(client);
    let ended = BTreeSet::from([site.until("ended exit status: 0"), site.until("ended exit status: 0")]);
    assert_eq!(ended, BTreeSet::from(old));
    // Twice at once is a generation more.
    opened.set(9);
    site.process.signal(Signal::HUP);
    site.until("ready 3");
    site.process.signal(Signal::HUP);
    site.until("ready 4");
    site.until("ready 4");
    site.stops();
}

pub(crate) fn a_reload_that_fails_leaves_those_of_before() {
    let mut site = site(
        |supervisor| supervisor,
        |worker| match worker.generation() {
            2 => Err(io::Error::other("a mistake")),
            _ => serve(worker),
        },
    );
    let old = [site.until("ready 1"), site.until("ready 1")];
    site.process.signal(Signal::HUP);
    site.until("reload failed: a mistake");
    let (pid, generation) = Client::new(site.address).ask().expect("an answer");
    assert!(old.contains(&pid) && generation == 1);
    site.process.signal(Signal::HUP);
    site.until("ready 3");
    site.until("ready 3");
    site.stops();
}

pub(crate) fn there_are_more_and_less_on_request() {
    let mut site = site(|supervisor| supervisor.workers(1), serve);
    let first = site.until("ready");
    site.process.signal(Signal::TTIN);
    assert_eq!(site.until("resized"), 2);
    let second = site.until("ready");
    site.process.signal(Signal::TTOU);
    assert_eq!(site.until("resized"), 1);
    assert_eq!(site.until("ended exit status: 0"), second);
    // One stays.
    site.process.signal(Signal::TTOU);
    assert_eq!(site.until("resized"), 1);
    site.process.signal(Signal::TTIN);
    assert_eq!(site.until("resized"), 2);
    site.until("ready");
    assert_eq!(kill_process(Pid::from_raw(first as i32).expect("a number"), Signal::CONT), Ok(()));
    site.stops();
}

pub(crate) fn a_worker_that_has_served_enough_is_replaced() {
    let mut site = site(|supervisor| supervisor.workers(1).max_requests(50), serve);
    let first = site.until("ready");
    let mut client = Client::new(site.address);
    let mut served = BTreeSet::new();
    for _ in 0..200 {
        served.insert(client.ask().expect("no request fails").0);
    }
    assert_eq!(site.until("spent"), first);
    assert!((3..=6).contains(&served.len()), "{served:?}");
    drop(client);
    site.stops();
    let mut large = self::site(|supervisor| supervisor.workers(1).max_memory(1), serve);
    let first = large.until("ready");
    assert_eq!(large.until("spent"), first);
    assert_eq!(large.until("ended exit status: 0"), first);
    large.stops();
}

/// Whether this process was started by its own kind.
fn is_successor() -> bool {
    std::env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string())
}

pub(crate) fn a_new_program_gets_the_listener() {
    if is_successor() {
        // The port is not asked for: it is another one, if the listener was not handed over.
        let supervisor = Supervisor::new().workers(2).bind("127.0.0.1:0").expect("it is handed over");
        return supervisor.run(serve).expect("it ends well");
    }
    let mut site = site(|supervisor| supervisor.on_reload(Reload::Exec), serve);
    site.until("ready 1");
    let stop = Rc::new(Cell::new(false));
    let asking = spawn({
        let (stop, mut client) = (Rc::clone(&stop), Client::new(site.address));
        move || {
            let mut generations = BTreeSet::new();
            while !stop.get() {
                generations.insert(client.ask().expect("no request fails").1);
            }
            generations
        }
    });
    site.process.signal(Signal::USR2);
    let successor = site.until("executed");
    site.until("stopping");
    with_timeout(LONG, || site.process.succeeds()).expect("the old one ends");
    sleep(Duration::from_millis(50));
    stop.set(true);
    assert_eq!(asking.join().expect("it returns"), BTreeSet::from([1, 2]));
    let (_, generation) = Client::new(site.address).ask().expect("an answer");
    assert_eq!(generation, 2);
    kill(successor, Signal::TERM);
}

pub(crate) fn a_new_program_that_fails_changes_nothing() {
    if is_successor() {
        std::process::exit(7);
    }
    let mut site = site(|supervisor| supervisor.on_reload(Reload::Exec), serve);
    site.until("ready 1");
    site.process.signal(Signal::HUP);
    site.until("executed");
    site.until("execution failed: exit status: 7");
    assert_eq!(Client::new(site.address).ask().expect("an answer").1, 1);
    site.stops();
}

pub(crate) fn workers_end_when_their_supervisor_is_killed() {
    let mut site = site(|supervisor| supervisor, serve);
    site.until("ready");
    site.until("ready");
    let mut client = Client::new(site.address);
    client.ask().expect("an answer");
    site.process.kill();
    // What is open ends with an answer, and then nobody listens; the program that runs this test sees that nobody is left.
    assert!(client.ask().is_ok() || client.connection.is_none());
    drop(client);
    let deadline = Instant::now() + LONG;
    while TcpStream::connect(site.address).is_ok() {
        assert!(Instant::now() < deadline, "somebody listens");
        sleep(Duration::from_millis(2));
    }
}

/// Clients ask over connections that they keep, while a worker is killed each 100 ms and all are replaced each second.
pub(crate) fn clients_go_on_while_workers_are_killed_and_reloaded() {
    const CLIENTS: usize = 16;
    let argument = |place| std::env::args().nth(place).and_then(|number| number.parse().ok());
    let requests: usize = argument(3).unwrap_or(if cfg!(debug_assertions) { 3000 } else { 10_000 });
    let mut random = Random::new(argument(4).unwrap_or(1) as u64);
    let mut site = site(|supervisor| supervisor.workers(3), serve);
    for _ in 0..3 {
        site.until("ready");
    }
    let killed = Rc::new(RefCell::new(BTreeSet::new()));
    let answered = Rc::new(Cell::new(0));
    let failed = Rc::new(Cell::new(0));
    let stop = Rc::new(Cell::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (answered, failed, killed) = (Rc::clone(&answered), Rc::clone(&failed), Rc::clone(&killed));
            let (stop, mut client) = (Rc::clone(&stop), Client::new(site.address));
            spawn(move || {
                while !stop.get() {
                    match client.ask() {
                        Ok(_) => answered.set(answered.get() + 1),
                        Err(error) => {
                            failed.set(failed.get() + 1);
                            // Which worker it was that a first request was for, nobody knows.
                            let is_killed =
                                client.worker.is_none_or(|worker| killed.borrow().contains(&worker));
                            assert!(is_killed, "{error}: worker {:?} was not killed", client.worker);
                        }
                    }
                }
            })
        })
        .collect();
    // What runs is known by a client's answer: its process.
    let began = Instant::now();
    let (mut kills, mut reloads) = (0, 0);
    while answered.get() < requests || kills < 15 || reloads < 2 {
        assert!(began.elapsed() < LONG, "{} answered", answered.get());
        sleep(Duration::from_millis(80 + random.below(40) as u64));
        let asked = with_timeout(LONG, || Client::new(site.address).ask()).expect("an answer in time");
        if let Ok((pid, _)) = asked {
            killed.borrow_mut().insert(pid);
            kill(pid, Signal::KILL);
            kills += 1;
        }
        if began.elapsed().as_secs() > reloads {
            site.process.signal(Signal::HUP);
            reloads += 1;
        }
    }
    stop.set(true);
    clients.into_iter().for_each(|client| client.join().expect("it returns"));
    println!("{} answered, {} failed, {kills} kills, {reloads} reloads", answered.get(), failed.get());
    assert!(failed.get() <= kills * (CLIENTS + 1));
    site.process.signal(Signal::TERM);
    // The pipe of events has room for those that nobody has read.
    let id = site.process.id;
    std::mem::forget(site.process);
    let mut events = String::new();
    with_timeout(LONG, || site.events.read_to_string(&mut events)).expect("it ends").expect("a pipe");
    assert_eq!(wait_pid(id).expect("a child").code(), Some(0), "{events}");
}
