//! A descriptor that tells of the end of a child.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use crate::sys::os_thread::real;
use crate::sys::process;

const STACK_SIZE: usize = 64 * 1024;

/// Readable once a child has ended, and ever after.
#[derive(Debug)]
pub(super) struct EndWatch(OwnedFd);

impl EndWatch {
    /// For a child of this process that has not been waited for.
    ///
    /// # Errors
    ///
    /// For instance that the process has no descriptor left.
    pub(super) fn of(child: u32) -> io::Result<EndWatch> {
        match process::open_pidfd(child) {
            // The kernel, or the sandbox around the process, does not have the call.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) =>
            {
                EndWatch::from_thread(child)
            }
            pidfd => pidfd.map(EndWatch),
        }
    }

    /// Where there are no pidfds: an OS thread waits in the kernel, and hangs up a pipe then.
    fn from_thread(child: u32) -> io::Result<EndWatch> {
        let (ending, running) = io::pipe()?;
        let wait = move || {
            // If somebody else has waited for it, it has ended too.
            let _ = process::block_until_ended(child);
            drop(running);
        };
        let thread = thread::Builder::new().name("greenloop-wait".to_owned()).stack_size(STACK_SIZE);
        real(|| thread.spawn(wait))?;
        Ok(EndWatch(ending.into()))
    }
}

impl AsFd for EndWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::io::{Interest, wait_readable};
    use crate::sys::poll::check;

    /// Told of no end while the child waits for the end of its input, and of it when that has come, also when asked later.
    fn tells_of_the_end(open: fn(u32) -> io::Result<EndWatch>) {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let ending = open(child.id()).unwrap();
        assert_ne!(check(ending.as_fd(), Interest::READABLE).unwrap(), Interest::READABLE);
        drop(child.stdin.take());
        wait_readable(&ending).unwrap();
        wait_readable(open(child.id()).unwrap()).unwrap();
        assert!(child.try_wait().unwrap().unwrap().success());
    }

    #[test]
    fn a_pidfd_tells_of_the_end() {
        tells_of_the_end(EndWatch::of);
    }

    #[test]
    fn without_pidfds_a_thread_tells_of_the_end() {
        tells_of_the_end(EndWatch::from_thread);
    }
}
