//! Where a hub gets green threads that may begin on any hub.

use std::time::Duration;

use super::state::{Feed, HubState, Job, SWITCHES_PER_LOOK};
use crate::fiber::FiberRef;
use crate::sys::atomic::spin_loop;
use crate::sys::clock::Time;
use crate::sys::shared::Shared;

/// How long a hub looks for work before it sleeps, at most: to be woken takes longer than that.
const SEARCH: Duration = Duration::from_micros(50);
/// How often it looks for work between two looks at the clock.
const LOOKS_PER_TIME: usize = 16;
/// What one that begins counts as beside a switch: it may well compute for long, and descriptors are not looked at meanwhile.
const SWITCHES_PER_MEAL: usize = 8;

/// How long who is ready waits for green threads that begin and end one after another, about.
const PATIENCE: Duration = Duration::from_micros(20);

impl HubState {
    /// Lets the hub be fed, from now on.
    pub(crate) fn set_feed(&self, feed: Box<dyn Feed>) {
        let had_none = self.feed.set(feed).is_ok();
        self.is_feeding.set(true);
        debug_assert!(had_none, "a hub is fed by one");
    }

    /// What feeds it, if anything does.
    #[inline]
    pub(super) fn feed(&self) -> Option<&dyn Feed> {
        self.feed.get().filter(|_| self.is_feeding.get()).map(|feed| &**feed)
    }

    /// Whether there was one more to begin.
    #[inline]
    pub(crate) fn is_fed(&self) -> bool {
        self.feed().is_some_and(|feed| self.is_fed_by(feed))
    }

    fn is_fed_by(&self, feed: &dyn Feed) -> bool {
        let job = feed.take(self);
        let found = job.is_some();
        if let Some(job) = job {
            self.push_fresh(job);
        } else if self.has_ready() {
            feed.end_search();
        }
        found
    }

    /// The next for a stack on which one has ended, where no look is due and nobody else has been ready for long.
    pub(super) fn next_meal(&self, fiber: FiberRef) -> Option<Shared<dyn Job>> {
        if self.unlooked.get() >= SWITCHES_PER_LOOK || self.keeps_others_waiting() {
            self.ready_since.set(None);
            return None;
        }
        let job = self.feed()?.take(self)?;
        self.unlooked.set(self.unlooked.get() + SWITCHES_PER_MEAL);
        if job.stack() == fiber.class() {
            return Some(job);
        }
        self.push_fresh(job);
        None
    }

    /// Whether somebody else has been ready for so long that he must run. Who waits for one tiny job after another is not to be woken by
    /// each.
    fn keeps_others_waiting(&self) -> bool {
        if !self.has_ready() {
            self.ready_since.set(None);
            return false;
        }
        let Some(since) = self.ready_since.get() else {
            self.ready_since.set(Some(Time::now()));
            self.meals.set(0);
            return false;
        };
        // The clock takes a fifth of the time of jobs that do nothing: it is looked at after one job, two, four and so on, so that who is
        // ready waits for twice as many at most.
        let meals = self.meals.get() + 1;
        self.meals.set(meals);
        meals.is_power_of_two() && since.until(Time::now()) > PATIENCE
    }

    /// Nobody is ready: looks for work for a while, and whether it may sleep after that. `true` if it must not.
    pub(super) fn finds_food(&self, longest: Option<Duration>) -> bool {
        let Some(feed) = self.feed() else { return false };
        let may_spin = longest.is_none_or(|longest| !longest.is_zero());
        if may_spin && feed.begin_search() && self.searches(feed, longest) {
            return true;
        }
        !feed.begin_sleep()
    }

    fn searches(&self, feed: &dyn Feed, longest: Option<Duration>) -> bool {
        let end = Time::after(longest.map_or(SEARCH, |longest| longest.min(SEARCH)));
        loop {
            for _ in 0..LOOKS_PER_TIME {
                if self.is_fed_by(feed) {
                    return true;
                }
                if self.door().has_letters() {
                    feed.end_search();
                    return true;
                }
                spin_loop();
            }
            if Time::now() >= end {
                return false;
            }
        }
    }

    /// The sleep of a hub that is fed. `alone`: nothing but a letter can wake it, and so it is no reason for others to expect anything.
    pub(super) fn sleep_hungry(&self, alone: bool, deaf: bool, longest: Option<Duration>) {
        if alone {
            self.door().turn_lonely();
        }
        self.sleep_unless_rung(deaf, longest);
        if alone {
            self.door().turn_lonely();
        }
        if let Some(feed) = self.feed() {
            feed.end_sleep();
        }
    }
}
