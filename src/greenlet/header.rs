//! What is known of a greenlet.

use std::any::TypeId;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, Location};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::callback::{CALLBACK, guarded};
use super::fiber::{Describe, FiberRef, Thread};
use super::handle::AnyGreenlet;
use super::stack::SizeClass;
use super::switching::{Parcel, deliver_result};

/// A greenlet's record.
pub(super) struct Header {
    pub(super) id: u64,
    pub(super) place: &'static Location<'static>,
    pub(super) class: SizeClass,
    pub(super) kind: Kind,
    /// Where it runs: from its start to its death.
    pub(super) fiber: Cell<Option<FiberRef>>,
    pub(super) life: Cell<Life>,
    /// How many [`AnyGreenlet`]s there are. Its fiber and the children that it made refer to it beside those.
    pub(super) handles: Cell<usize>,
    pub(super) parent: RefCell<Parent>,
    /// What it will run; gone once it has started or died.
    pub(super) body: RefCell<Option<Box<dyn Body>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Made by `Greenlet::new`.
    Plain,
    /// The thread's own stack.
    Main,
    /// A green thread: the hub stands where a parent would.
    GreenThread,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    New,
    Active,
    Dead,
}

/// Where a greenlet's result goes.
#[derive(Clone)]
pub(super) enum Parent {
    /// To nobody: main's, and a green thread's.
    Hub,
    /// To the one that made it. This is no handle: a greenlet that has its children on its stack would keep itself alive.
    Maker(Rc<Header>),
    /// To the one that was chosen for it.
    Chosen(AnyGreenlet),
}

impl Header {
    /// The record of something that runs without having been made as a greenlet; without a fiber, of something that did.
    pub(super) fn begun(kind: Kind, fiber: Option<FiberRef>, class: SizeClass) -> Header {
        Header {
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

    pub(super) fn set_dead(&self) {
        self.life.set(Life::Dead);
        self.fiber.set(None);
    }

    pub(super) fn parent(&self) -> Option<AnyGreenlet> {
        match &*self.parent.borrow() {
            Parent::Hub => None,
            Parent::Maker(maker) => Some(AnyGreenlet::of_header(maker.clone())),
            Parent::Chosen(parent) => Some(parent.clone()),
        }
    }

    /// Its parent's record, which is no handle.
    pub(super) fn parent_record(&self) -> Option<Rc<Header>> {
        match &*self.parent.borrow() {
            Parent::Hub => None,
            Parent::Maker(maker) => Some(maker.clone()),
            Parent::Chosen(parent) => Some(parent.header.clone()),
        }
    }

    pub(super) fn set_parent(&self, parent: Parent) {
        let former = self.parent.replace(parent);
        drop(former);
    }

    /// Passes over parents that are dead, so that generations of greenlets that each made the next make no chain.
    pub(super) fn forget_dead_parents(&self) {
        while let Some(parent) = self.parent().filter(AnyGreenlet::is_dead) {
            let next = parent.header.parent.borrow().clone();
            self.set_parent(next);
        }
    }
}

impl Describe for Header {
    fn name(&self) -> Option<&str> {
        None
    }

    fn spawned_at(&self) -> &'static Location<'static> {
        self.place
    }
}

/// What an unstarted greenlet will run, its types hidden.
pub(super) trait Body {
    /// The type of the value that starts it.
    fn value_type(&self) -> TypeId;
    /// Where that value, an `Option<T>`, goes.
    fn slot(&mut self) -> NonNull<()>;
    /// Runs to the end, on its own stack, and says who goes on.
    fn run(self: Box<Self>, fiber: FiberRef, thread: &Thread) -> Option<FiberRef>;
}

pub(super) struct TypedBody<T, F> {
    pub(super) first: Option<T>,
    pub(super) run: F,
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

pub(super) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: only uniqueness counts.
    NEXT.fetch_add(1, Ordering::Relaxed)
}
