//! A file descriptor of greenloop's own, and its loop of try, wait, retry.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::home::{Found, Home};
use super::operation::{Direction, Operation};
use crate::hub::reactor::{Key, Reactor, Registration, Turn};
use crate::hub::waiter::{Waiter, WaitingOn, Wakeup, check_may_wait};
use crate::hub::{HubRef, hub, local_hub, spend_budget};
use crate::sys::clock::Time;
use crate::sys::descriptor;
use crate::sys::lock::Lock;
use crate::sys::uninterrupted;

/// A file descriptor that belongs to greenloop: nothing else waits for it, reads its flags or closes it. Its operations do
/// not block: its maker has made it O_NONBLOCK, or they ask for that each time, as those of sockets do.
///
/// It is registered with a hub's reactor at the first wait there; the reactors of several hubs may know it.
/// Within one hub the operations of one direction take turns, in order of arrival; between hubs there is no order.
#[derive(Debug)]
pub(crate) struct Source<T> {
    // Ended before `inner` is dropped, so before the number can mean anything else.
    registrations: Registrations,
    /// Made when first changed or shared.
    settings: OnceLock<Arc<Settings>>,
    inner: T,
}

// Turns, settings and registrations are kept whole, whoever unwinds: it is as its descriptor is.
impl<T: UnwindSafe> UnwindSafe for Source<T> {}
impl<T: RefUnwindSafe> RefUnwindSafe for Source<T> {}

/// What clones of one open file have in common.
#[derive(Debug, Default)]
struct Settings {
    /// By direction: nanoseconds, 0 for no limit.
    timeouts: [AtomicU64; 2],
    nonblocking: AtomicBool,
}

/// When an operation gives up waiting.
#[derive(Clone, Copy)]
enum Limit {
    /// After the source's timeout for the direction, with the error of SO_RCVTIMEO.
    Timeout,
    /// At a point in time, with an error of kind `TimedOut`.
    Deadline(Option<Time>),
    /// [`Timeout`](Limit::Timeout) of an operation that has begun.
    TimeoutAt(Option<Time>),
}

impl<T: AsFd> Source<T> {
    /// Takes `inner` over. Makes no system call.
    pub(crate) fn new(inner: T) -> Source<T> {
        Source { registrations: Registrations::new(), settings: OnceLock::new(), inner }
    }

    /// Takes over one that comes from elsewhere, and stays as blocking as it was.
    pub(crate) fn adopted(inner: T) -> Source<T> {
        let nonblocking = descriptor::is_nonblocking(inner.as_fd());
        let source = Source::new(inner);
        source.set_nonblocking(nonblocking);
        source
    }

    /// A source for a new duplicate of the descriptor, which has the timeouts and the mode in common with this one.
    ///
    /// # Errors
    ///
    /// EBADF if this one is closed: `inner` then duplicates what stands in its place.
    pub(crate) fn sibling(&self, inner: T) -> io::Result<Source<T>> {
        self.registrations.check_open()?;
        let settings = OnceLock::from(self.settings_to_change().clone());
        Ok(Source { registrations: Registrations::new(), settings, inner })
    }

    #[inline]
    pub(crate) fn get_ref(&self) -> &T {
        &self.inner
    }

    /// Gives the descriptor back, unknown to every reactor.
    pub(crate) fn into_inner(self) -> T {
        drop(self.registrations);
        self.inner
    }

    /// Does `operation`, and waits as long as it would block, at most for the timeout of its direction.
    ///
    /// It yields only if it waits, or if the calling green thread has done so much without waiting that others must run. A
    /// kill or an enclosing time limit ends the wait by unwinding; nothing has been read or written then.
    ///
    /// # Errors
    ///
    /// What the call says. EAGAIN if the timeout passes, or in nonblocking mode. EBADF if the source is closed, before or
    /// meanwhile. [`Unwinding`](crate::error::Unwinding) if it would have to wait while the green thread unwinds.
    #[inline]
    pub(crate) fn run<O: Operation>(&self, operation: O) -> io::Result<O::Output> {
        self.run_within(operation, Limit::Timeout)
    }

