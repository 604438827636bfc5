//! Files of any kind: what can be waited for is, and what cannot is left to io_uring or to other OS threads.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Source;
use super::operation::{ReadBytes, WriteBytes};
use crate::hub::{HubRef, hub, spend_budget};
use crate::sync::Semaphore;
use crate::sys::descriptor;
use crate::sys::uninterrupted;
use crate::sys::uring::{Done, Entry};
use crate::threadpool::{offload, stops};

/// The most that one read or write of a regular file moves.
const LARGEST: usize = 1 << 20;
/// The same where the hub's thread copies what is in memory: itself, or when it submits to io_uring.
const LARGEST_HERE: usize = 1 << 18;
/// What is read at least of a file that does not say how much it has, as those of /proc do not.
const FIRST: u64 = 4095;

/// An open file that stays in the mode in which it came, since others may have it open too.
///
/// Pipes, terminals, sockets and devices are waited for by readiness. For regular files and folders there is no such thing: what
/// the kernel has in memory is read at once, and for the rest io_uring reads and writes them if that is the driver, and else a thread
/// of the pool. That owns the bytes meanwhile, so that the caller may go away at any time.
#[derive(Debug)]
pub(crate) struct AnyFile<T> {
    source: Source<Arc<T>>,
    tells_readiness: bool,
    /// Whether what is read may lie in the kernel's memory. With O_DIRECT it always comes from the disk, and a read waits for that,
    /// whatever it is asked.
    cached: bool,
    position: Arc<Position>,
}

/// The position of an open file, which its duplicates share.
#[derive(Debug)]
struct Position {
    /// Held by who has io_uring read or write there, which does not see to it by itself that each gets bytes of its own.
    turn: Semaphore,
    /// How many operations there are on their way to other OS threads, or under way: the kernel locks the position meanwhile.
    away: AtomicUsize,
}

/// An operation at the position that another OS thread does: counted until it has ended, or is given up.
struct Away(Arc<Position>);

impl Away {
    fn new(position: &Arc<Position>) -> Away {
        position.away.fetch_add(1, Ordering::SeqCst);
        Away(Arc::clone(position))
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        self.0.away.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The calling thread's hub, if operations are to go to the kernel as a whole.
pub(crate) fn performer() -> Option<HubRef> {
    if stops() { None } else { Some(hub()).filter(|hub| hub.performs()) }
}

impl<T: AsFd + Send + Sync + 'static> AnyFile<T> {
    pub(crate) fn new(file: T) -> AnyFile<T> {
        let tells_readiness = descriptor::tells_readiness(file.as_fd());
        let source = Source::new(Arc::new(file));
        // Not asked of others: a regular file never says EAGAIN.
        let nonblocking = tells_readiness && descriptor::is_nonblocking(source.get_ref().as_fd());
        source.set_nonblocking(nonblocking);
        let cached = !tells_readiness && !descriptor::is_direct(source.get_ref().as_fd()).unwrap_or(true);
        let position = Position { turn: Semaphore::new(1), away: AtomicUsize::new(0) };
        AnyFile { source, tells_readiness, cached, position: Arc::new(position) }
    }

    /// `file` is a duplicate of this one.
    pub(crate) fn sibling(&self, file: T) -> AnyFile<T> {
        AnyFile { position: Arc::clone(&self.position), ..AnyFile::new(file) }
    }

    #[inline]
    pub(crate) fn get_ref(&self) -> &T {
        self.source.get_ref()
    }

    /// The same file, of which nobody waits for readiness any more.
    pub(crate) fn into_inner(self) -> Arc<T> {
        self.source.into_inner()
    }

    /// Whether a read or a write may be asked to wait, and so need not be sent off.
    #[inline]
    pub(crate) fn tells_readiness(&self) -> bool {
        self.tells_readiness
    }

    /// For what goes off by itself.
    pub(crate) fn share(&self) -> Arc<T> {
        Arc::clone(self.source.get_ref())
    }

    /// Runs `operation` on another OS thread. It is not begun if the caller is killed, or its time is over, before.
    pub(crate) fn offload<R: Send + 'static>(
        &self,
        operation: impl FnOnce(&T) -> io::Result<R> + Send + 'static,
    ) -> io::Result<R> {
        let file = self.share();
        offload(move || operation(&file))
    }

