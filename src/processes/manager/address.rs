//! A name in the file system, by which processes that are no relatives find a manager.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::secret::{SIZE, Side, challenge, is_equal, proof};
use crate::error::ManagerError;
use crate::io::wait_readable;
use crate::net::unix::{UnixListener, UnixStream};
use crate::process::Sender;
use crate::sys::{credentials, packet};
use crate::task::{sleep, with_timeout};

/// How long an introduction may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a socket that may be left is given to say something, or to be closed.
const PATIENCE_WITH_THE_DEAD: Duration = Duration::from_secs(2);
/// Between two tries to reach one that hangs up.
const PAUSE: Duration = Duration::from_millis(1);

/// A socket that is listened at. Its file goes with this.
#[derive(Debug)]
pub(super) struct Address {
    path: PathBuf,
    /// Another may have taken the name meanwhile.
    inode: u64,
}

impl Address {
    /// Takes the name, in a folder where nobody else can do anything.
    pub(super) fn bind(path: &Path) -> Result<(Address, UnixListener), ManagerError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => check_folder(folder)?,
        }
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left(path) => {
                fs::remove_file(path)?;
                UnixListener::bind(path)?
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
    let found = fs::metadata(folder)?;
    if found.uid() != credentials::own_user() || found.mode() & 0o077 != 0 {
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
pub(super) fn introduce(mut guest: UnixStream, secret: &[u8], manager: u64, door: &Sender<OwnedFd>) {
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