    /// Like [`run`](Source::run) with a deadline in place of the timeout.
    ///
    /// # Errors
    ///
    /// As [`run`](Source::run), but kind `TimedOut` when the deadline has passed.
    #[inline]
    pub(crate) fn run_until<O: Operation>(
        &self,
        operation: O,
        deadline: Option<Time>,
    ) -> io::Result<O::Output> {
        self.run_within(operation, Limit::Deadline(deadline))
    }

    /// Closes the descriptor now, though others may still use this source: whoever waits for it, in any hub, gets EBADF, and
    /// so does every later operation. The number stays taken until the source is dropped.
    ///
    /// # Errors
    ///
    /// EBADF if it is closed already. On a thread without a hub, also that the process has no descriptor left; then it
    /// stays open.
    pub(crate) fn close(&self) -> io::Result<()> {
        let spare;
        let local = local_hub();
        let substitute = match local.as_ref().and_then(|hub| hub.made_reactor()) {
            Some(reactor) => reactor.closed()?,
            None => {
                spare = descriptor::closed()?;
                spare.as_fd()
            }
        };
        let ended = self.registrations.close()?;
        // Out of the reactors first, as long as the number means the file, which a clone may keep open.
        ended.into_iter().for_each(Registration::end);
        if let Some(reactor) = local.as_ref().and_then(|hub| hub.made_reactor()) {
            reactor.closing(self.inner.as_fd().as_raw_fd());
        }
        descriptor::close_over(self.inner.as_fd(), substitute)
    }

    /// How long an operation in this direction may wait.
    pub(crate) fn timeout(&self, direction: Direction) -> Option<Duration> {
        // Relaxed: a setting orders nothing.
        let nanoseconds = self.settings.get()?.timeouts[direction as usize].load(Ordering::Relaxed);
        (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
    }

    /// Sets how long each operation in this direction may wait, from the next one on.
    pub(crate) fn set_timeout(&self, direction: Direction, timeout: Option<Duration>) {
        let nanoseconds =
            timeout.map_or(0, |timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX).max(1));
        // Relaxed: as above.
        self.settings_to_change().timeouts[direction as usize].store(nanoseconds, Ordering::Relaxed);
    }

    /// Whether operations that would have to wait say EAGAIN.
    pub(crate) fn nonblocking(&self) -> bool {
        // Relaxed: a setting orders nothing.
        self.settings.get().is_some_and(|settings| settings.nonblocking.load(Ordering::Relaxed))
    }

    /// Sets whether operations that would have to wait say EAGAIN, from the next one on.
    pub(crate) fn set_nonblocking(&self, nonblocking: bool) {
        if nonblocking || self.settings.get().is_some() {
            // Relaxed: as above.
            self.settings_to_change().nonblocking.store(nonblocking, Ordering::Relaxed);
        }
    }

    fn settings_to_change(&self) -> &Arc<Settings> {
        self.settings.get_or_init(Arc::default)
    }

    #[inline]
    fn deadline(&self, limit: Limit, direction: Direction) -> Option<Time> {
        match limit {
            Limit::Timeout => self.timeout(direction).map(Time::after),
            Limit::Deadline(deadline) | Limit::TimeoutAt(deadline) => deadline,
        }
    }

    #[inline]
    fn run_within<O: Operation>(&self, operation: O, limit: Limit) -> io::Result<O::Output> {
        let may_wait = !self.nonblocking();
        // Before the call, not after: this may yield, and then a kill or a time limit is raised, and what was read would be
        // lost. Who asked not to wait must not be made to: it may hold a lock that others on this thread want.
        if may_wait && spend_budget() {
            return self.run_amid_faults(operation, limit);
        }
        self.run_unhindered(operation, limit, may_wait)
    }

