//! What one greenlet hands to another, and why it could not be put down.

use std::any::Any;

use crate::error::{GreenletExit, StackError, SwitchError, Undelivered};
use crate::fiber::callback;

/// What one greenlet hands to another.
pub(super) enum Parcel<T> {
    Value(T),
    Exit,
    Thrown(Box<dyn Any + Send>),
}

impl<T> Parcel<T> {
    /// The rule of greenlet: GreenletExit ends a greenlet quietly, and its parent gets it as a value.
    pub(super) fn ended_by(payload: Box<dyn Any + Send>) -> Parcel<T> {
        if payload.is::<GreenletExit>() { Parcel::Exit } else { Parcel::Thrown(payload) }
    }
}

/// Raised in one that is suspended in a switch, which gets it as a value: the greenlet whose result was to come has exited.
pub(super) struct Exited;

/// A parcel that could not be put down, and why.
pub(super) enum Refusal<T> {
    WrongType(T),
    Stack(T, StackError),
    Ending(T),
}

impl<T: 'static> Refusal<T> {
    #[cold]
    pub(super) fn into_error(self) -> SwitchError {
        match self {
            Refusal::WrongType(value) => SwitchError::WrongType(Undelivered::new(Box::new(value), discard)),
            Refusal::Stack(value, error) => {
                discard(value);
                SwitchError::Stack(error)
            }
            Refusal::Ending(value) => {
                discard(value);
                SwitchError::Ending
            }
        }
    }
}

/// Drops what no greenlet takes: as a callback, since its destructor is others' code.
pub(super) fn discard<T>(value: T) {
    callback("the destructor of a value that no greenlet takes", || drop(value));
}
