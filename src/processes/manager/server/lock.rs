//! A lock, and conditions that it is given up for.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::super::message::{Grant, Reply, verb};
use super::client::{Answer, Call, Client, Object, unknown};
use crate::error::ManagerError;

/// Held by a connection.
#[derive(Default)]
pub(super) struct Lock {
    holder: RefCell<Option<Rc<Client>>>,
    line: RefCell<VecDeque<Waiting>>,
    /// Whether a client has ended that held it.
    is_left: Cell<bool>,
}

struct Waiting {
    client: Rc<Client>,
    /// It has waited for a condition, and cannot go on without the lock; whether that was notified.
    is_notified: Option<bool>,
}

impl Lock {
    /// Gives it to the client, who is to be told so, or has it stand in line.
    fn acquire(self: &Rc<Self>, client: &Rc<Client>, is_notified: Option<bool>) -> Option<Reply> {
        let mut holder = self.holder.borrow_mut();
        if holder.is_some() {
            client.wait_at(self.clone());
            self.line.borrow_mut().push_back(Waiting { client: client.clone(), is_notified });
            return None;
        }
        *holder = Some(client.clone());
        client.hold(self.clone());
        Some(self.granted(is_notified.unwrap_or(false)))
    }

    fn granted(&self, is_notified: bool) -> Reply {
        Reply::Granted(Grant { is_locked: true, is_notified, owner_died: self.is_left.get() })
    }

    fn is_held_by(&self, client: &Rc<Client>) -> bool {
        self.holder.borrow().as_ref().is_some_and(|holder| Rc::ptr_eq(holder, client))
    }

    /// Takes it from its holder, and gives it to the next.
    fn pass_on(self: &Rc<Self>) {
        loop {
            *self.holder.borrow_mut() = None;
            let next = self.line.borrow_mut().pop_front();
            let Some(Waiting { client, is_notified }) = next else { return };
            *self.holder.borrow_mut() = Some(client.clone());
            client.hold(self.clone());
            if client.wake(&self.granted(is_notified.unwrap_or(false))) {
                return;
            }
            client.let_go(&(self.clone() as Rc<dyn Object>));
        }
    }

    fn release(self: &Rc<Self>, client: &Rc<Client>) -> Result<(), ManagerError> {
        if !self.is_held_by(client) {
            return Err(ManagerError::NotHeld);
        }
        client.let_go(&(self.clone() as Rc<dyn Object>));
        self.pass_on();
        Ok(())
    }
}

impl Object for Lock {
    fn call(self: Rc<Self>, mut call: Call<'_, '_>) -> Result<Answer, ManagerError> {
        call.arguments::<()>()?;
        let reply = match call.verb {
            verb::ACQUIRE => return Ok(self.acquire(call.client, None).map_or(Answer::Later, Answer::Now)),
            verb::TRY_ACQUIRE if self.holder.borrow().is_some() => {
                Reply::Granted(Grant { is_locked: false, is_notified: false, owner_died: false })
            }
            verb::TRY_ACQUIRE => {
                return Ok(self.acquire(call.client, None).map_or(Answer::Later, Answer::Now));
            }
            verb::RELEASE => {
                self.release(call.client)?;
                Reply::Done
            }
            verb::DROP => {
                // Of who does not hold it, nothing is to be dropped.
                let _ = self.release(call.client);
                return Ok(Answer::Never);
            }
            verb::IS_LEFT => Reply::Flag(self.is_left.get()),
            verb::CLEAR_LEFT => {
                self.is_left.set(false);
                Reply::Done
            }
            _ => return Err(unknown()),
        };
        Ok(Answer::Now(reply))
    }

    fn hurry(&self, client: &Rc<Client>) {
        let mut line = self.line.borrow_mut();
        let place = line.iter().position(|waiting| Rc::ptr_eq(&waiting.client, client));
        if let Some(place) = place.filter(|place| line[*place].is_notified.is_none()) {
            line.remove(place);
            client.wake(&Reply::Granted(Grant { is_locked: false, is_notified: false, owner_died: false }));
        }
    }

    fn leave(self: Rc<Self>, client: &Rc<Client>) {
        self.line.borrow_mut().retain(|waiting| !Rc::ptr_eq(&waiting.client, client));
    }

    fn lose(self: Rc<Self>, client: &Rc<Client>) {
        if self.is_held_by(client) {
            // One that was never told has not begun to change what it guards.
            self.is_left.set(self.is_left.get() || !client.left_unread());
            self.pass_on();
        }
    }

    fn into_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}

/// Each that waits goes back to the lock that it held.
#[derive(Default)]
pub(super) struct Condition {
    line: RefCell<VecDeque<(Rc<Client>, Rc<Lock>)>>,
}

impl Condition {
    /// Has so many go on that wait. Returns how many there were that could be told.
    fn notify(self: &Rc<Self>, most: usize) -> usize {
        let mut told = 0;
        while told < most {
            let next = self.line.borrow_mut().pop_front();
            let Some((client, lock)) = next else { break };
            client.is_notified(self.clone());
            match go_on(&client, &lock, true) {
                true => told += 1,
                // The next one's, here and now.
                false => client.has_read(),
            }
        }
        told
    }
}

impl Object for Condition {
    fn call(self: Rc<Self>, mut call: Call<'_, '_>) -> Result<Answer, ManagerError> {
        match call.verb {
            verb::WAIT => {
                call.arguments::<()>()?;
                let lock = call.client.held::<Lock>().ok_or(ManagerError::NotHeld)?;
                call.client.wait_at(self.clone());
                self.line.borrow_mut().push_back((call.client.clone(), lock.clone()));
                lock.release(call.client)?;
                Ok(Answer::Later)
            }
            verb::NOTIFY => {
                let most = call.arguments::<usize>()?;
                Ok(Answer::Now(Reply::Number(self.notify(most) as u64)))
            }
            _ => Err(unknown()),
        }
    }

    fn hurry(&self, client: &Rc<Client>) {
        let mut line = self.line.borrow_mut();
        let place = line.iter().position(|(other, _)| Rc::ptr_eq(other, client));
        let removed = place.and_then(|place| line.remove(place));
        drop(line);
        if let Some((client, lock)) = removed {
            go_on(&client, &lock, false);
        }
    }

    fn leave(self: Rc<Self>, client: &Rc<Client>) {
        self.line.borrow_mut().retain(|(other, _)| !Rc::ptr_eq(other, client));
    }

    fn notify_next(self: Rc<Self>) {
        self.notify(1);
    }

    fn into_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}

/// Once the lock can be had. Returns `false` if it cannot be told: one that is gone gives the lock back as it leaves.
fn go_on(client: &Rc<Client>, lock: &Rc<Lock>, is_notified: bool) -> bool {
    lock.acquire(client, Some(is_notified)).is_none_or(|reply| client.wake(&reply))
}
