//! A pre-fork server: processes that serve one listener, and a supervisor that replaces them while clients go on.
//!
//! Run it with `cargo run --example prefork_server`. Eight clients ask all the time, while a worker is killed, all are replaced by a reload
//! (SIGHUP), one is added (SIGTTIN), and the supervisor is told to stop (SIGTERM). In a program of yours a shell sends these signals.
//!
//! Expected output:
//!
//!     2 workers are ready
//!     a worker was killed, and another is ready in its place
//!     reloaded: 2 workers of generation 2 are ready
//!     one more is ready
//!     stopped: all workers have ended
//!     the clients had answers from both generations, and no connection was refused

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use greenloop::channel::{Receiver, unbounded};
use greenloop::net::TcpStream;
use greenloop::process::Command;
use greenloop::processes::{Supervisor, SupervisorEvent, Worker};
use greenloop::{sleep, spawn};
use tool::{say, takes_no_arguments};

mod tool;

fn main() -> ExitCode {
    takes_no_arguments(include_str!("prefork_server.rs"));
    tool::run(supervise)
}

/// What each worker does: a green thread for each connection. Its last answer says so when the worker is to stop.
fn serve(worker: Worker) -> io::Result<()> {
    let told = worker.clone();
    worker.serve(move |mut stream, _peer| {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        while lines.next().transpose()?.is_some() {
            let is_last = told.is_stopping();
            writeln!(stream, "{}{}", told.generation(), if is_last { ", last" } else { "" })?;
            if is_last {
                break;
            }
        }
        Ok(())
    })
}

fn supervise() -> Result<(), Box<dyn Error>> {
    let supervisor = Supervisor::new().workers(2).grace(Duration::from_secs(5)).bind("127.0.0.1:0")?;
    let address = supervisor.local_addr()?;
    let (stop, seen) = (Rc::new(Cell::new(false)), Rc::new(RefCell::default()));
    for _ in 0..8 {
        let (stop, seen) = (Rc::clone(&stop), Rc::clone(&seen));
        spawn(move || {
            while !stop.get() {
                // If its worker is killed, its connection ends, and it makes another.
                let _ = talk(address, &seen);
            }
        });
    }
    let (ready, news) = unbounded();
    let director = spawn(move || direct(&news, &stop, &seen));
    let supervisor = supervisor.on_event(move |event| {
        if let SupervisorEvent::Ready { pid, .. } = event {
            ready.send(*pid).unwrap_or_default();
        }
    });
    supervisor.run(serve)?;
    director.join()??;
    say!("stopped: all workers have ended");
    say!("the clients had answers from both generations, and no connection was refused");
    Ok(())
}

/// Has the supervisor do what it can.
fn direct(ready: &Receiver<u32>, stop: &Cell<bool>, seen: &RefCell<BTreeSet<String>>) -> io::Result<()> {
    let kill = |signal: &str, pid: u32| Command::new("kill").args([signal, &pid.to_string()]).status();
    let next = || ready.recv().map_err(io::Error::other);
    let (first, _) = (next()?, next()?);
    say!("2 workers are ready");
    kill("-KILL", first)?;
    next()?;
    say!("a worker was killed, and another is ready in its place");
    kill("-HUP", std::process::id())?;
    let (_, _) = (next()?, next()?);
    say!("reloaded: 2 workers of generation 2 are ready");
    kill("-TTIN", std::process::id())?;
    next()?;
    say!("one more is ready");
    while seen.borrow().len() < 2 {
        sleep(Duration::from_millis(1));
    }
    stop.set(true);
    kill("-TERM", std::process::id()).map(drop)
}

/// Asks over one connection, until an answer is the last.
fn talk(address: SocketAddr, seen: &RefCell<BTreeSet<String>>) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).expect("no connection is refused");
    writeln!(stream, "which generation are you?")?;
    for answer in BufReader::new(stream.try_clone()?).lines() {
        let answer = answer?;
        seen.borrow_mut().insert(answer.trim_end_matches(", last").to_owned());
        if answer.ends_with(", last") {
            break;
        }
        sleep(Duration::from_millis(1));
        writeln!(stream, "and now?")?;
    }
    Ok(())
}
