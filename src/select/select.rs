//! A list of operations of which one is to be done.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::channel::{AnyArm, Choice, Grant, Receiver, Sender};
use crate::error::{
    ReadyTimeoutError, RecvError, SelectTimeoutError, SendError, TryReadyError, TrySelectError,
};
use crate::fiber::may_wait;
use crate::hub::in_world::pick;
use crate::hub::reactor::Watch;
use crate::hub::waiter::{Interrupt, Waiter, WaitingOn, Wakeup, check_may_wait};
use crate::hub::waitlist::Ticket;
use crate::hub::{hub, spend_budget};
use crate::io::Interest;
use crate::sys::clock::Time;
use crate::sys::{descriptor, poll};

/// A list of operations, of which the first that can be done is chosen.
///
/// Use [`select!`](crate::select!) for a fixed number of operations, and this for a list that is made at run time. The names are
/// those of crossbeam-channel's `Select`.
///
/// First add every operation, which gives it an index. Then [`select`](Select::select) or one of its siblings chooses one, which
/// you carry out with the [`SelectedOperation`] that it returns. The list can be used again.
///
/// # Examples
///
/// ```
/// use greenloop::channel::unbounded;
/// use greenloop::select::Select;
///
/// let channels: Vec<_> = (0..10).map(|_| unbounded()).collect();
/// channels[7].0.send("hello").unwrap();
///
/// let mut select = Select::new();
/// for (_, receiver) in &channels {
///     select.recv(receiver);
/// }
/// let operation = select.select();
/// let index = operation.index();
/// assert_eq!((index, operation.recv(&channels[index].1)), (7, Ok("hello")));
/// ```
#[derive(Clone, Default)]
pub struct Select<'a> {
    cases: Vec<Case<'a>>,
    next_index: usize,
    /// Those that were added first are looked at first.
    biased: bool,
}

#[derive(Clone, Copy)]
struct Case<'a> {
    index: usize,
    what: What<'a>,
}

