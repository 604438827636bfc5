//! A supervisor in a process of its own, and clients of its workers.

use std::cell::Cell;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use greenloop::io::{Interest, PipeReader, wait_fd};
use greenloop::net::TcpStream;
use greenloop::processes::{Supervisor, SupervisorEvent, Worker};
use greenloop::{sleep, with_timeout};
use rustix::process::{Pid, Signal, kill_process};

use crate::children::{Forked, Word, forked};

pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A supervisor in a process of its own.
pub(crate) struct Site {
    pub(crate) process: Forked,
    pub(crate) address: SocketAddr,
    pub(crate) events: BufReader<PipeReader>,
}

/// Runs a supervisor that `set_up` has set up, with `serve` for its workers. Its process has to have as much at the end as before.
pub(crate) fn site(
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
        // All listeners, and what the hook has.
        assert!(open_files() <= open - 2, "descriptors are left");
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

pub(crate) fn kill(pid: u32, signal: Signal) {
    // One that has ended by itself meanwhile hears nothing.
    let _ = kill_process(Pid::from_raw(pid as i32).expect("a number"), signal);
}

impl Site {
    /// The next event that begins so: its process.
    pub(crate) fn until(&mut self, event: &str) -> u32 {
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

    pub(crate) fn stops(self) {
        self.process.signal(Signal::TERM);
        drop(self.events);
        with_timeout(LONG, || self.process.succeeds()).expect("it stops");
    }
}

/// Ends it; what it has told and nobody has read.
pub(crate) fn last_events(site: Site) -> String {
    let Site { process, mut events, .. } = site;
    process.signal(Signal::TERM);
    let mut text = String::new();
    // Read before the process is waited for, whom a full pipe would hold.
    with_timeout(LONG, || events.read_to_string(&mut text)).expect("it ends").expect("a pipe");
    with_timeout(LONG, || process.succeeds()).expect("it stops");
    text
}

/// A client with one connection after the other.
pub(crate) struct Client {
    address: SocketAddr,
    pub(crate) connection: Option<BufReader<TcpStream>>,
    /// Who has served it last, on this connection.
    pub(crate) worker: Option<u32>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Client {
        Client { address, connection: None, worker: None }
    }

    /// Asks, over the connection that is open or a new one, which is never refused. The answer: process, generation.
    pub(crate) fn ask(&mut self) -> io::Result<(u32, u64)> {
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
pub(crate) fn serve(worker: Worker) -> io::Result<()> {
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
