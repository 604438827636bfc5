//! The threads of a pool, its queue, and who is to have which job.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::fiber::catch;
use crate::hub::door::BYSTANDERS;
use crate::hub::waiter::{Notify, Waiter};
use crate::hub::waitlist::{Ticket, WaitList};
use crate::sys::clock::Time;
use crate::sys::futex;
use crate::sys::lock::{Lock, LockGuard};
use crate::sys::os_thread::real;

/// At most 15 bytes, which is what the kernel shows.
const THREAD_NAME: &str = "greenloop-pool";

/// What a thread runs. It catches the panics of the user's code itself.
pub(super) type Assignment = Box<dyn FnOnce() + Send>;

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// Whether the current thread belongs to a pool.
pub(super) fn is_worker() -> bool {
    IS_WORKER.get()
}

/// What the handles and the threads of a pool share.
///
/// Neither the lock nor the wait is std's: those lead to `monkey`, and who held such a lock could be switched out amid an allocation.
pub(super) struct Crew {
    state: Lock<Roster>,
    /// Counts how often threads were called up: one, or all when some may have to leave. Those without work wait on it.
    calls: AtomicU32,
}

struct Roster {
    size: usize,
    /// How many threads there are, those being made included.
    threads: usize,
    /// How many of them wait for work and have not been called up. Each is counted in `BYSTANDERS`.
    idle: usize,
    /// How many have been called up and have not noticed yet.
    called: usize,
    /// How many are in a job.
    running: usize,
    /// Accepted jobs that no thread has taken.
    queue: WaitList<Assignment>,
    /// Jobs that wait to be accepted, each with who waits for that.
    outside: WaitList<(Assignment, Notify)>,
    /// Who waits until there is nothing to do.
    quiet: WaitList<Notify>,
    /// Whether the pool is gone, so that nothing more will come.
    closed: bool,
    /// How long a thread without work stays.
    patience: Duration,
}

impl Roster {
    /// Whether one more job may come in: as many as there may be threads, and one to be ready for the next that is free.
    fn has_room(&self) -> bool {
        self.running + self.queue.len() <= self.size
    }

    /// Lets in what waits outside, as far as there is room. Those returned are to be notified.
    fn admit(&mut self) -> Vec<Notify> {
        let mut admitted = Vec::new();
        while self.has_room()
            && let Some((task, notify)) = self.outside.pop()
        {
            self.queue.push(task);
            admitted.push(notify);
        }
        admitted
    }

    fn is_quiet(&self) -> bool {
        self.running == 0 && self.queue.is_empty() && self.outside.is_empty()
    }
}

/// What a crew, or several, have and have to do.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Workload {
    pub(crate) threads: usize,
    /// Jobs that run.
    pub(crate) running: usize,
    /// Jobs that wait for a thread.
    pub(crate) queued: usize,
}

impl Crew {
    pub(super) fn workload(&self) -> Workload {
        let state = self.lock();
        let queued = state.queue.len() + state.outside.len();
        Workload { threads: state.threads, running: state.running, queued }
    }

    pub(super) fn new(size: usize, patience: Duration) -> Crew {
        let state = Roster {
            size,
            threads: 0,
            idle: 0,
            called: 0,
            running: 0,
            queue: WaitList::new(),
            outside: WaitList::new(),
            quiet: WaitList::new(),
            closed: false,
            patience,
        };
        Crew { state: Lock::new(state), calls: AtomicU32::new(0) }
    }

