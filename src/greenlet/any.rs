//! Handles to greenlets of any type.

use std::any::{Any, TypeId};
use std::fmt;
use std::rc::Rc;

use super::record::{Kind, Life, Parent, Record};
use super::switching::Parcel;
use super::typed::Greenlet;
use crate::error::{ParentError, SwitchError};
use crate::fiber::SizeClass;
use crate::fiber::assert_may_switch;
use crate::fiber::{FiberRef, Thread, existing_thread, is_ending};

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
///   to a descendant, whose result comes back to it.
/// - If the last handle goes in a [hub callback](crate::hub#callbacks), the greenlet is ended soon after, in a green thread.
///
/// A parent that was set by [`set_parent`](AnyGreenlet::set_parent) is a handle; a greenlet's link to the one that made it is
/// not. A suspended greenlet that has a handle to itself on its own stack keeps itself alive: get `current().parent()` in one
/// statement, and switch to it in the next.
///
/// # Examples
///
/// ```
/// use greenloop::greenlet::{AnyGreenlet, Greenlet, main};
///
/// let (number, text) = (Greenlet::new(|value: u32| value), Greenlet::new(|value: String| value));
/// let children: [&AnyGreenlet; 2] = [&number, &text]; // of different types
/// assert!(children.iter().all(|child| child.parent() == Some(main())));
/// ```
pub struct AnyGreenlet {
    /// # Invariant
    /// Counted in the record's `handles`.
    pub(crate) header: Rc<Record>,
}

impl AnyGreenlet {
    pub(crate) fn of_header(header: Rc<Record>) -> AnyGreenlet {
        header.handles.set(header.handles.get() + 1);
        AnyGreenlet { header }
    }

    pub(crate) fn of_fiber(fiber: FiberRef, thread: &Thread) -> AnyGreenlet {
        if let Some(header) = &*fiber.greenlet.borrow() {
            return AnyGreenlet::of_header(header.clone());
        }
        let kind = if fiber == thread.main() { Kind::Main } else { Kind::GreenThread };
        // Once the OS thread's end has begun, who is not running never goes on, also if nobody has had a handle before.
        let alive = fiber == thread.current() || !is_ending();
        let header = Rc::new(Record::begun(kind, alive.then_some(fiber), fiber.class()));
        *fiber.greenlet.borrow_mut() = Some(header.clone());
        AnyGreenlet::of_header(header)
    }

    /// A green thread that has ended before anybody asked for its handle.
    pub(crate) fn ended() -> AnyGreenlet {
        AnyGreenlet::of_header(Rc::new(Record::begun(Kind::GreenThread, None, SizeClass::default_now())))
    }

    /// Returns a number that no other greenlet of the process has.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::greenlet::{Greenlet, main};
    ///
    /// let greenlet = Greenlet::new(|value: u32| value);
    /// assert_ne!(greenlet.id(), main().id());
    /// ```
    pub fn id(&self) -> u64 {
        self.header.id
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
        self.header.life.get() == Life::Dead
    }

