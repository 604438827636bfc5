//! Values that each green thread has for itself.

use std::any::Any;
use std::fmt;
use std::rc::Rc;

use crate::greenlet;

/// Declares a value that every greenlet has for itself, as [`thread_local!`](std::thread_local) does for OS threads.
///
/// It is made when a green thread first uses it, and freed when that ends, though its handle be kept. The main greenlet's
/// is freed with the OS thread.
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
/// VISITS.with(|visits| visits.set(7));
/// let fresh = greenloop::spawn(|| VISITS.with(|visits| visits.get()));
/// assert_eq!(fresh.join().unwrap(), 0);
/// assert_eq!(VISITS.with(|visits| visits.get()), 7);
/// ```
#[macro_export]
macro_rules! greenlet_local {
    ($($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = $value:expr;)*) => {
        $($(#[$attribute])* $visibility static $name: $crate::LocalKey<$type> = $crate::LocalKey::new(|| $value);)*
    };
}

/// A value per green thread, declared by [`greenlet_local!`](crate::greenlet_local).
pub struct LocalKey<T: 'static> {
    make: fn() -> T,
}

/// What one greenlet has made so far: by the address of the key, which no other key has.
type Values = Vec<(usize, Rc<dyn Any>)>;

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    pub const fn new(make: fn() -> T) -> LocalKey<T> {
        LocalKey { make }
    }

    /// Calls `function` with the current greenlet's value, which is made first if it is not there. Never yields by itself.
    pub fn with<R>(&'static self, function: impl FnOnce(&T) -> R) -> R {
        let value = self.find().unwrap_or_else(|| self.insert());
        function(&value)
    }

    fn address(&'static self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn find(&'static self) -> Option<Rc<T>> {
        let fiber = greenlet::thread().current();
        let value = fiber.with_locals(|locals| {
            let values = locals.as_ref()?.downcast_ref::<Values>()?;
            let (_, value) = values.iter().find(|(address, _)| *address == self.address())?;
            Some(value.clone())
        });
        value?.downcast().ok()
    }

    #[cold]
    fn insert(&'static self) -> Rc<T> {
        // The initialiser is user code: it may use other locals, or yield.
        let value = Rc::new((self.make)());
        let fiber = greenlet::thread().current();
        fiber.with_locals(|locals| {
            let values = locals.get_or_insert_with(|| Box::new(Values::new())).downcast_mut::<Values>();
            values.expect("a greenlet's locals are `Values`").push((self.address(), value.clone()));
        });
        value
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LocalKey")
    }
}
