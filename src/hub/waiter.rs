//! Waiting: the only code that leaves a green thread's stack.
//!
//! Every wait is: register, park, unregister. A wake is an *enqueue* that carries the wait's generation, so a late wake of
//! a finished wait is nothing. Because wake and run are two steps, whatever was handed over in between goes to the next in
//! line if the woken one is killed or times out: who waits looks at [`Wakeup`] and asks the primitive's own state.

use std::io;
use std::os::fd::RawFd;
use std::panic;
use std::ptr;
use std::sync::atomic::AtomicUsize;

use super::current::{HubRef, local_hub};
use super::door::Letter;
use super::lifetime::hub;
pub(crate) use super::notify::Notify;
use super::state::{Alarm, HubState, discard_superfluous};
use super::timers::Slack;
use super::wait::Wait;
pub(crate) use super::wake::{Wake, departures};
use crate::error::{LoopExit, ThreadEnds, Unwinding};
use crate::fiber::{self, FiberRef, Pending, State, assert_may_wait, in_panic_hook};
use crate::sys::clock::Time;

/// What a wait in a panic hook raises in place of the panic.
const IN_PANIC_HOOK: &str =
    "nothing may wait in a panic hook: it was left, and this is raised in place of the panic";

/// What a wait is for, as reports tell it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WaitingOn {
    /// A time.
    Sleep,
    /// Input on a descriptor.
    Readable(RawFd),
    /// Room for output on a descriptor.
    Writable(RawFd),
    /// The end of the green thread with this number.
    Join(u64),
    /// The call that waits, for instance `Semaphore::acquire`.
    Other(&'static str),
    /// The same, and the address of a word that tells more of it, which the wait borrows.
    With(&'static str, u64),
}

/// What who waits for a lock of std's or C's waits on: any OS thread may have that.
pub(crate) const LOCK_OF_OTHERS: &str =
    "a lock outside greenloop (std's channels between green threads of one hub need Builder::isolated)";

/// What the words count that waits on the ends of a channel have.
const ENDS: [(&str, &str); 3] = [
    ("Receiver::recv", "from {} sender"),
    ("Receiver::try_recv", "from {} sender"),
    ("Sender::send", "to {} receiver"),
];

impl WaitingOn {
    /// `call` waits for who has what [`current_greenlet`] said, or 0 if nobody is known to have it. The caller borrows `holder` as long as
    /// it waits.
    #[inline(always)]
    pub(crate) fn held(call: &'static str, holder: &AtomicUsize) -> WaitingOn {
        WaitingOn::With(call, ptr::from_ref(holder).expose_provenance() as u64)
    }

    /// `call`, which is one of an end of a channel, waits for the other ends, of which there are so many. As above.
    #[inline(always)]
    pub(crate) fn others(call: &'static str, count: &AtomicUsize) -> WaitingOn {
        debug_assert!(ENDS.iter().any(|&(end, _)| end == call), "reports know whose number that is");
        WaitingOn::With(call, ptr::from_ref(count).expose_provenance() as u64)
    }

    #[inline]
    fn words(self) -> (&'static str, u64) {
        match self {
            WaitingOn::Sleep => ("a sleep", 0),
            WaitingOn::Readable(fd) => ("fd {} to be readable", fd as u64),
            WaitingOn::Writable(fd) => ("fd {} to be writable", fd as u64),
            WaitingOn::Join(task) => ("the end of green thread {}", task),
            WaitingOn::Other(call) => (call, 0),
            WaitingOn::With(call, address) => (call, address),
        }
    }

    /// Whether these words, and the number, are those for an end.
    pub(super) fn is_join(words: (&'static str, u64)) -> bool {
        words == WaitingOn::Join(words.1).words()
    }

    /// Whether the number beside these words is the address of one that tells more.
    pub(super) fn has_more((words, number): (&'static str, u64)) -> bool {
        number != 0 && !words.contains("{}")
    }

    /// What a number that tells more counts; `None` if it tells who holds what is waited for.
    pub(super) fn counted(words: &str) -> Option<&'static str> {
        ENDS.iter().find(|&&(end, _)| end == words).map(|&(_, counted)| counted)
    }

    /// Whether a wait with these words is neither for a time, nor for a descriptor, nor for an end: it may stand in a line.
    fn may_be_in_line((words, _): (&'static str, u64)) -> bool {
        words != WaitingOn::Sleep.words().0 && !words.contains("{}")
    }
}

impl Wake {
    /// Ends the wait; nothing once it is over.
    #[inline]
    pub(crate) fn wake(self) {
        match local_hub() {
            Some(hub) if hub.door().is(self.door) => hub.wake(self.wait),
            _ => self.wake_remote(),
        }
    }

    #[cold]
    fn wake_remote(self) {
        if let Some(witness) = local_hub().as_ref().and_then(|hub| hub.witness()) {
            witness.calls(self.door, self.wait);
        }
        // Whichever hub is there: if it is not ours any more, it finds no such wait. One that ends has looked after by itself what
        // was set aside for this wait, see `line`.
        self.door.send(self.door.epoch(), Letter::Wake(self.wait));
    }

    /// A wake of nobody, which is living as long as the calling thread's hub is.
    pub(crate) fn of_nobody() -> Wake {
        let hub = hub();
        Wake { door: hub.door(), wait: Wait::new(hub.thread.current().index(), hub.epoch(), 0) }
    }
}

/// The calling greenlet as reports tell of it: a number that no other living one of the process has; 0 outside of all.
#[inline]
pub(crate) fn current_greenlet() -> usize {
    fiber::existing_thread().map_or(0, |thread| thread.current().as_ptr().addr())
}

/// How a park ended. In each case the primitive's own state tells whether something was handed over.
#[must_use]
#[derive(Debug)]
pub(crate) enum Wakeup {
    /// By a wake, or for no reason.
    Woken,
    /// The deadline has passed.
    TimedOut,
    /// By a kill or a time limit: unregister, pass on what was handed over, then [`raise`](Interrupt::raise).
    Interrupted(Interrupt),
}

/// A kill or a time limit that is to be raised here.
#[must_use]
pub(crate) struct Interrupt(Box<dyn std::any::Any + Send>);

impl Interrupt {
    pub(crate) fn raise(self) -> ! {
        if let Some(hub) = local_hub() {
            hub.thread.current().unwinding.set(true);
        }
        panic::resume_unwind(self.0)
    }
}

/// What was raised in the current greenlet by an interrupt has been caught. None is raised in one that unwinds already.
pub(crate) fn end_unwinding() {
    if let Some(hub) = local_hub() {
        hub.thread.current().unwinding.set(false);
    }
}

impl std::fmt::Debug for Interrupt {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Interrupt")
    }
}

/// One wait of the current greenlet; it may park several times, and ends when dropped.
///
/// How it parks, what ends that beside a wake, and where a kill or a time limit is raised:
///
/// | | deadline | a kill or a time limit | for |
/// |---|---|---|---|
/// | [`park`](Waiter::park) | yes | ends it, and is returned; waits while the caller unwinds | every wait of a primitive |
/// | [`park_with_slack`](Waiter::park_with_slack) | yes | as `park` | a sleep that may be late |
/// | [`park_uninterrupted`](Waiter::park_uninterrupted) | | may wake it for no reason, and is raised at the next `park` | what must not be left half done |
/// | `park_undecided` | yes | ends it, and is raised at the next park | loans to the kernel, which are given up first |
/// | [`park_whatever_comes`](Waiter::park_whatever_comes) | | waits; a deadlock ends it | a scope with children |
/// | `park_in_call` | yes | ends it, and is told as an errno | calls from C |
/// | `park_in_infallible_call` | yes | ends it, for no reason as the caller sees it | calls from C that cannot fail |
///
/// Those are made of four that are not called from outside of the room's waits: `park_interruptibly`, `park_deaf` (a kill ends it, and is
/// put off), `park_amid_unwinding` (nothing but the wake and the deadline), `park_amid_panic` (a panic hook does not park at all). A wake,
/// which is never lost, may also come for no reason. `yield_now` is no wait: who yields stays ready.
#[derive(Debug)]
pub(crate) struct Waiter {
    hub: HubRef,
    pub(super) fiber: FiberRef,
    generation: u64,
    /// The wait in whose middle this one began, if any: user code that waits while its caller registers.
    outer: u64,
}

impl Waiter {
    /// Begins a wait.
    ///
    /// # Panics
    ///
    /// In a hub callback, where nothing may wait.
    #[inline]
    pub(crate) fn new(on: WaitingOn) -> Waiter {
        let hub = hub();
        let fiber = hub.thread.current();
        assert_may_wait();
        let generation = hub.next_generation();
        let outer = fiber.generation.replace(generation);
        fiber.disturbed.take_woken();
        fiber.waits_on.set(on.words());
        Waiter { hub, fiber, generation, outer }
    }

    /// The hub that the greenlet waits in.
    #[inline]
    pub(crate) fn hub(&self) -> HubRef {
        self.hub
    }

    /// Where the greenlet runs: for who wakes it in its own thread and knows that it still waits.
    #[inline]
    pub(crate) fn fiber(&self) -> FiberRef {
        self.fiber
    }

    /// Whom to wake: for a wait list.
    #[inline]
    pub(crate) fn wake(&self) -> Wake {
        let wait = Wait::new(self.fiber.index(), self.hub.epoch(), self.generation);
        Wake { door: self.hub.door(), wait }
    }

    /// [`wake`](Waiter::wake) as an entry for a wait list.
    #[inline]
    pub(crate) fn notify(&self) -> Notify {
        Notify::Wake(self.wake())
    }

    /// Leaves the stack until a wake, the deadline, or an interrupt. A wake that came before it returns at once.
    ///
    /// While the green thread unwinds, nothing interrupts it: a second unwinding would end the process.
    ///
    /// Inlined up to the public call, where that is a hot one: the processor mispredicts each return after a switch.
    #[inline(always)]
    pub(crate) fn park(&self, deadline: Option<Time>) -> Wakeup {
        if std::thread::panicking() {
            return self.park_amid_panic(deadline);
        }
        self.fiber.unwinding.set(false);
        self.park_interruptibly(deadline)
    }

    /// A panic hook may not wait: if another green thread panicked meanwhile, std would abort the process.
    #[cold]
    fn park_amid_panic(&self, deadline: Option<Time>) -> Wakeup {
        if !self.fiber.unwinding.get() && in_panic_hook() {
            return Wakeup::Interrupted(Interrupt(Box::new(IN_PANIC_HOOK)));
        }
        self.park_amid_unwinding(deadline)
    }

    #[inline(always)]
    fn park_interruptibly(&self, deadline: Option<Time>) -> Wakeup {
        let fiber = self.fiber;
        if fiber.disturbed.concerns_parks() {
            return before_park(fiber);
        }
        if let Some(deadline) = deadline {
            let in_time = self.park_until(deadline);
            return match fiber.disturbed.get() {
                true => interrupted(fiber),
                false if in_time => Wakeup::Woken,
                false => Wakeup::TimedOut,
            };
        }
        self.hub.park(fiber);
        if fiber.disturbed.get() {
            return interrupted(fiber);
        }
        Wakeup::Woken
    }

    /// Whether the next park is interrupted at once, or woken for no reason.
    pub(super) fn is_disturbed(&self) -> bool {
        self.fiber.disturbed.get()
    }

    /// Parks until a wake, the deadline, or an interrupt, which is left for the next park. Returns whether it was a wake. Not for
    /// who unwinds.
    pub(super) fn park_undecided(&self, deadline: Option<Time>) -> bool {
        let fiber = self.fiber;
        fiber.unwinding.set(false);
        let mut in_time = true;
        if !fiber.disturbed.get() && !fiber.disturbed.take_woken() {
            match deadline {
                None => self.hub.park(fiber),
                Some(deadline) => in_time = self.park_until(deadline),
            }
        }
        in_time && !fiber.disturbed.get()
    }

    /// [`park`](Waiter::park) with a deadline after which the wait may last for `slack`, whatever the hub's is.
    pub(crate) fn park_with_slack(&self, deadline: Time, slack: Slack) -> Wakeup {
        let alarm = Alarm::Wake { fiber: self.fiber, generation: self.generation };
        let timer = self.hub.arm_with_slack(deadline, slack, alarm);
        let wakeup = self.park(None);
        match self.hub.disarm(timer) {
            false if matches!(wakeup, Wakeup::Woken) => Wakeup::TimedOut,
            _ => wakeup,
        }
    }

    /// Whether it ended before the deadline.
    fn park_until(&self, deadline: Time) -> bool {
        let timer = self.hub.arm(deadline, Alarm::Wake { fiber: self.fiber, generation: self.generation });
        self.hub.park(self.fiber);
        self.hub.disarm(timer)
    }

    /// Like [`park`](Waiter::park) without a deadline, but no kill or time limit ends it: they wait for the next park. For
    /// waits that must not be left half done.
    pub(crate) fn park_uninterrupted(&self) {
        if std::thread::panicking() && self.hub.thread.is_unwinding(self.fiber) {
            // Nothing interrupts that either.
            let _woken = self.park_amid_unwinding(None);
        } else {
            self.park_deaf(None);
        }
    }

    /// Parks, but for a deadline, until a wake. Returns whether it ended before the deadline.
    pub(super) fn park_deaf(&self, deadline: Option<Time>) -> bool {
        let in_time = match deadline {
            _ if self.fiber.disturbed.take_woken() => true,
            None => {
                self.hub.park(self.fiber);
                true
            }
            Some(deadline) => self.park_until(deadline),
        };
        if self.fiber.disturbed.get() {
            defer_arrival(self.fiber);
        }
        in_time
    }

    /// Parks until a wake for who must not leave before, not even in a deadlock: `false` if that was to be raised here. All else
    /// waits for the next park.
    pub(crate) fn park_whatever_comes(&self) -> bool {
        let park = || {
            if !self.fiber.disturbed.take_woken() {
                self.hub.park(self.fiber);
            }
        };
        if is_unwinding() {
            self.hub.thread.away_while_unwinding(self.fiber, park)
        } else {
            park()
        }
        if !self.fiber.disturbed.get() {
            return true;
        }
        match self.fiber.take_thrown() {
            Some(payload) if payload.is::<LoopExit>() => {
                self.fiber.update_disturbed();
                false
            }
            thrown => {
                defer(thrown, self.fiber);
                true
            }
        }
    }

    /// Some green thread of this OS thread unwinds: the calling one, or one that has parked meanwhile.
    #[cold]
    pub(super) fn park_amid_unwinding(&self, deadline: Option<Time>) -> Wakeup {
        if !self.hub.thread.is_unwinding(self.fiber) {
            return self.park_interruptibly(deadline);
        }
        let in_time = self.hub.thread.away_while_unwinding(self.fiber, || self.park_deaf(deadline));
        if in_time { Wakeup::Woken } else { Wakeup::TimedOut }
    }
}

/// Whether the calling green thread unwinds.
///
/// [`std::thread::panicking`] answers for the OS thread: it is true for all green threads while one of them is parked in
/// a destructor that its unwinding runs. This is false then for the others; but for one that happens to panic at just that
/// time, whose panic the hub cannot see.
#[inline]
pub(crate) fn is_unwinding() -> bool {
    std::thread::panicking() && is_own_unwinding()
}

/// Whether the calling greenlet may wait: it neither unwinds nor ends with its OS thread.
#[inline]
pub(crate) fn may_wait() -> bool {
    !is_unwinding() && !fiber::is_ending()
}

/// [`may_wait`] for what can say why not.
///
/// # Errors
///
/// [`Unwinding`], or [`ThreadEnds`].
#[inline]
pub(crate) fn check_may_wait() -> io::Result<()> {
    if is_unwinding() {
        return Err(Unwinding.into());
    }
    if fiber::is_ending() {
        return Err(ThreadEnds.into());
    }
    Ok(())
}

#[cold]
fn is_own_unwinding() -> bool {
    local_hub().is_none_or(|hub| hub.thread.is_unwinding(hub.thread.current()))
}

impl Drop for Waiter {
    #[inline]
    fn drop(&mut self) {
        self.fiber.generation.set(self.outer);
        if self.outer != 0 {
            // The outer wait's wake may have come meanwhile and found another generation: let it look.
            self.fiber.disturbed.set_woken();
            // What this one borrowed may be gone when that parks again.
            self.fiber.waits_on.set(WaitingOn::Other("a wait in whose middle there was another").words());
        }
    }
}

/// What is to be raised in `fiber` now, or its wake has come before it parks.
#[cold]
fn before_park(fiber: FiberRef) -> Wakeup {
    if fiber.disturbed.get() {
        return interrupted(fiber);
    }
    fiber.disturbed.take_woken();
    Wakeup::Woken
}

/// What is to be raised in `fiber` now: an arrival by hand first, then the oldest interrupt.
#[cold]
pub(super) fn interrupted(fiber: FiberRef) -> Wakeup {
    let thrown = fiber.take_thrown().or_else(|| fiber.take_interrupt().map(|interrupt| interrupt.payload));
    let Some(payload) = thrown else {
        fiber.disturbed.set(false);
        return Wakeup::Woken;
    };
    fiber.update_disturbed();
    Wakeup::Interrupted(Interrupt(payload))
}

/// Puts what arrived by hand among the interrupts, for the next park.
#[cold]
fn defer_arrival(fiber: FiberRef) {
    match fiber.take_thrown() {
        // A deadlock in a destructor: raised here, this ends the process. Deferred, it would come again for ever.
        Some(payload) if payload.is::<LoopExit>() && is_unwinding() => panic::resume_unwind(payload),
        thrown => defer(thrown, fiber),
    }
}

#[cold]
fn defer(thrown: Option<Box<dyn std::any::Any + Send>>, fiber: FiberRef) {
    if let Some(payload) = thrown {
        discard_superfluous(fiber.push_interrupt(Pending::new(payload, 0)));
    }
}

impl HubState {
    /// The current fiber, which has interrupts left, is about to be switched out: they are raised when its turn comes.
    #[cold]
    pub(crate) fn recall(&self, fiber: FiberRef) {
        if fiber.with_interrupts(|interrupts| interrupts.is_empty()) || is_unwinding() {
            return;
        }
        fiber.state.set(State::Ready);
        self.ready.borrow_mut().push_woken(fiber);
    }

    /// Everybody here who may stand in a line.
    fn in_line(&self) -> impl Iterator<Item = FiberRef> {
        let stands =
            |fiber: &FiberRef| fiber.generation.get() != 0 && WaitingOn::may_be_in_line(fiber.waits_on.get());
        self.thread.all().into_iter().filter(stands)
    }

    /// Whether anybody may stand in a line here, or has been called and has not run since.
    pub(super) fn is_anybody_in_line(&self) -> bool {
        self.in_line().next().is_some()
    }

    /// A hub has ended: what was set aside there may be for one who stands in line here. Those who are ready look anyway.
    pub(super) fn have_all_look_again(&self) {
        let parked = self.in_line().filter(|fiber| fiber.state.get().is_parked());
        parked.for_each(|fiber| self.make_ready(fiber));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::yielding::yield_now;
    use super::*;

    /// A report may not look for what the inner wait has borrowed.
    #[test]
    fn what_a_wait_amid_another_has_borrowed_is_forgotten() {
        let outer = Waiter::new(WaitingOn::Other("the outer"));
        let holder = Box::new(AtomicUsize::new(7));
        let inner = Waiter::new(WaitingOn::held("the inner", &holder));
        assert!(WaitingOn::has_more(inner.fiber().waits_on.get()));
        drop(inner);
        drop(holder);
        assert!(!WaitingOn::has_more(outer.fiber().waits_on.get()));
    }

    /// As where a patched function switches while its caller gets in line.
    #[test]
    fn a_wake_for_one_that_has_yielded_amid_its_wait_is_kept() {
        let waiter = Waiter::new(WaitingOn::Other("a wake"));
        let wake = waiter.wake();
        std::thread::spawn(move || wake.wake()).join().unwrap();
        // It reads its letters while the caller is ready.
        waiter.hub().demand_look();
        yield_now();
        let late = Some(Time::after(Duration::from_secs(5)));
        assert!(matches!(waiter.park(late), Wakeup::Woken));
    }
}
