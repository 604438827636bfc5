//! Greenlets that are made by hand.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::Location;
use std::rc::Rc;

use super::fiber::thread;
use super::handle::AnyGreenlet;
use super::header::{Header, Kind, Life, Parent, TypedBody, next_id};
use super::stack::SizeClass;
use super::switching::Parcel;
use crate::error::SwitchError;

/// A coroutine with a stack of its own, for explicit switching: greenlet's `greenlet`.
///
/// `T` is the type of the values that go in and out. A greenlet starts when it is first switched to, on a stack from the
/// pool; it may switch to any other of its thread, at any depth of calls, and may block on greenloop's IO, sleeps and
/// locks like a green thread: then it parks, and the hub goes on. When it ends, its result goes to its parent (the one
/// that made it, unless [`set_parent`](AnyGreenlet::set_parent) said otherwise), which goes on.
///
/// # Examples
///
/// ```
/// use greenloop::greenlet::{Greenlet, main};
///
/// let doubler = Greenlet::new(|mut value: u32| {
///     for _ in 0..2 {
///         value = main().switch(value * 2).unwrap();
///     }
///     value + 1000
/// });
/// assert_eq!(doubler.switch(1).unwrap(), 2);
/// assert_eq!(doubler.switch(10).unwrap(), 20);
/// assert_eq!(doubler.switch(5).unwrap(), 1005);
/// assert!(doubler.is_dead());
/// ```
pub struct Greenlet<T: 'static> {
    any: AnyGreenlet,
    values: PhantomData<fn(T) -> T>,
}

impl<T: 'static> Greenlet<T> {
    /// The typed handle; values of another type come back as an error.
    pub(super) fn of(any: AnyGreenlet) -> Greenlet<T> {
        Greenlet { any, values: PhantomData }
    }

    /// Makes a greenlet that will run `run` with the value of the first switch. Its parent is the current greenlet.
    ///
    /// Nothing runs yet, and it takes no stack before it does.
    #[track_caller]
    pub fn new(run: impl FnOnce(T) -> T + 'static) -> Greenlet<T> {
        Greenlet::with_class(SizeClass::default_now(), run, Location::caller())
    }

    /// Like [`new`](Greenlet::new), on a stack of at least `bytes` usable bytes.
    ///
    /// # Errors
    ///
    /// [`StackError::TooLarge`](crate::error::StackError::TooLarge).
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
        maker.header.forget_dead_parents();
        let header = Rc::new(Header {
            id: next_id(),
            place,
            class,
            kind: Kind::Plain,
            fiber: Cell::new(None),
            life: Cell::new(Life::New),
            handles: Cell::new(0),
            parent: RefCell::new(Parent::Maker(maker.header.clone())),
            body: RefCell::new(Some(Box::new(TypedBody { first: None, run }))),
        });
        Greenlet { any: AnyGreenlet::of_header(header), values: PhantomData }
    }

    /// Switches to it with `value`. The current greenlet is suspended until somebody switches to it, or until a greenlet
    /// whose heir it is ends: that value is returned.
    ///
    /// A dead greenlet passes the value on to its nearest live ancestor; if that is the current one, it comes back at
    /// once, as it does for a switch to itself. A greenlet that waits in the hub (on IO, a lock, a timer) cannot be
    /// switched to by hand: [`InvalidSwitch`](crate::error::InvalidSwitch) is raised in it. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends this wait by unwinding.
    ///
    /// # Errors
    ///
    /// - [`SwitchError::Exit`] is how [`GreenletExit`](crate::GreenletExit) arrives as a value: what ended was killed.
    /// - [`SwitchError::Stack`] if it has not started and there is no stack. It stays startable.
    /// - [`SwitchError::WrongType`] if it waits in a switch for another type.
    ///
    /// # Panics
    ///
    /// Unwinds with what was thrown to the current greenlet, or with what ended a greenlet whose heir it is. In a [hub
    /// callback](crate::hub#callbacks), where nothing may switch.
    #[inline]
    pub fn switch(&self, value: T) -> Result<T, SwitchError> {
        self.any.send(Parcel::Value(value))
    }

    /// Raises `payload` in it, at the switch in which it is suspended, and waits as [`switch`](Greenlet::switch) does.
    ///
    /// An unstarted greenlet dies without running. A dead one passes it on to its nearest live ancestor.
    ///
    /// # Errors
    ///
    /// As [`switch`](Greenlet::switch): `Err(Exit)` if `payload` was a [`GreenletExit`](crate::GreenletExit) and nobody caught it.
    ///
    /// # Panics
    ///
    /// As [`switch`](Greenlet::switch): with `payload` itself if it comes back uncaught.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::error::{GreenletExit, SwitchError};
    /// use greenloop::greenlet::{Greenlet, main};
    ///
    /// let greenlet = Greenlet::new(|value: u32| main().switch(value).unwrap());
    /// greenlet.switch(1).unwrap();
    /// let ended = greenlet.throw(Box::new(GreenletExit));
    /// assert!(matches!(ended, Err(SwitchError::Exit(_))));
    /// assert!(greenlet.is_dead());
    /// ```
    pub fn throw(&self, payload: Box<dyn Any + Send>) -> Result<T, SwitchError> {
        self.any.throw(payload)
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
