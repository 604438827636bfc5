//! Handles to greenlets of any type.

use std::any::{Any, TypeId};
use std::fmt;
use std::rc::Rc;

use super::callback::assert_may_switch;
use super::fiber::{FiberRef, Thread, existing_thread, is_ending};
use super::header::{Header, Kind, Life, Parent};
use super::plain::Greenlet;
use super::stack::SizeClass;
use super::switching::Parcel;
use crate::error::{ParentError, SwitchError};

/// A handle to a greenlet of any type.
///
/// Handles are counted: dropping the last one to a greenlet that is suspended in a switch raises [`GreenletExit`](crate::GreenletExit) in it, so
/// that its destructors run (greenlet's rule for collected greenlets); one that runs, or waits in the hub, goes on until it
/// is next suspended in a switch, and is ended then, unless it switched to a descendant, whose result comes back to it. If the last
/// handle goes in a [hub callback](crate::hub#callbacks), it is ended soon after, in a green thread. What a
/// child knows of the greenlet that made it is no handle, a parent set by [`set_parent`](AnyGreenlet::set_parent) is one. A
/// suspended greenlet that has a handle to itself on its stack stays alive by that: get `current().parent()` in one
/// statement, and switch to it in the next.
///
/// A greenlet and its handles belong to one OS thread. When that ends, its suspended greenlets are dead: they never go on, and their
/// stacks leak.
///
/// ```compile_fail
/// let greenlet = greenloop::greenlet::Greenlet::new(|value: u32| value);
/// std::thread::spawn(move || greenlet.switch(1)); // a `Greenlet` is not `Send`
/// ```
pub struct AnyGreenlet {
    /// # Invariant
    /// Counted in the record's `handles`.
    pub(super) header: Rc<Header>,
}

impl AnyGreenlet {
    pub(super) fn of_header(header: Rc<Header>) -> AnyGreenlet {
        header.handles.set(header.handles.get() + 1);
        AnyGreenlet { header }
    }

    pub(super) fn of_fiber(fiber: FiberRef, thread: &Thread) -> AnyGreenlet {
        if let Some(header) = &*fiber.greenlet.borrow() {
            return AnyGreenlet::of_header(header.clone());
        }
        let kind = if fiber == thread.main() { Kind::Main } else { Kind::GreenThread };
        // Once the OS thread's end has begun, who is not running never goes on, also if nobody has had a handle before.
        let alive = fiber == thread.current() || !is_ending();
        let header = Rc::new(Header::begun(kind, alive.then_some(fiber), fiber.class()));
        *fiber.greenlet.borrow_mut() = Some(header.clone());
        AnyGreenlet::of_header(header)
    }

    /// A green thread that has ended before anybody asked for its handle.
    pub(super) fn ended() -> AnyGreenlet {
        AnyGreenlet::of_header(Rc::new(Header::begun(Kind::GreenThread, None, SizeClass::default_now())))
    }

    /// A number that no other greenlet of the process has.
    pub fn id(&self) -> u64 {
        self.header.id
    }

    /// Whether it has finished: returned, or ended by what was raised in it.
    pub fn is_dead(&self) -> bool {
        self.header.life.get() == Life::Dead
    }

    /// Whether it has been switched to for the first time. Stays true after its end.
    pub fn is_started(&self) -> bool {
        self.header.life.get() != Life::New
    }

    /// Whether it has started and not finished: greenlet's `bool(g)`.
    ///
    /// ```
    /// use greenloop::greenlet::Greenlet;
    ///
    /// let greenlet = Greenlet::new(|value: u32| value);
    /// assert_eq!((greenlet.is_active(), greenlet.is_dead()), (false, false));
    /// greenlet.switch(1).unwrap();
    /// assert_eq!((greenlet.is_active(), greenlet.is_dead()), (false, true));
    /// ```
    pub fn is_active(&self) -> bool {
        self.header.life.get() == Life::Active
    }

    /// Whether it is the thread's own stack.
    pub fn is_main(&self) -> bool {
        self.header.kind == Kind::Main
    }

    /// Whether it is the one that runs.
    pub fn is_current(&self) -> bool {
        let fiber = self.header.fiber.get();
        fiber.is_some() && fiber == existing_thread().map(|thread| thread.current())
    }

