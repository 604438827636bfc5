//! One green thread for each worker: it gives jobs, hears what comes of them, and has another worker when this one is gone.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use super::crew::{Crew, Phase, Task};
use super::worker::{Order, Said};
use crate::error::{StartError, WorkError};
use crate::event::Event;
use crate::process::{Birth, Nursery, Pipe, Process, Wire, pipe};
use crate::sys::clock::Time;
use crate::task::{self, with_timeout};

/// The first pause after a worker that did not begin, and the longest.
const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(5);
/// After so many in a row for each keeper that did not begin, what is queued fails.
const TRIES: usize = 5;
/// The longest pause after one that was ready, and ended.
const LONGEST_AFTER_READY: Duration = Duration::from_millis(200);
/// A job that was given to so many workers that died before they began it fails.
const MOST_GIVEN: u32 = 16;
const SIGTERM: i32 = 15;

/// What a pool's builder sets, for keepers.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) name: String,
    pub(super) retries: u32,
    pub(super) tasks_per_child: Option<u32>,
    pub(super) limit: Option<Duration>,
    pub(super) grace: Duration,
}

/// Makes workers.
pub(super) struct Maker {
    pub(super) nursery: RefCell<Option<Rc<Nursery>>>,
    pub(super) serve: Rc<dyn Fn(Birth) -> i32>,
}

/// A worker, and the way to it.
struct Worker<A, T> {
    process: Process<()>,
    pipe: Pipe<Order<A>, Said<T>>,
}

/// What has come of a job.
enum Fate<T> {
    Ended(Result<T, WorkError>),
    /// The worker is gone, having begun the job.
    Lost,
    /// The worker is gone, and has never had the job.
    Untouched,
    /// The job took too long, and the worker is gone for that.
    Stopped,
}

/// What a worker is after a job.
enum After {
    Ready,
    Gone,
    /// It has never had the job.
    GoneBefore,
}

impl Maker {
    /// The nursery, or another in its place if it was killed.
    pub(super) fn nursery(&self) -> Result<Rc<Nursery>, StartError> {
        if let Some(nursery) = &*self.nursery.borrow() {
            return Ok(nursery.clone());
        }
        let serve = self.serve.clone();
        let nursery = Rc::new(Nursery::start("nursery", move |birth| serve(birth))?);
        *self.nursery.borrow_mut() = Some(nursery.clone());
        Ok(nursery)
    }

    /// Ends the nursery, once all its children have.
    pub(super) fn finish(&self) {
        let nursery = self.nursery.borrow_mut().take();
        if let Some(nursery) = nursery.and_then(Rc::into_inner) {
            nursery.finish();
        }
    }