#[derive(Clone, Copy)]
enum What<'a> {
    Receive(AnyArm<'a>),
    Send(AnyArm<'a>),
    Descriptor(BorrowedFd<'a>, Interest),
}

/// What a case gives that was chosen.
enum Chosen {
    Granted(Grant),
    Descriptor(io::Result<()>),
    /// It is ready, and no more was asked.
    Ready,
}

impl<'a> Select<'a> {
    /// Makes an empty list.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::select::Select;
    ///
    /// assert!(Select::new().try_select().is_err()); // nothing to choose from
    /// ```
    pub fn new() -> Select<'a> {
        Select::default()
    }

    /// Makes an empty list that prefers the operation that was added first, if several can be done.
    ///
    /// [`select_biased!`](crate::select_biased!) is made of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::bounded;
    /// use greenloop::select::Select;
    ///
    /// let (sender, receiver) = bounded(2);
    /// sender.send(1).unwrap();
    /// let mut select = Select::new_biased();
    /// let (recv, _send) = (select.recv(&receiver), select.send(&sender));
    /// assert!((0..100).all(|_| select.ready() == recv));
    /// ```
    pub fn new_biased() -> Select<'a> {
        Select { biased: true, ..Select::default() }
    }

    /// Adds a receive, and returns its index.
    ///
    /// The first operation has the index 0, and each further one the next number.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::unbounded;
    /// use greenloop::select::Select;
    ///
    /// let (sender, receiver) = unbounded();
    /// let mut select = Select::new();
    /// assert_eq!(select.recv(&receiver), 0);
    /// sender.send(1).unwrap();
    /// assert_eq!(select.select().recv(&receiver), Ok(1));
    /// ```
    pub fn recv<T>(&mut self, receiver: &'a Receiver<T>) -> usize {
        self.add(What::Receive(AnyArm::new(receiver)))
    }

    /// Adds a send, and returns its index.
    ///
    /// You give the value when the operation has been chosen, to [`SelectedOperation::send`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::bounded;
    /// use greenloop::select::Select;
    ///
    /// let (sender, receiver) = bounded(1);
    /// let mut select = Select::new();
    /// let index = select.send(&sender);
    /// let operation = select.select();
    /// assert_eq!(operation.index(), index);
    /// operation.send(&sender, "value").unwrap();
    /// assert_eq!(receiver.recv(), Ok("value"));
    /// ```
    pub fn send<T>(&mut self, sender: &'a Sender<T>) -> usize {
        self.add(What::Send(AnyArm::new(sender)))
    }

    /// Adds a wait until a read from `fd` would not block, and returns its index.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::select::Select;
    ///
    /// let (reader, writer) = std::io::pipe()?;
    /// let mut select = Select::new();
    /// select.readable(&reader);
    /// assert!(select.try_select().is_err());
    /// let index = select.writable(&writer);
    /// let operation = select.select();
    /// assert_eq!(operation.index(), index);
    /// operation.readiness()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn readable(&mut self, fd: &'a impl AsFd) -> usize {
        self.add(What::Descriptor(fd.as_fd(), Interest::READABLE))
    }

    /// Adds a wait until a write to `fd` would not block, and returns its index.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::select::Select;
    ///
    /// let (_reader, writer) = std::io::pipe()?;
    /// let mut select = Select::new();
    /// let index = select.writable(&writer);
    /// let operation = select.select();
    /// assert_eq!(operation.index(), index);
    /// operation.readiness()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn writable(&mut self, fd: &'a impl AsFd) -> usize {
        self.add(What::Descriptor(fd.as_fd(), Interest::WRITABLE))
    }

    fn add(&mut self, what: What<'a>) -> usize {
        let index = self.next_index;
        self.next_index += 1;
        self.cases.push(Case { index, what });
        index
    }

    /// Takes an operation out of the list.
    ///
    /// The others keep their indices, and the index of this one is not given again.
    ///
    /// # Panics
    ///
    /// Panics if there is no operation with this index.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::{bounded, never};
    /// use greenloop::select::Select;
    ///
    /// let (sender, _receiver) = bounded(1);
    /// let silent = never::<u32>();
    /// let mut select = Select::new();
    /// let (send, recv) = (select.send(&sender), select.recv(&silent));
    /// select.remove(recv);
    /// assert_eq!(select.ready(), send);
    /// # sender.send(1).unwrap();
    /// ```
    #[track_caller]
    pub fn remove(&mut self, index: usize) {
        let place = self.cases.iter().position(|case| case.index == index);
        let place = place.expect("there is no operation with this index in the `Select`");
        self.cases.remove(place);
    }

    /// Chooses an operation that can be done now.
    ///
    /// It does not wait for one. It yields in one case only: a sender of a rendezvous that waits in a `select!` of its own makes
    /// its value when it is chosen, and this call waits for that.
    ///
    /// # Errors
    ///
    /// Returns [`TrySelectError`] if there was a moment when no operation could be done. So a value that is always in one of
    /// several channels is found, even while others move it from one to another. (In a hub callback, which may not wait, the
    /// channels are only looked at one after another.)
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::unbounded;
    /// use greenloop::select::Select;
    ///
    /// let (sender, receiver) = unbounded();
    /// let mut select = Select::new();
    /// select.recv(&receiver);
    /// assert!(select.try_select().is_err());
    /// sender.send(1).unwrap();
    /// assert_eq!(select.try_select()?.recv(&receiver), Ok(1));
    /// # Ok::<(), greenloop::select::TrySelectError>(())
    /// ```
    pub fn try_select(&mut self) -> Result<SelectedOperation<'a>, TrySelectError> {
        let found = self.poll(Case::attempt, Case::accept).ok_or(TrySelectError);
        found.map(SelectedOperation::new)
    }

    /// Waits until an operation can be done, and chooses it.
    ///
    /// The call yields only if it has to wait. A sender, a receiver or a disconnection wakes it, and the hub does at a time or
    /// for a descriptor. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding, and no
    /// operation is done then.
    ///
    /// # Panics
    ///
    /// Panics if nothing has been added, or if it has to wait in a [hub callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::unbounded;
    /// use greenloop::select::Select;
    /// use greenloop::spawn;
    ///
    /// let (sender, receiver) = unbounded();
    /// spawn(move || sender.send("hello"));
    /// let mut select = Select::new();
    /// select.recv(&receiver);
    /// let operation = select.select(); // waits for the green thread
    /// assert_eq!(operation.recv(&receiver), Ok("hello"));
    /// ```
    #[track_caller]
    pub fn select(&mut self) -> SelectedOperation<'a> {
        self.assert_any();
        let found = self.choose(Case::attempt, Case::accept, None);
        SelectedOperation::new(found.expect("without a deadline it waits"))
    }

    /// Waits for at most `timeout` until an operation can be done, and chooses it.
    ///
    /// Apart from that, it is like [`select`](Select::select).
    ///
    /// # Errors
    ///
    /// Returns [`SelectTimeoutError`] if the time is over.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait in a [hub callback](crate::hub#callbacks), which may not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::never;
    /// use greenloop::select::Select;
    /// use std::time::Duration;
    ///
    /// let silent = never::<u32>();
    /// let mut select = Select::new();
    /// select.recv(&silent);
    /// assert!(select.select_timeout(Duration::from_millis(1)).is_err());
    /// ```
    pub fn select_timeout(&mut self, timeout: Duration) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.select_until(Time::after(timeout))
    }

    /// Waits until `deadline` at the latest for an operation that can be done, and chooses it.
    ///
    /// Apart from that, it is like [`select`](Select::select).
    ///
    /// # Errors
    ///
    /// As [`select_timeout`](Select::select_timeout).
    ///
    /// # Panics
    ///
    /// As [`select_timeout`](Select::select_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::never;
    /// use greenloop::select::Select;
    /// use std::time::Instant;
    ///
    /// let silent = never::<u32>();
    /// let mut select = Select::new();
    /// select.recv(&silent);
    /// assert!(select.select_deadline(Instant::now()).is_err());
    /// ```
    pub fn select_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.select_until(Time::from_instant(deadline))
    }

    fn select_until(&mut self, deadline: Time) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        let found = self.choose(Case::attempt, Case::accept, Some(deadline));
        found.map(SelectedOperation::new).ok_or(SelectTimeoutError)
    }

    /// Returns the index of an operation that could be done now, and does not do it.
    ///
    /// # Errors
    ///
    /// Returns [`TryReadyError`] if there was a moment when no operation could be done, as [`try_select`](Select::try_select).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::unbounded;
    /// use greenloop::select::Select;
    ///
    /// let (sender, receiver) = unbounded();
    /// let mut select = Select::new();
    /// let index = select.recv(&receiver);
    /// assert!(select.try_ready().is_err());
    /// sender.send(1).unwrap();
    /// assert_eq!(select.try_ready(), Ok(index));
    /// assert_eq!(receiver.try_recv(), Ok(1)); // it was not done
    /// ```
    pub fn try_ready(&mut self) -> Result<usize, TryReadyError> {
        let found = self.poll(Case::find_ready, Case::decline);
        found.map(|(case, _)| case.index).ok_or(TryReadyError)
    }

    /// Waits until an operation can be done, and returns its index without doing it.
    ///
    /// When you do it yourself, another green thread or OS thread may have been faster. The call yields, is ended and panics as
    /// [`select`](Select::select).
    ///
    /// # Panics
    ///
    /// As [`select`](Select::select).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::unbounded;
    /// use greenloop::select::Select;
    ///
    /// let (sender, receiver) = unbounded();
    /// sender.send(1).unwrap();
    /// let mut select = Select::new();
    /// let index = select.recv(&receiver);
    /// assert_eq!(select.ready(), index);
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// ```
    #[track_caller]
    pub fn ready(&mut self) -> usize {
        self.assert_any();
        let found = self.choose(Case::find_ready, Case::decline, None);
        found.expect("without a deadline it waits").0.index
    }

    /// Waits for at most `timeout` until an operation can be done, and returns its index without doing it.
    ///
    /// Apart from that, it is like [`ready`](Select::ready).
    ///
    /// # Errors
    ///
    /// Returns [`ReadyTimeoutError`] if the time is over.
    ///
    /// # Panics
    ///
    /// As [`select_timeout`](Select::select_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::never;
    /// use greenloop::select::Select;
    /// use std::time::Duration;
    ///
    /// let silent = never::<u32>();
    /// let mut select = Select::new();
    /// select.recv(&silent);
    /// assert!(select.ready_timeout(Duration::from_millis(1)).is_err());
    /// ```
    pub fn ready_timeout(&mut self, timeout: Duration) -> Result<usize, ReadyTimeoutError> {
        self.ready_until(Time::after(timeout))
    }

    /// Waits until `deadline` at the latest for an operation that can be done, and returns its index without doing it.
    ///
    /// Apart from that, it is like [`ready`](Select::ready).
    ///
    /// # Errors
    ///
    /// Returns [`ReadyTimeoutError`] if the time is over.
    ///
    /// # Panics
    ///
    /// As [`select_timeout`](Select::select_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::unbounded;
    /// use greenloop::select::Select;
    /// use std::time::{Duration, Instant};
    ///
    /// let (sender, receiver) = unbounded();
    /// let mut select = Select::new();
    /// let index = select.recv(&receiver);
    /// assert!(select.ready_deadline(Instant::now()).is_err());
    /// sender.send(1).unwrap();
    /// assert_eq!(select.ready_deadline(Instant::now() + Duration::from_secs(60)), Ok(index));
    /// ```
    pub fn ready_deadline(&mut self, deadline: Instant) -> Result<usize, ReadyTimeoutError> {
        self.ready_until(Time::from_instant(deadline))
    }

    fn ready_until(&mut self, deadline: Time) -> Result<usize, ReadyTimeoutError> {
        let found = self.choose(Case::find_ready, Case::decline, Some(deadline));
        found.map(|(case, _)| case.index).ok_or(ReadyTimeoutError)
    }

    #[track_caller]
    fn assert_any(&self) {
        assert!(!self.cases.is_empty(), "no operations have been added to `Select`");
    }

    /// Asks each case, in random order unless it is biased, until one can be chosen.
    fn look(&mut self, attempt: Attempt<'a>) -> Option<(Case<'a>, Chosen)> {
        for place in 0..self.cases.len() {
            if !self.biased {
                let other = place + random_below(self.cases.len() - place);
                self.cases.swap(place, other);
            }
            let case = self.cases[place];
            if let Some(chosen) = attempt(&case) {
                return Some((case, chosen));
            }
        }
        None
    }

    /// Looks without waiting. If nothing is found, there was a moment when nothing could be chosen: looking at one after another shows
    /// each at another time, but who stands in all lines at once, and is not called, sees them all.
    fn poll(&mut self, attempt: Attempt<'a>, accept: Accept<'a>) -> Option<(Case<'a>, Chosen)> {
        loop {
            let found = self.look(attempt);
            if found.is_some() || self.cases.len() < 2 || !may_wait() {
                return found;
            }
            // For an engagement, which may be waited for.
            let waiter = Waiter::new(WaitingOn::Other("Select::try_select"));
            let mut lines = Lines::new(&self.cases, Choice::new(waiter.wake()));
            let stands = lines.stand_for_a_moment();
            lines.choice.close();
            let called = lines.settle(&waiter);
            let accepted = called.and_then(|case| Some((case, accept(&case, &lines.choice)?)));
            if accepted.is_some() || stands && called.is_none() {
                return accepted;
            }
        }
    }

    /// Looks and waits in turn until a case is chosen or the deadline has passed.
    fn choose(
        &mut self,
        attempt: Attempt<'a>,
        accept: Accept<'a>,
        deadline: Option<Time>,
    ) -> Option<(Case<'a>, Chosen)> {
        if let Some(found) = self.look(attempt) {
            return Some(found);
        }
        let waiter = Waiter::new(WaitingOn::Other("Select::select"));
        loop {
            let found = match self.wait(&waiter, accept, deadline) {
                Ok(found) => found,
                Err(interrupt) => {
                    drop(waiter);
                    interrupt.raise()
                }
            };
            let found = found.or_else(|| self.look(attempt));
            if found.is_some() {
                return found;
            }
            if deadline.is_some_and(|deadline| deadline <= Time::now()) {
                return self.poll(attempt, accept);
            }
        }
    }

    /// Stands in all lines until one of them calls, or there is a reason to look again.
    fn wait(
        &self,
        waiter: &Waiter,
        accept: Accept<'a>,
        deadline: Option<Time>,
    ) -> Result<Option<(Case<'a>, Chosen)>, Interrupt> {
        let mut lines = Lines::new(&self.cases, Choice::new(waiter.wake()));
        let failed = lines.stand(waiter);
        let mut wakeup = Wakeup::Woken;
        if lines.choice.is_open() {
            let due = self.cases.iter().filter_map(Case::due).min().map(Time::from_instant);
            wakeup = waiter.park(due.into_iter().chain(deadline).min());
        }
        lines.choice.close();
        let called = lines.settle(waiter);
        let choice = Arc::clone(&lines.choice);
        drop(lines);
        if let Wakeup::Interrupted(interrupt) = wakeup {
            called.and_then(|case| case.decline(&choice));
            return Err(interrupt);
        }
        Ok(called.map_or(failed, |case| accept(&case, &choice).map(|chosen| (case, chosen))))
    }
}

