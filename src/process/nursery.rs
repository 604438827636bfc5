//! A process with one OS thread, which forks others on request.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::body;
use super::born::Born;
use super::builder::ProcessBuilder;
use super::channel::channel;
use super::family::{self, Identity};
use super::handle::Process;
use super::line::{Kind, Limit, Line};
use super::receiver::Receiver;
use super::report::Report;
use super::sender::Sender;
use super::wire::{Outgoing, Wire};
use crate::error::StartError;
use crate::hub::birth::{Childless, fork_alone};
use crate::hub::hub;
use crate::hub::signals::{install_handler, set_of};
use crate::io::{Interest, wait_fd, wait_readable};
use crate::sys::heirloom::Heirloom;
use crate::sys::process;
use crate::sys::signal::listening::numbers::{SIGHUP, SIGINT, SIGTERM};
use crate::task::{self, JoinHandle};

/// Who it is, its argument, the other end of its line, and what hangs up at the end of who asks.
type Request = (Identity, Vec<u8>, Vec<OwnedFd>, OwnedFd, Option<OwnedFd>);

/// A child of a nursery that is about to live.
#[derive(Debug)]
pub(crate) struct Birth {
    line: Arc<Line>,
    identity: Identity,
    lifeline: Option<OwnedFd>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Birth {
    /// Runs `run` as its life: returns the exit status.
    pub(crate) fn live<T: Wire>(self, run: impl FnOnce(Vec<u8>, Vec<OwnedFd>) -> T) -> i32 {
        let Birth { line, identity, lifeline, bytes, descriptors } = self;
        body::live(&line, identity, false, lifeline, || run(bytes, descriptors))
    }
}

/// A nursery. It ends when this is dropped and its children have ended, and with this process.
#[derive(Debug)]
pub(crate) struct Nursery {
    requests: Sender<Request>,
    process: Process<()>,
    /// Readable once it has ended.
    end: Arc<Heirloom>,
}

impl Nursery {
    /// Starts one whose children do what `serve` does, and end with the status that it returns. It and they keep the ends of these names.
    pub(crate) fn start(
        name: &str,
        passed: &[u64],
        serve: impl Fn(Birth) -> i32,
    ) -> Result<Nursery, StartError> {
        let (requests, received) = channel()?;
        let builder = Process::builder().name(name).daemon(false).keeping(passed);
        let process = builder.start_hidden(move || run(&received, passed, &serve))?;
        let end = Arc::new(Heirloom::new(process.as_fd().try_clone_to_owned()?));
        Ok(Nursery { requests, process, end })
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Has a child forked, of which the nursery's `serve` is the life.
    ///
    /// # Errors
    ///
    /// As [`bear`](Nursery::bear).
    pub(crate) fn start_child<T>(
        &self,
        builder: ProcessBuilder,
        bytes: Vec<u8>,
        descriptors: Vec<OwnedFd>,
    ) -> io::Result<Process<T>> {
        self.bear(builder, bytes, descriptors).map(Process::new)
    }

    /// Ends it, and waits until it has ended, and its children.
    pub(crate) fn finish(self) {
        let Nursery { requests, process, .. } = self;
        drop(requests);
        // If it cannot be waited for, it is gone.
        let _ = process.wait();
    }

    /// Has a child forked.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if the nursery has ended before that; then there is no child. Those of fork(2).
    pub(super) fn bear(
        &self,
        builder: ProcessBuilder,
        bytes: Vec<u8>,
        descriptors: Vec<OwnedFd>,
    ) -> io::Result<Arc<Born>> {
        let (ours, theirs) = Line::pair()?;
        let identity = builder.identity();
        let (name, is_daemon) = (identity.name.clone(), identity.is_daemon);
        let (lifeline, kept) = family::lifeline(is_daemon, false)?.unzip();
        let request = (identity, bytes, descriptors, theirs.as_fd().try_clone_to_owned()?, lifeline);
        let mut message = Outgoing::new();
        request.put(&mut message);
        // Past the bound for messages of the program's, since it has two descriptors more than the argument.
        self.requests.line().send(Kind::One, &message, Limit::Until(None))?;
        drop(message);
        // Kept free for the descriptor in the answer, which tells of a child that is there by then.
        let reserved = ours.as_fd().try_clone_to_owned();
        drop((request, theirs));
        let _ = wait_readable(&ours);
        drop(reserved);
        match ours.receive(Limit::Until(None))?.and_then(Report::read) {
            Some(Report::Started(id, pidfd)) => {
                let end = self.end.clone();
                Ok(Born::of_another(id, pidfd, ours, name, is_daemon, end, kept))
            }
            Some(Report::Failed(number)) => Err(io::Error::from_raw_os_error(number)),
            Some(_) => Err(io::Error::other("the process was killed before it began")),
            None => Err(self.why_silent()),
        }
    }
}

impl Nursery {
    /// Why a request was given up: the nursery has ended, or it could not take what belongs to the request.
    fn why_silent(&self) -> io::Error {
        match wait_fd(&*self.end, Interest::READABLE, Some(ENDING)) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                io::Error::new(io::ErrorKind::OutOfMemory, "the process that forks has no descriptor left")
            }
            _ => io::ErrorKind::BrokenPipe.into(),
        }
    }
}

