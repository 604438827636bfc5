//! How a job is stopped that a worker has.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::link::Link;
use crate::event::Event;
use crate::process::Wire;
use crate::task;

/// Why a job is to end before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// It was killed.
    Killed,
    /// Its worker did not stop it at its limit.
    TimedOut,
}

/// One job that a worker has, for who stops it.
pub(super) struct Stopping<A, T> {
    number: u64,
    link: Rc<Link<A, T>>,
    reason: Cell<Option<Reason>>,
    /// Set when the worker has the job no more.
    is_over: Event,
}

impl<A: Wire + 'static, T: Wire + 'static> Stopping<A, T> {
    pub(super) fn new(number: u64, link: &Rc<Link<A, T>>) -> Rc<Stopping<A, T>> {
        Rc::new(Stopping { number, link: link.clone(), reason: Cell::new(None), is_over: Event::new() })
    }

    /// Asks the worker first; if the job computes, the worker goes with it.
    pub(super) fn stop(this: &Rc<Stopping<A, T>>) {
        if this.reason.get().is_some() {
            return;
        }
        this.reason.set(Some(Reason::Killed));
        let stopping = this.clone();
        drop(task::spawn(move || {
            let Stopping { number, link, is_over, .. } = &*stopping;
            // Behind the next job it would be taken for that one, if the worker died and left it unread.
            if is_over.is_set() {
                return;
            }
            link.send_stop(*number);
            if !is_over.wait_timeout(link.grace) {
                link.end_gently();
            }
        }));
    }

    /// The worker stops the job at this limit by itself, at its next wait. If it computes, the worker goes with it.
    pub(super) fn limit(this: &Rc<Stopping<A, T>>, limit: Duration) {
        let stopping = this.clone();
        drop(task::spawn(move || {
            let Stopping { link, reason, is_over, .. } = &*stopping;
            if !is_over.wait_timeout(limit.saturating_add(link.grace)) {
                reason.set(reason.get().or(Some(Reason::TimedOut)));
                link.end_gently();
            }
        }));
    }
}

impl<A, T> Stopping<A, T> {
    pub(super) fn reason(&self) -> Option<Reason> {
        self.reason.get()
    }

    pub(super) fn note_over(&self) {
        self.is_over.set();
    }
}
