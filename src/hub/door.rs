//! The door through which other OS threads reach a hub.
//!
//! A door outlives its hub: it is handed to the next hub of another thread, so that a reference to it needs no count. What
//! was meant for a hub that is gone is told by its epoch, or by its generation, and thrown away.

#![expect(unsafe_code, reason = "locks that are held over a fork")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::beat::Watch;
use super::doorbell::Doorbell;
use super::ear::Ear;
use super::wait::Wait;
use crate::sys::bell::Bell;
use crate::sys::futex;
use crate::sys::lock::Lock;

/// Threads of the process that never wake a hub of their own accord: the idle ones of the thread pools.
pub(crate) static BYSTANDERS: Bystanders = Bystanders(AtomicU64::new(0));

/// A number of OS threads, below the number of the process that they are in: a fork takes none of them along.
#[derive(Debug)]
pub(crate) struct Bystanders(AtomicU64);

impl Bystanders {
    /// One more.
    pub(crate) fn add(&self) {
        let process = u64::from(std::process::id()) << 32;
        let plus_one =
            |count| Some(if count & !u64::from(u32::MAX) == process { count } else { process } + 1);
        let _always_some = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, plus_one);
    }

    /// One less, of those that this process has added.
    pub(crate) fn remove(&self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }

    /// How many there are in this process.
    pub(crate) fn count(&self) -> usize {
        let count = self.0.load(Ordering::SeqCst);
        if count >> 32 == u64::from(std::process::id()) { count as u32 as usize } else { 0 }
    }
}

/// How often a hub of this process has found its own descriptors closed by somebody else. He may have closed any: the bell of a door
/// without a hub is not to be trusted after that.
static LOSSES: AtomicU32 = AtomicU32::new(0);

/// All doors that are in use, or are to be used again.
static DOORS: Lock<Doors> = Lock::new(Doors { open: Vec::new(), closed: Vec::new() });

/// How many hubs have ended while somebody stood in a line there.
pub(super) static DEPARTURES: AtomicU64 = AtomicU64::new(0);

struct Doors {
    /// With a hub.
    open: Vec<&'static Door>,
    /// Without one.
    closed: Vec<&'static Door>,
}

/// Has everybody who stands in a line, in whatever hub, look again. Called when the calling thread's hub is gone from behind its door.
#[cold]
pub(super) fn tell_departure() {
    // Release: who sees this sees the hub gone.
    DEPARTURES.fetch_add(1, Ordering::Release);
    let open = open_doors();
    for door in open {
        // One that opens just now has nobody in line yet who has not seen the departure.
        door.send(door.epoch(), Letter::LookAgain);
    }
}

/// How many hubs sleep at this moment such that nothing but a letter can wake them, of those that say so by
/// [`turn_lonely`](Door::turn_lonely).
///
/// All at the same moment: none of them may have woken another one, and then gone to sleep, while they were counted.
pub(super) fn lonely_sleepers() -> usize {
    let open = open_doors();
    let sleeps = || open.iter().map(|door| door.lonely_sleep()).collect::<Vec<_>>();
    let first = sleeps();
    if first == sleeps() { first.into_iter().flatten().count() } else { 0 }
}

/// The doors of those hubs.
pub(super) fn lonely_doors() -> Vec<&'static Door> {
    open_doors().into_iter().filter(|door| door.lonely_sleep().is_some()).collect()
}

/// The doors of all hubs of the process but those that are the library's own.
pub(crate) fn shown_doors() -> Vec<&'static Door> {
    let mut doors = open_doors();
    doors.retain(|door| !door.is_hidden());
    doors
}

/// The doors of all hubs of the process.
pub(crate) fn open_doors() -> Vec<&'static Door> {
    DOORS.lock().open.clone()
}

/// Holds the locks that a fork must find free, with that of the forking thread's own door.
pub(super) fn hold_locks(own: Option<&Door>) {
    DOORS.hold();
    if let Some(door) = own {
        door.letters.hold();
    }
}

/// Ends [`hold_locks`].
///
/// # Safety
///
/// This thread, or in the child the one that it is a copy of, has called that with the same door.
pub(super) unsafe fn release_locks(own: Option<&Door>) {
    if let Some(door) = own {
        // SAFETY: held by `hold_locks`.
        unsafe { door.letters.release() };
    }
    // SAFETY: as above.
    unsafe { DOORS.release() };
}

/// What comes through a door.
pub(crate) enum Letter {
    /// Wakes a wait.
    Wake(Wait),
    /// Wakes all who stand in a line: somebody before them may be gone.
    LookAgain,
    /// Something to be run by the hub, where nothing may wait.
    Run(Box<dyn FnOnce() + Send>),
}

