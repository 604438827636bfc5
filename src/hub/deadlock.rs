//! When nothing is ready: who waited for that, and whether anything can ever be ready again.

use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use super::census::Resident;
use super::door::{BYSTANDERS, Letter, lonely_doors, lonely_sleepers};
use super::lifetime::hub;
use super::state::HubState;
use super::waiter::LOCK_OF_OTHERS;
use super::wake::Wake;
use crate::error::{LoopExit, Parked};
use crate::fiber::{self, FiberRef, State};
use crate::sys::process;

/// How long another hub may take to say who is parked there. It sleeps, so that it has nothing else to do.
const PATIENCE: Duration = Duration::from_secs(1);

/// Of how many in the hubs of workers the report of a deadlock tells.
const MOST_ELSEWHERE: usize = 100;

/// Who is there, for the report of a deadlock. Set before `main` begins, by a room above.
static WHO_IS_THERE: OnceLock<fn() -> String> = OnceLock::new();

/// Has reports of deadlocks say what `who_is_there` does. It is called on the hub's OS thread, and does not wait.
pub(crate) fn tell_at_deadlocks(who_is_there: fn() -> String) {
    WHO_IS_THERE.get_or_init(|| who_is_there);
}

impl HubState {
    /// Whether somebody waits for the hub to be idle.
    pub(super) fn has_idlers(&self) -> bool {
        !self.idlers.borrow().is_empty()
    }

    /// Wakes who waits for the hub to be idle; whether there was anybody.
    pub(super) fn wake_idlers(&self) -> bool {
        let idlers = self.idlers.take();
        let any = !idlers.is_empty();
        idlers.into_iter().for_each(Wake::wake);
        any
    }

    /// Whether no other OS thread is there that could wake this hub. Looked at before a sleep without end only.
    #[cold]
    pub(super) fn nobody_else(&self) -> bool {
        let others = BYSTANDERS.count() + lonely_sleepers();
        process::thread_count().is_some_and(|count| count <= others + 1) && !self.door().has_letters()
    }

    /// Nothing can wake main, nor those parked `elsewhere`: raises it there, or ends its [`Hub::join`](super::Hub::join).
    #[cold]
    pub(super) fn raise_loop_exit(&self, elsewhere: impl FnOnce() -> Vec<Parked>) {
        let main = self.main();
        if let Some(joiner) = self.joiner.take() {
            return joiner.wake();
        }
        let elsewhere = elsewhere();
        fiber::report_text(&report(&elsewhere));
        let exit = LoopExit { parked: self.parked().into_iter().chain(elsewhere).collect() };
        main.throw(Box::new(exit));
        main.state.set(State::Ready);
        self.ready.borrow_mut().push_woken(main);
    }

    /// Every parked greenlet, main first.
    fn parked(&self) -> Vec<Parked> {
        self.parked_of(self.thread.all())
    }

    fn parked_of(&self, fibers: impl IntoIterator<Item = FiberRef>) -> Vec<Parked> {
        fibers
            .into_iter()
            .filter_map(|fiber| self.resident(fiber))
            .filter_map(Resident::into_parked)
            .collect()
    }

    /// Whether somebody waits for a lock that another OS thread may have, though nothing of that thread is known here.
    #[cold]
    pub(super) fn awaits_lock_of_others(&self) -> bool {
        self.parked().iter().any(|parked| parked.waits_on == LOCK_OF_OTHERS)
    }

    /// The same without main, which is nobody's but the library's where there are workers.
    pub(super) fn parked_but_main(&self) -> Vec<Parked> {
        let main = self.thread.main();
        self.parked_of(self.thread.all().into_iter().filter(|&fiber| fiber != main))
    }
}

/// What everybody is told of it, who is there included.
fn report(elsewhere: &[Parked]) -> String {
    let mut report = LoopExit { parked: Vec::new() }.to_string();
    if let Some(who_is_there) = WHO_IS_THERE.get() {
        report = format!("{report}\n{}", who_is_there());
    }
    for parked in elsewhere.iter().take(MOST_ELSEWHERE) {
        report = format!("{report}\nelsewhere: {parked}");
    }
    match elsewhere.len().saturating_sub(MOST_ELSEWHERE) {
        0 => report,
        more => format!("{report}\nand {more} more"),
    }
}

impl Resident {
    fn into_parked(self) -> Option<Parked> {
        let waits_on = self.waits_on()?;
        Some(Parked { name: self.name().to_owned(), spawned_at: self.spawned_at, waits_on })
    }
}

/// Who is parked in the hubs of workers, all of which sleep.
pub(super) fn parked_elsewhere() -> Vec<Parked> {
    let (sender, parked) = mpsc::channel();
    for door in lonely_doors() {
        let sender = sender.clone();
        // Nobody hears of it who has waited for it too long.
        let tell = move || drop(sender.send(hub().parked_but_main()));
        door.send(door.epoch(), Letter::Run(Box::new(tell)));
    }
    drop(sender);
    let mut all = Vec::new();
    while let Ok(parked) = parked.recv_timeout(PATIENCE) {
        all.extend(parked);
    }
    all
}
