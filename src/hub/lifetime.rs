//! The beginning and the end of a hub.

#![expect(unsafe_code, reason = "a hub lives as long as its OS thread, and is freed with it")]

use std::ptr::NonNull;

use super::birth_of_first::born;
use super::configuration;
use super::current::{HubRef, local_hub, set_hub};
use super::door::tell_departure;
use super::driver::Driver;
use super::fork::look_after_forks;
use super::jobs::run_jobs;
use super::state::{Alarm, HubState};
use super::timers::Slack;
use crate::fiber::{self, Local};
use crate::sys::blocks;
use crate::sys::clock::Time;

/// The calling thread's hub, made on first use.
#[inline]
pub(crate) fn hub() -> HubRef {
    match local_hub() {
        Some(hub) => hub,
        None => make_hub(false),
    }
}

/// Makes the calling thread's hub as one of the library's own: nobody is told of it, and it has no witness, so it may block where
/// others park.
pub(crate) fn make_own_hub() {
    make_hub(true);
}

/// Runs `function` with `hub` as the calling thread's hub, in thread-local variables that have none.
#[cfg(feature = "monkey")]
pub(crate) fn lend_hub(hub: HubRef, function: impl FnOnce()) {
    // SAFETY: the thread's own variables have it meanwhile, and `function` is over when they lose it.
    unsafe { set_hub(Some(hub)) };
    hub.in_its_time(function);
    // SAFETY: as above.
    unsafe { set_hub(None) };
}

#[cold]
fn make_hub(is_own: bool) -> HubRef {
    look_after_forks();
    let thread = fiber::thread();
    // Between the end of its hub and that of its record a thread has no hub.
    assert!(!fiber::is_ending(), "this OS thread ends: it has no hub any more");
    thread.set_on_end(end_hub);
    let settings = configuration::settings();
    let driver = settings.driver.or_else(Driver::from_environment);
    let timer_slack = Slack::at_most(settings.timer_slack);
    let hub = Box::new(HubState::new(thread, driver, settings.spin, timer_slack, run_jobs));
    if is_own {
        hub.door().hide();
    }
    // SAFETY: the box is freed by `end_hub` alone, after the last use.
    let hub = unsafe { Local::new(NonNull::from(Box::leak(hub))) };
    // SAFETY: as above; `end_hub` takes it back before.
    unsafe { set_hub(Some(hub)) };
    blocks::keep();
    hub.start_watch();
    born();
    hub.follow_witness();
    hub.follow_notes();
    hub
}

/// Called by the thread's record when the thread ends.
fn end_hub() {
    let Some(hub) = local_hub() else { return };
    hub.abandon_all();
    // SAFETY: the reference that is left is this function's.
    unsafe { set_hub(None) };
    // What is left of letters, and of who waited for descriptors, has destructors of others, which find no hub.
    fiber::catch("what is left at the end of a hub", || hub.shut_door());
    // SAFETY: leaked by `make_hub`; HUB no longer leads to it, so this is the last use.
    let state = unsafe { Box::from_raw(hub.as_ptr()) };
    fiber::catch("what is left at the end of a hub", || drop(state));
    blocks::stop_keeping();
}

impl HubState {
    /// The OS thread ends: gives up all that is here, and what the destructors of that spawn.
    fn abandon_all(&self) {
        // First, since what it tells others of may spawn.
        self.thread.all().iter().filter_map(|fiber| fiber.description()).for_each(|leaked| leaked.leak());
        loop {
            let fresh = self.ready.borrow_mut().take_fresh();
            let timed = self.timers.borrow_mut().pop_due(Time::NEVER);
            let letters = self.door().take_letters();
            if fresh.is_empty() && timed.is_none() && letters.is_empty() {
                return;
            }
            fresh.into_iter().for_each(|job| job.abandon());
            if let Some(Alarm::Start(job)) = timed {
                job.abandon();
            }
            for (_, letter) in letters {
                fiber::catch("the destructor of a callback", || drop(letter));
            }
        }
    }

    /// The hub is gone, as far as other threads can see.
    fn shut_door(&self) {
        self.door().ear.close();
        self.door().watch.end();
        let leaves_some_in_line = self.is_anybody_in_line();
        self.door().close(self.generation.get());
        if leaves_some_in_line {
            tell_departure();
        }
    }
}