/// One of the ways in which a case can be chosen.
type Attempt<'a> = fn(&Case<'a>) -> Option<Chosen>;

/// The same for one that was called.
type Accept<'a> = fn(&Case<'a>, &Arc<Choice>) -> Option<Chosen>;

impl<'a> Case<'a> {
    fn attempt(&self) -> Option<Chosen> {
        match self.what {
            What::Receive(arm) | What::Send(arm) => arm.attempt().map(Chosen::Granted),
            What::Descriptor(fd, interest) => match poll::check(fd, interest) {
                Ok(ready) if ready.is_none() => None,
                checked => {
                    spend_budget();
                    Some(Chosen::Descriptor(checked.map(drop)))
                }
            },
        }
    }

    fn find_ready(&self) -> Option<Chosen> {
        match self.what {
            What::Receive(arm) | What::Send(arm) => arm.is_ready().then_some(Chosen::Ready),
            What::Descriptor(..) => self.attempt(),
        }
    }

    /// Claims what `choice` was called for.
    fn accept(&self, choice: &Arc<Choice>) -> Option<Chosen> {
        self.arm()?.accept(choice).map(Chosen::Granted)
    }

    /// Leaves to the next what `choice` was called for.
    fn decline(&self, choice: &Arc<Choice>) -> Option<Chosen> {
        self.arm()?.refuse(choice);
        Some(Chosen::Ready)
    }

