//! Operations that the kernel does as a whole, on memory that is lent to it meanwhile.
//!
//! One rule: who has lent memory does not go on, return or unwind, before the kernel has given it back. It is kept here. What is
//! lent belongs to the entry, in the frame that is parked: if that never runs again, it is not freed.

#![expect(unsafe_code, reason = "what a parked stack has is lent to the kernel")]

use std::io;
use std::mem;

use super::super::lifetime::hub;
use super::super::waiter::{Waiter, WaitingOn};
use super::super::yielding::raise_interrupt;
use super::in_flight::{InFlight, Progress};
use super::poller::Poller;
use super::{Core, Reactor};
use crate::sys::clock::Time;
use crate::sys::descriptor;
use crate::sys::uring::{Done, Entry, Uring};

/// Among more descriptors than that, bytes to receive are waited for by readiness: a request to receive is larger in the kernel than a
/// question, so that a pass over many of them misses the caches.
const FEW: usize = 128;

/// The loan of what an entry has. It ends when this is dropped, which waits for it if nobody else has.
pub(super) struct Loan<'a> {
    reactor: &'a Reactor,
    token: usize,
}

impl Reactor {
    /// Whether the driver does operations as a whole.
    #[inline]
    pub(crate) fn performs(&self) -> bool {
        matches!(self.core.borrow().poller, Poller::Uring(_))
    }

    /// Whether to have the kernel do `entry`, an operation on a socket, as a whole and not to wait for readiness. One that receives, while
    /// there are few sockets and there is a buffer for it; all others.
    pub(super) fn pays(&self, entry: &Entry<'_>) -> bool {
        let core = &mut *self.core.borrow_mut();
        !entry.takes_buffer() || core.descriptors.len() <= FEW && core.uring().has_buffers()
    }

    /// Has the kernel do what `entry` says while the current greenlet, which does not unwind, is parked.
    ///
    /// At a kill or a time limit the kernel is asked to give it up. If it does, that is raised; if it is too late, the result
    /// is returned, and the next wait raises. Either way it lasts until the kernel has given back what was lent.
    ///
    /// Returns what the operation says, and the entry with what was read.
    ///
    /// # Panics
    ///
    /// If the driver [does no operations](Reactor::performs), and in a hub callback.
    pub(crate) fn perform<'fd>(&self, entry: Entry<'fd>, on: &'static str) -> (io::Result<Done>, Entry<'fd>) {
        loop {
            match self.try_perform(&entry, on) {
                Some(result) => return (result, entry),
                None => raise_interrupt(hub()),
            }
        }
    }

    /// `None` if it was interrupted, before or meanwhile, and has not been done.
    fn try_perform(&self, entry: &Entry<'_>, on: &'static str) -> Option<io::Result<Done>> {
        let waiter = Waiter::new(WaitingOn::Other(on));
        Loan::begin(self, entry, &waiter)?.wait(&waiter, None)
    }
}

impl Core {
    fn uring(&mut self) -> &mut Uring {
        match &mut self.poller {
            Poller::Uring(uring) => uring,
            _ => panic!("only io_uring does operations as a whole"),
        }
    }

    /// Gives an operation up on a file that is about to be closed: the next [`let_go`](Poller::let_go) waits for its end.
    pub(super) fn hurry(&mut self, token: u32) {
        if let InFlight { begun, progress: Progress::UnderWay, .. } = self.operations[token as usize] {
            self.uring().hurry(begun);
        }
    }

    /// Takes in what the kernel has done, and wakes those who wait for it.
    #[inline]
    pub(super) fn hear_done(&mut self) {
        let Core { poller: Poller::Uring(uring), operations, .. } = self else { return };
        for (token, result) in uring.take_done() {
            let operation = &mut operations[token as usize];
            operation.progress = Progress::Done(result);
            // An entry in the hub's queue: it runs nothing.
            operation.whom.wake();
        }
    }
}

impl<'a> Loan<'a> {
    /// Begins an operation, whose end wakes `waiter`. `None` if that is interrupted: an operation that is always done before it can be
    /// given up would put the interrupt off for ever.
    pub(super) fn begin(reactor: &'a Reactor, entry: &'a Entry<'_>, waiter: &Waiter) -> Option<Loan<'a>> {
        if waiter.is_disturbed() {
            return None;
        }
        let core = &mut *reactor.core.borrow_mut();
        let token = core.operations.vacant_key();
        // SAFETY: `Loan<'a>` borrows the entry, and lives in the frame of a wait alone, `try_perform` or `Turn::perform`, which leaves
        // it only when the operation has been told of, or by its drop, which waits until it has. The entry itself lives in the frame
        // of the caller: in one that never runs again, since its OS thread has ended, nothing is dropped.
        let begun = unsafe { core.uring().begin(entry, token as u64) };
        core.operations.insert(InFlight { whom: waiter.wake(), begun, progress: Progress::UnderWay });
        reactor.waiting.update(|waiting| waiting + 1);
        Some(Loan { reactor, token })
    }

    /// Its name, for [`Core::hurry`].
    pub(super) fn token(&self) -> u32 {
        u32::try_from(self.token).expect("each has a stack of its own")
    }

    /// Parks until it is done. At the deadline, and at an interrupt, which is left for the next park, it is given up. `None` if it has
    /// not been done then.
    pub(super) fn wait(&self, waiter: &Waiter, deadline: Option<Time>) -> Option<io::Result<Done>> {
        while waiter.park_undecided(deadline) {
            if let Some(result) = self.take() {
                return unless_given_up(result);
            }
        }
        self.give_up();
        loop {
            if let Some(result) = self.take() {
                return unless_given_up(result);
            }
            waiter.park_uninterrupted();
        }
    }

    /// What the kernel has said, once.
    fn take(&self) -> Option<io::Result<Done>> {
        let progress = &mut self.reactor.core.borrow_mut().operations[self.token].progress;
        match mem::replace(progress, Progress::Told) {
            Progress::Done(result) => Some(result),
            before => {
                *progress = before;
                None
            }
        }
    }

    fn give_up(&self) {
        let core = &mut *self.reactor.core.borrow_mut();
        if let InFlight { begun, progress: Progress::UnderWay, .. } = core.operations[self.token] {
            core.uring().cancel(begun);
        }
    }

    fn is_under_way(&self) -> bool {
        matches!(self.reactor.core.borrow().operations[self.token].progress, Progress::UnderWay)
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        // Only if a park unwound: the hub itself has failed. Then the OS thread waits.
        if self.is_under_way() {
            self.give_up();
        }
        while self.is_under_way() {
            let polled = self.reactor.poll(None);
            polled.expect("the kernel does not refuse to wait, or it would keep what was lent");
        }
        let operation = self.reactor.core.borrow_mut().operations.remove(self.token);
        self.reactor.waiting.update(|waiting| waiting - 1);
        drop(operation);
    }
}

fn unless_given_up(result: io::Result<Done>) -> Option<io::Result<Done>> {
    if result.as_ref().is_err_and(descriptor::is_given_up) { None } else { Some(result) }
}
