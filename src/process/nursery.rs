//! A process with one OS thread, which forks others on request.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::body;
use super::born::Born;
use super::builder::ProcessBuilder;
use super::channel::{Receiver, Sender, channel};
use super::family::Identity;
use super::handle::Process;
use super::line::{Limit, Line};
use super::report::Report;
use super::wire::Wire;
use crate::error::StartError;
use crate::hub::birth::{Childless, fork_alone};
use crate::io::wait_readable;
use crate::sys::heirloom::Heirloom;
use crate::sys::process;
use crate::task;

/// Who it is, its argument, and the other end of its line.
type Request = (Identity, Vec<u8>, Vec<OwnedFd>, OwnedFd);

/// A child of a nursery that is about to live.
#[derive(Debug)]
pub(crate) struct Birth {
    line: Line,
    identity: Identity,
    pub(crate) bytes: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Birth {
    /// Runs `run` as its life: returns the exit status.
    pub(crate) fn live<T: Wire>(self, run: impl FnOnce(Vec<u8>, Vec<OwnedFd>) -> T) -> i32 {
        let Birth { line, identity, bytes, descriptors } = self;
        body::live(&line, identity, false, || run(bytes, descriptors))
    }
}

/// A nursery. It ends when this is dropped, and its children's handles are.
#[derive(Debug)]
pub(crate) struct Nursery {
    requests: Sender<Request>,
    process: Process<()>,
    /// Readable once it has ended.
    end: Arc<Heirloom>,
}

impl Nursery {
    /// Starts one whose children do what `serve` does, and end with the status that it returns.
    pub(crate) fn start(name: &str, serve: impl Fn(Birth) -> i32) -> Result<Nursery, StartError> {
        let (requests, received) = channel()?;
        let builder = Process::builder().name(name).daemon(false);
        let process = builder.start_hidden(move || run(&received, &serve))?;
        let end = Arc::new(Heirloom::new(process.as_fd().try_clone_to_owned()?));
        Ok(Nursery { requests, process, end })
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
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
        let request = (identity, bytes, descriptors, theirs.as_fd().try_clone_to_owned()?);
        self.requests.send(&request)?;
        drop((request, theirs));
        let (id, pidfd) = loop {
            match ours.receive(Limit::Until(None))?.and_then(Report::read) {
                Some(Report::Started(id, pidfd)) => break (id, pidfd),
                Some(Report::Failed(number)) => return Err(io::Error::from_raw_os_error(number)),
                _ => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        };
        Ok(Born::of_another(id, pidfd, ours, name, is_daemon, Arc::downgrade(&self.end)))
    }
}

/// The life of the nursery: until nobody can ask it for anything any more.
fn run(requests: &Receiver<Request>, serve: &impl Fn(Birth) -> i32) {
    for request in requests {
        // What is no request has nobody to answer to: its line is closed with it.
        let Ok((identity, bytes, descriptors, line)) = request else { continue };
        let line = Line::from(line);
        let name = line.name();
        let mut birth = Some(Birth { line, identity, bytes, descriptors });
        let live = || match birth.take() {
            Some(birth) => serve(birth),
            None => unreachable!("it is taken once"),
        };
        let forked = fork_alone(|| vec![name], live);
        let Some(Birth { line, .. }) = birth else { unreachable!("the child ends with it") };
        match forked {
            Ok(id) => keep(id, line),
            Err(Childless::System(error)) => {
                Report::Failed(error.raw_os_error().unwrap_or_default()).tell(&line)
            }
            Err(Childless::ForeignThreads(_)) => Report::Failed(AGAIN).tell(&line),
        }
    }
}

/// EAGAIN.
const AGAIN: i32 = 11;
/// Where there are no descriptors of processes, they are asked so often.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits for a child, in a green thread, and tells its status.
fn keep(id: u32, line: Line) {
    let pidfd = process::open_pidfd(id).ok();
    let copy = pidfd.as_ref().and_then(|pidfd| pidfd.try_clone().ok());
    Report::Started(id, copy).tell(&line);
    let pidfd = pidfd.map(Heirloom::new);
    drop(task::spawn(move || {
        loop {
            match process::try_wait(id) {
                Ok(None) => {}
                Ok(Some(status)) => return Report::Ended(status).tell(&line),
                Err(_) => return,
            }
            match &pidfd {
                Some(pidfd) if wait_readable(pidfd).is_ok() => {}
                _ => task::sleep(PAUSE),
            }
        }
    }));
}
