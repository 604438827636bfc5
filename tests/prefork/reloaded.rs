//! New workers in the places of others, and new programs.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use greenloop::net::TcpListener;
use greenloop::processes::shared::Value;
use greenloop::processes::{Reload, Supervisor};
use greenloop::{sleep, spawn, with_timeout};
use rustix::process::Signal;

use crate::site::{Client, LONG, kill, serve, site};
use crate::support::until;

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

pub(crate) fn reloads_in_a_row_leave_those_that_serve() {
    let gate = Value::new(1u64).expect("a value");
    let opened = gate.clone();
    let mut site = site(
        |supervisor| supervisor,
        move |worker| {
            while gate.get() < worker.generation() && !worker.is_stopping() {
                sleep(Duration::from_millis(1));
            }
            serve(worker)
        },
    );
    let old = BTreeSet::from([site.until("ready 1"), site.until("ready 1")]);
    for generation in 2..6 {
        site.process.signal(Signal::HUP);
        site.until(&format!("started {generation}"));
    }
    // New connections all the time, so that it is not that of one who was told to stop already.
    for _ in 0..50 {
        let (pid, _) =
            with_timeout(LONG, || Client::new(site.address).ask()).expect("in time").expect("an answer");
        assert!(old.contains(&pid), "nobody else is ready");
    }
    opened.set(9);
    assert_ne!(site.until("ready 5"), site.until("ready 5"));
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

/// Whether this process was started by its own kind.
fn is_successor() -> bool {
    std::env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string())
}

pub(crate) fn a_new_program_gets_the_listener() {
    if is_successor() {
        // What was not bound is not among those that are handed over.
        assert_eq!(std::env::var("LISTEN_FDS").as_deref(), Ok("1"));
        // The port is not asked for: it is another one, if the listener was not handed over.
        let supervisor = Supervisor::new().workers(2).bind("127.0.0.1:0").expect("it is handed over");
        return supervisor.run(serve).expect("it ends well");
    }
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut site = site(|supervisor| supervisor.listener(other).on_reload(Reload::Exec), serve);
    site.until("ready 1");
    let stop = Rc::new(Cell::new(false));
    let seen = Rc::new(Cell::new(0));
    let asking = spawn({
        let (stop, seen, mut client) = (Rc::clone(&stop), Rc::clone(&seen), Client::new(site.address));
        move || {
            let mut generations = BTreeSet::new();
            while !stop.get() {
                seen.set(client.ask().expect("no request fails").1);
                generations.insert(seen.get());
            }
            generations
        }
    });
    until(|| seen.get() == 1);
    site.process.signal(Signal::USR2);
    let successor = site.until("executed");
    site.until("stopping");
    with_timeout(LONG, || site.process.succeeds()).expect("the old one ends");
    until(|| seen.get() == 2);
    stop.set(true);
    assert_eq!(asking.join().expect("it returns"), BTreeSet::from([1, 2]));
    let (_, generation) = Client::new(site.address).ask().expect("an answer");
    assert_eq!(generation, 2);
    kill(successor, Signal::TERM);
}

pub(crate) fn a_new_program_that_cannot_begin_says_why() {
    let too_long = |supervisor: Supervisor| {
        // SAFETY: this process has one OS thread.
        unsafe { std::env::set_var("GREENLOOP_TEST_TOO_LONG", "x".repeat(4 << 20)) };
        supervisor.on_reload(Reload::Exec)
    };
    let mut site = site(too_long, serve);
    site.until("ready 1");
    site.process.signal(Signal::HUP);
    site.until("executed");
    site.until("execution failed: Argument list too long (os error 7)");
    assert_eq!(Client::new(site.address).ask().expect("an answer").1, 1);
    site.stops();
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
