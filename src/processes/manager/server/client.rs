//! A connection, as the manager sees it, and what it says to what is kept.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::super::message::{Parcel, Reply};
use crate::error::ManagerError;
use crate::process::{Incoming, Kind, Limit, Line, Packet, Wire};

/// One request, as it came.
pub(super) struct Call<'a, 'm> {
    pub(super) verb: u8,
    pub(super) from: &'a mut Incoming<'m>,
    pub(super) client: &'a Rc<Client>,
}

impl Call<'_, '_> {
    /// All that was sent with it.
    pub(super) fn arguments<T: Wire>(&mut self) -> Result<T, ManagerError> {
        T::take(self.from).filter(|_| self.from.is_empty()).ok_or_else(unknown)
    }
}

/// That a request is none, which is an error of that request alone.
pub(super) fn unknown() -> ManagerError {
    ManagerError::Undecodable("no such request".to_owned())
}

/// What becomes of a request.
pub(super) enum Answer {
    Now(Reply),
    /// All of these, in parts.
    All(Vec<Parcel>),
    /// When it can be had.
    Later,
    /// It is not answered.
    Never,
}

/// A thing that is kept.
pub(super) trait Object {
    fn call(self: Rc<Self>, call: Call<'_, '_>) -> Result<Answer, ManagerError>;

    /// The time of a client that waits here is over.
    fn hurry(&self, client: &Rc<Client>) {
        let _ = client;
    }

    /// What a client was given has not come to it.
    fn take_back(self: Rc<Self>, parcel: Parcel) {
        drop(parcel);
    }

    /// A client that waits here is gone.
    fn leave(self: Rc<Self>, client: &Rc<Client>) {
        let _ = client;
    }

    /// A client that holds something of this is gone. Called as often as it does.
    fn lose(self: Rc<Self>, client: &Rc<Client>) {
        let _ = client;
    }

    /// A client that was notified of this is gone before it could know.
    fn notify_next(self: Rc<Self>) {}

    /// For who looks for one of a certain type.
    fn into_any(self: Rc<Self>) -> Rc<dyn Any>;
}

/// Who is at the other end.
pub(crate) struct Client {
    line: Line,
    /// In whose line it stands.
    waits: RefCell<Option<Rc<dyn Object>>>,
    /// Who has given it something to hold, as often as it holds something.
    holds: RefCell<Vec<Rc<dyn Object>>>,
    /// What the last answer gave it, and whose that is again if it does not read it.
    unread: RefCell<Option<(Rc<dyn Object>, Parcel)>>,
    /// The condition that was notified of which it was told last, or is told once it has the lock.
    notified: RefCell<Option<Rc<dyn Object>>>,
    is_gone: Cell<bool>,
}

impl Client {
    pub(super) fn new(connection: OwnedFd) -> Rc<Client> {
        Rc::new(Client {
            line: Line::from(connection),
            waits: RefCell::default(),
            holds: RefCell::default(),
            unread: RefCell::default(),
            notified: RefCell::default(),
            is_gone: Cell::new(false),
        })
    }

    pub(super) fn receive(&self) -> io::Result<Option<Packet>> {
        self.line.receive(Limit::Until(None))
    }

    /// Answers. If it cannot be told, it has ended before it had read that.
    pub(super) fn send(&self, reply: &Reply) -> io::Result<()> {
        let sent = self.line.send(Kind::One, &reply.write(), Limit::Until(None));
        self.is_gone.set(sent.is_err());
        sent
    }

    /// Answers one that waits, and takes it out of that line. Never waits: who does not read, or cannot be told for want of descriptors, is
    /// told by the end of its connection.
    pub(super) fn wake(&self, reply: &Reply) -> bool {
        self.waits.take();
        let is_told = !self.is_gone.get() && self.line.send(Kind::One, &reply.write(), Limit::Now).is_ok();
        self.is_gone.set(!is_told);
        if !is_told {
            self.line.hang_up();
        }
        is_told
    }

    /// Stands in `object`'s line from now on.
    pub(super) fn wait_at(&self, object: Rc<dyn Object>) {
        *self.waits.borrow_mut() = Some(object);
    }

    pub(super) fn waits(&self) -> bool {
        self.waits.borrow().is_some()
    }

    pub(super) fn hurry(self: &Rc<Self>) {
        let object = self.waits.borrow().clone();
        if let Some(object) = object {
            object.hurry(self);
        }
    }

    pub(super) fn hold(&self, object: Rc<dyn Object>) {
        self.holds.borrow_mut().push(object);
    }

    /// Takes back one thing that it holds of `object`, if it does.
    pub(super) fn let_go(&self, object: &Rc<dyn Object>) -> bool {
        let mut holds = self.holds.borrow_mut();
        let place = holds.iter().position(|held| Rc::ptr_eq(held, object));
        place.map(|place| holds.swap_remove(place)).is_some()
    }

    /// The first of that type of which it holds something.
    pub(super) fn held<T: 'static>(&self) -> Option<Rc<T>> {
        self.holds.borrow().iter().find_map(|held| held.clone().into_any().downcast().ok())
    }

    /// It is told of `parcel` now, which is `object`'s again if it does not read that.
    pub(super) fn gets(&self, parcel: Parcel, object: Rc<dyn Object>) {
        *self.unread.borrow_mut() = Some((object, parcel));
    }

    /// Its wait has ended by a notification, which is the next one's if it does not come to read that.
    pub(super) fn is_notified(&self, condition: Rc<dyn Object>) {
        *self.notified.borrow_mut() = Some(condition);
    }

    pub(super) fn has_read(&self) {
        self.unread.take();
        self.notified.take();
    }

    /// Whether it has ended before it had read the last answer.
    pub(super) fn left_unread(&self) -> bool {
        self.is_gone.get() || self.line.left_unread()
    }

    /// The connection has ended.
    pub(super) fn leave(self: &Rc<Self>) {
        if let Some((object, parcel)) = self.unread.take().filter(|_| self.left_unread()) {
            object.take_back(parcel);
        }
        let lost = self.notified.take().filter(|_| self.waits() || self.left_unread());
        self.lose_all();
        if let Some(object) = self.waits.take() {
            object.leave(self);
        }
        self.is_gone.set(true);
        if let Some(condition) = lost {
            condition.notify_next();
        }
    }

    /// All that it holds goes back to where it is from.
    pub(super) fn lose_all(self: &Rc<Self>) {
        for object in self.holds.take() {
            object.lose(self);
        }
    }

    /// The manager has ended: nobody is given anything any more.
    pub(super) fn forget(&self) {
        self.is_gone.set(true);
        self.unread.take();
        self.notified.take();
        self.holds.take();
        self.waits.take();
    }
}
