//! A server's program, which runs as long as a test needs it.

use std::io::{BufRead, BufReader, PipeReader, sink};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::folder::Folder;

/// How often it is tried to find a port that nobody else takes before the program does.
const ATTEMPTS: u32 = 10;

/// Debian's user for PostgreSQL.
const UNPRIVILEGED: &str = "postgres";

/// The signal that stops a program at once. Another may be ignored: a shell has children in the background ignore SIGQUIT.
#[derive(Clone, Copy, Debug)]
pub struct Stop(&'static str, Signal);

impl Stop {
    /// What most end at.
    pub const TERMINATE: Stop = Stop("TERM", Signal::TERM);
    /// PostgreSQL waits for its clients otherwise.
    pub const QUIT: Stop = Stop("QUIT", Signal::QUIT);
}

/// A running server on a port of 127.0.0.1. It is stopped when this is dropped, or when the OS thread that started it ends, in
/// whatever way.
#[derive(Debug)]
pub struct Program {
    /// Of 127.0.0.1.
    pub port: u16,
    stop: Stop,
    child: Child,
    /// What reads what it says, until it has ended and all that it has started.
    listener: Option<JoinHandle<()>>,
}

impl Program {
    /// Starts the program of `arguments` for a free port, and waits until it says that it is ready for connections, which it does in the
    /// words `ready`.
    ///
    /// # Panics
    ///
    /// Panics with what the program says if it ends instead.
    pub fn start(stop: Stop, ready: &str, arguments: impl Fn(u16) -> Vec<String>) -> Program {
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            let port = free_port();
            match Program::try_start(stop, ready, port, &arguments(port)) {
                Ok(program) => return program,
                Err(text) => said = text,
            }
        }
        panic!("a server does not start; `.ci/run` installs what is missing. {said}");
    }

    fn try_start(stop: Stop, ready: &str, port: u16, arguments: &[String]) -> Result<Program, String> {
        let (output, input) = std::io::pipe().expect("a pipe");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", stop.0])
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(input.try_clone().expect("a descriptor"))
            .stderr(input)
            .spawn()
            .expect("setpriv, of util-linux");
        let mut program = Program { port, stop, child, listener: None };
        let mut output = BufReader::new(output);
        let mut said = String::new();
        while !said.contains(ready) {
            if output.read_line(&mut said).expect("text") == 0 {
                return Err(said);
            }
        }
        program.listener = Some(std::thread::spawn(move || read_to_end(output)));
        Ok(program)
    }
}

/// `arguments` for setpriv, as which [`Program::start`] takes its own, that run a program as a user that is not root: as Debian's user for
/// PostgreSQL, if this one is root.
pub fn unprivileged(arguments: &[&str]) -> Vec<String> {
    let user = ["--reuid", UNPRIVILEGED, "--regid", UNPRIVILEGED, "--init-groups"];
    let user = if geteuid().is_root() { &user[..] } else { &[] };
    [user, arguments].concat().into_iter().map(str::to_owned).collect()
}

/// Gives `folder`, and what is in it, to the user of [`unprivileged`].
///
/// # Panics
///
/// Panics if that fails.
pub fn give_to_unprivileged(folder: &Folder) {
    if geteuid().is_root() {
        let status = Command::new("chown").args(["-R", UNPRIVILEGED]).arg(&folder.path).status();
        assert!(status.expect("chown").success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Not waited for yet, so the number is still its own.
        let _ = kill_process(Pid::from_child(&self.child), self.stop.1);
        let _ = self.child.wait();
        let _ = self.listener.take().map(JoinHandle::join);
    }
}

fn read_to_end(mut output: BufReader<PipeReader>) {
    let _ = std::io::copy(&mut output, &mut sink());
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}
