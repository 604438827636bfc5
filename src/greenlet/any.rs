//! Handles to greenlets of any type, and what is known of a greenlet.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::ParentError;
use crate::fiber::{Describe, FiberRef, Occupant, SizeClass, Thread, existing_thread, is_ending};

/// A handle to a greenlet of any type.
///
/// A greenlet and its handles belong to one OS thread. When that thread ends, its suspended greenlets are dead: they never go on,
/// and their stacks leak.
///
/// ```compile_fail
/// let greenlet = greenloop::greenlet::Greenlet::new(|value: u32| value);
/// std::thread::spawn(move || greenlet.switch(1)); // a `Greenlet` is not `Send`
/// ```
///
/// # When the last handle goes
///
/// Handles are counted. What happens when you drop the last handle depends on what the greenlet does, as with Python's garbage
/// collection of greenlets:
///
/// - If it is suspended in a switch, [`GreenletExit`](crate::GreenletExit) is raised in it, so its destructors run.
/// - If it runs, or waits in the hub, it goes on until it is next suspended in a switch, and is ended there; unless it switched
///   to a descendant, whose result comes back to it. When no descendant is left that could give it one, it is ended too.
/// - If the last handle goes in a [hub callback](crate::hub#callbacks), the greenlet is ended soon after, in a green thread.
///
/// A parent that was set by [`set_parent`](AnyGreenlet::set_parent) is a handle; a greenlet's link to the one that made it is
/// not. A suspended greenlet that has a handle to itself on its own stack keeps itself alive, and its destructors never run. A temporary
/// value lives until the end of its statement, so get `current().parent()` in one statement, and switch to it in the next:
///
/// ```
/// use greenloop::greenlet::{Greenlet, current};
/// use std::rc::Rc;
///
/// let owned = Rc::new(());
/// let kept = owned.clone();
/// let greenlet = Greenlet::new(move |value: u32| {
///     let _kept = kept;
///     let parent = current().parent().unwrap(); // here the handle of the current one is gone again
///     parent.switch(value).unwrap()
/// });
/// greenlet.switch(1).unwrap();
/// drop(greenlet);
/// assert_eq!(Rc::strong_count(&owned), 1);
/// ```
///
/// # Examples
///
/// ```
/// use greenloop::greenlet::{self, AnyGreenlet, Greenlet};
///
/// let (number, text) = (Greenlet::new(|value: u32| value), Greenlet::new(|value: String| value));
/// let children: [&AnyGreenlet; 2] = [&number, &text]; // of different types
/// assert!(children.iter().all(|child| child.parent() == Some(greenlet::main())));
/// ```
pub struct AnyGreenlet {
    /// # Invariant
    /// Counted in the record's `handles`.
    pub(super) record: Rc<Record>,
}

// What it stands for is kept whole by the library, whoever unwinds.
impl UnwindSafe for AnyGreenlet {}
impl RefUnwindSafe for AnyGreenlet {}

impl AnyGreenlet {
    pub(super) fn of_record(record: Rc<Record>) -> AnyGreenlet {
        record.handles.set(record.handles.get() + 1);
        AnyGreenlet { record }
    }

    pub(super) fn of_fiber(fiber: FiberRef, thread: &Thread) -> AnyGreenlet {
        if let Some(record) = Record::of_fiber(fiber) {
            return AnyGreenlet::of_record(record);
        }
        let kind = if fiber == thread.main() { Kind::Main } else { Kind::GreenThread };
        // Once the OS thread's end has begun, who is not running never goes on, also if nobody has had a handle before.
        let alive = fiber == thread.current() || !is_ending();
        let record = Rc::new(Record::begun(kind, alive.then_some(fiber), fiber.class()));
        fiber.set_occupant(record.clone());
        AnyGreenlet::of_record(record)
    }

    /// A green thread that has ended before anybody asked for its handle.
    pub(super) fn ended() -> AnyGreenlet {
        AnyGreenlet::of_record(Rc::new(Record::begun(Kind::GreenThread, None, SizeClass::default_now())))
    }

