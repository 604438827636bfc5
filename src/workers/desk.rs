//! One worker, as others see it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use super::offers::Offers;
use crate::event::Event;
use crate::hub::door::{Door, Letter};
use crate::hub::hub;
use crate::sys::lock::Lock;
use crate::task::Offer;

/// One worker, as others see it.
#[derive(Debug)]
pub(super) struct Desk {
    /// What may begin on any worker, and was spawned here or has been taken from others.
    pub(super) offers: Offers<Offer>,
    /// What is to begin here.
    pub(super) pinned: Offers<Offer>,
    /// Its hub, while it has one.
    door: Lock<Option<(&'static Door, u32)>>,
    life: Lock<Life>,
    /// It is to begin nothing more, but for what is to begin here.
    retires: AtomicBool,
    /// It is to end when it has nothing to do.
    leave: Event,
}

#[derive(Debug)]
struct Life {
    /// There is an OS thread for it.
    lives: bool,
    /// It is to end when it has nothing to do.
    leaves: bool,
}

impl Desk {
    pub(super) fn new() -> Desk {
        Desk {
            offers: Offers::new(),
            pinned: Offers::new(),
            door: Lock::new(None),
            life: Lock::new(Life { lives: false, leaves: false }),
            retires: AtomicBool::new(false),
            leave: Event::new(),
        }
    }

    /// Has it work, from now on or again. `true` if an OS thread is to be made for it.
    pub(super) fn man(&self) -> bool {
        let mut life = self.life.lock();
        life.leaves = false;
        // Release: pairs with `retires`.
        self.retires.store(false, Ordering::Release);
        self.offers.open();
        self.pinned.open();
        self.leave.clear();
        !std::mem::replace(&mut life.lives, true)
    }

    /// Has it end when it has nothing to do.
    pub(super) fn dismiss(&self) {
        let mut life = self.life.lock();
        life.leaves = true;
        // Under the lock, so that it is not set for one that has been told to stay.
        self.leave.set();
    }

    /// Has it begin nothing more, but for what is to begin here, and end after that. Returns what others are to begin.
    pub(super) fn retire(&self) -> VecDeque<Offer> {
        // Release: pairs with `retires`.
        self.retires.store(true, Ordering::Release);
        self.dismiss();
        self.offers.close()
    }

    /// No OS thread could be made for it.
    pub(super) fn unman(&self) {
        self.life.lock().lives = false;
    }

    /// Whether it is to begin nothing more, but for what is to begin here.
    #[inline]
    pub(super) fn retires(&self) -> bool {
        // Acquire: whoever set it did all else before.
        self.retires.load(Ordering::Acquire)
    }

    pub(super) fn wait_for_dismissal(&self) {
        self.leave.wait();
    }

    /// By the worker, when it has nothing to do: whether it ends, and then what others have put there just now. Nothing of it is there
    /// after that, so that there may be another one of its number.
    pub(super) fn end(&self) -> Option<VecDeque<Offer>> {
        let mut life = self.life.lock();
        let ends = life.leaves && self.pinned.close_if_empty();
        ends.then(|| {
            life.lives = false;
            self.set_door(None);
            self.offers.close()
        })
    }

    /// Whether it has been told to stay after all.
    pub(super) fn stays(&self) -> bool {
        !self.life.lock().leaves
    }

    /// Wakes it, if it sleeps.
    pub(super) fn ring(&self) {
        let door = *self.door.lock();
        if let Some((door, _)) = door {
            door.ring();
        }
    }

    pub(super) fn set_door(&self, door: Option<(&'static Door, u32)>) {
        *self.door.lock() = door;
    }

    /// Kills all green threads that are there.
    pub(super) fn kill(&self) {
        let door = *self.door.lock();
        if let Some((door, epoch)) = door {
            // `false`: it has just ended.
            let _ = door.send(epoch, Letter::Run(Box::new(|| hub().kill_all())));
        }
    }
}
