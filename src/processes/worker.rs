//! What a worker is told, and what it says.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::error::{WorkError, payload_text};
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
    /// For each argument.
    pub(super) limit: Option<Duration>,
    /// To be done, one after the other; without any, the job of that number is to stop.
    pub(super) arguments: Vec<Argument<A>>,
}

impl<A> Order<A> {
    pub(super) fn stop(number: u64) -> Order<A> {
        Order { number, limit: None, arguments: Vec::new() }
    }
}

impl<A: Wire> Wire for Order<A> {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        self.number.put(into);
        self.limit.put(into);
        self.arguments.put(into);
    }

    fn take(from: &mut Incoming<'_>) -> Option<Order<A>> {
        let (number, limit) = (u64::take(from)?, Wire::take(from)?);
        Some(Order { number, limit, arguments: take_all(from, |why| Argument(Err(why)))? })
    }
}

/// Reads them all. Nobody knows where the next one begins after one that is none, so those are `undecodable` too.
fn take_all<V: Wire>(from: &mut Incoming<'_>, undecodable: fn(String) -> V) -> Option<Vec<V>> {
    let count = usize::take(from)?;
    if count > from.length() {
        return None;
    }
    let mut values = Vec::new();
    for _ in 0..count {
        values.push(V::take(from).unwrap_or_else(|| {
            from.clear();
            undecodable(NO_VALUE.to_owned())
        }));
    }
    Some(values)
}

const NO_VALUE: &str = "the bytes are no value of that type";

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
    /// What has come of the job of that number, for each argument.
    Ended(u64, Vec<Outcome<T>>),
    /// What it was told did not come over, so that it does not know which job that was.
    Unheard(String),
}

const READY: u8 = 0;
const FAILED: u8 = 1;
const ENDED: u8 = 2;
const UNHEARD: u8 = 3;

impl<T: Wire> Wire for Said<T> {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        match self {
            Said::Ready => into.put_bytes(&[READY]),
            Said::Failed(text) => {
                into.put_bytes(&[FAILED]);
                text.put(into);
            }
            Said::Ended(number, outcomes) => {
                into.put_bytes(&[ENDED]);
                number.put(into);
                outcomes.put(into);
            }
            Said::Unheard(why) => {
                into.put_bytes(&[UNHEARD]);
                why.put(into);
            }
        }
    }

    fn take(from: &mut Incoming<'_>) -> Option<Said<T>> {
        Some(match u8::take(from)? {
            READY => Said::Ready,
            FAILED => Said::Failed(String::take(from)?),
            ENDED => {
                let undecodable = |why| Outcome(Err(WorkError::Undecodable(why)));
                Said::Ended(u64::take(from)?, take_all(from, undecodable)?)
            }
            UNHEARD => Said::Unheard(String::take(from)?),
            _ => return None,
        })
    }
}

/// What has come of an argument, on its way.
#[derive(Debug)]
pub(super) struct Outcome<T>(pub(super) Result<T, WorkError>);

const DONE: u8 = 0;
const PANICKED: u8 = 1;
const TIMED_OUT: u8 = 2;
const KILLED: u8 = 3;
const UNDECODABLE: u8 = 4;

impl<T: Wire> Wire for Outcome<T> {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        match &self.0 {
            Ok(value) => put_or_tell(DONE, value, into),
            Err(WorkError::Panicked { message, backtrace }) => {
                into.put_bytes(&[PANICKED]);
                message.put(into);
                backtrace.put(into);
            }
            Err(WorkError::TimedOut) => into.put_bytes(&[TIMED_OUT]),
            Err(WorkError::Killed) => into.put_bytes(&[KILLED]),
            Err(WorkError::Undecodable(why)) => put_undecodable(why, into),
            Err(other) => put_undecodable(&other.to_string(), into),
        }
    }

    fn take(from: &mut Incoming<'_>) -> Option<Outcome<T>> {
        Some(Outcome(match u8::take(from)? {
            DONE => take_or_tell(from)?.map_err(WorkError::Undecodable),
            PANICKED => {
                Err(WorkError::Panicked { message: String::take(from)?, backtrace: String::take(from)? })
            }
            TIMED_OUT => Err(WorkError::TimedOut),
            KILLED => Err(WorkError::Killed),
            UNDECODABLE => Err(WorkError::Undecodable(String::take(from)?)),
            _ => return None,
        }))
    }
}
