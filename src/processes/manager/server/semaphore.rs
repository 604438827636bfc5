//! A semaphore, and an event.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::super::message::{Reply, verb};
use super::client::{Answer, Call, Client, Object, unknown};
use crate::error::ManagerError;

/// Who waits, in order.
#[derive(Default)]
struct Line(RefCell<VecDeque<Rc<Client>>>);

impl Line {
    fn leave(&self, client: &Rc<Client>) {
        self.0.borrow_mut().retain(|other| !Rc::ptr_eq(other, client));
    }
}

/// Permits are held by connections.
pub(super) struct Semaphore {
    permits: Cell<u64>,
    bound: u64,
    line: Line,
}

impl Semaphore {
    pub(super) fn new(permits: u64, bound: u64) -> Semaphore {
        Semaphore { permits: Cell::new(permits), bound, line: Line::default() }
    }

    fn acquire(self: &Rc<Self>, client: &Rc<Client>) -> bool {
        let permits = self.permits.get();
        if permits > 0 {
            self.permits.set(permits - 1);
            client.hold(self.clone());
        }
        permits > 0
    }

    /// Adds permits, and gives them to those who wait.
    fn add(self: &Rc<Self>, count: u64) -> Result<(), ManagerError> {
        let permits = self.permits.get().checked_add(count).filter(|permits| *permits <= self.bound);
        self.permits.set(permits.ok_or(ManagerError::TooMany)?);
        while self.permits.get() > 0 {
            let next = self.line.0.borrow_mut().pop_front();
            let Some(client) = next else { break };
            if self.acquire(&client) && !client.wake(&Reply::Flag(true)) {
                client.let_go(&(self.clone() as Rc<dyn Object>));
                self.permits.set(self.permits.get() + 1);
            }
        }
        Ok(())
    }
}

impl Object for Semaphore {
    fn call(self: Rc<Self>, mut call: Call<'_, '_>) -> Result<Answer, ManagerError> {
        if call.verb == verb::ADD {
            let count = call.arguments::<u64>()?;
            self.add(count)?;
            return Ok(Answer::Now(Reply::Done));
        }
        call.arguments::<()>()?;
        let this = self.clone() as Rc<dyn Object>;
        let reply = match call.verb {
            verb::ACQUIRE if self.acquire(call.client) => Reply::Flag(true),
            verb::ACQUIRE => {
                call.client.wait_at(this);
                self.line.0.borrow_mut().push_back(call.client.clone());
                return Ok(Answer::Later);
            }
            verb::TRY_ACQUIRE => Reply::Flag(self.acquire(call.client)),
            verb::RELEASE if call.client.let_go(&this) => {
                self.add(1)?;
                Reply::Done
            }
            verb::DROP => {
                if call.client.let_go(&this) {
                    // More than the bound there are if somebody has added what was not taken.
                    let _ = self.add(1);
                }
                return Ok(Answer::Never);
            }
            verb::FORGET if call.client.let_go(&this) => Reply::Done,
            verb::RELEASE | verb::FORGET => return Err(ManagerError::NotHeld),
            verb::LENGTH => Reply::Number(self.permits.get()),
            _ => return Err(unknown()),
        };
        Ok(Answer::Now(reply))
    }

    fn hurry(&self, client: &Rc<Client>) {
        self.line.leave(client);
        client.wake(&Reply::Flag(false));
    }

    fn leave(self: Rc<Self>, client: &Rc<Client>) {
        self.line.leave(client);
    }

    fn lose(self: Rc<Self>, _: &Rc<Client>) {
        let _ = self.add(1);
    }

    fn into_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}

#[derive(Default)]
pub(super) struct Event {
    is_set: Cell<bool>,
    line: Line,
}

impl Object for Event {
    fn call(self: Rc<Self>, mut call: Call<'_, '_>) -> Result<Answer, ManagerError> {
        call.arguments::<()>()?;
        let reply = match call.verb {
            verb::GET => Reply::Flag(self.is_set.get()),
            verb::SET => {
                self.is_set.set(true);
                for client in self.line.0.take() {
                    client.wake(&Reply::Flag(true));
                }
                Reply::Done
            }
            verb::CLEAR => {
                self.is_set.set(false);
                Reply::Done
            }
            verb::WAIT if self.is_set.get() => Reply::Flag(true),
            verb::WAIT => {
                call.client.wait_at(self.clone());
                self.line.0.borrow_mut().push_back(call.client.clone());
                return Ok(Answer::Later);
            }
            _ => return Err(unknown()),
        };
        Ok(Answer::Now(reply))
    }

    fn hurry(&self, client: &Rc<Client>) {
        self.line.leave(client);
        client.wake(&Reply::Flag(false));
    }

    fn leave(self: Rc<Self>, client: &Rc<Client>) {
        self.line.leave(client);
    }

    fn into_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}
