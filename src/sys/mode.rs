//! O_NONBLOCK of files that others may share.
//!
//! For `accept`, `connect` and some more the kernel has no way to say that one call is not to wait. So the flag is set meanwhile, on a
//! file that other descriptors may name, in other processes too. Which files the library has set it on stands in a table: of several
//! who do that at a time the last takes it back, and nobody takes it for the wish of the file's owner.

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::RawFd;
use std::ptr;
use std::sync::Once;

use super::lock::{Lock, LockGuard};
use super::{SystemCall, original, process};

/// What tells a file from others: sockets and pipes have one open file each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct FileId {
    device: libc::dev_t,
    number: libc::ino64_t,
}

struct Entry {
    file: FileId,
    /// How many rely on the flag.
    users: u32,
    /// Whether there has been a fork since. Then others may rely on it who are not in this table: each process has its own.
    is_shared: bool,
}

/// The files that were not O_NONBLOCK before the library made them so. Nothing is allocated nor freed under the lock.
static FILES: Lock<Vec<Entry>> = Lock::new(Vec::new());

/// That a file is O_NONBLOCK. To be [ended](Nonblocking::end) or [left](Nonblocking::leave_so).
#[must_use]
#[derive(Debug)]
pub(crate) struct Nonblocking {
    /// `None` for a file whose owner has made it so.
    file: Option<FileId>,
}

impl Nonblocking {
    /// Makes calls on the open file say EAGAIN where they would wait, until this is ended.
    ///
    /// # Errors
    ///
    /// EBADF.
    pub(crate) fn begin(fd: RawFd) -> io::Result<Nonblocking> {
        let file = file_id(fd)?;
        let mut files = with_room();
        if let Some(entry) = files.iter_mut().find(|entry| entry.file == file) {
            entry.users += 1;
            return Ok(Nonblocking { file: Some(file) });
        }
        let flags = flags(fd)?;
        if flags & libc::O_NONBLOCK != 0 {
            return Ok(Nonblocking { file: None });
        }
        set_flags(fd, flags | libc::O_NONBLOCK)?;
        files.push(Entry { file, users: 1, is_shared: false });
        Ok(Nonblocking { file: Some(file) })
    }

    /// The same for a file that stays so, for all processes that have it, and whether or not it was so before: that is no wish of its
    /// owner's from now on.
    ///
    /// # Errors
    ///
    /// EBADF.
    pub(crate) fn claim(fd: RawFd) -> io::Result<()> {
        let file = file_id(fd)?;
        let mut files = with_room();
        let flags = flags(fd)?;
        set_flags(fd, flags | libc::O_NONBLOCK)?;
        match files.iter_mut().find(|entry| entry.file == file) {
            Some(entry) => entry.users += 1,
            None => files.push(Entry { file, users: 1, is_shared: false }),
        }
        Ok(())
    }

    /// The last one leaves the file, which `fd` names, as it was found.
    pub(crate) fn end(self, fd: RawFd) {
        self.finish(|file| {
            // Another file may have the number by now, of which nothing is known here.
            if file_id(fd).is_ok_and(|now| now == file)
                && let Ok(flags) = flags(fd)
            {
                // It fails for no open descriptor.
                let _ = set_flags(fd, flags & !libc::O_NONBLOCK);
            }
        });
    }

    /// The same, unless the process has forked since: the other one may rely on the flag.
    pub(crate) fn end_if_alone(self, fd: RawFd) {
        if self.is_shared() { self.leave_so() } else { self.end(fd) }
    }

    fn is_shared(&self) -> bool {
        FILES.lock().iter().any(|entry| Some(entry.file) == self.file && entry.is_shared)
    }

    /// The file stays O_NONBLOCK, as its owner wishes from now on.
    pub(crate) fn leave_so(self) {
        self.finish(drop);
    }

    fn finish(self, last: impl FnOnce(FileId)) {
        let Some(file) = self.file else { return };
        let mut files = FILES.lock();
        let Some(place) = files.iter().position(|entry| entry.file == file) else { return };
        files[place].users -= 1;
        if files[place].users == 0 {
            files.swap_remove(place);
            last(file);
        }
    }
}

/// Whether the owner of a file wants EAGAIN rather than a wait. For a number that is not open it is said not to be so.
pub(crate) fn is_nonblocking(fd: RawFd) -> bool {
    let is_set = || flags(fd).is_ok_and(|flags| flags & libc::O_NONBLOCK != 0);
    // Seldom, and then it may have been the library.
    is_set() && {
        let Ok(file) = file_id(fd) else { return false };
        let files = FILES.lock();
        !files.iter().any(|entry| entry.file == file) && is_set()
    }
}

