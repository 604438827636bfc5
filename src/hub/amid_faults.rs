//! A hub in which things go wrong, for tests: who draws what does, and who is killed by it.

use std::net::IpAddr;
use std::time::Duration;

use super::current::local_hub;
use super::faults::{Fault, Faults};
use super::state::{Alarm, BUDGET, HubState, NUMBERS_AT_A_TIME, SWITCHES_PER_LOOK};
use super::world::Schedule;
use crate::error::GreenletExit;
use crate::fiber::{CALLBACK, FiberRef, Pending, State};
use crate::sys::clock::Time;
use crate::sys::socket::Datagram;

/// Which of these goes wrong now, if one does.
#[cold]
pub(crate) fn draw(among: &[Fault]) -> Option<Fault> {
    let hub = local_hub()?;
    hub.draw(hub.faults()?, among)
}

/// Whether the calling green thread is on a host that has crashed, so that nothing it does has an effect any more.
#[cold]
pub(crate) fn has_crashed() -> bool {
    local_hub().is_some_and(|hub| hub.faults().is_some_and(|faults| faults.hosts.has_crashed(hub.runs())))
}

/// The address of the host that the calling green thread is on.
pub(crate) fn own_address() -> Option<IpAddr> {
    let hub = local_hub()?;
    hub.attribute(hub.faults()?);
    hub.faults()?.hosts.address_of(hub.runs())
}

impl HubState {
    pub(super) fn schedule(&self) -> Option<&dyn Schedule> {
        self.world()?.schedule.get().map(|schedule| &**schedule)
    }

    /// What may go wrong here, if something may.
    pub(crate) fn faults(&self) -> Option<&Faults> {
        self.world()?.faults.get().map(|faults| &**faults)
    }

    /// From now on things may go wrong here, as the schedule decides: by the one that `make` makes where there is none.
    ///
    /// # Panics
    ///
    /// If the hub is in no world.
    pub(crate) fn begin_faults(&self, make: impl FnOnce() -> Box<dyn Schedule>) -> &Faults {
        let world = self.world().expect("in a world");
        world.schedule.get_or_init(make);
        let faults = world.faults.get_or_init(Box::default);
        self.attribute(faults);
        self.budget.set(self.whole_budget());
        self.unlooked.set(SWITCHES_PER_LOOK);
        faults
    }

    /// What one who runs may do without waiting. With faults none of it goes unseen.
    pub(super) fn whole_budget(&self) -> u32 {
        if self.faults().is_some() { 1 } else { BUDGET }
    }

    /// Counts an operation where they are seen. `false` if it is time to yield, or they are not.
    pub(super) fn spend_amid_faults(&self) -> bool {
        self.faults().is_some_and(|faults| {
            let left = faults.budget.get().saturating_sub(1);
            faults.budget.set(left);
            left > 0
        })
    }

    fn draw(&self, faults: &Faults, among: &[Fault]) -> Option<Fault> {
        // One without a chance is no choice: a search in depth would try it.
        let possible: Vec<(Fault, f64)> = among
            .iter()
            .map(|&fault| (fault, faults.chance(fault)))
            .filter(|&(_, chance)| chance > 0.0)
            .collect();
        if possible.is_empty() {
            return None;
        }
        let chances: Vec<f64> = possible.iter().map(|&(_, chance)| chance).collect();
        let place = self.schedule()?.fault(&chances).checked_sub(1)?;
        possible.get(place).map(|&(fault, _)| fault)
    }

    /// How long what is sent now is on its way.
    pub(crate) fn latency(&self, faults: &Faults) -> Duration {
        /// Among how many times it is chosen.
        const TIMES: u32 = 9;
        let Some((least, most)) = faults.latency() else { return Duration::ZERO };
        match self.schedule() {
            Some(schedule) if most > least => {
                least + (most - least).saturating_mul(schedule.pick(TIMES as usize) as u32) / (TIMES - 1)
            }
            _ => least,
        }
    }

    /// When what is sent now arrives.
    pub(crate) fn arrival(&self, faults: &Faults) -> Time {
        Time::after(self.latency(faults))
    }

