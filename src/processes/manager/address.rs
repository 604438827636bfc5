//! A name in the file system, by which processes that are no relatives find a manager.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::secret::{SIZE, Side, challenge, is_equal, proof};
use crate::error::ManagerError;
use crate::io::socket::{Accept, Receive, Send, Short};
use crate::io::{Source, wait_readable};
use crate::net::unix::UnixStream;
use crate::process::Sender;
use crate::sys::clock::Time;
use crate::sys::heirloom::Heirloom;
use crate::sys::socket::Taking;
use crate::sys::{credentials, packet};
use crate::task::{sleep, with_timeout};

/// How long an introduction may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a socket that may be left is given to say something, or to be closed.
const PATIENCE_WITH_THE_DEAD: Duration = Duration::from_secs(2);
/// Between two tries to reach one that hangs up, or to have a folder for oneself.
const PAUSE: Duration = Duration::from_millis(1);

/// Where guests come in. A child that is forked gives it up: it would keep the name taken when this process is gone.
#[derive(Debug)]
pub(super) struct Listener(Source<Heirloom>);

impl Listener {
    fn bind(path: &Path) -> io::Result<Listener> {
        let listener = std::os::unix::net::UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(Listener(Source::new(Heirloom::new(listener.into()))))
    }

    pub(super) fn accept(&self) -> io::Result<Guest> {
        self.0.run(Accept).map(|(guest, _)| Guest(Source::new(Heirloom::new(guest))))
    }
}

/// One that has come in. A child that is forked gives it up: the guest waits for its end.
#[derive(Debug)]
pub(super) struct Guest(Source<Heirloom>);

impl Read for Guest {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.run(Receive { buffer, taking: Taking::Consume, short: Short::Usual })
    }
}

impl Write for Guest {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.run(Send { buffer, short: Short::Usual })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Guest {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

/// A socket that is listened at. Its file goes with this.
#[derive(Debug)]
pub(super) struct Address {
    path: PathBuf,
    /// Another may have taken the name meanwhile.
    inode: u64,
}

impl Address {
    /// Takes the name, in a folder where nobody else can do anything.
    pub(super) fn bind(path: &Path) -> Result<(Address, Listener), ManagerError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => check_folder(folder)?,
        }
        // One at a time: what one finds to be left, and removes, may be what another has just made in its place.
        let _turn = Turn::take(folder)?;
        Ok(Address::take_name(path)?)
    }

    fn take_name(path: &Path) -> io::Result<(Address, Listener)> {
        let listener = match Listener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left(path) => {
                fs::remove_file(path)?;
                Listener::bind(path)?
            }
            listener => listener?,
        };
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        let inode = fs::symlink_metadata(path)?.ino();
        Ok((Address { path: path.to_owned(), inode }, listener))
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            // If it cannot be removed, it is found to be left by who comes next.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A folder's lock. It is given back by a word, since a child that is forked meanwhile has the open file too.
struct Turn(File);

impl Turn {
    fn take(folder: &Path) -> io::Result<Turn> {
        let folder = File::open(folder)?;
        let end = Time::after(PATIENCE);
        while let Err(TryLockError::WouldBlock) = folder.try_lock() {
            if Time::now() >= end {
                return Err(io::ErrorKind::TimedOut.into());
            }
            sleep(PAUSE);
        }
        Ok(Turn(folder))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // It fails for no lock that is held.
        let _ = self.0.unlock();
    }
}

/// Whether a socket is there that nobody listens at any more, since its process was killed.
///
/// With io_uring the kernel may close what a process that was killed had open only some time after its end. Connections are made until
/// then; but a manager speaks first.
fn is_left(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    is_socket && with_timeout(PATIENCE_WITH_THE_DEAD, || is_refused_at(path)).unwrap_or(false)
}

fn is_refused_at(path: &Path) -> bool {
    loop {
        match UnixStream::connect(path).map(|mut host| host.read(&mut [0])) {
            Ok(Ok(1)) => return false,
            // It hangs up.
            Ok(_) => sleep(PAUSE),
            Err(error) => return error.kind() == io::ErrorKind::ConnectionRefused,
        }
    }
}

fn check_folder(folder: &Path) -> Result<(), ManagerError> {
    // Not what a link leads to: whoever has made that can lead it elsewhere.
    let found = fs::symlink_metadata(folder)?;
    if !found.is_dir() || found.uid() != credentials::own_user() || found.mode() & 0o077 != 0 {
        let why = format!("{} is not a folder of this user's alone (mode 0700)", folder.display());
        return Err(ManagerError::Refused(why));
    }
    Ok(())
}

fn wrong_secret() -> ManagerError {
    ManagerError::Refused("the secret is another".to_owned())
}

fn other_user() -> ManagerError {
    ManagerError::Refused("it is another user's".to_owned())
}

/// Gives who has come the manager's name and door, if it knows the secret. If not, nobody need know.
pub(super) fn introduce(mut guest: Guest, secret: &[u8], manager: u64, door: &Sender<OwnedFd>) {
    let introduced = with_timeout(PATIENCE, || {
        if !credentials::is_of_own_user(guest.as_fd()) {
            return Err(other_user());
        }
        let servers = challenge()?;
        guest.write_all(&servers)?;
        let (mut clients, mut told) = ([0; SIZE], [0; SIZE]);
        guest.read_exact(&mut clients)?;
        guest.read_exact(&mut told)?;
        if !is_equal(&told, &proof(secret, Side::Client, &servers, &clients)) {
            return Err(wrong_secret());
        }
        let proved = proof(secret, Side::Server, &servers, &clients);
        let parts = [IoSlice::new(&proved), IoSlice::new(&manager.to_le_bytes())].map(|part| part.to_vec());
        packet::send(guest.as_fd(), &[IoSlice::new(&parts.concat())], &[door.as_fd()])?;
        Ok(())
    });
    drop(introduced);
}

/// The manager's name and door, from who listens there.
pub(super) fn visit(path: &Path, secret: &[u8]) -> Result<(u64, OwnedFd), ManagerError> {
    with_timeout(PATIENCE, || ask(path, secret))
        .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

fn ask(path: &Path, secret: &[u8]) -> Result<(u64, OwnedFd), ManagerError> {
    let mut host = UnixStream::connect(path)?;
    if !credentials::is_of_own_user(host.as_fd()) {
        return Err(other_user());
    }
    let mut servers = [0; SIZE];
    host.read_exact(&mut servers)?;
    let clients = challenge()?;
    host.write_all(&clients)?;
    host.write_all(&proof(secret, Side::Client, &servers, &clients))?;
    wait_readable(&host)?;
    let mut buffer = [0; SIZE + 8];
    let mut received = packet::receive(host.as_fd(), &mut buffer)?;
    // One that does not like the proof hangs up.
    let (Some(door), Some((told, manager))) = (received.descriptors.pop(), buffer.split_first_chunk()) else {
        return Err(wrong_secret());
    };
    let manager: Result<[u8; 8], _> = manager.try_into();
    match manager {
        Ok(manager)
            if received.length == buffer.len()
                && is_equal(told, &proof(secret, Side::Server, &servers, &clients)) =>
        {
            Ok((u64::from_le_bytes(manager), door))
        }
        _ => Err(wrong_secret()),
    }
}
