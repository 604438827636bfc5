//! Green threads: spawning, joining, killing, time limits, and values of their own.
//!
//! Everything here is at the crate's root: [`spawn`](crate::spawn), [`JoinHandle`](crate::JoinHandle) and so on.

// A green thread is one allocation, a `Task<F, T>` (`body.rs`): its `Record`, and its closure, later its result. It has a handle's
// share and, until it has ended, the hub's. Each that refers to it sees as much of it as it needs:
//
// | reference                  | who has it                          | what that can do                                             |
// |----------------------------|-------------------------------------|--------------------------------------------------------------|
// | `Shared<dyn Job>`          | the hub, or the timer that is to    | run it, fail it, abandon it: at home                         |
// |                            | begin it                            |                                                              |
// | `Shared<dyn Join<T>>`      | `JoinHandle<T>`, `ScopedJoinHandle` | what `Kill` can, and take the result, once                   |
// | `Shared<dyn Kill>`         | a scope of its children; a kill on  | see the `Record`, and end it before it begins                |
// |                            | its way home (`Errand`, `kill.rs`)  |                                                              |
// | `TaskRef`                  | groups and pools                    | kill it, wait for it, ask who it is: a `Shared<dyn Kill>`    |
// | `&Record`                  | whoever has one of those; its fiber | wait for the end, be told of it, ask how it was              |
// |                            | as a `Describe`, while it runs      |                                                              |
//
// Its state is one byte, `Ending`: 0 while it is alive, then an `End` (returned, killed, panicked, leaked), and bit 7 once somebody
// stands in the list of `Followers`, which a lock guards. The end is published by that byte, after the result was written, and never
// changes. Who waits at home, first of all, stands in the cell `follower` beside the list.
//
// Home thread only are, of the `Record`: `taken`, `fiber`, `follower`, `isolation`, the timer in `rarities`; and of the `Task` all
// of `work`, until the end is published. The rest never changes, or is made for several threads. What wants the home thread from
// elsewhere sends a letter through `door`, which is thrown away if the hub of `epoch` has gone.

mod body;
mod builder;
mod current;
mod debugger;
pub(crate) mod duties;
mod ending;
mod followers;
mod future;
mod imap;
mod interval;
#[cfg(feature = "monkey")]
pub(crate) mod isolation;
mod join_handle;
mod joinall;
mod kill;
mod link;
mod local;
mod offer;
mod record;
mod scope;
pub(crate) mod spread;
#[cfg(feature = "monkey")]
pub(crate) mod stand_in;
mod timeout;
mod wait;

use std::time::Duration;

pub use builder::{Builder, spawn, spawn_later};
pub use current::{Current, current};
pub use ending::Outcome;
pub use future::block_on;
pub use imap::Imap;
pub(crate) use imap::{Element, Order, Reply, call, call_each};
pub use interval::Interval;
pub use join_handle::JoinHandle;
pub use joinall::{joinall, joinall_timeout, killall, killall_timeout, try_joinall};
pub(crate) use kill::TaskRef;
pub use link::Link;
pub(crate) use link::Linked;
pub use local::LocalKey;
pub(crate) use offer::Offer;
pub use record::TaskId;
pub use scope::{Scope, ScopedJoinHandle, scope};
pub use timeout::{AlreadyStarted, Timeout, with_timeout};
pub use wait::{IterWait, Notice, Subscription, Waitable, iwait, wait, wait_any, wait_timeout};

use crate::hub;
use crate::hub::timers::Slack;
use crate::hub::waiter::{Waiter, WaitingOn, Wakeup, is_unwinding};
use crate::sys::clock::Time;

/// Lets every other green thread that is ready run before the caller goes on. This is gevent's `sleep(0)`.
///
/// Green threads that are ready run in order: first in, first out, and those that were just spawned before those that have yielded. If a
/// kill or a time limit of the caller is due, it is raised here. While the caller unwinds, the call does nothing.
///
/// # Panics
///
/// Panics if called in a [hub callback](crate::hub#callbacks), which may not wait.
///
/// # Examples
///
/// ```
/// use std::{cell::RefCell, rc::Rc};
///
/// let log = Rc::new(RefCell::new(Vec::new()));
/// let task = greenloop::spawn({ let log = log.clone(); move || log.borrow_mut().push("spawned") });
/// log.borrow_mut().push("main");
/// greenloop::yield_now();
/// assert_eq!(*log.borrow(), ["main", "spawned"]);
/// # drop(task);
/// ```
#[inline(always)]
pub fn yield_now() {
    hub::yield_now();
}