    fn make<A: Wire, T: Wire>(&self, name: &str) -> Result<Worker<A, T>, StartError> {
        let (ours, theirs) = pipe::<Order<A>, Said<T>>()?;
        loop {
            let nursery = self.nursery()?;
            let end: OwnedFd = theirs.as_fd().try_clone_to_owned()?;
            let builder = Process::builder().name(name).daemon(true);
            match nursery.start_child(builder, Vec::new(), vec![end]) {
                Ok(process) => return Ok(Worker { process, pipe: ours }),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    let mut current = self.nursery.borrow_mut();
                    // Somebody may have been here before.
                    if current.as_ref().is_some_and(|current| Rc::ptr_eq(current, &nursery)) {
                        *current = None;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

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
            let error = match self.begin() {
                Ok(worker) => {
                    let begin = Time::now();
                    self.crew.note_ready();
                    let lived = || begin.until(Time::now());
                    if self.serve(worker) {
                        pause = FIRST;
                    } else if lived() < pause {
                        // One that ends again and again is not to be forked without a rest.
                        self.crew.rest(pause - lived());
                        pause = (pause * 2).min(LONGEST_AFTER_READY);
                    }
                    continue;
                }
                Err(Some(error)) => error,
                Err(None) => return,
            };
            if self.crew.note_failure(TRIES) {
                self.crew.fail_queued(&WorkError::NoWorker(error));
            }
            self.crew.rest(pause);
            pause = (pause * 2).min(LONGEST);
        }
    }

    fn is_wanted(&self) -> bool {
        match self.crew.phase() {
            Phase::Open => true,
            Phase::Closed => !self.crew.is_empty(),
            Phase::Ended(_) => false,
        }
    }

    /// A worker that is ready; the reason why there is none; or `None` if the pool has come to its end.
    fn begin(&self) -> Result<Running<'_, A, T>, Option<String>> {
        let worker = self.maker.make(&self.rules.name).map_err(|error| Some(error.to_string()))?;
        let running = Running::new(self, worker);
        if let Phase::Ended(_) = self.crew.phase() {
            // Its initializer may last. If it has ended, it needs no signal.
            let _ = running.process.kill();
            return Err(None);
        }
        match running.pipe.recv() {
            Ok(Said::Ready) => Ok(running),
            Ok(Said::Failed(text)) => {
                self.crew.end(WorkError::Initializer(text));
                Err(None)
            }
            _ => Err(Some("a worker died before it was ready".to_owned())),
        }
    }

    /// Gives it jobs until it is gone, or has done its share. Returns whether it has begun any.
    fn serve(&self, running: Running<'_, A, T>) -> bool {
        let mut done = 0;
        loop {
            let Some(task) = self.crew.next() else {
                if !self.is_wanted() || running.is_gone.get() {
                    return done > 0;
                }
                continue;
            };
            match self.give(&running, task) {
                After::Ready => done += 1,
                After::Gone => return true,
                After::GoneBefore => return done > 0,
            }
            if self.rules.tasks_per_child == Some(done) {
                return true;
            }
        }
    }

    /// Has one job done.
    fn give(&self, running: &Running<'_, A, T>, mut task: Task<A, T>) -> After {
        let number = task.order.number;
        let stopping = Stopping::new(running, number);
        let stops = stopping.clone();
        self.crew.begin(number, Rc::new(move || Stopping::stop(&stops)));
        let begun = Begun { crew: &self.crew, number, stopping: &stopping };
        let fate = self.fate(running, &mut task);
        drop(begun);
        match fate {
            Fate::Untouched | Fate::Stopped | Fate::Lost if stopping.is_begun.get() => {
                task.end(Err(WorkError::Killed));
                After::Gone
            }
            Fate::Ended(result) => {
                task.end(result);
                // One that was told by a signal dies, whatever it has said, and is to take no other job along.
                if stopping.is_signalled.get() { After::Gone } else { After::Ready }
            }
            Fate::Untouched => {
                task.given += 1;
                if task.given < MOST_GIVEN {
                    self.crew.put_back(task);
                } else {
                    let why = "worker after worker died before it began the job it was given";
                    task.end(Err(WorkError::NoWorker(why.to_owned())));
                }
                After::GoneBefore
            }
            Fate::Stopped => {
                task.end(Err(WorkError::TimedOut));
                After::Gone
            }
            Fate::Lost if task.attempts <= self.rules.retries => {
                self.crew.put_back(task);
                After::Gone
            }
            Fate::Lost => {
                let Task { attempts, .. } = task;
                let id = running.process.id();
                // It has closed its end, so it is dead or dies. How, its nursery knows.
                let _ = running.process.wait_timeout(LONGEST);
                let signal = running.process.exit_code().and_then(|code| (code < 0).then_some(-code));
                task.end(Err(match self.crew.phase() {
                    Phase::Ended(error) => error,
                    _ => WorkError::WorkerDied { id, signal, attempts },
                }));
                After::Gone
            }
        }
    }

    fn fate(&self, running: &Running<'_, A, T>, task: &mut Task<A, T>) -> Fate<T> {
        match running.pipe.send(&task.order) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Fate::Untouched,
            Err(error) => return Fate::Ended(Err(WorkError::Undecodable(error.to_string()))),
        }
        let heard = match task.order.limit {
            None => running.pipe.recv(),
            // The worker stops at the limit by itself, at its next wait.
            Some(limit) => running.pipe.recv_timeout(limit.saturating_add(self.rules.grace)),
        };
        if heard.is_err() && running.pipe.left_unread() {
            // It died before it took the job out of its socket.
            return Fate::Untouched;
        }
        task.attempts += 1;
        match heard {
            Ok(Said::Done(value)) => Fate::Ended(Ok(value)),
            Ok(Said::Panicked(message, backtrace)) => {
                Fate::Ended(Err(WorkError::Panicked { message, backtrace }))
            }
            Ok(Said::TimedOut) => Fate::Ended(Err(WorkError::TimedOut)),
            Ok(Said::Killed) => Fate::Ended(Err(WorkError::Killed)),
            Ok(Said::Undecodable(why)) => Fate::Ended(Err(WorkError::Undecodable(why))),
            Ok(Said::Ready | Said::Failed(_)) => Fate::Lost,
            Err(error) => match error.kind() {
                io::ErrorKind::InvalidData => Fate::Ended(Err(WorkError::Undecodable(error.to_string()))),
                io::ErrorKind::TimedOut => {
                    end_gently(&running.process, self.rules.grace);
                    Fate::Stopped
                }
                _ => Fate::Lost,
            },
        }
    }
}

