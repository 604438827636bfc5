//! Supervisors, their workers, and clients of these.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloop::net::TcpStream;
use greenloop::process::wait_pid;
use greenloop::processes::{Supervisor, SupervisorError, Worker};
use greenloop::{sleep, spawn, with_timeout};
use rustix::process::{Pid, Signal, kill_process};

use crate::children::{Word, for_ever};
use crate::site::{Client, LONG, kill, last_events, serve, site};
use crate::support::Random;

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
    let ask = |grace: Duration, request: &[u8]| {
        let begun = Rc::new(Word::new());
        let saying = Rc::clone(&begun);
        let mut site = site(
            |supervisor| supervisor.workers(1).grace(grace),
            move |worker| {
                let (saying, told) = (Rc::clone(&saying), worker.clone());
                worker.serve(move |mut stream, _peer| {
                    let mut kind = [0];
                    stream.read_exact(&mut kind)?;
                    saying.say();
                    told.wait_stopping();
                    if kind != *b"s" {
                        for_ever();
                    }
                    stream.write_all(b"done")
                })
            },
        );
        site.until("ready");
        let mut stream = TcpStream::connect(site.address).expect("a connection");
        stream.write_all(request).expect("a connection");
        begun.hear();
        let told = Instant::now();
        site.process.signal(Signal::TERM);
        let mut answer = String::new();
        let ended = with_timeout(LONG, || stream.read_to_string(&mut answer)).expect("it ends in time");
        with_timeout(LONG, || site.process.succeeds()).expect("it stops");
        (ended.is_ok() && answer == "done", told.elapsed())
    };
    assert!(ask(10 * LONG, b"s").0);
    let grace = Duration::from_millis(300);
    let (is_done, time) = ask(grace, b"l");
    assert!(!is_done && time >= grace);
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
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || ended.recv());
    let error = Supervisor::new().run(serve).expect_err("it has a thread");
    assert!(matches!(error, SupervisorError::ForeignThreads { count: 1 }), "{error:?}");
    drop(end);
    assert!(thread.join().expect("it returns").is_err());
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
        |supervisor| supervisor.workers(1).stuck_after(Duration::from_millis(800)),
        |worker| {
            worker.ready();
            worker.wait_stopping();
            Ok(())
        },
    );
    let worker = site.until("ready");
    // One that is stopped does not run its hub.
    kill(worker, Signal::STOP);
    assert_eq!(site.until("stuck"), worker);
    // Another one is ready before or after that.
    assert_eq!(site.until("ended signal: 9"), worker);
    site.stops();
    let mut site = self::site(
        |supervisor| {
            // The one that is blocked does not hear that it is to end.
            supervisor.workers(1).stuck_after(Duration::from_millis(400)).grace(Duration::from_millis(500))
        },
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

pub(crate) fn a_start_does_not_count_as_stuck() {
    let mut site = site(
        |supervisor| supervisor.workers(1).stuck_after(Duration::from_millis(1000)),
        |worker| {
            std::thread::sleep(Duration::from_millis(1200));
            worker.ready();
            std::thread::sleep(Duration::from_millis(200));
            worker.wait_stopping();
            Ok(())
        },
    );
    let worker = site.until("ready");
    // It asks for the next look.
    site.process.signal(Signal::TTIN);
    site.until("resized");
    assert_ne!(site.until("ready"), worker);
    let events = last_events(site);
    assert!(!events.contains("stuck"), "{events}");
}

pub(crate) fn all_that_were_stopped_together_go_on() {
    const STUCK: Duration = Duration::from_millis(2500);
    let mut site = site(|supervisor| supervisor.stuck_after(STUCK), serve);
    let workers = [site.until("ready"), site.until("ready")];
    site.process.signal(Signal::STOP);
    workers.into_iter().for_each(|worker| kill(worker, Signal::STOP));
    sleep(STUCK + Duration::from_millis(200));
    // The supervisor looks before they have beaten.
    site.process.signal(Signal::CONT);
    sleep(Duration::from_millis(50));
    workers.into_iter().for_each(|worker| kill(worker, Signal::CONT));
    let (pid, _) = Client::new(site.address).ask().expect("an answer");
    assert!(workers.contains(&pid));
    let events = last_events(site);
    assert!(!events.contains("stuck"), "{events}");
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
    let mut served = Vec::new();
    let began = Instant::now();
    // Who was to be replaced answers until it is.
    while served.len() < 3 {
        assert!(began.elapsed() < LONG, "{served:?}");
        let (pid, _) = client.ask().expect("no request fails");
        if served.last() != Some(&pid) {
            served.push(pid);
        }
    }
    assert_eq!(served[0], first);
    assert_eq!(site.until("spent"), first);
    assert_eq!(site.until("spent"), served[1]);
    drop(client);
    site.stops();
    let mut large = self::site(|supervisor| supervisor.workers(1).max_memory(1), serve);
    let first = large.until("ready");
    assert_eq!(large.until("spent"), first);
    assert_eq!(large.until("ended exit status: 0"), first);
    large.stops();
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