    /// Its parent: where its result goes. `None` for main and for green threads, whose place is the hub.
    pub fn parent(&self) -> Option<AnyGreenlet> {
        self.header.parent()
    }

    /// Makes `parent` the one that gets its result, at any time until it is dead.
    ///
    /// # Errors
    ///
    /// [`ParentError::Cycle`] if it is itself an ancestor of `parent`, [`ParentError::Main`] for the main greenlet. The
    /// parent stays what it was.
    ///
    /// ```
    /// use greenloop::greenlet::{Greenlet, current};
    ///
    /// let greenlet = Greenlet::new(|value: u32| value);
    /// assert!(greenlet.set_parent(&greenlet).is_err());
    /// assert!(greenlet.parent() == Some(current()));
    /// ```
    pub fn set_parent(&self, parent: &AnyGreenlet) -> Result<(), ParentError> {
        self.check_parent(parent)?;
        self.header.set_parent(Parent::Chosen(parent.clone()));
        Ok(())
    }

    /// Whether it is suspended in a switch by hand.
    pub(super) fn is_switched_out(&self) -> bool {
        self.header.fiber.get().is_some_and(|fiber| fiber.is_switched_out())
    }

    /// Makes `parent` its parent as if that had made it.
    pub(super) fn set_maker(&self, parent: &AnyGreenlet) -> Result<(), ParentError> {
        self.check_parent(parent)?;
        self.header.set_parent(Parent::Maker(parent.header.clone()));
        Ok(())
    }

    fn check_parent(&self, parent: &AnyGreenlet) -> Result<(), ParentError> {
        if self.header.kind != Kind::Plain {
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

    /// The typed handle, if it is a `Greenlet<T>`. The main greenlet and green threads take values of any type.
    pub fn downcast<T: 'static>(&self) -> Option<Greenlet<T>> {
        let same = match (&*self.header.body.borrow(), self.header.fiber.get()) {
            (Some(body), _) => body.value_type() == TypeId::of::<T>(),
            (None, Some(fiber)) => {
                fiber.inbox.get().is_some_and(|inbox| inbox.value_type == TypeId::of::<T>())
            }
            (None, None) => false,
        };
        same.then(|| Greenlet::of(self.clone()))
    }

    /// Switches to it with `value`, and waits until somebody switches back: see [`Greenlet::switch`].
    ///
    /// The value that comes back has the type of the one sent.
    ///
    /// # Errors
    ///
    /// As [`Greenlet::switch`]; [`SwitchError::WrongType`] if it waits for a value of another type.
    pub fn switch<T: 'static>(&self, value: T) -> Result<T, SwitchError> {
        self.send(Parcel::Value(value))
    }

    /// Raises `payload` in it: see [`Greenlet::throw`].
    ///
    /// # Errors
    ///
    /// As [`Greenlet::throw`].
    pub fn throw<T: 'static>(&self, payload: Box<dyn Any + Send>) -> Result<T, SwitchError> {
        assert_may_switch();
        if self.header.life.get() == Life::New {
            self.end_unstarted();
        }
        self.send(Parcel::Thrown(payload))
    }
}

impl Clone for AnyGreenlet {
    fn clone(&self) -> AnyGreenlet {
        AnyGreenlet::of_header(self.header.clone())
    }
}

impl PartialEq for AnyGreenlet {
    fn eq(&self, other: &AnyGreenlet) -> bool {
        Rc::ptr_eq(&self.header, &other.header)
    }
}

impl Eq for AnyGreenlet {}

/// As greenlet prints them: `pending`, or `current active started main`, `suspended active started`, or `dead`.
impl fmt::Debug for AnyGreenlet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.header.life.get() {
            Life::New => "pending",
            Life::Dead => "dead",
            Life::Active if self.is_current() => "current active started",
            Life::Active => "suspended active started",
        };
        let main = if self.is_main() { " main" } else { "" };
        write!(formatter, "<greenlet {} {state}{main}>", self.header.id)
    }
}

impl Drop for AnyGreenlet {
    #[inline]
    fn drop(&mut self) {
        let left = self.header.handles.get() - 1;
        self.header.handles.set(left);
        if left == 0 && self.header.life.get() == Life::Active {
            self.end_unreachable();
        }
    }
}