/// A hub as other OS threads see it.
#[derive(Debug)]
pub(crate) struct Door {
    /// Which hub stands behind it: a new number for each. Changed under the lock of `letters`.
    epoch: AtomicU32,
    /// The next generation of a wait; kept here so that no number comes twice from one door.
    generation: AtomicU64,
    /// With the epoch of the hub that each is for.
    letters: Lock<Vec<(u32, Letter)>>,
    /// Whether there are letters, and whether the hub sleeps.
    doorbell: Doorbell,
    /// What rings. It may have rung for another door, whose late letters then ring for nothing.
    bell: OnceLock<Arc<Bell>>,
    /// How many [`LOSSES`] there were when the bell was made.
    losses: AtomicU32,
    /// Whether the hub does not hear the bell, since it waits for no descriptor, or there are none for a bell,
    deaf: AtomicBool,
    /// and sleeps on this word instead: how often it was to ring.
    knocks: AtomicU32,
    /// Odd while the hub sleeps, or is about to, and nothing but a letter could wake it; counts how often.
    lonely: AtomicU32,
    /// Whether the hub is the library's own, of which nobody is told.
    hidden: AtomicBool,
    /// For who watches the hub.
    pub(crate) watch: Watch,
    /// What it has to do with signals.
    pub(super) ear: Ear,
    /// The next door whose hub has ever listened to signals.
    pub(super) next_listening: OnceLock<&'static Door>,
}

impl std::fmt::Debug for Letter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Letter")
    }
}

impl Door {
    /// A door for a new hub, and the first generation of its waits.
    #[cold]
    pub(crate) fn open() -> (&'static Door, u64) {
        let closed = DOORS.lock().closed.pop();
        let door = closed.unwrap_or_else(|| Door::make(OnceLock::new()));
        DOORS.lock().open.push(door);
        (door, door.generation.load(Ordering::SeqCst))
    }