/// The life of the nursery: until nobody can ask it for anything any more, and it has told of all that it was asked for.
fn run(requests: &Receiver<Request>, passed: &[u64], serve: &impl Fn(Birth) -> i32) {
    outlive_signals();
    let mut kept: Vec<JoinHandle<()>> = Vec::new();
    for request in requests {
        // What is no request has nobody to answer to: its line is closed with it.
        let Ok((identity, bytes, descriptors, line, lifeline)) = request else { continue };
        let line = Arc::new(Line::from(line));
        let told = line.clone();
        let mut birth = Some(Birth { line, identity, lifeline, bytes, descriptors });
        let live = || match birth.take() {
            Some(birth) => serve(birth),
            None => unreachable!("it is taken once"),
        };
        let forked = fork_alone(|| begin(&told, passed), live);
        // The child's copy of what it was given.
        drop(birth);
        match forked {
            Ok(id) => {
                kept.retain(|child| !child.is_finished());
                kept.push(keep(id, told));
            }
            Err(Childless::System(error)) => {
                Report::Failed(error.raw_os_error().unwrap_or_default()).tell(&told)
            }
            Err(Childless::ForeignThreads(_)) => Report::Failed(AGAIN).tell(&told),
        }
    }
    family::end_after_parent();
    for child in kept {
        // It returns.
        let _ = child.join();
    }
}

/// Goes on at what is sent to a whole group of processes, by Ctrl-C for one: who asks for children has it too, and says what it means. If
/// that ends, so does this. A child begins with what there was before.
fn outlive_signals() {
    let heard = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| install_handler(*signal).is_ok());
    hub().listen_to(heard.fold(0, |all, signal| all | set_of(signal)), |_| ());
}

/// The first act of the child: it tells that it is there, before anything else can come from it. So a request that was not answered has
/// begun nothing.
fn begin(line: &Line, passed: &[u64]) -> Vec<u64> {
    let id = std::process::id();
    Report::Started(id, process::open_pidfd(id).ok()).tell(line);
    [passed, &[line.name()]].concat()
}

/// EAGAIN.
const AGAIN: i32 = 11;
/// Where there are no descriptors of processes, they are asked so often.
const PAUSE: Duration = Duration::from_millis(5);
/// How long one that has closed its lines may take to end.
const ENDING: Duration = Duration::from_secs(1);

/// Waits for a child, in a green thread, and tells its status.
fn keep(id: u32, line: Arc<Line>) -> JoinHandle<()> {
    let pidfd = process::open_pidfd(id).ok().map(Heirloom::new);
    task::spawn(move || {
        loop {
            match process::try_wait(id) {
                Ok(None) => {}
                Ok(Some(status)) => return Report::Ended(status).tell(&line),
                // SIGCHLD is ignored: the kernel has forgotten it.
                Err(_) => return Report::Untold.tell(&line),
            }
            match &pidfd {
                Some(pidfd) if wait_readable(pidfd).is_ok() => {}
                _ => task::sleep(PAUSE),
            }
        }
    })
}
