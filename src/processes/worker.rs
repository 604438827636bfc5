//! What a worker is told, and what it says.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::error::payload_text;
use crate::fiber;
use crate::process::{Incoming, Outgoing, Wire};

/// An argument on its way. If it panics there, the text of that comes in its place.
#[derive(Debug)]
pub(super) struct Argument<A>(pub(super) Result<A, String>);

impl<A> Argument<A> {
    pub(super) fn new(argument: A) -> Argument<A> {
        Argument(Ok(argument))
    }
}

impl<A: Wire> Wire for Argument<A> {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        match &self.0 {
            Ok(argument) => put_or_tell(DONE, argument, into),
            Err(why) => put_undecodable(why, into),
        }
    }

    fn take(from: &mut Incoming<'_>) -> Option<Argument<A>> {
        match u8::take(from)? {
            DONE => take_or_tell(from).map(Argument),
            UNDECODABLE => String::take(from).map(|why| Argument(Err(why))),
            _ => None,
        }
    }
}

/// What a worker is told.
#[derive(Debug)]
pub(super) struct Order<A> {
    pub(super) number: u64,
    pub(super) limit: Option<Duration>,
    /// To be done; without one, the job of that number is to stop.
    pub(super) argument: Option<Argument<A>>,
}

impl<A> Order<A> {
    pub(super) fn stop(number: u64) -> Order<A> {
        Order { number, limit: None, argument: None }
    }
}

impl<A: Wire> Wire for Order<A> {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        self.number.put(into);
        self.limit.put(into);
        self.argument.put(into);
    }

    fn take(from: &mut Incoming<'_>) -> Option<Order<A>> {
        let (number, limit) = (u64::take(from)?, Wire::take(from)?);
        Some(Order { number, limit, argument: Wire::take(from)? })
    }
}

/// Writes a value, or why there is none if that panics.
fn put_or_tell<'a, V: Wire>(tag: u8, value: &'a V, into: &mut Outgoing<'a>) {
    let before = into.length();
    into.put_bytes(&[tag]);
    if let Err(text) = caught(|| value.put(into)) {
        into.truncate(before);
        put_undecodable(&text, into);
    }
}

fn put_undecodable(why: &str, into: &mut Outgoing<'_>) {
    into.put_bytes(&[UNDECODABLE]);
    into.put_bytes(&(why.len() as u64).to_le_bytes());
    into.put_bytes(why.as_bytes());
}

/// Reads a value, or why there is none if that panics. `None` if what is there is none.
fn take_or_tell<V: Wire>(from: &mut Incoming<'_>) -> Option<Result<V, String>> {
    match caught(|| V::take(from)) {
        Ok(value) => value.map(Ok),
        Err(text) => {
            from.clear();
            Some(Err(text))
        }
    }
}

/// Runs code of others. The text of what it raises.
pub(super) fn caught<V>(run: impl FnOnce() -> V) -> Result<V, String> {
    // What it leaves half done, the caller throws away.
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let text = payload_text(&*payload);
        fiber::discard(payload);
        text
    })
}

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
    Killed,
    /// The argument was none, or the value cannot be sent.
    Undecodable(String),
}

const READY: u8 = 0;
const FAILED: u8 = 1;
const DONE: u8 = 2;
const PANICKED: u8 = 3;
const TIMED_OUT: u8 = 4;
const UNDECODABLE: u8 = 5;
const KILLED: u8 = 6;

impl<T: Wire> Wire for Said<T> {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        match self {
            Said::Ready => into.put_bytes(&[READY]),
            Said::Failed(text) => {
                into.put_bytes(&[FAILED]);
                text.put(into);
            }
            Said::Done(value) => put_or_tell(DONE, value, into),
            Said::Panicked(text, place) => {
                into.put_bytes(&[PANICKED]);
                text.put(into);
                place.put(into);
            }
            Said::TimedOut => into.put_bytes(&[TIMED_OUT]),
            Said::Killed => into.put_bytes(&[KILLED]),
            Said::Undecodable(why) => put_undecodable(why, into),
        }
    }

    fn take(from: &mut Incoming<'_>) -> Option<Said<T>> {
        Some(match u8::take(from)? {
            READY => Said::Ready,
            FAILED => Said::Failed(String::take(from)?),
            DONE => take_or_tell(from)?.map_or_else(Said::Undecodable, Said::Done),
            PANICKED => Said::Panicked(String::take(from)?, String::take(from)?),
            TIMED_OUT => Said::TimedOut,
            KILLED => Said::Killed,
            UNDECODABLE => Said::Undecodable(String::take(from)?),
            _ => return None,
        })
    }
}
