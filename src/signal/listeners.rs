//! Who listens in this thread.

use std::cell::RefCell;
use std::io;
use std::marker::PhantomData;
use std::rc::Rc;

use crate::fiber::in_common;
use crate::hub::signals::{install_handler, set_of};
use crate::hub::{HubId, hub, local_hub};

thread_local! {
    static LISTENERS: RefCell<Listeners> =
        const { RefCell::new(Listeners { home: None, next: 0, all: Vec::new() }) };
}

struct Listeners {
    /// The hub that they belong to. In the child of a fork that is another one, to which they mean nothing.
    home: Option<HubId>,
    next: u64,
    all: Vec<Listener>,
}

#[derive(Clone)]
struct Listener {
    number: u64,
    signals: u64,
    tell: Rc<dyn Fn(i32)>,
}

/// A place among those who listen; it ends when this is dropped. It belongs to its thread.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    home: PhantomData<Rc<()>>,
}

impl Place {
    /// Has `tell` called with each of `signals` that comes, in the hub, where nothing may wait.
    pub(super) fn take(signals: &[i32], tell: impl Fn(i32) + 'static) -> io::Result<Place> {
        signals.iter().try_for_each(|signal| install_handler(*signal))?;
        let signals = signals.iter().fold(0, |all, signal| all | set_of(*signal));
        let home = Some(hub().id());
        let number = with_listeners(|listeners| {
            if listeners.home != home {
                listeners.home = home;
                // The parent's, of whose things the child of a fork runs nothing, destructors included.
                std::mem::forget(std::mem::take(&mut listeners.all));
            }
            listeners.next += 1;
            listeners.all.push(Listener { number: listeners.next, signals, tell: Rc::new(tell) });
            listeners.next
        });
        listen();
        Ok(Place { number, home: PhantomData })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Nobody listens when the thread is at its end.
        let gone = in_common(|| {
            LISTENERS.try_with(|listeners| {
                let mut listeners = listeners.borrow_mut();
                if listeners.home != local_hub().map(|hub| hub.id()) {
                    return None;
                }
                let place = listeners.all.iter().position(|listener| listener.number == self.number)?;
                Some(listeners.all.remove(place))
            })
        });
        if let Ok(Some(gone)) = gone {
            listen();
            // Last: what it owns may have a destructor that listens.
            drop(gone);
        }
    }
}

/// Those of the OS thread, also for a green thread with thread-local variables of its own.
fn with_listeners<R>(function: impl FnOnce(&mut Listeners) -> R) -> R {
    in_common(|| LISTENERS.with_borrow_mut(function))
}

/// Lets the hub hear what somebody wants to hear.
fn listen() {
    let wanted = with_listeners(|listeners| {
        listeners.all.iter().fold(0, |wanted, listener| wanted | listener.signals)
    });
    hub().listen_to(wanted, hear);
}

/// Called by the hub.
fn hear(heard: u64) {
    for signal in (1..=64).filter(|signal| heard & set_of(*signal) != 0) {
        let listeners = with_listeners(|listeners| listeners.all.clone());
        for listener in listeners.iter().filter(|listener| listener.signals & set_of(signal) != 0) {
            (listener.tell)(signal);
        }
    }
}
