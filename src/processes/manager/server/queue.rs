//! A queue.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::super::message::{Parcel, Reply, verb};
use super::client::{Answer, Call, Client, Object, unknown};
use crate::error::ManagerError;

pub(super) struct Queue {
    state: RefCell<State>,
    /// Zero: without a bound.
    capacity: usize,
}

#[derive(Default)]
struct State {
    items: VecDeque<Parcel>,
    /// What was got on condition that it is marked done.
    leased: Vec<(Rc<Client>, Parcel)>,
    getters: VecDeque<(Rc<Client>, bool)>,
    putters: VecDeque<(Rc<Client>, Parcel)>,
    joiners: Vec<Rc<Client>>,
    unfinished: u64,
    is_closed: bool,
}

impl Queue {
    pub(super) fn new(capacity: u64) -> Queue {
        Queue { state: RefCell::default(), capacity: usize::try_from(capacity).unwrap_or(0) }
    }

    fn is_full(&self, state: &State) -> bool {
        self.capacity > 0 && state.items.len() >= self.capacity
    }

    /// Gives what is there to who waits for it, and lets in who waits for room.
    fn settle(self: &Rc<Self>, state: &mut State) {
        loop {
            if !state.items.is_empty()
                && let Some((client, is_lease)) = state.getters.pop_front()
            {
                let Some(parcel) = self.hand_out(state, &client, is_lease) else { return };
                if !client.wake(&Reply::One(parcel.clone())) {
                    self.undo(state, &client, parcel, is_lease);
                }
            } else if !self.is_full(state)
                && let Some((client, parcel)) = state.putters.pop_front()
            {
                // One that is gone was never told that it is in.
                if client.wake(&Reply::Done) {
                    state.items.push_back(parcel);
                    state.unfinished += 1;
                }
            } else {
                return;
            }
        }
    }

    /// Takes the first for a client, who is told of it next.
    fn hand_out(self: &Rc<Self>, state: &mut State, client: &Rc<Client>, is_lease: bool) -> Option<Parcel> {
        let parcel = state.items.pop_front()?;
        if is_lease {
            state.leased.push((client.clone(), parcel.clone()));
            client.hold(self.clone());
        } else {
            client.gets(parcel.clone(), self.clone());
        }
        Some(parcel)
    }

    fn undo(self: &Rc<Self>, state: &mut State, client: &Rc<Client>, parcel: Parcel, is_lease: bool) {
        if is_lease {
            state.leased.retain(|(other, _)| !Rc::ptr_eq(other, client));
            client.let_go(&(self.clone() as Rc<dyn Object>));
        } else {
            client.has_read();
        }
        state.items.push_front(parcel);
    }

    fn get(
        self: &Rc<Self>,
        call: &mut Call<'_, '_>,
        is_lease: bool,
        waits: bool,
    ) -> Result<Answer, ManagerError> {
        call.arguments::<()>()?;
        let mut state = self.state.borrow_mut();
        if is_lease && state.leased.iter().any(|(client, _)| Rc::ptr_eq(client, call.client)) {
            return Err(unknown());
        }
        if let Some(parcel) = self.hand_out(&mut state, call.client, is_lease) {
            self.settle(&mut state);
            return Ok(Answer::Now(Reply::One(parcel)));
        }
        if state.is_closed {
            return Err(ManagerError::Closed);
        }
        if !waits {
            return Err(ManagerError::Empty);
        }
        call.client.wait_at(self.clone());
        state.getters.push_back((call.client.clone(), is_lease));
        // One may wait with an item for room in a queue that is empty now.
        self.settle(&mut state);
        Ok(Answer::Later)
    }

    fn put(self: &Rc<Self>, call: &mut Call<'_, '_>, waits: bool) -> Result<Answer, ManagerError> {
        let parcel = call.arguments::<Parcel>()?;
        let mut state = self.state.borrow_mut();
        if state.is_closed {
            return Err(ManagerError::Closed);
        }
        if !self.is_full(&state) {
            state.items.push_back(parcel);
            state.unfinished += 1;
            self.settle(&mut state);
            return Ok(Answer::Now(Reply::Done));
        }
        if !waits {
            return Err(ManagerError::Full);
        }
        call.client.wait_at(self.clone());
        state.putters.push_back((call.client.clone(), parcel));
        Ok(Answer::Later)
    }

