//! A greenlet as a source of values that are pulled one by one.

use std::fmt;

use super::handle::Greenlet;
use super::{current, handle};

/// What passes between a generator and who pulls.
enum Exchange<S, Y> {
    Sent(S),
    Yielded(Y),
    Done,
}

/// A coroutine that gives values when asked, and can be given one each time: a pull source.
///
/// The body runs on its own stack, only while somebody waits for its next value, and may yield from any depth of calls.
/// It may block on greenloop's IO, sleeps and locks; then the one who pulls waits, and the hub goes on. Dropping the
/// generator ends the body at its `yield_` with [`GreenletExit`](crate::error::GreenletExit), destructors included. A
/// panic of the body reaches who pulls.
///
/// `Generator<(), Y>` is an [`Iterator`].
///
/// # Examples
///
/// ```
/// use greenloop::greenlet::Generator;
///
/// let squares = Generator::new(|generator, ()| {
///     for number in 1..=3u32 {
///         generator.yield_(number * number);
///     }
/// });
/// assert_eq!(squares.collect::<Vec<_>>(), [1, 4, 9]);
///
/// let mut sum = Generator::new(|generator, first: u32| {
///     let mut total = first;
///     loop {
///         total += generator.yield_(total);
///     }
/// });
/// assert_eq!(sum.send(1), Some(1));
/// assert_eq!(sum.send(10), Some(11));
/// ```
pub struct Generator<S: 'static, Y: 'static> {
    greenlet: Greenlet<Exchange<S, Y>>,
}

/// The generator as its body sees it.
pub struct Yielder<S: 'static, Y: 'static> {
    values: std::marker::PhantomData<fn(Y) -> S>,
}

impl<S: 'static, Y: 'static> Yielder<S, Y> {
    /// Gives `value` to who pulls, and waits until the next is asked for; returns what was sent with that.
    pub fn yield_(&self, value: Y) -> S {
        match handle::switch_to_parent(Exchange::Yielded::<S, Y>(value)) {
            Ok(Exchange::Sent(sent)) => sent,
            Ok(_) | Err(_) => unreachable!("a generator is resumed by `send` alone"),
        }
    }
}

impl<S: 'static, Y: 'static> Generator<S, Y> {
    /// Makes a generator. `body` starts at the first [`send`](Generator::send), with what that sent.
    #[track_caller]
    pub fn new(body: impl FnOnce(&Yielder<S, Y>, S) + 'static) -> Generator<S, Y> {
        let greenlet = Greenlet::new(move |first| {
            if let Exchange::Sent(first) = first {
                body(&Yielder { values: std::marker::PhantomData }, first);
            }
            Exchange::Done
        });
        Generator { greenlet }
    }

    /// Resumes the body with `value` and returns what it yields next; `None` once it has returned.
    ///
    /// # Panics
    ///
    /// With what the body panics with. It has ended then.
    pub fn send(&mut self, value: S) -> Option<Y> {
        if self.greenlet.is_dead() {
            return None;
        }
        // Who pulls may be another one each time. Its handle is gone before the switch.
        self.greenlet.set_maker(&current()).expect("a suspended generator is nobody's ancestor");
        match self.greenlet.switch(Exchange::Sent(value)) {
            Ok(Exchange::Yielded(value)) => Some(value),
            Ok(_) => None,
            Err(error) => handle::raise(error),
        }
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.greenlet.is_dead()
    }
}

impl<Y: 'static> Iterator for Generator<(), Y> {
    type Item = Y;

    fn next(&mut self) -> Option<Y> {
        self.send(())
    }
}

impl<S: 'static, Y: 'static> fmt::Debug for Generator<S, Y> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Generator({:?})", self.greenlet)
    }
}

impl<S: 'static, Y: 'static> fmt::Debug for Yielder<S, Y> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Yielder")
    }
}