/// A worker that runs. When this is dropped its pipe is closed, and it ends.
struct Running<'a, A, T> {
    process: Rc<Process<()>>,
    pipe: Rc<Pipe<Order<A>, Said<T>>>,
    is_gone: Rc<Cell<bool>>,
    keeper: &'a Keeper<A, T>,
}

impl<'a, A: 'static, T: 'static> Running<'a, A, T> {
    fn new(keeper: &'a Keeper<A, T>, worker: Worker<A, T>) -> Running<'a, A, T> {
        let Worker { process, pipe } = worker;
        let (process, pipe) = (Rc::new(process), Rc::new(pipe));
        *keeper.current.borrow_mut() = Some(process.clone());
        let running = Running { process, pipe, is_gone: Rc::default(), keeper };
        running.watch();
        running
    }

    /// Has its keeper told when it is gone, which has no job for it maybe.
    fn watch(&self) {
        let (process, is_gone) = (self.process.clone(), self.is_gone.clone());
        let crew = self.keeper.crew.clone();
        let member = Crew::join(&crew);
        drop(task::spawn(move || {
            let _ = process.wait();
            is_gone.set(true);
            crew.stir();
            drop((process, member));
        }));
    }
}

/// Ends a process, gently first.
fn end_gently(process: &Process<()>, grace: Duration) {
    let _ = process.send_signal(SIGTERM);
    if !matches!(process.wait_timeout(grace), Ok(Some(_))) {
        let _ = process.kill();
    }
}

/// A job that a worker has. When this is dropped it can be stopped no more.
struct Begun<'a, A, T> {
    crew: &'a Crew<A, T>,
    number: u64,
    stopping: &'a Stopping<A, T>,
}

impl<A, T> Drop for Begun<'_, A, T> {
    fn drop(&mut self) {
        self.crew.finish(self.number);
        self.stopping.is_over.set();
    }
}

/// How a job is stopped that a worker has.
struct Stopping<A, T> {
    number: u64,
    process: Rc<Process<()>>,
    pipe: Rc<Pipe<Order<A>, Said<T>>>,
    grace: Duration,
    is_begun: Cell<bool>,
    /// Whether the worker goes with the job.
    is_signalled: Cell<bool>,
    /// Set when the worker has the job no more.
    is_over: Event,
}

impl<A: Wire + 'static, T: Wire + 'static> Stopping<A, T> {
    fn new(running: &Running<'_, A, T>, number: u64) -> Rc<Stopping<A, T>> {
        Rc::new(Stopping {
            number,
            process: running.process.clone(),
            pipe: running.pipe.clone(),
            grace: running.keeper.rules.grace,
            is_begun: Cell::new(false),
            is_signalled: Cell::new(false),
            is_over: Event::new(),
        })
    }

    /// Asks the worker first; if the job computes, the worker goes with it.
    fn stop(this: &Rc<Stopping<A, T>>) {
        if this.is_begun.replace(true) {
            return;
        }
        let stopping = this.clone();
        drop(task::spawn(move || {
            let Stopping { number, process, pipe, grace, is_over, .. } = &*stopping;
            // Behind the next job it would be taken for that one, if the worker died and left it unread.
            if is_over.is_set() {
                return;
            }
            // A worker that stands still reads nothing.
            let _ = with_timeout(*grace, || pipe.send(&Order::stop(*number)));
            if !is_over.wait_timeout(*grace) {
                stopping.is_signalled.set(true);
                end_gently(process, *grace);
            }
        }));
    }
}

impl<A, T> Drop for Running<'_, A, T> {
    fn drop(&mut self) {
        *self.keeper.current.borrow_mut() = None;
    }
}
