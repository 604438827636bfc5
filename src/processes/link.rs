//! The way to a worker that runs, and what is known of it.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::crew::Crew;
use super::maker::Worker;
use super::worker::{Order, Said};
use crate::process::{Pipe, Process, Wire};
use crate::task::{self, with_timeout};

const SIGTERM: i32 = 15;

pub(super) struct Link<A, T> {
    pub(super) process: Rc<Process<()>>,
    pub(super) pipe: Pipe<Order<A>, Said<T>>,
    crew: Rc<Crew<A, T>>,
    /// How long it gets to stop by itself.
    pub(super) grace: Duration,
    /// The job that it was sent last, unless it was told to stop one since.
    last_sent: Cell<Option<u64>>,
    /// Whether it is gone, or goes.
    is_closing: Cell<bool>,
}

impl<A: Wire + 'static, T: Wire + 'static> Link<A, T> {
    pub(super) fn new(worker: Worker<A, T>, crew: Rc<Crew<A, T>>, grace: Duration) -> Rc<Link<A, T>> {
        let Worker { process, pipe } = worker;
        let (last_sent, is_closing) = (Cell::new(None), Cell::new(false));
        Rc::new(Link { process: Rc::new(process), pipe, crew, grace, last_sent, is_closing })
    }

    /// Has its keeper told when it is gone, which has no job for it maybe.
    pub(super) fn watch(this: &Rc<Self>) {
        let link = this.clone();
        let member = Crew::join(&this.crew);
        drop(task::spawn(move || {
            let _ = link.process.wait();
            link.close();
            drop((link, member));
        }));
    }

    /// Takes no more jobs.
    pub(super) fn close(&self) {
        self.is_closing.set(true);
        self.crew.stir();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.get()
    }

    /// Sends it a job.
    pub(super) fn send(&self, order: &Order<A>) -> io::Result<()> {
        self.pipe.send(order)?;
        self.last_sent.set(Some(order.number));
        Ok(())
    }

    /// Tells it to stop a job.
    pub(super) fn send_stop(&self, number: u64) {
        // A worker that stands still reads nothing.
        let sent = with_timeout(self.grace, || self.pipe.send(&Order::stop(number)));
        if let Ok(Ok(())) = sent {
            self.last_sent.set(None);
        }
    }

    /// Whether it is gone, and has never had this job.
    pub(super) fn left_unread(&self, number: u64) -> bool {
        self.last_sent.get() == Some(number) && self.pipe.left_unread()
    }

    /// Ends it, gently first, since a job of it does not end. It takes no other job along that it does not have.
    pub(super) fn end_gently(&self) {
        self.close();
        let _ = self.process.send_signal(SIGTERM);
        if !matches!(self.process.wait_timeout(self.grace), Ok(Some(_))) {
            let _ = self.process.kill();
        }
    }
}
