//! What a worker does, and what it says.

use std::cell::RefCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::error::payload_text;
use crate::fiber;
use crate::process::{Incoming, Outgoing, Pipe, Wire, last_place};
use crate::task::with_timeout;

/// One thing that a worker says.
#[derive(Debug)]
pub(super) enum Said<T> {
    /// It can begin.
    Ready,
    /// Its initializer panicked, so.
    Failed(String),
    Done(T),
    Panicked(String, String),
    TimedOut,
    /// The argument was none, or the value cannot be sent.
    Undecodable(String),
}

const READY: u8 = 0;
const FAILED: u8 = 1;
const DONE: u8 = 2;
const PANICKED: u8 = 3;
const TIMED_OUT: u8 = 4;
const UNDECODABLE: u8 = 5;

impl<T: Wire> Wire for Said<T> {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        match self {
            Said::Ready => into.put_bytes(&[READY]),
            Said::Failed(text) => {
                into.put_bytes(&[FAILED]);
                text.put(into);
            }
            Said::Done(value) => {
                into.put_bytes(&[DONE]);
                value.put(into);
            }
            Said::Panicked(text, place) => {
                into.put_bytes(&[PANICKED]);
                text.put(into);
                place.put(into);
            }
            Said::TimedOut => into.put_bytes(&[TIMED_OUT]),
            Said::Undecodable(why) => {
                into.put_bytes(&[UNDECODABLE]);
                why.put(into);
            }
        }
    }

    fn take(from: &mut Incoming<'_>) -> Option<Said<T>> {
        Some(match u8::take(from)? {
            READY => Said::Ready,
            FAILED => Said::Failed(String::take(from)?),
            DONE => Said::Done(T::take(from)?),
            PANICKED => Said::Panicked(String::take(from)?, String::take(from)?),
            TIMED_OUT => Said::TimedOut,
            UNDECODABLE => Said::Undecodable(String::take(from)?),
            _ => return None,
        })
    }
}

/// What runs in each worker.
pub(super) struct Work<F> {
    pub(super) initializer: Option<Box<dyn Fn()>>,
    pub(super) function: F,
    pub(super) limit: Option<Duration>,
}

impl<F> Work<F> {
    /// The life of a worker: until nobody has jobs for it any more.
    pub(super) fn run<A: Wire, T: Wire>(&self, pipe: &Pipe<Said<T>, A>)
    where
        F: Fn(A) -> T,
    {
        if let Some(initializer) = &self.initializer {
            let initialized = catch_unwind(AssertUnwindSafe(initializer));
            if let Err(payload) = initialized {
                let _ = pipe.send(&Said::Failed(payload_text(&*payload)));
                return fiber::discard(payload);
            }
        }
        if pipe.send(&Said::Ready).is_err() {
            return;
        }
        loop {
            let said = match pipe.recv() {
                Ok(argument) => self.one(argument),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    Said::Undecodable(error.to_string())
                }
                Err(_) => return,
            };
            match pipe.send(&said) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return,
                Err(error) => {
                    let _ = pipe.send(&Said::Undecodable(error.to_string()));
                }
            }
            // Values of others: what their destructors raise is no job's.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(said))) {
                fiber::discard(payload);
            }
        }
    }

    fn one<A, T>(&self, argument: A) -> Said<T>
    where
        F: Fn(A) -> T,
    {
        // Outside of the closure, since it is moved into there.
        let argument = RefCell::new(Some(argument));
        let call = || argument.take().map(&self.function);
        // What a panic leaves half done is the function's own.
        let called = catch_unwind(AssertUnwindSafe(|| match self.limit {
            Some(limit) => with_timeout(limit, call).ok(),
            None => Some(call()),
        }));
        match called {
            Ok(Some(Some(value))) => Said::Done(value),
            Ok(_) => Said::TimedOut,
            Err(payload) => {
                let text = payload_text(&*payload);
                fiber::discard(payload);
                Said::Panicked(text, last_place())
            }
        }
    }
}