    fn give_back(&self, chosen: Chosen) {
        if let (Chosen::Granted(grant), Some(arm)) = (chosen, self.arm()) {
            arm.give_back(grant);
        }
    }

    fn arm(&self) -> Option<AnyArm<'a>> {
        match self.what {
            What::Receive(arm) | What::Send(arm) => Some(arm),
            What::Descriptor(..) => None,
        }
    }

    fn due(&self) -> Option<Instant> {
        self.arm()?.deadline()
    }
}

/// A green thread's places in the lines of its cases, which it leaves however the wait ends.
struct Lines<'s, 'a> {
    cases: &'s [Case<'a>],
    choice: Arc<Choice>,
    places: Vec<Place<'a>>,
}

enum Place<'a> {
    Line(AnyArm<'a>, Ticket),
    Watch(Watch),
}

impl<'s, 'a> Lines<'s, 'a> {
    fn new(cases: &'s [Case<'a>], choice: Choice) -> Lines<'s, 'a> {
        Lines { cases, choice: Arc::new(choice), places: Vec::with_capacity(cases.len()) }
    }

    /// Gets in line everywhere, until a case is worth looking at. Returns one whose descriptor cannot be waited for.
    fn stand(&mut self, waiter: &Waiter) -> Option<(Case<'a>, Chosen)> {
        for (number, case) in self.cases.iter().enumerate() {
            let place = match case.what {
                What::Receive(arm) | What::Send(arm) => {
                    Ok(arm.register(&self.choice, number).map(|ticket| Place::Line(arm, ticket)))
                }
                What::Descriptor(fd, interest) => watch(fd, interest, waiter),
            };
            match place {
                Ok(Some(place)) => self.places.push(place),
                Ok(None) => {
                    self.choice.close();
                    return None;
                }
                Err(error) => {
                    self.choice.close();
                    return Some((*case, Chosen::Descriptor(Err(error))));
                }
            }
        }
        None
    }

    /// Gets in line at all channels, until a case is worth looking at; `false` then.
    fn stand_for_a_moment(&mut self) -> bool {
        for (number, case) in self.cases.iter().enumerate() {
            if let Some(arm) = case.arm() {
                let Some(ticket) = arm.register(&self.choice, number) else { return false };
                self.places.push(Place::Line(arm, ticket));
            }
        }
        true
    }

    /// The case that was called, when what it was called for is there.
    fn settle(&self, waiter: &Waiter) -> Option<Case<'a>> {
        loop {
            let case = self.cases[self.choice.called()?];
            if !case.arm()?.is_engaged(&self.choice) {
                return self.choice.called().map(|_| case);
            }
            waiter.park_uninterrupted();
        }
    }
}