    #[inline(always)]
    fn run_unhindered<O: Operation>(
        &self,
        mut operation: O,
        limit: Limit,
        may_wait: bool,
    ) -> io::Result<O::Output> {
        let direction = O::DIRECTION;
        let hub = local_hub();
        let known = hub.as_ref().and_then(|hub| self.registrations.find(hub.made_reactor()?));
        if let Some((reactor, key)) = known
            && may_wait
            && !reactor.is_free(key, direction)
        {
            return self.wait_and_run(operation, limit, known);
        }
        match uninterrupted(|| operation.attempt(self.inner.as_fd())) {
            Ok(output) => {
                if let Some((reactor, key)) = known
                    && operation.drained(&output)
                {
                    reactor.note_drained(key, direction);
                }
                Ok(output)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if let Some((reactor, key)) = known {
                    reactor.note_blocked(key, direction);
                }
                if may_wait { self.wait_and_run(operation, limit, known) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }

    /// The rest of [`run_within`](Source::run_within), for an operation that has to wait: for its turn, or for readiness.
    #[inline(never)]
    fn wait_and_run<O: Operation>(
        &self,
        mut operation: O,
        limit: Limit,
        known: Option<(&Reactor, Key)>,
    ) -> io::Result<O::Output> {
        check_may_wait()?;
        let fd = self.inner.as_fd();
        let deadline = self.deadline(limit, O::DIRECTION);
        let waiter = Waiter::new(waiting_on(O::DIRECTION, fd.as_raw_fd()));
        let hub = hub();
        let (reactor, key) = match known {
            Some(known) => known,
            None => self.registrations.register(&hub, fd.as_raw_fd(), O::DIRECTION)?,
        };
        // A key that names nothing: it has been closed.
        let turn = Turn::begin(reactor, key, O::DIRECTION, || waiter.notify());
        let turn = turn.ok_or_else(descriptor::bad_descriptor)?;
        if !reactor.tells_edges() {
            // Such a driver is yet to be asked, be it for the whole, if it does that, or for readiness.
            if let Some(result) = perform(&mut operation, fd, &turn, &waiter, deadline) {
                let (output, drained) = result?;
                turn.finish(drained);
                return Ok(output);
            }
            // It may have been closed meanwhile.
            turn.may_try().ok_or_else(descriptor::bad_descriptor)?;
            turn.wait_again(false, || waiter.notify());
        }
        loop {
            let wakeup = waiter.park(deadline);
            if let Wakeup::Interrupted(interrupt) = wakeup {
                drop(turn);
                drop(waiter);
                interrupt.raise();
            }
            // Also after the deadline: readiness may have come in the same pass of the hub.
            let may_try = turn.may_try().ok_or_else(descriptor::bad_descriptor)?;
            if may_try {
                match uninterrupted(|| operation.attempt(fd)) {
                    Ok(output) => {
                        turn.finish(operation.drained(&output));
                        return Ok(output);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            turn.wait_again(may_try, || waiter.notify());
            if let Wakeup::TimedOut = wakeup {
                return Err(limit.error());
            }
        }
    }
}

/// Has the kernel do the operation as a whole, and tells whether what it gives shows that it is drained. `None` if it has not been done,
/// and is to be waited for by readiness.
fn perform<O: Operation>(
    operation: &mut O,
    fd: BorrowedFd<'_>,
    turn: &Turn<'_>,
    waiter: &Waiter,
    deadline: Option<Time>,
) -> Option<io::Result<(O::Output, bool)>> {
    if !turn.may_perform() {
        return None;
    }
    let entry = operation.entry(fd)?;
    match turn.perform(&entry, waiter, deadline)? {
        Ok(done) => Some(operation.complete(done, entry)),
        Err(error) if descriptor::is_not_now(&error) => None,
        Err(error) => Some(Err(error)),
    }
}

fn waiting_on(direction: Direction, fd: RawFd) -> WaitingOn {
    match direction {
        Direction::Read => WaitingOn::Readable(fd),
        Direction::Write => WaitingOn::Writable(fd),
    }
}

impl Limit {
    fn error(self) -> io::Error {
        match self {
            Limit::Timeout | Limit::TimeoutAt(_) => descriptor::would_block(),
            Limit::Deadline(_) => io::ErrorKind::TimedOut.into(),
        }
    }
}

/// Which reactors know a source.
#[derive(Debug)]
struct Registrations {
    /// Stored under the lock.
    home: Home,
    /// Set under the lock, and before anybody is woken to find it set.
    closed: AtomicBool,
    known: Lock<Known>,
}

#[derive(Debug)]
struct Known {
    /// Most sources are known to one reactor, which costs no allocation.
    first: Option<Registration>,
    others: Vec<Registration>,
}

impl Registrations {
    fn new() -> Registrations {
        Registrations {
            home: Home::new(),
            closed: AtomicBool::new(false),
            known: Lock::new(Known { first: None, others: Vec::new() }),
        }
    }

    /// The key in `reactor`, the calling thread's, if that knows the source.
    #[inline]
    fn find<'a>(&self, reactor: &'a Reactor) -> Option<(&'a Reactor, Key)> {
        match self.home.find(reactor.id()) {
            Found::Key(key) => Some((reactor, Key::from_bits(key))),
            Found::Nothing => None,
            Found::Elsewhere => self.find_elsewhere(reactor),
        }
    }

    #[cold]
    fn find_elsewhere<'a>(&self, reactor: &'a Reactor) -> Option<(&'a Reactor, Key)> {
        Some((reactor, self.known.lock().key_in(reactor)?))
    }

    /// Makes the source known to the reactor of the calling thread's hub, which does not know it. It said EAGAIN in the direction of
    /// `blocked`.
    fn register<'a>(&self, hub: &'a HubRef, fd: RawFd, blocked: Direction) -> io::Result<(&'a Reactor, Key)> {
        // The lock is held over the system call, so that the descriptor is not closed in between.
        let mut known = self.known.lock();
        self.check_open()?;
        let registration = Registration::new(*hub, fd, blocked)?;
        let (reactor, key) = (hub.reactor(), registration.key());
        known.add(registration);
        self.home.settle(reactor.id(), key.to_bits());
        Ok((reactor, key))
    }

    #[inline]
    fn check_open(&self) -> io::Result<()> {
        if self.closed.load(Ordering::SeqCst) { Err(descriptor::bad_descriptor()) } else { Ok(()) }
    }

    /// Lets no reactor know the source from now on. Hands out what is to be ended.
    fn close(&self) -> io::Result<Vec<Registration>> {
        let mut known = self.known.lock();
        self.check_open()?;
        self.closed.store(true, Ordering::SeqCst);
        Ok(known.take())
    }
}

impl Drop for Registrations {
    fn drop(&mut self) {
        let Known { first, others } = self.known.get_mut();
        first.take().into_iter().chain(others.drain(..)).for_each(Registration::end);
    }
}

impl Known {
    fn key_in(&self, reactor: &Reactor) -> Option<Key> {
        let mut all = self.first.iter().chain(&self.others);
        all.find(|registration| registration.is_in(reactor)).map(Registration::key)
    }

    fn add(&mut self, registration: Registration) {
        // Those of threads that have ended since.
        self.others.retain(Registration::is_live);
        if self.first.as_ref().is_none_or(|first| !first.is_live()) {
            self.first = Some(registration);
        } else {
            self.others.push(registration);
        }
    }

    fn take(&mut self) -> Vec<Registration> {
        self.first.take().into_iter().chain(self.others.drain(..)).collect()
    }
}

mod faults;
#[cfg(test)]
mod tests;