    /// The same for what moves the position of the open file, or depends on it.
    pub(crate) fn offload_at_position<R: Send + 'static>(
        &self,
        operation: impl FnOnce(&T) -> io::Result<R> + Send + 'static,
    ) -> io::Result<R> {
        let away = Away::new(&self.position);
        self.offload(move |file| {
            let result = operation(file);
            drop(away);
            result
        })
    }

    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.tells_readiness {
            return self.source.run(ReadBytes { buffer, lent: true });
        }
        if let Some(count) = self.read_from_memory(buffer, None) {
            return Ok(count);
        }
        if let Some(hub) = performer() {
            let _turn = self.position.turn.acquire();
            return self.fill_here(hub, buffer, None);
        }
        let away = Away::new(&self.position);
        self.fetch(buffer, move |file, bytes| {
            let _away = &away;
            descriptor::read(file.as_fd(), bytes)
        })
    }

    /// What of a file the kernel has in memory, at the position or at `offset`, copied by the calling thread. `None` if that is nothing,
    /// or cannot be told without waiting: at the end of a file, too, for Linux 5.9 and 5.10 say so of what is not in memory.
    fn read_from_memory(&self, buffer: &mut [u8], offset: Option<u64>) -> Option<usize> {
        if !self.cached {
            return None;
        }
        let length = buffer.len().min(LARGEST_HERE);
        // Before the call: this may yield, and be raised out of.
        if spend_budget() {
            // Disks may fail here: that is seen where the disk is read.
            return None;
        }
        let mut read = || descriptor::read_from_memory(self.as_fd(), &mut buffer[..length], offset);
        let read = if offset.is_some() { read() } else { self.at_free_position(|_| read())? };
        read.ok().filter(|&count| count > 0)
    }

    /// Does what concerns the position and does not wait, unless somebody else has the position: the kernel would wait for that one,
    /// whatever it is asked.
    pub(crate) fn at_free_position<R>(&self, change: impl FnOnce(&T) -> R) -> Option<R> {
        if self.position.away.load(Ordering::SeqCst) > 0 {
            return None;
        }
        let _turn = self.position.turn.try_acquire()?;
        Some(change(self.get_ref()))
    }

    /// What is left of a regular file, if the kernel reads it by itself.
    pub(crate) fn read_to_end(&self, bytes: &mut Vec<u8>) -> Option<io::Result<usize>> {
        let hub = performer()?;
        let mut more = Vec::new();
        let mut count = 0;
        let result = loop {
            if count == more.len() {
                // One more byte tells that it is the end.
                let size = descriptor::size(self.as_fd()).saturating_sub(count as u64).max(FIRST);
                if let Err(error) = more.try_reserve_exact(size as usize + 1) {
                    break Err(error.into());
                }
                more.resize((count + LARGEST_HERE).min(more.capacity()), 0);
            }
            let turn = self.position.turn.acquire();
            let read;
            (read, more) = self.read_here(hub, more, count, None);
            drop(turn);
            match read {
                Ok(0) => break Ok(count),
                Ok(read) => count += read,
                Err(error) => break Err(error),
            }
        };
        more.truncate(count);
        if bytes.is_empty() {
            *bytes = more
        } else {
            bytes.append(&mut more)
        }
        Some(result)
    }

    /// Reads into all of `bytes` behind the first `from`.
    fn read_here(
        &self,
        hub: HubRef,
        bytes: Vec<u8>,
        from: usize,
        offset: Option<u64>,
    ) -> (io::Result<usize>, Vec<u8>) {
        // Open until the kernel has done it, whatever becomes of `self` if this never goes on.
        let file = self.share();
        let entry = Entry::read(file.as_fd(), bytes, from, offset);
        let (done, entry) = hub.reactor().perform(entry, "File::read");
        (done.map(Done::count), entry.into_bytes())
    }

    fn fill_here(&self, hub: HubRef, buffer: &mut [u8], offset: Option<u64>) -> io::Result<usize> {
        let (read, bytes) = self.read_here(hub, vec![0; buffer.len().min(LARGEST_HERE)], 0, offset);
        let count = read?;
        buffer[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write_here(&self, hub: HubRef, buffer: &[u8], offset: Option<u64>) -> io::Result<usize> {
        let bytes = buffer[..buffer.len().min(LARGEST_HERE)].to_vec();
        // As for a read.
        let file = self.share();
        let (done, _) = hub.reactor().perform(Entry::write(file.as_fd(), bytes, offset), "File::write");
        done.map(Done::count)
    }

    /// Does what concerns the position alone, where nobody who is parked keeps that locked in the kernel.
    pub(crate) fn at_position<R>(&self, change: impl FnOnce(&T) -> R) -> Option<R> {
        performer()?;
        let _turn = self.position.turn.acquire();
        Some(change(self.get_ref()))
    }

    /// fsync(2), or for the contents alone fdatasync(2).
    pub(crate) fn synchronize(&self, contents_alone: bool) -> io::Result<()> {
        if let Some(hub) = performer() {
            // As for a read.
            let file = self.share();
            let (done, _) =
                hub.reactor().perform(Entry::synchronize(file.as_fd(), contents_alone), "File::sync");
            return done.map(drop);
        }
        self.offload(move |file| uninterrupted(|| descriptor::synchronize(file.as_fd(), contents_alone)))
    }

    /// [`read`](AnyFile::read) at a place of its own.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if let Some(count) = self.read_from_memory(buffer, Some(offset)) {
            return Ok(count);
        }
        if let Some(hub) = performer().filter(|_| descriptor::is_offset(offset)) {
            return self.fill_here(hub, buffer, Some(offset));
        }
        self.fetch(buffer, move |file, bytes| descriptor::read_at(file.as_fd(), bytes, offset))
    }

    /// Fills `buffer` off the hub, as far as `read` does.
    fn fetch(
        &self,
        buffer: &mut [u8],
        read: impl Fn(&T, &mut [u8]) -> io::Result<usize> + Send + 'static,
    ) -> io::Result<usize> {
        let length = buffer.len().min(LARGEST);
        let bytes = self.offload(move |file| {
            let mut bytes = vec![0; length];
            let count = uninterrupted(|| read(file, &mut bytes))?;
            bytes.truncate(count);
            Ok(bytes)
        })?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    /// [`write`](AnyFile::write) at a place of its own.
    pub(crate) fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<usize> {
        if let Some(hub) = performer().filter(|_| descriptor::is_offset(offset)) {
            return self.write_here(hub, buffer, Some(offset));
        }
        let bytes = buffer[..buffer.len().min(LARGEST)].to_vec();
        self.offload(move |file| uninterrupted(|| descriptor::write_at(file.as_fd(), &bytes, offset)))
    }

    pub(crate) fn write(&self, buffer: &[u8]) -> io::Result<usize> {
        if self.tells_readiness {
            return self.source.run(WriteBytes { buffer, lent: true });
        }
        if let Some(hub) = performer() {
            let _turn = self.position.turn.acquire();
            return self.write_here(hub, buffer, None);
        }
        let bytes = buffer[..buffer.len().min(LARGEST)].to_vec();
        self.offload_at_position(move |file| uninterrupted(|| descriptor::write(file.as_fd(), &bytes)))
    }
}

impl<T: AsFd> AsFd for AnyFile<T> {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.get_ref().as_fd()
    }
}

#[cfg(test)]
mod tests;