    fn lock(&self) -> LockGuard<'_, Roster> {
        self.state.lock()
    }

    /// After the state was changed, and unlocked.
    fn call(&self, wake: fn(&AtomicU32)) {
        // Relaxed: the lock orders the state, and the kernel the word and those who wait on it.
        self.calls.fetch_add(1, Ordering::Relaxed);
        wake(&self.calls);
    }

    /// Queues `task`, however many are queued.
    ///
    /// Fails if there is no thread at all and none can be made.
    pub(super) fn submit(self: &Arc<Crew>, task: Assignment) -> io::Result<()> {
        self.enqueue(self.lock(), task)
    }

    /// Queues `task` if there is room, else leaves it outside, with `waiter` to be notified when it has come in.
    pub(super) fn submit_or_wait(
        self: &Arc<Crew>,
        task: Assignment,
        waiter: &Waiter,
    ) -> io::Result<Option<Ticket>> {
        let mut state = self.lock();
        if state.outside.is_empty() && state.has_room() {
            return self.enqueue(state, task).map(|()| None);
        }
        Ok(Some(state.outside.push((task, waiter.notify()))))
    }

    /// Takes back a job from outside; `None` if it has come in.
    pub(super) fn withdraw(&self, ticket: Ticket) -> Option<Assignment> {
        let withdrawn = self.lock().outside.remove(ticket);
        withdrawn.map(|(task, _notify)| task)
    }

    /// Has `waiter` notified when there is nothing to do; `None` if there is nothing now.
    pub(super) fn await_quiet(&self, waiter: &Waiter) -> Option<Ticket> {
        let mut state = self.lock();
        if state.is_quiet() { None } else { Some(state.quiet.push(waiter.notify())) }
    }

    /// Ends [`await_quiet`](Crew::await_quiet), and tells whether it was quiet.
    pub(super) fn was_quiet(&self, ticket: Ticket) -> bool {
        let registered = self.lock().quiet.remove(ticket);
        registered.is_none()
    }

    /// Lets there be `size` threads.
    pub(super) fn resize(self: &Arc<Crew>, size: usize) {
        let mut state = self.lock();
        state.size = size;
        let admitted = state.admit();
        let wanted = state.queue.len();
        drop(state);
        self.call(futex::wake);
        admitted.into_iter().for_each(Notify::notify);
        for _ in 0..wanted {
            // If no thread can be made now, the next job that is submitted tries again, and reports it.
            if self.man(self.lock()).is_err() {
                break;
            }
        }
    }

    /// Lets the threads end when all that was accepted is done.
    pub(super) fn close(self: &Arc<Crew>) {
        let size = {
            let mut state = self.lock();
            state.closed = true;
            state.size
        };
        self.resize(size.max(1));
    }

    fn enqueue(self: &Arc<Crew>, mut state: LockGuard<'_, Roster>, task: Assignment) -> io::Result<()> {
        let ticket = state.queue.push(task);
        let Err(error) = self.man(state) else { return Ok(()) };
        let unwanted = self.lock().queue.remove(ticket);
        // Another caller may have made a thread, which has taken it.
        if unwanted.is_some() { Err(error) } else { Ok(()) }
    }

    /// Sees to it that a thread comes for the queue.
    ///
    /// Fails if there is no thread at all and none can be made.
    fn man(self: &Arc<Crew>, mut state: LockGuard<'_, Roster>) -> io::Result<()> {
        if state.idle > 0 {
            state.idle -= 1;
            state.called += 1;
            // Now, not when it wakes: until then a hub that looks for a deadlock would overlook it.
            BYSTANDERS.remove();
            drop(state);
            self.call(futex::wake_one);
            return Ok(());
        }
        if state.threads >= state.size {
            return Ok(());
        }
        state.threads += 1;
        drop(state);
        let crew = Arc::clone(self);
        let work = move || {
            IS_WORKER.set(true);
            crew.work();
        };
        let thread = real(|| thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(work));
        match thread {
            Ok(_detached) => Ok(()),
            Err(error) => {
                let mut state = self.lock();
                state.threads -= 1;
                if state.threads == 0 { Err(error) } else { Ok(()) }
            }
        }
    }

    /// The life of a thread.
    fn work(self: &Arc<Crew>) {
        let mut state = self.lock();
        loop {
            while state.threads <= state.size
                && let Some(task) = state.queue.pop()
            {
                state = self.run(state, task);
            }
            if state.closed || state.threads > state.size {
                break;
            }
            state = match self.idle(state) {
                Some(state) => state,
                None => return,
            };
        }
        state.threads -= 1;
        if !state.queue.is_empty() {
            // It was called for a job, and there are too many threads for it to stay.
            let _ = self.man(state);
        }
    }

    fn run<'a>(&'a self, mut state: LockGuard<'a, Roster>, task: Assignment) -> LockGuard<'a, Roster> {
        state.running += 1;
        drop(state);
        // The task catches the panics of the job; what may still panic is a value for which nobody asks, when dropped.
        catch("the destructor of a job's value", task);
        let mut state = self.lock();
        state.running -= 1;
        let admitted = state.admit();
        let quiet = if state.is_quiet() { Some(state.quiet.drain()) } else { None };
        if admitted.is_empty() && quiet.is_none() {
            return state;
        }
        drop(state);
        admitted.into_iter().chain(quiet.into_iter().flatten()).for_each(Notify::notify);
        self.lock()
    }

    /// Waits for a call; `None` if the thread is to end.
    fn idle<'a>(&'a self, mut state: LockGuard<'a, Roster>) -> Option<LockGuard<'a, Roster>> {
        state.idle += 1;
        BYSTANDERS.add();
        let deadline = Time::after(state.patience);
        loop {
            // Relaxed: with the state locked, what changes it next counts after this.
            let calls = self.calls.load(Ordering::Relaxed);
            drop(state);
            futex::wait(&self.calls, calls, Some(Time::now().until(deadline)));
            state = self.lock();
            if state.called > 0 {
                state.called -= 1;
                return Some(state);
            }
            if Time::now() >= deadline || state.closed || state.threads > state.size {
                state.idle -= 1;
                BYSTANDERS.remove();
                state.threads -= 1;
                return None;
            }
        }
    }
}