    #[cold]
    fn make(bell: OnceLock<Arc<Bell>>) -> &'static Door {
        Box::leak(Box::new(Door {
            epoch: AtomicU32::new(1),
            generation: AtomicU64::new(1),
            letters: Lock::new(Vec::new()),
            doorbell: Doorbell::new(),
            bell,
            losses: AtomicU32::new(0),
            deaf: AtomicBool::new(false),
            knocks: AtomicU32::new(0),
            lonely: AtomicU32::new(0),
            hidden: AtomicBool::new(false),
            watch: Watch::new(),
            ear: Ear::new(),
            next_listening: OnceLock::new(),
        }))
    }

    /// Ends the door and its list of others for good, in the child of a fork: the bells of all are the parent's. Gives a new one.
    pub(super) fn begin_anew(&self) -> &'static Door {
        self.ear.close();
        self.epoch.fetch_add(1, Ordering::SeqCst);
        // Release: as in `tell_departure`; here there is nobody to be told.
        DEPARTURES.fetch_add(1, Ordering::Release);
        *DOORS.lock() = Doors { open: Vec::new(), closed: Vec::new() };
        Door::open().0
    }

    /// Takes the hub away from behind the door. `generation` is the next that it would have used.
    pub(crate) fn close(&'static self, generation: u64) {
        self.generation.store(generation, Ordering::SeqCst);
        self.hidden.store(false, Ordering::SeqCst);
        self.doorbell.answer();
        let unread = {
            let mut letters = self.letters.lock();
            self.epoch.fetch_add(1, Ordering::SeqCst);
            std::mem::take(&mut *letters)
        };
        drop(unread);
        // The next number would be that of a hub that somebody may still remember.
        let is_used_up = self.epoch() & Wait::EPOCH == 0;
        let next = if is_used_up { Door::make(self.bell.clone()) } else { self };
        let mut doors = DOORS.lock();
        doors.open.retain(|door| !door.is(self));
        doors.closed.push(next);
    }

    /// Which hub stands behind it now.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::SeqCst)
    }

    #[inline]
    pub(crate) fn is(&self, other: &Door) -> bool {
        std::ptr::eq(self, other)
    }

    /// The hub behind it is the library's own.
    pub(super) fn hide(&self) {
        self.hidden.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_hidden(&self) -> bool {
        self.hidden.load(Ordering::SeqCst)
    }

    /// Leaves a letter for the hub of that epoch, and rings if it sleeps. `false` if that hub is gone.
    pub(crate) fn send(&self, epoch: u32, letter: Letter) -> bool {
        {
            let mut letters = self.letters.lock();
            if self.epoch() != epoch {
                return false;
            }
            letters.push((epoch, letter));
        }
        self.ring();
        true
    }

    /// Tells the hub that something is there for it. Async-signal-safe.
    pub(crate) fn ring(&self) {
        if self.doorbell.announce() {
            match self.bell.get() {
                // What the hub has set before it said that it sleeps is seen by who has seen that it sleeps.
                Some(bell) if !self.deaf.load(Ordering::SeqCst) => bell.notify(),
                _ => self.knock(),
            }
        }
    }

    #[cold]
    fn knock(&self) {
        self.knocks.fetch_add(1, Ordering::SeqCst);
        futex::wake(&self.knocks);
    }

    /// The sleep of a hub that does not hear the bell: until a letter comes, for `timeout` at most.
    pub(crate) fn sleep(&self, timeout: Option<Duration>) {
        // Both before anybody can be told to knock.
        self.deaf.store(true, Ordering::SeqCst);
        let knocks = self.knocks.load(Ordering::SeqCst);
        if self.doorbell.prepare_to_sleep() {
            futex::wait(&self.knocks, knocks, timeout);
            self.doorbell.end_sleep();
        }
        // A knock that comes now is for a letter that is there.
        self.deaf.store(false, Ordering::SeqCst);
    }

    /// The hub is about to sleep, or does not any more: nothing but a letter could wake it meanwhile.
    pub(super) fn turn_lonely(&self) {
        self.lonely.fetch_add(1, Ordering::SeqCst);
    }

    /// The number of the sleep that the hub is in, from which nothing but a letter can wake it, and none has come.
    fn lonely_sleep(&self) -> Option<u32> {
        let lonely = self.lonely.load(Ordering::SeqCst);
        (!lonely.is_multiple_of(2) && self.doorbell.is_asleep()).then_some(lonely)
    }

    /// Whether the hub sleeps, and nobody has rung.
    pub(crate) fn is_asleep(&self) -> bool {
        self.doorbell.is_asleep()
    }

    /// Whether there are letters.
    #[inline]
    pub(crate) fn has_letters(&self) -> bool {
        self.doorbell.is_announced()
    }

    /// All letters, in the order in which they came.
    pub(crate) fn take_letters(&self) -> Vec<(u32, Letter)> {
        self.doorbell.answer();
        std::mem::take(&mut *self.letters.lock())
    }

    /// The bell, made on first use.
    pub(crate) fn bell(&self) -> io::Result<&Bell> {
        let losses = LOSSES.load(Ordering::SeqCst);
        let bell = match self.bell.get() {
            Some(bell) if self.losses.load(Ordering::SeqCst) == losses && bell.clear() => return Ok(bell),
            // That of the hub that was behind this door before: it may have been closed with the others.
            Some(bell) => bell.renew().map(|()| bell)?,
            None => {
                let made = Arc::new(Bell::new()?);
                self.bell.get_or_init(|| made)
            }
        };
        self.losses.store(losses, Ordering::SeqCst);
        Ok(bell)
    }

    /// The bell, if it has been made.
    pub(super) fn made_bell(&self) -> Option<&Bell> {
        self.bell.get().map(|bell| &**bell)
    }

    /// Called by the hub when somebody else has closed what it waits with, the bell too, as it seems: it gets another one. Returns the
    /// number that it had, too.
    pub(crate) fn mend_bell(&self) -> io::Result<(RawFd, &Bell)> {
        let former = self.bell.get().ok_or(io::ErrorKind::NotFound)?.as_fd().as_raw_fd();
        LOSSES.fetch_add(1, Ordering::SeqCst);
        self.bell().map(|bell| (former, bell))
    }

    /// Called by the hub before it blocks: from now on a letter rings. `false` if one is there already.
    pub(crate) fn prepare_to_sleep(&self) -> bool {
        debug_assert!(self.bell.get().is_some(), "a letter that comes now could not ring");
        self.doorbell.prepare_to_sleep()
    }

    /// Called by the hub when it has blocked. Who has seen it asleep may ring even after this.
    pub(crate) fn end_sleep(&self) {
        self.doorbell.end_sleep();
    }

    /// Called by the hub when it hears the bell. `false` if that is not the bell any more.
    pub(crate) fn silence(&self) -> bool {
        self.bell.get().is_none_or(|bell| bell.clear())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_come_in_order_and_not_to_the_next_hub() {
        let (door, generation) = Door::open();
        let epoch = door.epoch();
        let wait = |fiber| Wait::new(fiber, epoch, generation);
        assert!(door.send(epoch, Letter::Wake(wait(1))));
        assert!(door.send(epoch, Letter::Wake(wait(2))));
        door.bell().unwrap();
        assert!(!door.prepare_to_sleep());
        let waits: Vec<_> = door
            .take_letters()
            .into_iter()
            .map(|(_, letter)| match letter {
                Letter::Wake(wait) => wait,
                Letter::Run(_) | Letter::LookAgain => unreachable!(),
            })
            .collect();
        assert_eq!(waits, [wait(1), wait(2)]);
        assert!(door.prepare_to_sleep());
        door.end_sleep();
        door.close(generation + 5);
        assert!(!door.send(epoch, Letter::Wake(wait(1))));
    }
}
