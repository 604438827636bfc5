//! One green thread for each worker: it gives jobs, and has another worker when this one is gone.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::crew::{Crew, Phase};
use super::link::Link;
use super::maker::{Maker, Rules};
use super::running::Running;
use super::worker::Said;
use crate::error::WorkError;
use crate::process::{Process, Wire};
use crate::sys::clock::Time;
use crate::task;

/// The first pause after a worker that did not begin, and the longest.
const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(5);
/// After so many in a row for each keeper that did not begin, what is queued fails.
const TRIES: usize = 5;
/// The longest pause after one that was ready, and ended.
const LONGEST_AFTER_READY: Duration = Duration::from_millis(200);

/// A keeper.
pub(super) struct Keeper<A, T> {
    pub(super) crew: Rc<Crew<A, T>>,
    pub(super) maker: Rc<Maker>,
    pub(super) rules: Rules,
    /// The worker's process while there is one, for who ends all.
    pub(super) current: Rc<RefCell<Option<Rc<Process<()>>>>>,
}

impl<A: Wire + 'static, T: Wire + 'static> Keeper<A, T> {
    /// Its life: until the pool is closed and nothing is left to do.
    pub(super) fn run(&self) {
        let mut pause = FIRST;
        while self.is_wanted() {
            match self.have_one() {
                Ok(Lived { has_begun: true, .. }) => pause = FIRST,
                Ok(Lived { time, .. }) if time < pause => {
                    // One that ends again and again is not to be forked without a rest.
                    self.crew.rest(pause - time);
                    pause = (pause * 2).min(LONGEST_AFTER_READY);
                }
                Ok(_) => {}
                Err(None) => return,
                Err(Some(error)) => {
                    if self.crew.note_failure(TRIES) {
                        self.crew.fail_queued(&WorkError::NoWorker(error));
                    }
                    self.crew.rest(pause);
                    pause = (pause * 2).min(LONGEST);
                }
            }
        }
    }

    /// Has a worker, until that is gone. The reason why there is none, or `None` if the pool has come to its end.
    fn have_one(&self) -> Result<Lived, Option<String>> {
        let _current = Current(&self.current);
        let worker = self.maker.make(&self.rules.name).map_err(|error| Some(error.to_string()))?;
        let running = Rc::new(Running::new(worker, self.crew.clone(), &self.rules));
        let _ending = Ending(&running);
        *self.current.borrow_mut() = Some(running.link.process.clone());
        Link::watch(&running.link);
        self.wait_until_ready(&running.link)?;
        let begin = Time::now();
        self.crew.note_ready();
        let has_begun = self.serve(&running);
        Ok(Lived { has_begun, time: begin.until(Time::now()) })
    }

    fn is_wanted(&self) -> bool {
        match self.crew.phase() {
            Phase::Open => true,
            Phase::Closed => !self.crew.is_empty(),
            Phase::Ended(_) => false,
        }
    }

    fn wait_until_ready(&self, link: &Link<A, T>) -> Result<(), Option<String>> {
        if let Phase::Ended(_) = self.crew.phase() {
            // Its initializer may last. If it has ended, it needs no signal.
            let _ = link.process.kill();
            return Err(None);
        }
        match link.pipe.recv() {
            Ok(Said::Ready) => Ok(()),
            Ok(Said::Failed(text)) => {
                self.crew.end(WorkError::Initializer(text));
                Err(None)
            }
            _ => Err(Some("a worker died before it was ready".to_owned())),
        }
    }

    /// Gives it jobs until it is gone, or has done its share. Returns whether it has begun any.
    fn serve(&self, running: &Rc<Running<A, T>>) -> bool {
        Running::listen(running);
        let mut given = 0;
        while self.rules.tasks_per_child.is_none_or(|most| given < most) {
            running.wait_for_room();
            if running.has_jobs() {
                // Keepers whose workers have none take theirs first.
                task::yield_now();
            }
            if running.link.is_closing() {
                break;
            }
            let Some(task) = self.crew.next() else {
                if self.is_wanted() && !running.link.is_closing() {
                    continue;
                }
                break;
            };
            let length = u32::try_from(task.order.arguments.len()).unwrap_or(u32::MAX);
            given = given.saturating_add(length);
            if !running.give(task) {
                break;
            }
        }
        running.wait_until_idle();
        running.has_begun()
    }
}

/// What has become of a worker.
struct Lived {
    has_begun: bool,
    time: Duration,
}

/// When this is dropped there is no worker.
struct Current<'a>(&'a RefCell<Option<Rc<Process<()>>>>);

impl Drop for Current<'_> {
    fn drop(&mut self) {
        self.0.take();
    }
}

/// When this is dropped the worker's pipe is closed, and it ends.
struct Ending<'a, A: Wire + 'static, T: Wire + 'static>(&'a Running<A, T>);

impl<A: Wire + 'static, T: Wire + 'static> Drop for Ending<'_, A, T> {
    fn drop(&mut self) {
        self.0.link.pipe.hang_up();
    }
}
