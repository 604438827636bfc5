//! Greenlets that are made by hand.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::{self, AssertUnwindSafe, Location, RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::rc::Rc;

use super::any::{AnyGreenlet, Body, Kind, Life, Parent, Record, next_id};
use super::parcel::Parcel;
use super::switching::deliver_result;
use crate::error::SwitchError;
use crate::fiber::{CALLBACK, FiberRef, Occupant, SizeClass, Thread, guarded, thread};

/// A coroutine with a stack of its own that you switch to by hand: greenlet's `greenlet`.
///
/// `T` is the type of the values that go in and out. A greenlet starts when it is first switched to. It may switch to any other
/// greenlet of its OS thread, at any depth of calls. It may also block on greenloop's IO, sleeps and locks, as a green thread
/// does: then it parks, and the hub runs others.
///
/// When a greenlet ends, its result goes to its parent, which goes on. The parent is the greenlet that made it, unless
/// [`set_parent`](AnyGreenlet::set_parent) has set another one. If that one has ended, its own parent gets the result, and so on. A green
/// thread has no parent. So where a green thread has made the greenlet and has ended since, nobody gets the result, and who switched to
/// the greenlet waits on: set another parent before.
///
/// # Examples
///
/// ```
/// use greenloop::greenlet::{self, Greenlet};
///
/// let doubler = Greenlet::new(|mut value: u32| {
///     for _ in 0..2 {
///         value = greenlet::main().switch(value * 2).unwrap();
///     }
///     value + 1000
/// });
/// assert_eq!(doubler.switch(1).unwrap(), 2);
/// assert_eq!(doubler.switch(10).unwrap(), 20);
/// assert_eq!(doubler.switch(5).unwrap(), 1005);
/// assert!(doubler.is_dead());
/// ```
///
/// In a green thread, switch back to that one, and not to main, which waits in the hub meanwhile:
///
/// ```
/// use greenloop::greenlet::{Greenlet, current};
///
/// let task = greenloop::spawn(|| {
///     let maker = current();
///     let doubler = Greenlet::new(move |value: u32| maker.switch(value * 2).unwrap());
///     [doubler.switch(1).unwrap(), doubler.switch(7).unwrap()]
/// });
/// assert_eq!(task.join().unwrap(), [2, 7]);
/// ```
pub struct Greenlet<T: 'static> {
    any: AnyGreenlet,
    values: PhantomData<fn(T) -> T>,
}

impl<T: 'static> From<Greenlet<T>> for AnyGreenlet {
    /// Forgets the type of the values.
    fn from(greenlet: Greenlet<T>) -> AnyGreenlet {
        greenlet.any
    }
}

// What it stands for is kept whole by the library, whoever unwinds.
impl<T> UnwindSafe for Greenlet<T> {}
impl<T> RefUnwindSafe for Greenlet<T> {}