    /// Has the kernel send a datagram then.
    pub(crate) fn deliver(&self, at: Time, datagram: Datagram) {
        self.arm(at, Alarm::Deliver(Box::new(datagram)));
    }

    /// The number of the green thread that runs, or 0.
    fn runs(&self) -> u64 {
        number(self.thread.current())
    }

    /// Those who were spawned lately are on the host of who spawned them.
    fn attribute(&self, faults: &Faults) {
        if faults.hosts.are_none() {
            return;
        }
        let next = self.next_number.get();
        let from = faults.hosts.seen(next);
        let one_block = next.saturating_sub(from) < NUMBERS_AT_A_TIME;
        faults.hosts.see(match one_block {
            true => [from..next, 0..0],
            // The rest of the former block, and what has been taken of this one.
            false => [
                from..from.next_multiple_of(NUMBERS_AT_A_TIME) + 1,
                (next - 1) / NUMBERS_AT_A_TIME * NUMBERS_AT_A_TIME + 1..next,
            ],
        });
    }

    /// Somebody has run, and another is to be chosen.
    pub(super) fn before_choice(&self, faults: &Faults) {
        self.attribute(faults);
        if faults.hosts.has_who_ran_crashed() {
            self.thread.back_in_hub();
            // What it has spawned as it unwound.
            self.thread.guarded(CALLBACK, || self.abandon_unstarted(|id| faults.hosts.has_crashed(id)));
        }
        if faults.chance(Fault::Kill) > 0.0 {
            self.kill_at_random(faults);
        }
    }

    fn kill_at_random(&self, faults: &Faults) {
        let main = self.thread.main();
        let stands = |fiber: &FiberRef| {
            *fiber != main
                && number(*fiber) != 0
                && (fiber.state.get().is_parked() || fiber.state.get() == State::Ready)
                && fiber.with_interrupts(|interrupts| interrupts.is_empty())
        };
        let there: Vec<FiberRef> = self.thread.all().into_iter().filter(stands).collect();
        if !there.is_empty() && self.draw(faults, &[Fault::Kill]).is_some() {
            let place = self.schedule().map_or(0, |schedule| schedule.pick(there.len()));
            self.interrupt(there[place], Pending::new(Box::new(GreenletExit), 0));
        }
    }

    pub(crate) fn add_host(&self, faults: &Faults, address: IpAddr) -> usize {
        self.attribute(faults);
        if faults.hosts.are_none() {
            faults.hosts.seen(self.next_number.get());
        }
        faults.hosts.add(address)
    }

    /// The green thread with this number, which has not begun, is on that host.
    pub(crate) fn put_on_host(&self, faults: &Faults, id: u64, host: usize) {
        self.attribute(faults);
        faults.hosts.put(id, host);
    }

    /// Ends all green threads of a host. Waits for nothing.
    pub(crate) fn crash_host(&self, faults: &Faults, host: usize) {
        self.attribute(faults);
        let gone = faults.hosts.crash(host);
        self.abandon_unstarted(|id| gone.contains(&id));
        for fiber in self.thread.all() {
            if gone.contains(&number(fiber)) {
                self.interrupt(fiber, Pending::new(Box::new(GreenletExit), 0));
            }
        }
    }

    /// Ends those that have not begun, fresh or delayed, whose numbers are such.
    fn abandon_unstarted(&self, goes: impl Fn(u64) -> bool) {
        let fresh = self.ready.borrow_mut().take_fresh_if(|job| goes(job.number()));
        fresh.into_iter().for_each(|job| job.abandon());
        let goes = |alarm: &Alarm| matches!(alarm, Alarm::Start(job) if goes(job.number()));
        let delayed = self.timers.borrow_mut().take_if(goes);
        for alarm in delayed {
            if let Alarm::Start(job) = alarm {
                job.abandon();
            }
        }
    }
}

/// The number of the green thread on `fiber`, or 0.
fn number(fiber: FiberRef) -> u64 {
    fiber.description().and_then(|description| description.id()).unwrap_or(0)
}
