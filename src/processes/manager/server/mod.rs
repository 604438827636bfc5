//! The manager itself: what it keeps, and a green thread for each connection.
//!
//! Nobody waits here but for the next request. Who asks for what is not to be had is put into the thing's line, and is answered by whoever
//! brings it. So the end of a connection is seen at once, also of one that waits.

mod barrier;
mod client;
mod collections;
mod function;
mod lock;
mod queue;
mod semaphore;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::Duration;

use barrier::Barrier;
use client::{Answer, Call, Client, Object, unknown};
use collections::{Dict, List, Value};
use function::Function;
use lock::{Condition, Lock};
use queue::Queue;
use semaphore::{Event, Semaphore};

use super::address::{Address, introduce};
use super::message::{Parcel, Reply, kind, verb};
use crate::error::ManagerError;
use crate::hub::fork;
use crate::pool::Group;
use crate::process::{Incoming, Packet, Receiver, Sender, Wire, channel};
use crate::sys::credentials;
use crate::task::sleep;

/// What goes into one part of an answer, at most: descriptors and, roughly, bytes.
const PART_DESCRIPTORS: usize = 48;
const PART_BYTES: usize = 64 * 1024;
/// After a guest could not be let in.
const PAUSE: Duration = Duration::from_millis(10);

/// A manager's green threads, and what it keeps.
pub(super) struct Server {
    objects: RefCell<BTreeMap<u64, Rc<dyn Object>>>,
    next: Cell<u64>,
    /// What has been published, by name.
    published: RefCell<BTreeMap<String, Parcel>>,
    addresses: RefCell<Vec<Address>>,
    threads: Group,
    has_ended: Cell<bool>,
    /// The process that it is in, by its generation.
    process: u32,
}

/// The number of the manager itself among what it keeps.
pub(super) const ROOT: u64 = 0;

impl Server {
    /// Starts one whose first door is `door`.
    pub(super) fn start(door: Receiver<OwnedFd>) -> Rc<Server> {
        let server = Rc::new(Server {
            objects: RefCell::default(),
            next: Cell::new(ROOT + 1),
            published: RefCell::default(),
            addresses: RefCell::default(),
            threads: Group::new(),
            has_ended: Cell::new(false),
            process: fork::generation(),
        });
        server.open(ROOT, Rc::new(Root(Rc::downgrade(&server))), door);
        server
    }

    /// Whether it is in this process, and not in one that it was forked by.
    pub(super) fn is_here(&self) -> bool {
        self.process == fork::generation()
    }

    /// Ends all that runs, at its next turn.
    pub(super) fn end(&self) {
        // Before the connections end, one after the other: what one of them holds is not for those that are still there.
        self.has_ended.set(true);
        self.threads.try_kill();
        self.addresses.take();
        self.published.take();
        self.objects.take();
    }

    /// Keeps a function; its number, and its door.
    pub(super) fn share<A: Wire + 'static, T: Wire + 'static>(
        self: &Rc<Self>,
        function: impl FnMut(A) -> T + 'static,
    ) -> io::Result<(u64, Sender<OwnedFd>)> {
        self.add(Rc::new(Function::new(function)))
    }

    /// Keeps one more; its number, and its door.
    fn add(self: &Rc<Self>, object: Rc<dyn Object>) -> io::Result<(u64, Sender<OwnedFd>)> {
        let (door, knocks) = channel()?;
        let number = self.next.get();
        self.next.set(number + 1);
        self.open(number, object, knocks);
        Ok((number, door))
    }

    /// Keeps it, and lets in who knocks at its door, until nobody has that any more.
    fn open(self: &Rc<Self>, number: u64, object: Rc<dyn Object>, door: Receiver<OwnedFd>) {
        self.objects.borrow_mut().insert(number, object);
        let server = Rc::downgrade(self);
        drop(self.threads.spawn(move || {
            loop {
                match door.recv() {
                    Ok(connection) => {
                        let Some(server) = server.upgrade() else { return };
                        server.let_in(connection);
                    }
                    // What is no knock is nobody's.
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                    Err(_) => break,
                }
            }
            if let Some(server) = server.upgrade() {
                let object = server.objects.borrow_mut().remove(&number);
                drop(object);
            }
        }));
    }

    fn let_in(self: &Rc<Self>, connection: OwnedFd) {
        // A pair of sockets that its process made, or one that has been handed over by it.
        if !credentials::is_of_own_user(connection.as_fd()) {
            return;
        }
        let server = Rc::downgrade(self);
        // Now, so that a child which is forked before that thread begins gives the connection up.
        let client = Client::new(connection);
        drop(self.threads.spawn(move || serve(server, client)));
    }

    /// Lets in who knows the secret, at a name in the file system.
    fn listen(
        &self,
        path: &Path,
        secret: Vec<u8>,
        manager: u64,
        door: Sender<OwnedFd>,
    ) -> Result<(), ManagerError> {
        let (address, listener) = Address::bind(path)?;
        self.addresses.borrow_mut().push(address);
        let guests = Group::new();
        drop(self.threads.spawn(move || {
            loop {
                match listener.accept() {
                    Ok(guest) => {
                        let (secret, door) = (secret.clone(), door.clone());
                        drop(guests.spawn(move || introduce(guest, &secret, manager, &door)));
                    }
                    // No descriptor is left, maybe.
                    Err(_) => sleep(PAUSE),
                }
            }
        }));
        Ok(())
    }