impl<T: 'static> Greenlet<T> {
    /// The typed handle; values of another type come back as an error.
    pub(super) fn of(any: AnyGreenlet) -> Greenlet<T> {
        Greenlet { any, values: PhantomData }
    }

    /// Makes a greenlet that runs `run` with the value of the first switch. Its parent is the current greenlet.
    ///
    /// Nothing runs yet. The greenlet takes a stack from the pool when it starts.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::greenlet::Greenlet;
    ///
    /// let greenlet = Greenlet::new(|value: u32| value + 1);
    /// assert!(!greenlet.is_started());
    /// assert_eq!(greenlet.switch(1).unwrap(), 2);
    /// ```
    #[track_caller]
    pub fn new(run: impl FnOnce(T) -> T + 'static) -> Greenlet<T> {
        Greenlet::with_class(SizeClass::default_now(), run, Location::caller())
    }

    /// Makes a greenlet whose stack has at least `bytes` usable bytes.
    ///
    /// Apart from that, it is like [`new`](Greenlet::new).
    ///
    /// # Errors
    ///
    /// Returns [`StackError::TooLarge`](crate::error::StackError::TooLarge) if no stack is that large.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::error::StackError;
    /// use greenloop::greenlet::Greenlet;
    ///
    /// let deep = Greenlet::with_stack_size(1 << 20, |value: usize| {
    ///     std::hint::black_box([1_u8; 700_000]).len() + value
    /// })?;
    /// assert_eq!(deep.switch(1).unwrap(), 700_001);
    ///
    /// let impossible = Greenlet::with_stack_size(usize::MAX, |value: u32| value);
    /// assert!(matches!(impossible, Err(StackError::TooLarge { .. })));
    /// # Ok::<(), StackError>(())
    /// ```
    #[track_caller]
    pub fn with_stack_size(
        bytes: usize,
        run: impl FnOnce(T) -> T + 'static,
    ) -> Result<Greenlet<T>, crate::error::StackError> {
        Ok(Greenlet::with_class(SizeClass::fitting(bytes)?, run, Location::caller()))
    }

    fn with_class(
        class: SizeClass,
        run: impl FnOnce(T) -> T + 'static,
        place: &'static Location<'static>,
    ) -> Greenlet<T> {
        let thread = thread();
        let maker = AnyGreenlet::of_fiber(thread.current(), &thread);
        maker.record.forget_dead_parents();
        let record = Rc::new(Record {
            id: next_id(),
            place,
            class,
            kind: Kind::Plain,
            fiber: Cell::new(None),
            life: Cell::new(Life::New),
            handles: Cell::new(0),
            parent: RefCell::new(Parent::Maker(maker.record.clone())),
            body: RefCell::new(Some(Box::new(TypedBody { first: None, run }))),
        });
        Greenlet { any: AnyGreenlet::of_record(record), values: PhantomData }
    }

    /// Switches to the greenlet with `value`, and returns the value that comes back.
    ///
    /// The current greenlet is suspended until another one switches to it, or until a greenlet ends whose result goes to it.
    ///
    /// - A dead greenlet passes the value on to its nearest live ancestor. If that is the current greenlet, the value comes back
    ///   at once. The same goes for a switch to the current greenlet itself.
    /// - A greenlet that waits in the hub (on IO, a lock, a timer, or since it has yielded) cannot be switched to by hand:
    ///   [`InvalidSwitch`](crate::error::InvalidSwitch) is raised in that greenlet.
    /// - A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the suspension by unwinding. The other greenlet goes on with what
    ///   it does; if its result comes to the current one later, which then waits for something else, that is an `InvalidSwitch` too. Throw
    ///   a [`GreenletExit`](crate::GreenletExit) into it first, or use a [`Generator`](super::Generator), which keeps the value.
    ///
    /// # Errors
    ///
    /// - [`SwitchError::Exit`] if the greenlet whose result would have been the value was ended by a
    ///   [`GreenletExit`](crate::GreenletExit).
    /// - [`SwitchError::Stack`] if the greenlet has not started and there is no stack for it. It stays startable.
    /// - [`SwitchError::WrongType`] if the greenlet waits in a switch for a value of another type.
    /// - [`SwitchError::Ending`] if the OS thread ends.
    ///
    /// # Panics
    ///
    /// Unwinds with what was thrown to the current greenlet, or with what ended a greenlet whose result goes to it. Panics if
    /// called in a [hub callback](crate::hub#callbacks), which may not switch.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::greenlet::{self, Greenlet};
    ///
    /// let greenlet = Greenlet::new(|value: u32| {
    ///     let next = greenlet::main().switch(value + 1).unwrap();
    ///     next + 10
    /// });
    /// assert_eq!(greenlet.switch(1).unwrap(), 2);
    /// assert_eq!(greenlet.switch(2).unwrap(), 12);
    /// assert_eq!(greenlet.switch(3).unwrap(), 3); // dead: the value comes back
    /// ```
    #[inline(always)]
    #[track_caller]
    pub fn switch(&self, value: T) -> Result<T, SwitchError> {
        self.any.send_value(value)
    }

    /// Raises `payload` in the greenlet, at the switch in which it is suspended, and waits as [`switch`](Greenlet::switch) does.
    ///
    /// A greenlet that has not started dies without running. A dead greenlet passes the payload on to its nearest live ancestor.
    ///
    /// # Errors
    ///
    /// As [`switch`](Greenlet::switch): `Err(Exit)` if `payload` was a [`GreenletExit`](crate::GreenletExit) and was not caught.
    ///
    /// # Panics
    ///
    /// As [`switch`](Greenlet::switch): unwinds with `payload` itself if it comes back uncaught.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::error::{GreenletExit, SwitchError};
    /// use greenloop::greenlet::{self, Greenlet};
    ///
    /// let greenlet = Greenlet::new(|value: u32| greenlet::main().switch(value).unwrap());
    /// greenlet.switch(1).unwrap();
    /// let ended = greenlet.throw(Box::new(GreenletExit));
    /// assert!(matches!(ended, Err(SwitchError::Exit(_))));
    /// assert!(greenlet.is_dead());
    /// ```
    #[track_caller]
    pub fn throw(&self, payload: Box<dyn Any + Send>) -> Result<T, SwitchError> {
        self.any.throw(payload)
    }
}

impl AnyGreenlet {
    /// Returns the typed handle if this is a `Greenlet<T>`.
    ///
    /// The main greenlet and green threads take values of any type.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::greenlet::{AnyGreenlet, Greenlet};
    ///
    /// let greenlet = Greenlet::new(|value: u32| value + 1);
    /// let any: &AnyGreenlet = &greenlet;
    /// assert!(any.downcast::<String>().is_none());
    /// assert_eq!(any.downcast::<u32>().unwrap().switch(1).unwrap(), 2);
    /// ```
    pub fn downcast<T: 'static>(&self) -> Option<Greenlet<T>> {
        let same = match (&*self.record.body.borrow(), self.record.fiber.get()) {
            (Some(body), _) => body.value_type() == TypeId::of::<T>(),
            (None, Some(fiber)) => fiber.slot::<T>().is_some(),
            (None, None) => false,
        };
        same.then(|| Greenlet::of(self.clone()))
    }
}

impl<T: 'static> Clone for Greenlet<T> {
    fn clone(&self) -> Greenlet<T> {
        Greenlet { any: self.any.clone(), values: PhantomData }
    }
}

impl<T: 'static> Deref for Greenlet<T> {
    type Target = AnyGreenlet;
    fn deref(&self) -> &AnyGreenlet {
        &self.any
    }
}

impl<T: 'static> fmt::Debug for Greenlet<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.any.fmt(formatter)
    }
}

/// What a greenlet runs.
struct TypedBody<T, F> {
    /// The value that starts it.
    first: Option<T>,
    /// What it does with that.
    run: F,
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
        #[cfg(feature = "monkey")]
        fiber.run_at_end();
        // Only now a handle of its own: while it runs, the handles that count are those of others.
        let greenlet = AnyGreenlet::of_fiber(fiber, thread);
        greenlet.record.set_dead();
        let parent = greenlet.parent();
        drop(greenlet);
        deliver_result(parent, parcel, thread)
    }
}