impl Drop for Lines<'_, '_> {
    fn drop(&mut self) {
        for place in self.places.drain(..) {
            match place {
                Place::Line(arm, ticket) => arm.unregister(ticket),
                Place::Watch(watch) => hub().reactor().unwatch(&watch),
            }
        }
    }
}

/// Has the waiter woken when `fd` is ready. `None` if it always is.
fn watch<'a>(fd: BorrowedFd<'_>, interest: Interest, waiter: &Waiter) -> io::Result<Option<Place<'a>>> {
    check_may_wait()?;
    match hub().try_reactor()?.watch(fd.as_raw_fd(), interest, waiter.notify()) {
        Ok(watch) => Ok(Some(Place::Watch(watch))),
        Err((error, _)) if descriptor::is_always_ready(&error) => Ok(None),
        Err((error, _)) => Err(error),
    }
}

/// An operation that was chosen, and has to be carried out.
///
/// If you drop it instead, it is not done: the value that was to be received, or the room for the one that was to be sent, goes
/// to the next waiter.
///
/// # Examples
///
/// ```
/// use greenloop::channel::unbounded;
/// use greenloop::select::Select;
///
/// let (sender, receiver) = unbounded();
/// sender.send("kept").unwrap();
/// let mut select = Select::new();
/// select.recv(&receiver);
/// drop(select.select());
/// assert_eq!(receiver.recv(), Ok("kept"));
/// ```
#[must_use]
pub struct SelectedOperation<'a> {
    case: Case<'a>,
    chosen: Option<Chosen>,
}