    /// Returns a number that no other greenlet of the process has.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::greenlet::{self, Greenlet};
    ///
    /// let greenlet = Greenlet::new(|value: u32| value);
    /// assert_ne!(greenlet.id(), greenlet::main().id());
    /// ```
    pub fn id(&self) -> u64 {
        self.record.id
    }

    /// Returns `true` if the greenlet has finished: it returned, or what was raised in it ended it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::greenlet::Greenlet;
    ///
    /// let greenlet = Greenlet::new(|value: u32| value);
    /// assert!(!greenlet.is_dead());
    /// greenlet.switch(1).unwrap();
    /// assert!(greenlet.is_dead());
    /// ```
    #[doc(alias = "dead")]
    pub fn is_dead(&self) -> bool {
        self.record.life.get() == Life::Dead
    }

    /// Returns `true` if the greenlet has been switched to, or something was thrown to it. This stays `true` after its end.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::greenlet::Greenlet;
    ///
    /// let greenlet = Greenlet::new(|value: u32| value);
    /// assert!(!greenlet.is_started());
    /// greenlet.switch(1).unwrap();
    /// assert!(greenlet.is_started());
    /// ```
    pub fn is_started(&self) -> bool {
        self.record.life.get() != Life::New
    }

    /// Returns `true` if the greenlet has started and not finished. This is greenlet's `bool(g)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::greenlet::{self, Greenlet};
    ///
    /// let greenlet = Greenlet::new(|value: u32| greenlet::main().switch(value).unwrap());
    /// assert!(!greenlet.is_active()); // not started
    /// greenlet.switch(1).unwrap();
    /// assert!(greenlet.is_active());
    /// greenlet.switch(2).unwrap();
    /// assert!(!greenlet.is_active()); // finished
    /// ```
    pub fn is_active(&self) -> bool {
        self.record.life.get() == Life::Active
    }

    /// Returns `true` if this is the thread's own stack.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::greenlet::{self, Greenlet};
    ///
    /// assert!(greenlet::main().is_main());
    /// assert!(!Greenlet::new(|value: u32| value).is_main());
    /// ```
    pub fn is_main(&self) -> bool {
        self.record.kind == Kind::Main
    }

    /// Returns `true` if this greenlet is the one that is running.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::greenlet::{Greenlet, current};
    ///
    /// assert!(current().is_current());
    /// assert!(!Greenlet::new(|value: u32| value).is_current());
    /// ```
    pub fn is_current(&self) -> bool {
        let fiber = self.record.fiber.get();
        fiber.is_some() && fiber == existing_thread().map(|thread| thread.current())
    }

    /// Returns the greenlet's parent, which gets its result.
    ///
    /// The main greenlet and green threads have none: `None`. A green thread returns to the hub.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::greenlet::{self, Greenlet};
    ///
    /// let child = Greenlet::new(|value: u32| value);
    /// assert_eq!(child.parent(), Some(greenlet::main()));
    /// assert_eq!(greenlet::main().parent(), None);
    /// ```
    pub fn parent(&self) -> Option<AnyGreenlet> {
        self.record.parent()
    }

    /// Makes `parent` the greenlet that gets this one's result. A dead one passes on to it what it is sent.
    ///
    /// If the parent waits for values of another type when the result comes, the result is dropped. A panic with the text of
    /// [`WrongType`](crate::error::SwitchError::WrongType) is raised in the parent then, and told to the
    /// [hook](crate::hub::set_uncaught_hook) of what nobody receives. So it is if there is no stack to start the parent on.
    ///
    /// # Errors
    ///
    /// - [`ParentError::Cycle`] if this greenlet is an ancestor of `parent`, or `parent` itself.
    /// - [`ParentError::Main`] for the main greenlet and for green threads, which have no parent.
    ///
    /// After an error the parent is what it was.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::error::ParentError;
    /// use greenloop::greenlet::{self, Greenlet, current};
    ///
    /// let (greenlet, other) = (Greenlet::new(|value: u32| value), Greenlet::new(|value: u32| value));
    /// assert_eq!(greenlet.parent(), Some(greenlet::main()));
    /// assert_eq!(greenlet.set_parent(&other), Ok(()));
    /// assert_eq!(other.set_parent(&greenlet), Err(ParentError::Cycle));
    ///
    /// let in_green_thread = greenloop::spawn(|| current().set_parent(&greenlet::main()));
    /// assert_eq!(in_green_thread.join().unwrap(), Err(ParentError::Main));
    /// ```
    pub fn set_parent(&self, parent: &AnyGreenlet) -> Result<(), ParentError> {
        self.check_parent(parent)?;
        let former = self.record.set_parent(Parent::Chosen(parent.clone()));
        drop(former);
        Ok(())
    }