    /// Returns `true` if the greenlet has been switched to. This stays `true` after its end.
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
        self.header.life.get() != Life::New
    }

    /// Returns `true` if the greenlet has started and not finished. This is greenlet's `bool(g)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::greenlet::{Greenlet, main};
    ///
    /// let greenlet = Greenlet::new(|value: u32| main().switch(value).unwrap());
    /// assert!(!greenlet.is_active()); // not started
    /// greenlet.switch(1).unwrap();
    /// assert!(greenlet.is_active());
    /// greenlet.switch(2).unwrap();
    /// assert!(!greenlet.is_active()); // finished
    /// ```
    pub fn is_active(&self) -> bool {
        self.header.life.get() == Life::Active
    }

    /// Returns `true` if this is the thread's own stack.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::greenlet::{Greenlet, main};
    ///
    /// assert!(main().is_main());
    /// assert!(!Greenlet::new(|value: u32| value).is_main());
    /// ```
    pub fn is_main(&self) -> bool {
        self.header.kind == Kind::Main
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
        let fiber = self.header.fiber.get();
        fiber.is_some() && fiber == existing_thread().map(|thread| thread.current())
    }

    /// Returns the greenlet's parent, which gets its result.
    ///
    /// The main greenlet and green threads have none: `None`. A green thread returns to the hub.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::greenlet::{Greenlet, main};
    ///
    /// let child = Greenlet::new(|value: u32| value);
    /// assert_eq!(child.parent(), Some(main()));
    /// assert_eq!(main().parent(), None);
    /// ```
    pub fn parent(&self) -> Option<AnyGreenlet> {
        self.header.parent()
    }

    /// Makes `parent` the greenlet that gets this one's result. It can be set at any time until this one is dead.
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
    /// use greenloop::greenlet::{Greenlet, current, main};
    ///
    /// let (greenlet, other) = (Greenlet::new(|value: u32| value), Greenlet::new(|value: u32| value));
    /// assert_eq!(greenlet.parent(), Some(main()));
    /// assert_eq!(greenlet.set_parent(&other), Ok(()));
    /// assert_eq!(other.set_parent(&greenlet), Err(ParentError::Cycle));
    ///
    /// let in_green_thread = greenloop::spawn(|| current().set_parent(&main()));
    /// assert_eq!(in_green_thread.join().unwrap(), Err(ParentError::Main));
    /// ```
    pub fn set_parent(&self, parent: &AnyGreenlet) -> Result<(), ParentError> {
        self.check_parent(parent)?;
        self.header.set_parent(Parent::Chosen(parent.clone()));
        Ok(())
    }

    /// Whether it is suspended in a switch by hand.
    pub(crate) fn is_switched_out(&self) -> bool {
        self.header.fiber.get().is_some_and(|fiber| fiber.is_switched_out())
    }

    /// Makes `parent` its parent as if that had made it.
    pub(crate) fn set_maker(&self, parent: &AnyGreenlet) -> Result<(), ParentError> {
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
        let same = match (&*self.header.body.borrow(), self.header.fiber.get()) {
            (Some(body), _) => body.value_type() == TypeId::of::<T>(),
            (None, Some(fiber)) => {
                fiber.inbox.get().is_some_and(|inbox| inbox.value_type == TypeId::of::<T>())
            }
            (None, None) => false,
        };
        same.then(|| Greenlet::of(self.clone()))
    }

    /// Switches to the greenlet with `value`, and waits until some greenlet switches back. See [`Greenlet::switch`].
    ///
    /// The value that comes back has the type of the one that was sent.
    ///
    /// # Errors
    ///
    /// As [`Greenlet::switch`]: [`SwitchError::WrongType`] if the greenlet waits for a value of another type.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::error::SwitchError;
    /// use greenloop::greenlet::{AnyGreenlet, Greenlet};
    ///
    /// let greenlet = Greenlet::new(|value: u32| value + 1);
    /// let any: &AnyGreenlet = &greenlet;
    /// assert!(matches!(any.switch("text"), Err(SwitchError::WrongType(_))));
    /// assert_eq!(any.switch(1_u32).unwrap(), 2);
    /// ```
    pub fn switch<T: 'static>(&self, value: T) -> Result<T, SwitchError> {
        self.send(Parcel::Value(value))
    }

    /// Raises `payload` in the greenlet. See [`Greenlet::throw`].
    ///
    /// # Errors
    ///
    /// As [`Greenlet::throw`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::error::{GreenletExit, SwitchError};
    /// use greenloop::greenlet::{AnyGreenlet, Greenlet};
    ///
    /// let greenlet = Greenlet::new(|value: u32| value);
    /// let any: &AnyGreenlet = &greenlet;
    /// assert!(matches!(any.throw::<u32>(Box::new(GreenletExit)), Err(SwitchError::Exit(_))));
    /// assert!(any.is_dead());
    /// ```
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
