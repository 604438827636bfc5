//! Values that each green thread has for itself.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::ptr;
use std::rc::Rc;

use super::duties;
use crate::fiber::{self, FiberRef};
use crate::hub::HubRef;

/// Declares values that every greenlet has for itself, as [`thread_local!`](std::thread_local) does for OS threads.
///
/// A value is made when a greenlet first uses it. It is freed when the green thread ends, even if the handle is kept; the main
/// greenlet's values are freed when the OS thread ends. In a green thread the destructors may wait, and the result can be joined
/// when all have run. The destructors of a [greenlet](crate::greenlet) made by hand may neither wait nor switch; they run as [hub
/// callbacks](crate::hub#callbacks).
///
/// # Inherited values
///
/// A value that is declared `inherited static` is handed down. A green thread begins with a clone of the value that its spawner
/// had at the moment of the spawn, or with what a function after `=>` makes of that value. So what belongs to a request reaches
/// all green threads that work for it, and those that they spawn. If the spawner had not made the value, it is made when it is
/// first used, like any other, and the function after `=>` is not called. Greenlets made by hand inherit nothing.
///
/// Nothing is handed down to another OS thread. A closure for [`unblock`](crate::threadpool::unblock) or a
/// [`ThreadPool`](crate::threadpool::ThreadPool) captures what it needs. The handlers of a [server](crate::server) begin with the value
/// of the green thread that started the server.
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
///
/// greenloop::greenlet_local! {
///     static VISITS: Cell<u32> = Cell::new(0);
/// }
///
/// VISITS.set(7);
/// let fresh = greenloop::spawn(|| VISITS.get());
/// assert_eq!(fresh.join().unwrap(), 0);
/// assert_eq!(VISITS.get(), 7);
/// ```
///
/// ```
/// use std::cell::{Cell, RefCell};
///
/// greenloop::greenlet_local! {
///     inherited static REQUEST: RefCell<String> = RefCell::default();
///     inherited static DEPTH: Cell<u32> = Cell::new(0) => |spawners| Cell::new(spawners.get() + 1);
/// }
///
/// REQUEST.set("GET /".to_owned());
/// assert_eq!(DEPTH.get(), 0);
/// let inner = || greenloop::spawn(|| REQUEST.with_borrow(|request| format!("{request} {}", DEPTH.get()))).join().unwrap();
/// assert_eq!(greenloop::spawn(inner).join().unwrap(), "GET / 2");
/// ```
#[doc(alias("spawn_tree_locals", "local", "ContextVar"))]
#[macro_export]
macro_rules! greenlet_local {
    () => {};
    ($(#[$attribute:meta])* $visibility:vis inherited static $name:ident: $type:ty = $value:expr; $($rest:tt)*) => {
        $crate::greenlet_local! {
            $(#[$attribute])* $visibility inherited static $name: $type = $value => ::core::clone::Clone::clone;
            $($rest)*
        }
    };
    (
        $(#[$attribute:meta])* $visibility:vis inherited static $name:ident: $type:ty = $value:expr => $derive:expr;
        $($rest:tt)*
    ) => {
        $(#[$attribute])* $visibility static $name: $crate::LocalKey<$type> =
            $crate::LocalKey::inherited(|| $value, $derive);
        $crate::greenlet_local! { $($rest)* }
    };
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = $value:expr; $($rest:tt)*) => {
        $(#[$attribute])* $visibility static $name: $crate::LocalKey<$type> = $crate::LocalKey::new(|| $value);
        $crate::greenlet_local! { $($rest)* }
    };
}

/// A value per greenlet, declared by [`greenlet_local!`](crate::greenlet_local).
///
/// # Examples
///
/// ```
/// greenloop::greenlet_local! {
///     static GREETING: String = "hello".to_owned();
/// }
///
/// assert_eq!(GREETING.with(String::len), 5);
/// ```
pub struct LocalKey<T: 'static> {
    make: fn() -> T,
    /// What a spawned green thread begins with.
    derive: Option<fn(&T) -> T>,
}

/// What one greenlet has made so far, or was handed down.
pub(super) type Values = Vec<Held>;

#[derive(Clone)]
pub(super) struct Held {
    key: &'static dyn Key,
    value: Rc<dyn Any>,
}

/// A key, its type hidden.
trait Key: Sync {
    /// What a green thread begins with that the owner of `value` spawns; `None` if it inherits none.
    fn derive(&self, value: &dyn Any) -> Option<Rc<dyn Any>>;
}

impl<T: 'static> Key for LocalKey<T> {
    fn derive(&self, value: &dyn Any) -> Option<Rc<dyn Any>> {
        let derive = self.derive?;
        Some(Rc::new(derive(value.downcast_ref()?)))
    }
}

thread_local! {
    /// What green threads that have not begun were handed down, by their numbers. Beside them and not in them: most have none.
    static HANDED_DOWN: RefCell<BTreeMap<u64, Values>> = const { RefCell::new(BTreeMap::new()) };
}

/// Whether there are values that a spawn hands down.
#[inline]
pub(super) fn are_inherited() -> bool {
    duties::have(duties::HAND_DOWN)
}

/// The number of a green thread that the calling greenlet spawns, for which its values are derived and kept.
#[cold]
pub(super) fn hand_down(hub: HubRef) -> u64 {
    // Before it is counted, since what derives is user code, and may panic.
    let values = derive_all();
    let id = hub.count_spawned();
    if let Some(values) = values {
        // While the thread ends and the table has gone, it will not begin, and needs none.
        let table = || HANDED_DOWN.try_with(|table| table.borrow_mut().insert(id, values));
        let _ = fiber::in_common(table);
    }
    id
}

#[cold]
fn derive_all() -> Option<Values> {
    // Copied out, since what derives is user code, which may use locals, or spawn.
    let values = fiber::thread().current().with_locals(|locals| values_of(locals).cloned())?;
    let derived = |entry: Held| Some(Held { key: entry.key, value: entry.key.derive(&*entry.value)? });
    let derived: Values = values.into_iter().filter_map(derived).collect();
    (!derived.is_empty()).then_some(derived)
}

/// Takes what the green thread `id` was handed down, which begins, or never will.
#[cold]
pub(super) fn handed_down(id: u64) -> Option<Values> {
    // None while the thread ends and the table has gone.
    fiber::in_common(|| HANDED_DOWN.try_with(|table| table.borrow_mut().remove(&id)).ok())?
}

/// Lets the green thread `id`, which begins on `fiber`, have what it was handed down.
#[cold]
pub(super) fn take_over(id: u64, fiber: FiberRef) {
    if let Some(values) = handed_down(id) {
        let before = fiber.with_locals(|locals| locals.replace(Box::new(values)));
        drop(before);
    }
}

/// The values that are there, if any.
fn values_of(locals: &Option<Box<dyn Any>>) -> Option<&Values> {
    locals.as_ref()?.downcast_ref()
}

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    pub const fn new(make: fn() -> T) -> LocalKey<T> {
        LocalKey { make, derive: None }
    }

    #[doc(hidden)]
    pub const fn inherited(make: fn() -> T, derive: fn(&T) -> T) -> LocalKey<T> {
        LocalKey { make, derive: Some(derive) }
    }

    /// Calls `function` with the current greenlet's value, which is made first if it does not exist yet.
    ///
    /// The call itself never yields.
    ///
    /// # Examples
    ///
    /// ```
    /// greenloop::greenlet_local! {
    ///     static NAME: String = "nobody".to_owned();
    /// }
    ///
    /// assert_eq!(NAME.with(|name| name.len()), 6);
    /// ```
    pub fn with<R>(&'static self, function: impl FnOnce(&T) -> R) -> R {
        let value = self.find().unwrap_or_else(|| self.insert());
        function(&value)
    }

    fn find(&'static self) -> Option<Rc<T>> {
        let is_this = |entry: &&Held| ptr::addr_eq(entry.key, self);
        let value = fiber::thread()
            .current()
            .with_locals(|locals| values_of(locals)?.iter().find(is_this).map(|entry| entry.value.clone()));
        value?.downcast().ok()
    }

    #[cold]
    fn insert(&'static self) -> Rc<T> {
        // The initialiser is user code: it may use other locals, or yield.
        let value = Rc::new((self.make)());
        if self.derive.is_some() {
            duties::set(duties::HAND_DOWN, true);
        }
        let entry = Held { key: self, value: value.clone() };
        fiber::thread().current().with_locals(|locals| {
            let values = locals.get_or_insert_with(|| Box::new(Values::new())).downcast_mut::<Values>();
            values.expect("a greenlet's locals are `Values`").push(entry);
        });
        value
    }
}

/// The methods that [`std::thread::LocalKey`] has for a [`Cell`] too.
impl<T: 'static> LocalKey<Cell<T>> {
    /// Returns a copy of the value.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// greenloop::greenlet_local! {
    ///     static COUNT: Cell<u32> = Cell::new(3);
    /// }
    ///
    /// assert_eq!(COUNT.get(), 3);
    /// ```
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Sets the value.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// greenloop::greenlet_local! {
    ///     static COUNT: Cell<u32> = Cell::new(3);
    /// }
    ///
    /// COUNT.set(4);
    /// assert_eq!(COUNT.get(), 4);
    /// ```
    pub fn set(&'static self, value: T) {
        self.with(|cell| cell.set(value));
    }

    /// Takes the value, and leaves its default in its place.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// greenloop::greenlet_local! {
    ///     static FOUND: Cell<Option<u32>> = Cell::new(Some(1));
    /// }
    ///
    /// assert_eq!([FOUND.take(), FOUND.take()], [Some(1), None]);
    /// ```
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }

    /// Sets the value, and returns the former one.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// greenloop::greenlet_local! {
    ///     static LEVEL: Cell<u32> = Cell::new(1);
    /// }
    ///
    /// assert_eq!([LEVEL.replace(5), LEVEL.get()], [1, 5]);
    /// ```
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