/// Suspends the calling green thread for at least `duration`. A `duration` of zero is [`yield_now`].
///
/// The hub's timer wakes the green thread. Green threads with the same deadline are woken in the order in which they began to
/// sleep. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the sleep by unwinding. While the caller unwinds, the
/// call returns at once.
///
/// The hub wakes for each deadline, unless its timers [have slack](crate::hub::Config::timer_slack). [`sleep_with_slack`] is for a single
/// sleep that may last longer.
///
/// # Panics
///
/// Panics if called in a [hub callback](crate::hub#callbacks), which may not wait.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let sleepers: Vec<_> = (0..100).map(|_| greenloop::spawn(|| greenloop::sleep(Duration::from_millis(50)))).collect();
/// greenloop::joinall(&sleepers);
/// assert!(start.elapsed() >= Duration::from_millis(50));
/// assert!(start.elapsed() < Duration::from_secs(5)); // together, not one after another
/// ```
pub fn sleep(duration: Duration) {
    if duration.is_zero() {
        return yield_now();
    }
    sleep_until(Time::after(duration));
}

/// Suspends the calling green thread for at least `duration`, and for up to `slack` longer.
///
/// The sleep does not end before its deadline, and ends within the slack after it, unless the hub is busy. A hub with nothing else to do
/// takes all of it: it sleeps until a timer can wait no longer. Whenever it is awake it ends each sleep whose deadline has passed, in the
/// order in which their slacks do, up to the first one whose has not. So of sleeps whose slacks overlap, many end at one wake, which is
/// what costs most in a sleep; and a sleep with a long slack may use all of it among many exact timers. A sleep without slack is as exact
/// as ever. The kernel's own timers have the same rule.
///
/// A `slack` of zero makes this one sleep exact in a hub whose timers [have slack](crate::hub::Config::timer_slack). Slack is counted in
/// microseconds, and no more than 73 minutes of it are used. An exact time limit that rings in between ends the sleep, although its deadline
/// has passed. Apart from that, this is [`sleep`], also if `duration` is zero.
///
/// # Panics
///
/// Panics if called in a [hub callback](crate::hub#callbacks), which may not wait.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// // Nobody cares when exactly this is done: with the next one.
/// let clean_up = greenloop::spawn(|| greenloop::sleep_with_slack(Duration::from_millis(1), Duration::from_secs(3600)));
/// greenloop::sleep(Duration::from_millis(10));
/// clean_up.join().unwrap();
/// assert!(start.elapsed() < Duration::from_secs(5));
/// ```
pub fn sleep_with_slack(duration: Duration, slack: Duration) {
    if duration.is_zero() {
        return yield_now();
    }
    let (deadline, slack) = (Time::after(duration), Slack::at_most(slack));
    sleep_through(|waiter| waiter.park_with_slack(deadline, slack));
}

fn sleep_until(deadline: Time) {
    sleep_through(|waiter| waiter.park(Some(deadline)));
}

#[inline]
fn sleep_through(park: impl Fn(&Waiter) -> Wakeup) {
    if is_unwinding() {
        return;
    }
    let waiter = Waiter::new(WaitingOn::Sleep);
    loop {
        match park(&waiter) {
            Wakeup::TimedOut => return,
            Wakeup::Woken => {}
            Wakeup::Interrupted(interrupt) => interrupt.raise(),
        }
    }
}

/// Waits until no other green thread of this hub is ready. This is gevent's `idle`.
///
/// Use it for work of low priority. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding.
///
/// # Examples
///
/// ```
/// let task = greenloop::spawn(|| (0..10).for_each(|_| greenloop::yield_now()));
/// greenloop::idle();
/// assert!(task.is_finished());
/// ```
pub fn idle() {
    hub::idle();
}