    fn answer(self: &Rc<Self>, client: &Rc<Client>, packet: Packet) -> Result<Answer, ManagerError> {
        let Packet { bytes, descriptors, .. } = packet;
        let mut from = Incoming::of(&bytes, descriptors);
        let (number, verb) = <(u64, u8)>::take(&mut from).ok_or_else(unknown)?;
        if verb == verb::HURRY {
            client.hurry();
            return Ok(Answer::Never);
        }
        if verb == verb::HAS_READ {
            client.has_read();
            return Ok(Answer::Never);
        }
        if client.waits() {
            return Err(unknown());
        }
        // It has read the last answer, so what that gave it is its own.
        client.has_read();
        let object = self.objects.borrow().get(&number).cloned();
        match object {
            Some(object) => object.call(Call { verb, from: &mut from, client }),
            // What is not answered otherwise is not answered here: its last handle was given up before this has come.
            None if matches!(verb, verb::DROP | verb::LEASE_BACK) => {
                client.lose_all();
                Ok(Answer::Never)
            }
            None => Err(unknown()),
        }
    }
}

/// The life of a connection.
fn serve(server: Weak<Server>, client: Rc<Client>) {
    let leaving = Leaving { server, client };
    let client = &leaving.client;
    loop {
        let answer = match client.receive() {
            Ok(Some(packet)) => {
                let Some(server) = leaving.server() else { return };
                server.answer(client, packet)
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(error.into()),
            Ok(None) | Err(_) => break,
        };
        let told = match answer {
            Ok(Answer::Now(reply)) => client.send(&reply),
            Ok(Answer::All(parcels)) => send_all(client, parcels),
            Ok(Answer::Later | Answer::Never) => Ok(()),
            Err(error) => client.send(&Reply::Failed(error)),
        };
        if told.is_err() {
            break;
        }
    }
}

/// Takes it out of all lines, however its green thread ends.
struct Leaving {
    server: Weak<Server>,
    client: Rc<Client>,
}

impl Leaving {
    /// As long as it has not ended.
    fn server(&self) -> Option<Rc<Server>> {
        self.server.upgrade().filter(|server| !server.has_ended.get())
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        match self.server() {
            Some(_) => self.client.leave(),
            None => self.client.forget(),
        }
    }
}

/// In parts, so that there are not too many descriptors in any.
fn send_all(client: &Client, parcels: Vec<Parcel>) -> io::Result<()> {
    let mut part = Vec::new();
    let (mut descriptors, mut bytes) = (0, 0);
    for parcel in parcels {
        let is_full = bytes > PART_BYTES || descriptors + parcel.descriptors.len() > PART_DESCRIPTORS;
        if is_full && !part.is_empty() {
            client.send(&Reply::Part(true, std::mem::take(&mut part)))?;
            (descriptors, bytes) = (0, 0);
        }
        descriptors += parcel.descriptors.len();
        bytes += parcel.bytes.len();
        part.push(parcel);
    }
    client.send(&Reply::Part(false, part))
}

/// What makes the others.
struct Root(Weak<Server>);

impl Object for Root {
    fn call(self: Rc<Self>, mut call: Call<'_, '_>) -> Result<Answer, ManagerError> {
        let server = self.0.upgrade().ok_or(ManagerError::Ended)?;
        match call.verb {
            verb::CREATE => {
                let (kind, size, contents) = call.arguments::<(u8, u64, Vec<Parcel>)>()?;
                let object = create(kind, size, contents)?;
                let (number, door) = server.add(object)?;
                Ok(Answer::Now(Reply::Created(number, door)))
            }
            verb::LISTEN => {
                let (path, secret, manager, door) = call.arguments()?;
                let path: PathBuf = path;
                server.listen(&path, secret, manager, door)?;
                Ok(Answer::Now(Reply::Done))
            }
            verb::INSERT => {
                let (name, value) = call.arguments::<(String, Parcel)>()?;
                server.published.borrow_mut().insert(name, value);
                Ok(Answer::Now(Reply::Done))
            }
            verb::GET => {
                let name = call.arguments::<String>()?;
                Ok(Answer::Now(Reply::Maybe(server.published.borrow().get(&name).cloned())))
            }
            verb::COUNT => {
                call.arguments::<()>()?;
                let count = server.objects.borrow().len();
                Ok(Answer::Now(Reply::Number(count as u64)))
            }
            _ => Err(unknown()),
        }
    }

    fn into_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}

fn create(kind: u8, size: u64, contents: Vec<Parcel>) -> Result<Rc<dyn Object>, ManagerError> {
    Ok(match kind {
        kind::DICT => Rc::new(Dict::default()),
        kind::LIST => Rc::new(List::new(contents, size > 0)),
        kind::VALUE => Rc::new(Value::new(contents.into_iter().next().ok_or_else(unknown)?)),
        kind::QUEUE => Rc::new(Queue::new(size)),
        kind::LOCK => Rc::new(Lock::default()),
        kind::CONDITION => Rc::new(Condition::default()),
        kind::SEMAPHORE => Rc::new(Semaphore::new(size, u64::MAX)),
        kind::BOUNDED_SEMAPHORE => Rc::new(Semaphore::new(size, size)),
        kind::EVENT => Rc::new(Event::default()),
        kind::BARRIER => Rc::new(Barrier::new(size)),
        _ => return Err(unknown()),
    })
}