/// The methods that [`std::thread::LocalKey`] has for a [`RefCell`] too.
impl<T: 'static> LocalKey<RefCell<T>> {
    /// Calls `function` with a reference to the value.
    ///
    /// # Panics
    ///
    /// Panics if the value is mutably borrowed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::RefCell;
    ///
    /// greenloop::greenlet_local! {
    ///     static NAMES: RefCell<Vec<&'static str>> = RefCell::new(vec!["one", "two"]);
    /// }
    ///
    /// assert_eq!(NAMES.with_borrow(|names| names.len()), 2);
    /// ```
    #[track_caller]
    pub fn with_borrow<R>(&'static self, function: impl FnOnce(&T) -> R) -> R {
        let value = self.with(|cell| Some(function(&*cell.try_borrow().ok()?)));
        value.expect("the value is mutably borrowed")
    }

    /// Calls `function` with a mutable reference to the value.
    ///
    /// # Panics
    ///
    /// Panics if the value is borrowed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::RefCell;
    ///
    /// greenloop::greenlet_local! {
    ///     static LOG: RefCell<Vec<&'static str>> = RefCell::default();
    /// }
    ///
    /// LOG.with_borrow_mut(|log| log.push("begun"));
    /// assert_eq!(LOG.with_borrow(Vec::len), 1);
    /// ```
    #[track_caller]
    pub fn with_borrow_mut<R>(&'static self, function: impl FnOnce(&mut T) -> R) -> R {
        let value = self.with(|cell| Some(function(&mut *cell.try_borrow_mut().ok()?)));
        value.expect("the value is borrowed")
    }

    /// Sets the value.
    ///
    /// # Panics
    ///
    /// Panics if the value is borrowed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::RefCell;
    ///
    /// greenloop::greenlet_local! {
    ///     static USER: RefCell<String> = RefCell::default();
    /// }
    ///
    /// USER.set("ada".to_owned());
    /// assert_eq!(USER.with_borrow(String::clone), "ada");
    /// ```
    #[track_caller]
    pub fn set(&'static self, value: T) {
        self.replace(value);
    }

    /// Takes the value, and leaves its default in its place.
    ///
    /// # Panics
    ///
    /// Panics if the value is borrowed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::RefCell;
    ///
    /// greenloop::greenlet_local! {
    ///     static TEXT: RefCell<String> = RefCell::new("once".to_owned());
    /// }
    ///
    /// assert_eq!([TEXT.take(), TEXT.take()], ["once", ""]);
    /// ```
    #[track_caller]
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with_borrow_mut(std::mem::take)
    }

    /// Sets the value, and returns the former one.
    ///
    /// # Panics
    ///
    /// Panics if the value is borrowed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::RefCell;
    ///
    /// greenloop::greenlet_local! {
    ///     static STATE: RefCell<&'static str> = RefCell::new("new");
    /// }
    ///
    /// assert_eq!([STATE.replace("old"), STATE.replace("gone")], ["new", "old"]);
    /// ```
    #[track_caller]
    pub fn replace(&'static self, value: T) -> T {
        self.with_borrow_mut(|place| std::mem::replace(place, value))
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LocalKey")
    }
}
