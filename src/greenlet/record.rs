//! What is known of a greenlet.

use std::any::TypeId;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, Location};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::any::AnyGreenlet;
use super::switching::{Parcel, deliver_result};
use crate::fiber::SizeClass;
use crate::fiber::{CALLBACK, guarded};
use crate::fiber::{Describe, FiberRef, Thread};

/// A greenlet's record.
pub(crate) struct Record {
    pub(crate) id: u64,
    pub(crate) place: &'static Location<'static>,
    pub(crate) class: SizeClass,
    pub(crate) kind: Kind,
    /// Where it runs: from its start to its death.
    pub(crate) fiber: Cell<Option<FiberRef>>,
    pub(crate) life: Cell<Life>,
    /// How many [`AnyGreenlet`]s there are. Its fiber and the children that it made refer to it beside those.
    pub(crate) handles: Cell<usize>,
    pub(crate) parent: RefCell<Parent>,
    /// What it will run; gone once it has started or died.
    pub(crate) body: RefCell<Option<Box<dyn Body>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Made by `Greenlet::new`.
    Plain,
    /// The thread's own stack.
    Main,
    /// A green thread: the hub stands where a parent would.
    GreenThread,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Life {
    New,
    Active,
    Dead,
}

/// Where a greenlet's result goes.
#[derive(Clone)]
pub(crate) enum Parent {
    /// To nobody: main's, and a green thread's.
    Hub,
    /// To the one that made it. This is no handle: a greenlet that has its children on its stack would keep itself alive.
    Maker(Rc<Record>),
    /// To the one that was chosen for it.
    Chosen(AnyGreenlet),
}

impl Record {
    /// The record of something that runs without having been made as a greenlet; without a fiber, of something that did.
    pub(crate) fn begun(kind: Kind, fiber: Option<FiberRef>, class: SizeClass) -> Record {
        Record {
            id: next_id(),
            place: Location::caller(),
            class,
            kind,
            life: Cell::new(if fiber.is_some() { Life::Active } else { Life::Dead }),
            fiber: Cell::new(fiber),
            handles: Cell::new(0),
            parent: RefCell::new(Parent::Hub),
            body: RefCell::new(None),
        }
    }

    pub(crate) fn set_dead(&self) {
        self.life.set(Life::Dead);
        self.fiber.set(None);
    }

    pub(crate) fn parent(&self) -> Option<AnyGreenlet> {
        match &*self.parent.borrow() {
            Parent::Hub => None,
            Parent::Maker(maker) => Some(AnyGreenlet::of_header(maker.clone())),
            Parent::Chosen(parent) => Some(parent.clone()),
        }
    }

    /// Its parent's record, which is no handle.
    pub(crate) fn parent_record(&self) -> Option<Rc<Record>> {
        match &*self.parent.borrow() {
            Parent::Hub => None,
            Parent::Maker(maker) => Some(maker.clone()),
            Parent::Chosen(parent) => Some(parent.header.clone()),
        }
    }

    pub(crate) fn set_parent(&self, parent: Parent) {
        let former = self.parent.replace(parent);
        drop(former);
    }

    /// Passes over parents that are dead, so that generations of greenlets that each made the next make no chain.
    pub(crate) fn forget_dead_parents(&self) {
        while let Some(parent) = self.parent().filter(AnyGreenlet::is_dead) {
            let next = parent.header.parent.borrow().clone();
            self.set_parent(next);
        }
    }
}

impl Describe for Record {
    fn name(&self) -> Option<&Arc<str>> {
        None
    }

    fn spawned_at(&self) -> &'static Location<'static> {
        self.place
    }
}

/// What an unstarted greenlet will run, its types hidden.
pub(crate) trait Body {
    /// The type of the value that starts it.
    fn value_type(&self) -> TypeId;
    /// Where that value, an `Option<T>`, goes.
    fn slot(&mut self) -> NonNull<()>;
    /// Runs to the end, on its own stack, and says who goes on.
    fn run(self: Box<Self>, fiber: FiberRef, thread: &Thread) -> Option<FiberRef>;
}

pub(crate) struct TypedBody<T, F> {
    pub(crate) first: Option<T>,
    pub(crate) run: F,
}

impl<T: 'static, F: FnOnce(T) -> T + 'static> Body for TypedBody<T, F> {
    fn value_type(&self) -> TypeId {
        TypeId::of::<T>()
    }

    fn slot(&mut self) -> NonNull<()> {
        NonNull::from(&mut self.first).cast()
    }

    fn run(self: Box<Self>, fiber: FiberRef, thread: &Thread) -> Option<FiberRef> {
        let TypedBody { first, run } = *self;
        let first = first.expect("the first switch brought a value");
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| run(first)));
        let parcel = match outcome {
            Ok(value) => Parcel::Value(value),
            Err(payload) => Parcel::ended_by(payload),
        };
        // Before the result is on its way: what a destructor sends would take its place.
        guarded(CALLBACK, || fiber.free_locals());
        // Only now a handle of its own: while it runs, the handles that count are those of others.
        let greenlet = AnyGreenlet::of_fiber(fiber, thread);
        greenlet.header.set_dead();
        let parent = greenlet.parent();
        drop(greenlet);
        deliver_result(parent, parcel, thread)
    }
}

pub(crate) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: only uniqueness counts.
    NEXT.fetch_add(1, Ordering::Relaxed)
}
