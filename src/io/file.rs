//! Files of any kind: what can be waited for is, and what cannot is left to other OS threads.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::Source;
use super::operation::{ReadBytes, WriteBytes};
use crate::sys::descriptor;
use crate::threadpool::offload;

/// The most that one read or write of a regular file moves.
const LARGEST: usize = 1 << 20;

/// An open file that stays in the mode in which it came, since others may have it open too.
///
/// Pipes, terminals, sockets and devices are waited for by readiness. For regular files and folders there is no such thing:
/// a thread of the pool reads and writes them. It owns the bytes meanwhile, so that the caller may go away at any time.
#[derive(Debug)]
pub(crate) struct AnyFile<T> {
    source: Source<Arc<T>>,
    tells_readiness: bool,
}

impl<T: AsFd + Send + Sync + 'static> AnyFile<T> {
    pub(crate) fn new(file: T) -> AnyFile<T> {
        let tells_readiness = descriptor::tells_readiness(file.as_fd());
        let source = Source::new(Arc::new(file));
        // Not asked of others: a regular file never says EAGAIN.
        let nonblocking =
            tells_readiness && descriptor::is_nonblocking(source.get_ref().as_fd()).unwrap_or(false);
        source.set_nonblocking(nonblocking);
        AnyFile { source, tells_readiness }
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

    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.tells_readiness {
            return self.source.run(ReadBytes { buffer, lent: true });
        }
        self.fetch(buffer, |file, bytes| descriptor::read(file.as_fd(), bytes))
    }

    /// [`read`](AnyFile::read) at a place of its own.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
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
        let bytes = buffer[..buffer.len().min(LARGEST)].to_vec();
        self.offload(move |file| uninterrupted(|| descriptor::write_at(file.as_fd(), &bytes, offset)))
    }

    pub(crate) fn write(&self, buffer: &[u8]) -> io::Result<usize> {
        if self.tells_readiness {
            return self.source.run(WriteBytes { buffer, lent: true });
        }
        let bytes = buffer[..buffer.len().min(LARGEST)].to_vec();
        self.offload(move |file| uninterrupted(|| descriptor::write(file.as_fd(), &bytes)))
    }
}

fn uninterrupted<R>(mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

impl<T: AsFd> AsFd for AnyFile<T> {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.get_ref().as_fd()
    }
}
