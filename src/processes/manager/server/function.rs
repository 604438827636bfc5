//! A function of the manager's process.

use std::any::Any;
use std::rc::Rc;
use std::sync::PoisonError;

use super::super::message::{Parcel, Reply, unpack, verb};
use super::client::{Answer, Call, Object, unknown};
use crate::error::{JoinError, ManagerError, payload_text};
use crate::fiber;
use crate::process::{Incoming, Wire};
use crate::sync::Mutex;
use crate::task;

type Called = dyn FnMut(&mut Incoming<'_>) -> Result<Parcel, ManagerError>;

/// It is called by one client after the other, on the green thread of the client's connection.
pub(super) struct Function(Mutex<Box<Called>>);

impl Function {
    pub(super) fn new<A: Wire, T: Wire>(mut function: impl FnMut(A) -> T + 'static) -> Function {
        Function(Mutex::new(Box::new(move |from| {
            let argument = unpack(from).filter(|_| from.is_empty()).ok_or_else(unknown)?;
            Ok(Parcel::of(&function(argument))?)
        })))
    }
}

impl Object for Function {
    fn call(self: Rc<Self>, call: Call<'_, '_>) -> Result<Answer, ManagerError> {
        if call.verb != verb::CALL {
            return Err(unknown());
        }
        // It is unlocked by unwinding only when the manager ends.
        let mut function = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let called = task::call(&mut **function, call.from);
        called.unwrap_or_else(|error| Err(of_panic(error))).map(|value| Answer::Now(Reply::One(value)))
    }

    fn into_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}

fn of_panic(error: JoinError) -> ManagerError {
    if error.is_killed() {
        return ManagerError::Ended;
    }
    let payload = error.into_panic();
    let text = payload_text(&*payload);
    fiber::discard(payload);
    ManagerError::Panicked(text)
}