/// The table, with room for one more.
fn with_room() -> LockGuard<'static, Vec<Entry>> {
    loop {
        let files = FILES.lock();
        if files.len() < files.capacity() {
            return files;
        }
        let room = 2 * files.capacity() + 8;
        drop(files);
        // No file is in there before.
        look_after_forks();
        let mut larger = Vec::with_capacity(room);
        let mut files = FILES.lock();
        if files.capacity() < larger.capacity() {
            larger.append(&mut files);
            mem::swap(&mut *files, &mut larger);
        }
        drop(files);
        drop(larger);
    }
}

/// From now on, forks of the process find the lock free, and what is in the table is noted as shared.
#[cold]
fn look_after_forks() {
    static ONCE: Once = Once::new();
    // SAFETY: the functions lock and unlock, and write to entries that are there.
    ONCE.call_once(|| unsafe { process::at_fork(before_fork, after_fork, after_fork) });
}

extern "C" fn before_fork() {
    let mut files = FILES.lock();
    files.iter_mut().for_each(|entry| entry.is_shared = true);
    mem::forget(files);
}

extern "C" fn after_fork() {
    // SAFETY: held by `before_fork`, which this thread, or the one that it is a copy of, has run.
    unsafe { FILES.release() };
}

fn file_id(fd: RawFd) -> io::Result<FileId> {
    let mut status = MaybeUninit::<libc::stat64>::uninit();
    // SAFETY: `status` is valid to be written to.
    unsafe { libc::fstat64(fd, status.as_mut_ptr()) }.check()?;
    // SAFETY: the call has succeeded, so it is written.
    let status = unsafe { status.assume_init() };
    Ok(FileId { device: status.st_dev, number: status.st_ino })
}

fn flags(fd: RawFd) -> io::Result<libc::c_int> {
    // SAFETY: takes no pointers.
    unsafe { original::fcntl(fd, libc::F_GETFL, ptr::null_mut::<libc::c_void>()) }.check()
}

fn set_flags(fd: RawFd, flags: libc::c_int) -> io::Result<()> {
    let flags = ptr::without_provenance_mut::<libc::c_void>(flags as usize);
    // SAFETY: takes no pointers, but a number in the place of one.
    unsafe { original::fcntl(fd, libc::F_SETFL, flags) }.check().map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn is_set(fd: RawFd) -> bool {
        flags(fd).unwrap() & libc::O_NONBLOCK != 0
    }

    #[test]
    fn the_last_one_takes_the_flag_back_that_the_first_has_set() {
        let (socket, _peer) = UnixStream::pair().unwrap();
        let clone = socket.try_clone().unwrap();
        let (one, other) = (socket.as_raw_fd(), clone.as_raw_fd());
        let first = Nonblocking::begin(one).unwrap();
        let second = Nonblocking::begin(other).unwrap();
        assert!(is_set(one) && !is_nonblocking(other), "set, and no wish of its owner's");
        first.end(one);
        assert!(is_set(other));
        second.end(other);
        assert!(!is_set(one));
    }

    #[test]
    fn an_owner_s_own_wish_stays() {
        let (socket, _peer) = UnixStream::pair().unwrap();
        let fd = socket.as_raw_fd();
        Nonblocking::begin(fd).unwrap().leave_so();
        assert!(is_nonblocking(fd));
        Nonblocking::begin(fd).unwrap().end(fd);
        assert!(is_nonblocking(fd));
        assert!(Nonblocking::begin(-1).is_err());
    }

    #[test]
    fn one_that_is_claimed_stays_so_and_is_no_wish() {
        let (socket, _peer) = UnixStream::pair().unwrap();
        let fd = socket.as_raw_fd();
        socket.set_nonblocking(true).unwrap();
        Nonblocking::claim(fd).unwrap();
        assert!(is_set(fd) && !is_nonblocking(fd));
        Nonblocking::begin(fd).unwrap().end(fd);
        assert!(is_set(fd) && !is_nonblocking(fd));
    }

    #[test]
    fn many_files_are_told_apart() {
        let pairs: Vec<_> = (0..20).map(|_| UnixStream::pair().unwrap()).collect();
        let begin =
            |(one, _): &(UnixStream, UnixStream)| (one.as_raw_fd(), Nonblocking::begin(one.as_raw_fd()));
        let begun: Vec<_> = pairs.iter().map(begin).collect();
        for (fd, nonblocking) in begun {
            assert!(is_set(fd));
            nonblocking.unwrap().end(fd);
            assert!(!is_set(fd));
        }
        assert!(pairs.iter().all(|(_, other)| !is_set(other.as_raw_fd())));
    }
}
