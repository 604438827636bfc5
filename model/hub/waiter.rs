//! In the place of the hub: who waits is a thread of loom's. Same names as in `src/hub/waiter.rs`, as far as the modelled
//! files use them.

use loom::sync::{Condvar, Mutex};

use crate::sys::clock::Time;

pub(crate) struct WaitingOn;

#[expect(non_snake_case, reason = "a variant in the place of which it stands")]
impl WaitingOn {
    pub(crate) fn Other(_call: &'static str) -> WaitingOn {
        WaitingOn
    }

    pub(crate) fn held<T>(_call: &'static str, _holder: &T) -> WaitingOn {
        WaitingOn
    }
}

/// Whether a wake has come, kept for good: a wake may come when its wait is long over.
struct Signal {
    woken: Mutex<bool>,
    changed: Condvar,
}

pub(crate) struct Waiter {
    signal: &'static Signal,
}

#[derive(Clone, Copy)]
pub(crate) struct Wake {
    signal: &'static Signal,
}

pub(crate) enum Notify {
    Wake(Wake),
}

pub(crate) enum Wakeup {
    Woken,
    TimedOut,
    Interrupted(Interrupt),
}

#[derive(Debug)]
pub(crate) enum Interrupt {}

impl Interrupt {
    pub(crate) fn raise(self) -> ! {
        match self {}
    }
}

impl Waiter {
    pub(crate) fn new(_on: WaitingOn) -> Waiter {
        Waiter { signal: Box::leak(Box::new(Signal { woken: Mutex::new(false), changed: Condvar::new() })) }
    }

    pub(crate) fn wake(&self) -> Wake {
        Wake { signal: self.signal }
    }

    pub(crate) fn notify(&self) -> Notify {
        Notify::Wake(self.wake())
    }

    /// For reports alone.
    pub(crate) fn tell_holder(&self, _holder: Option<&std::sync::atomic::AtomicUsize>) {}

    /// A deadline passes at once, which may be before a wake or after it.
    pub(crate) fn park(&self, deadline: Option<Time>) -> Wakeup {
        let mut woken = self.signal.woken.lock().unwrap();
        if deadline.is_some() && !*woken {
            return Wakeup::TimedOut;
        }
        while !*woken {
            woken = self.signal.changed.wait(woken).unwrap();
        }
        *woken = false;
        Wakeup::Woken
    }
}

impl Wake {
    pub(crate) fn wake(self) {
        *self.signal.woken.lock().unwrap() = true;
        self.signal.changed.notify_one();
    }

    pub(crate) fn is_living(self) -> bool {
        true
    }
}

/// No OS thread ends in the models.
pub(crate) fn departures() -> u64 {
    0
}

impl Notify {
    pub(crate) fn notify(self) {
        let Notify::Wake(wake) = self;
        wake.wake();
    }
}