    fn done(state: &mut State) -> Result<(), ManagerError> {
        state.unfinished = state.unfinished.checked_sub(1).ok_or(ManagerError::TooMany)?;
        if state.unfinished == 0 {
            for client in state.joiners.drain(..) {
                client.wake(&Reply::Done);
            }
        }
        Ok(())
    }

    /// Takes back what a client has leased.
    fn end_lease(self: &Rc<Self>, state: &mut State, client: &Rc<Client>) -> Result<Parcel, ManagerError> {
        let place = state.leased.iter().position(|(other, _)| Rc::ptr_eq(other, client));
        let (_, parcel) = state.leased.swap_remove(place.ok_or_else(unknown)?);
        client.let_go(&(self.clone() as Rc<dyn Object>));
        Ok(parcel)
    }
}

impl Object for Queue {
    fn call(self: Rc<Self>, mut call: Call<'_, '_>) -> Result<Answer, ManagerError> {
        let verb = call.verb;
        match verb {
            verb::PUT | verb::TRY_PUT => return self.put(&mut call, verb == verb::PUT),
            verb::TAKE | verb::TRY_TAKE => return self.get(&mut call, false, verb == verb::TAKE),
            verb::LEASE | verb::TRY_LEASE => return self.get(&mut call, true, verb == verb::LEASE),
            _ => call.arguments::<()>()?,
        }
        let state = &mut *self.state.borrow_mut();
        let reply = match verb {
            verb::LENGTH => Reply::Number(state.items.len() as u64),
            verb::UNFINISHED => Reply::Number(state.unfinished),
            verb::IS_CLOSED => Reply::Flag(state.is_closed),
            verb::TASK_DONE => {
                Queue::done(state)?;
                Reply::Done
            }
            verb::LEASE_DONE => {
                self.end_lease(state, call.client)?;
                Queue::done(state)?;
                Reply::Done
            }
            verb::LEASE_BACK => {
                if let Ok(parcel) = self.end_lease(state, call.client) {
                    state.items.push_front(parcel);
                    self.settle(state);
                }
                return Ok(Answer::Never);
            }
            verb::JOIN if state.unfinished > 0 => {
                call.client.wait_at(self.clone());
                state.joiners.push(call.client.clone());
                return Ok(Answer::Later);
            }
            verb::JOIN => Reply::Done,
            verb::CLOSE => {
                state.is_closed = true;
                let putters = state.putters.drain(..).map(|(client, _)| client);
                for client in putters.chain(state.getters.drain(..).map(|(client, _)| client)) {
                    client.wake(&Reply::Failed(ManagerError::Closed));
                }
                Reply::Done
            }
            _ => return Err(unknown()),
        };
        Ok(Answer::Now(reply))
    }

    fn hurry(&self, client: &Rc<Client>) {
        self.state.borrow_mut().forget(client);
        client.wake(&Reply::Failed(ManagerError::TimedOut));
    }

    fn take_back(self: Rc<Self>, parcel: Parcel) {
        let mut state = self.state.borrow_mut();
        state.items.push_front(parcel);
        self.settle(&mut state);
    }

    fn leave(self: Rc<Self>, client: &Rc<Client>) {
        self.state.borrow_mut().forget(client);
    }

    fn lose(self: Rc<Self>, client: &Rc<Client>) {
        let mut state = self.state.borrow_mut();
        if let Ok(parcel) = self.end_lease(&mut state, client) {
            state.items.push_front(parcel);
            self.settle(&mut state);
        }
    }

    fn into_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}

impl State {
    /// Takes a client out of all lines.
    fn forget(&mut self, client: &Rc<Client>) {
        self.getters.retain(|(other, _)| !Rc::ptr_eq(other, client));
        self.putters.retain(|(other, _)| !Rc::ptr_eq(other, client));
        self.joiners.retain(|other| !Rc::ptr_eq(other, client));
    }
}