impl<'a> SelectedOperation<'a> {
    fn new((case, chosen): (Case<'a>, Chosen)) -> SelectedOperation<'a> {
        SelectedOperation { case, chosen: Some(chosen) }
    }

    /// Returns the operation's index in the list.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::{never, unbounded};
    /// use greenloop::select::Select;
    ///
    /// let ((sender, receiver), silent) = (unbounded(), never::<u32>());
    /// sender.send(1).unwrap();
    /// let mut select = Select::new();
    /// select.recv(&silent);
    /// select.recv(&receiver);
    /// let operation = select.select();
    /// assert_eq!(operation.index(), 1);
    /// assert_eq!(operation.recv(&receiver), Ok(1));
    /// ```
    pub fn index(&self) -> usize {
        self.case.index
    }

    /// Carries out a receive. Never waits.
    ///
    /// # Errors
    ///
    /// Returns [`RecvError`] if the channel is empty and all senders have gone.
    ///
    /// # Panics
    ///
    /// Panics if `receiver` is not the very one that was added under this index.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::{RecvError, unbounded};
    /// use greenloop::select::Select;
    ///
    /// let (sender, receiver) = unbounded();
    /// sender.send(1).unwrap();
    /// drop(sender);
    /// let mut select = Select::new();
    /// select.recv(&receiver);
    /// assert_eq!(select.select().recv(&receiver), Ok(1));
    /// assert_eq!(select.select().recv(&receiver), Err(RecvError));
    /// ```
    #[track_caller]
    pub fn recv<T>(mut self, receiver: &Receiver<T>) -> Result<T, RecvError> {
        let selected = matches!(self.case.what, What::Receive(arm) if arm.is(receiver));
        assert!(selected, "passed a receiver that wasn't selected");
        match self.chosen.take() {
            Some(Chosen::Granted(grant)) => receiver.take_granted(grant),
            _ => Err(RecvError),
        }
    }

    /// Carries out a send. Never waits.
    ///
    /// # Errors
    ///
    /// Returns [`SendError`] with the value if all receivers have gone.
    ///
    /// # Panics
    ///
    /// Panics if `sender` is not the very one that was added under this index.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::channel::bounded;
    /// use greenloop::select::Select;
    ///
    /// let (sender, receiver) = bounded(1);
    /// let mut select = Select::new();
    /// select.send(&sender);
    /// select.select().send(&sender, 1).unwrap();
    /// assert_eq!(receiver.recv(), Ok(1));
    /// drop(select.select()); // not sent
    /// assert!(receiver.is_empty());
    /// ```
    #[track_caller]
    pub fn send<T>(mut self, sender: &Sender<T>, value: T) -> Result<(), SendError<T>> {
        let selected = matches!(self.case.what, What::Send(arm) if arm.is(sender));
        assert!(selected, "passed a sender that wasn't selected");
        match self.chosen.take() {
            Some(Chosen::Granted(grant)) => sender.send_granted(grant, value),
            _ => Err(SendError(value)),
        }
    }

    /// Returns how the wait for a descriptor ended: `Ok` if it is ready.
    ///
    /// # Errors
    ///
    /// - EBADF if the descriptor is not open.
    /// - Any error of epoll_ctl(2).
    /// - [`Unwinding`](crate::error::Unwinding), in an error of kind `Other`, if it would have to wait while the green thread
    ///   unwinds.
    ///
    /// # Panics
    ///
    /// Panics if the operation is not a wait for a descriptor.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::select::Select;
    /// use std::io::{Read, Write};
    ///
    /// let (mut reader, mut writer) = std::io::pipe()?;
    /// writer.write_all(b"ping")?;
    /// let mut select = Select::new();
    /// select.readable(&reader);
    /// select.select().readiness()?;
    /// drop(select);
    /// let mut word = [0; 4];
    /// reader.read_exact(&mut word)?; // does not block
    /// assert_eq!(&word, b"ping");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn readiness(mut self) -> io::Result<()> {
        match self.chosen.take() {
            Some(Chosen::Descriptor(result)) => result,
            other => {
                self.chosen = other;
                panic!("the selected operation is no wait for a descriptor")
            }
        }
    }
}

impl Drop for SelectedOperation<'_> {
    fn drop(&mut self) {
        if let Some(chosen) = self.chosen.take() {
            self.case.give_back(chosen);
        }
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Select").field("len", &self.cases.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for SelectedOperation<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SelectedOperation").field("index", &self.index()).finish_non_exhaustive()
    }
}

/// A random number from 0 up to `end`, not included: xorshift64*, seeded by what the thread's hash maps are. In the world of
/// a test what that picks.
fn random_below(end: usize) -> usize {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0) | 1);
    }
    if end < 2 {
        return 0;
    }
    if let Some(place) = pick(end) {
        return place;
    }
    let number = STATE.with(|state| {
        let mut number = state.get();
        number ^= number >> 12;
        number ^= number << 25;
        number ^= number >> 27;
        state.set(number);
        number.wrapping_mul(0x2545_F491_4F6C_DD1D)
    });
    // The high half of the product: no modulo, whose low bits are the weak ones.
    ((u128::from(number) * end as u128) >> 64) as usize
}
