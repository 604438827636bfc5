//! A barrier.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::super::message::{ACT, Reply, verb};
use super::client::{Answer, Call, Client, Object, unknown};
use crate::error::ManagerError;

pub(super) struct Barrier {
    parties: usize,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    arrived: Vec<Rc<Client>>,
    /// The last of them, while it does what is to be done before all go on.
    acting: Option<Rc<Client>>,
    /// Those who come meanwhile, and whether they would act.
    next: VecDeque<(Rc<Client>, bool)>,
    /// Whether one of those has left. The round that is full goes on.
    is_next_broken: bool,
    is_broken: bool,
}

impl Barrier {
    pub(super) fn new(parties: u64) -> Barrier {
        Barrier { parties: usize::try_from(parties).unwrap_or(usize::MAX).max(1), state: RefCell::default() }
    }

    /// What one is told that has come, if it is told something now.
    fn arrive(self: &Rc<Self>, state: &mut State, client: &Rc<Client>, acts: bool) -> Option<Reply> {
        if state.acting.is_some() {
            client.wait_at(self.clone());
            state.next.push_back((client.clone(), acts));
            None
        } else if state.arrived.len() + 1 < self.parties {
            client.wait_at(self.clone());
            state.arrived.push(client.clone());
            None
        } else if acts {
            client.hold(self.clone());
            state.acting = Some(client.clone());
            Some(Reply::Number(ACT))
        } else {
            Some(self.open(state))
        }
    }

    /// Tells all but the last, and returns what that is told.
    fn open(&self, state: &mut State) -> Reply {
        for (number, client) in state.arrived.drain(..).enumerate() {
            client.wake(&Reply::Number(number as u64));
        }
        Reply::Number(self.parties as u64 - 1)
    }
}

impl State {
    fn fail_all(&mut self) {
        self.acting = None;
        for client in self.arrived.drain(..) {
            client.wake(&Reply::Failed(ManagerError::BrokenBarrier));
        }
        self.fail_next();
    }

    fn fail_next(&mut self) {
        for (client, _) in self.next.drain(..) {
            client.wake(&Reply::Failed(ManagerError::BrokenBarrier));
        }
    }

    fn break_it(&mut self) {
        self.is_broken = true;
        self.fail_all();
    }

    /// Takes one out that waits, which none does without breaking it.
    fn forget(&mut self, client: &Rc<Client>) {
        let waiting = self.next.len();
        self.next.retain(|(other, _)| !Rc::ptr_eq(other, client));
        if self.next.len() < waiting {
            self.is_next_broken = true;
            return self.fail_next();
        }
        self.arrived.retain(|other| !Rc::ptr_eq(other, client));
        self.break_it();
    }
}

impl Object for Barrier {
    fn call(self: Rc<Self>, mut call: Call<'_, '_>) -> Result<Answer, ManagerError> {
        let state = &mut *self.state.borrow_mut();
        if call.verb == verb::WAIT {
            let acts = call.arguments::<bool>()?;
            if state.is_broken || state.is_next_broken {
                return Err(ManagerError::BrokenBarrier);
            }
            return Ok(self.arrive(state, call.client, acts).map_or(Answer::Later, Answer::Now));
        }
        call.arguments::<()>()?;
        let reply = match call.verb {
            verb::ACTED => {
                call.client.let_go(&(self.clone() as Rc<dyn Object>));
                // In the meantime it may have been broken.
                state
                    .acting
                    .take_if(|acting| Rc::ptr_eq(acting, call.client))
                    .ok_or(ManagerError::BrokenBarrier)?;
                let reply = self.open(state);
                state.is_broken = std::mem::take(&mut state.is_next_broken);
                for (client, acts) in std::mem::take(&mut state.next) {
                    if let Some(reply) = self.arrive(state, &client, acts) {
                        client.wake(&reply);
                    }
                }
                reply
            }
            verb::ABORT => {
                state.break_it();
                Reply::Done
            }
            verb::RESET => {
                state.fail_all();
                (state.is_broken, state.is_next_broken) = (false, false);
                Reply::Done
            }
            verb::WAITING => Reply::Number(state.arrived.len() as u64),
            verb::IS_BROKEN => Reply::Flag(state.is_broken || state.is_next_broken),
            verb::LENGTH => Reply::Number(self.parties as u64),
            _ => return Err(unknown()),
        };
        Ok(Answer::Now(reply))
    }

    fn hurry(&self, client: &Rc<Client>) {
        self.state.borrow_mut().forget(client);
        client.wake(&Reply::Failed(ManagerError::BrokenBarrier));
    }

    fn leave(self: Rc<Self>, client: &Rc<Client>) {
        self.state.borrow_mut().forget(client);
    }

    fn lose(self: Rc<Self>, client: &Rc<Client>) {
        let mut state = self.state.borrow_mut();
        if state.acting.as_ref().is_some_and(|acting| Rc::ptr_eq(acting, client)) {
            state.break_it();
        }
    }

    fn into_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}