    /// Whether it is suspended in a switch by hand.
    pub(super) fn is_switched_out(&self) -> bool {
        self.record.fiber.get().is_some_and(|fiber| fiber.is_switched_out())
    }

    /// Whether it is suspended in a switch that waits for a `T`.
    pub(super) fn waits_for<T: 'static>(&self) -> bool {
        self.record.fiber.get().is_some_and(|fiber| fiber.slot::<T>().is_some())
    }

    /// Makes `parent` its parent as if that had made it. Returns what [`Record::set_parent`] does.
    pub(super) fn set_maker(&self, parent: &AnyGreenlet) -> Result<Option<AnyGreenlet>, ParentError> {
        self.check_parent(parent)?;
        Ok(self.record.set_parent(Parent::Maker(parent.record.clone())))
    }

    /// Whether what runs on `fiber` is its parent as if that had made it.
    #[inline(always)]
    pub(super) fn is_made_by(&self, fiber: FiberRef) -> bool {
        match &*self.record.parent.borrow() {
            Parent::Maker(maker) => maker.fiber.get() == Some(fiber),
            _ => false,
        }
    }

    fn check_parent(&self, parent: &AnyGreenlet) -> Result<(), ParentError> {
        if self.record.kind != Kind::Plain {
            return Err(ParentError::Main);
        }
        let mut ancestor = Some(parent.clone());
        while let Some(candidate) = ancestor {
            if candidate == *self {
                return Err(ParentError::Cycle);
            }
            ancestor = candidate.parent();
        }
        Ok(())
    }
}

impl Clone for AnyGreenlet {
    fn clone(&self) -> AnyGreenlet {
        AnyGreenlet::of_record(self.record.clone())
    }
}

impl PartialEq for AnyGreenlet {
    fn eq(&self, other: &AnyGreenlet) -> bool {
        Rc::ptr_eq(&self.record, &other.record)
    }
}

impl Eq for AnyGreenlet {}

/// As greenlet prints them: `pending`, or `current active started main`, `suspended active started`, or `dead`.
impl fmt::Debug for AnyGreenlet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.record.life.get() {
            Life::New => "pending",
            Life::Dead => "dead",
            Life::Active if self.is_current() => "current active started",
            Life::Active => "suspended active started",
        };
        let main = if self.is_main() { " main" } else { "" };
        write!(formatter, "<greenlet {} {state}{main}>", self.record.id)
    }
}

/// A greenlet's record.
pub(super) struct Record {
    /// No other greenlet of the process has it.
    pub(super) id: u64,
    /// Where it was made.
    pub(super) place: &'static Location<'static>,
    /// The size of its stack.
    pub(super) class: SizeClass,
    /// What it is beside others.
    pub(super) kind: Kind,
    /// Where it runs: from its start to its death.
    pub(super) fiber: Cell<Option<FiberRef>>,
    /// How far it has come.
    pub(super) life: Cell<Life>,
    /// How many [`AnyGreenlet`]s there are. Its fiber and the children that it made refer to it beside those.
    pub(super) handles: Cell<usize>,
    /// Where its result goes.
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
    /// Not switched to so far.
    New,
    /// Started, and not ended.
    Active,
    /// Ended, or never to go on.
    Dead,
}

/// Where a greenlet's result goes.
#[derive(Clone)]
pub(super) enum Parent {
    /// To nobody: main's, and a green thread's.
    Hub,
    /// To the one that made it. This is no handle: a greenlet that has its children on its stack would keep itself alive.
    Maker(Rc<Record>),
    /// To the one that was chosen for it.
    Chosen(AnyGreenlet),
}

impl Record {
    /// The record of something that runs without having been made as a greenlet; without a fiber, of something that did.
    pub(super) fn begun(kind: Kind, fiber: Option<FiberRef>, class: SizeClass) -> Record {
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

    /// That of what runs on `fiber`, once there is one.
    pub(super) fn of_fiber(fiber: FiberRef) -> Option<Rc<Record>> {
        fiber.occupant().and_then(Record::of_occupant)
    }

    /// The same, of who has run there.
    pub(super) fn of_occupant(occupant: Rc<dyn Occupant>) -> Option<Rc<Record>> {
        let occupant: Rc<dyn Any> = occupant;
        occupant.downcast().ok()
    }

    pub(super) fn parent(&self) -> Option<AnyGreenlet> {
        match &*self.parent.borrow() {
            Parent::Hub => None,
            Parent::Maker(maker) => Some(AnyGreenlet::of_record(maker.clone())),
            Parent::Chosen(parent) => Some(parent.clone()),
        }
    }

    /// Its parent's record, which is no handle.
    pub(super) fn parent_record(&self) -> Option<Rc<Record>> {
        match &*self.parent.borrow() {
            Parent::Hub => None,
            Parent::Maker(maker) => Some(maker.clone()),
            Parent::Chosen(parent) => Some(parent.record.clone()),
        }
    }

    /// Returns a handle to the former parent if that may be the last one to it: it ends as this goes, in an ordinary place.
    #[must_use]
    pub(super) fn set_parent(&self, parent: Parent) -> Option<AnyGreenlet> {
        match self.parent.replace(parent) {
            Parent::Hub => None,
            Parent::Maker(maker) => maker.handle_if_cut_off(),
            Parent::Chosen(parent) => Some(parent),
        }
    }

    /// One that has no handle may wait for what a descendant gives it. If it has lost the last child that referred to it, nobody can
    /// switch back to it: here is the handle that it is to itself.
    fn handle_if_cut_off(self: Rc<Record>) -> Option<AnyGreenlet> {
        // Its fiber's, and this one; others are children's, and handles.
        if Rc::strong_count(&self) > 2 || self.life.get() != Life::Active {
            return None;
        }
        let fiber = self.fiber.get().filter(|fiber| fiber.disturbed.is_orphaned())?;
        fiber.disturbed.set_orphaned(false);
        Some(AnyGreenlet { record: self })
    }

    /// Passes over parents that are dead, so that generations of greenlets that each made the next make no chain.
    pub(super) fn forget_dead_parents(&self) {
        while let Some(parent) = self.parent().filter(AnyGreenlet::is_dead) {
            let next = parent.record.parent.borrow().clone();
            drop(self.set_parent(next));
        }
    }
}

impl Occupant for Record {
    fn set_dead(&self) {
        self.life.set(Life::Dead);
        self.fiber.set(None);
    }

    fn returns_to_main(&self) -> bool {
        let mut kind = self.kind;
        let mut ancestor = self.parent_record();
        while let Some(record) = ancestor {
            kind = record.kind;
            ancestor = record.parent_record();
        }
        kind == Kind::Main
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
pub(super) trait Body {
    /// The type of the value that starts it.
    fn value_type(&self) -> TypeId;
    /// Where that value, an `Option<T>`, goes.
    fn slot(&mut self) -> NonNull<()>;
    /// Runs to the end, on its own stack, and says who goes on.
    fn run(self: Box<Self>, fiber: FiberRef, thread: &Thread) -> Option<FiberRef>;
}

pub(super) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: only uniqueness counts.
    NEXT.fetch_add(1, Ordering::Relaxed)
}
